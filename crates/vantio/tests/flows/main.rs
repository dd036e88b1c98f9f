//! Labels follow data through real programs: each flow ends as its table says, every time.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod collector;
mod files;
mod guards;
mod labels;
mod memory;
mod pipes;
mod processes;
mod sockets;

use std::fs;

use collector::Collector;
use common::{Outcome, SECRET, World, finish};

/// What most flows run under: one secret, and one place to send to, where it must not go.
const POLICY: &str = r#"version: 1
fs: {read: [/], write: ["${workspace}", "${tmp}", /dev, "/proc/*/mem", "/proc/*/comm"]}
exec: {allow: [/]}
net: {allow: ["127.0.0.1:PORT"]}
taint:
  sources: [{label: secret, fs: ["~/.aws/**", "${workspace}/secrets/**"]}]
  sinks: [{label: secret, net: ["*"]}]
"#;

/// What every shell script begins with: `$S` is the secret, `send` a program that sends a file.
const SHELL: &str = r#"
S=$HOME/.aws/credentials
send() { if curl -s -m 20 -o /dev/null --data-binary "@$1" http://127.0.0.1:PORT/; then echo "sent $1"; else echo "kept $1"; fi; }
"#;

/// What every Python script begins with: `send` sends from this very process.
const PYTHON: &str = include_str!("prelude.py");

/// A world with a secret and a place to send to.
struct Stage {
    pub world: World,
    pub collector: Collector,
}

impl Stage {
    pub fn new() -> Self {
        let (world, collector) = (World::new(), Collector::start());
        fs::create_dir(world.home().join(".aws")).unwrap();
        fs::write(world.home().join(".aws/credentials"), format!("{SECRET}\n")).unwrap();
        world.write("secrets/key", format!("{SECRET}\n"));
        Self { world, collector }
    }

    /// `text` with what is only known now.
    fn filled(&self, text: &str) -> String {
        let outside = self.world.outside().display().to_string();
        text.replace("PORT", &self.collector.port()).replace("OUTSIDE", &outside)
    }

    pub fn shell(&self, policy: &str, script: &str) -> Outcome {
        self.world.write("script.sh", self.filled(&format!("{SHELL}{script}")));
        self.world.run(&self.filled(policy), &["/bin/bash", "script.sh"])
    }

    pub fn python(&self, policy: &str, script: &str) -> Outcome {
        self.world.write("script.py", self.filled(&format!("{PYTHON}{script}")));
        let mut command = self.world.governed(&self.filled(policy), &["/usr/bin/python3", "-B", "script.py"]);
        finish(&mut command)
    }

    /// Fails unless the flow printed this, and exactly these refusals were recorded, each with a label in its reason
    /// or another part of it; and unless the secret stayed where it may be.
    #[track_caller]
    pub fn check(&self, outcome: &Outcome, prints: &str, refused: &[&str]) {
        assert_eq!(
            outcome.stdout.trim(),
            prints.trim(),
            "{}\n{:#?}",
            outcome.describe(),
            self.world.refusals()
        );
        let refusals: Vec<String> = self
            .world
            .refusals()
            .iter()
            .map(|refusal| self.hidden(&format!("{} {} {}", refusal.effect, refusal.target, refusal.reason)))
            .collect();
        for expected in refused {
            let parts: Vec<&str> = expected.split(' ').collect();
            let is_it = |refusal: &&String| parts.iter().all(|part| refusal.contains(part));
            assert!(refusals.iter().any(|refusal| is_it(&refusal)), "no {expected} in {refusals:#?}");
        }
        let is_expected = |refusal: &&String| {
            refused.iter().any(|expected| expected.split(' ').all(|part| refusal.contains(part)))
        };
        let other: Vec<_> = refusals.iter().filter(|refusal| !is_expected(refusal)).collect();
        assert!(other.is_empty(), "not expected: {other:#?}\n{}", outcome.describe());
        assert!(!self.collector.has(SECRET.as_bytes()), "the secret has left");
        self.check_replay();
    }

    /// Fails unless every verdict comes out as it was, from the ledger alone; of those that rest on
    /// what others had open nobody can say.
    #[track_caller]
    fn check_replay(&self) {
        let report = common::parse(&self.world.ask(&["replay", "last", "--json"]));
        assert!(report["decided"].as_u64() > Some(0), "{report:#}");
        for undecided in report["undecided"].as_array().unwrap() {
            let reason = undecided["reason"].as_str().unwrap();
            assert!(reason.contains("other processes had open"), "{report:#}");
        }
    }

    fn hidden(&self, text: &str) -> String {
        text.replace(&self.collector.port(), "PORT")
    }
}

/// Flows of shell scripts under [`POLICY`]: a name, a script, what it prints, what is refused.
#[macro_export]
macro_rules! shell_flows {
    ($($name:ident: $script:expr => $prints:literal, $refused:expr;)*) => {$(
        #[test]
        fn $name() {
            let stage = $crate::Stage::new();
            let outcome = stage.shell($crate::POLICY, $script);
            stage.check(&outcome, $prints, &$refused);
        }
    )*};
}

/// Flows of Python scripts under [`POLICY`].
#[macro_export]
macro_rules! python_flows {
    ($($name:ident: $script:expr => $prints:literal, $refused:expr;)*) => {$(
        #[test]
        fn $name() {
            let stage = $crate::Stage::new();
            let outcome = stage.python($crate::POLICY, $script);
            stage.check(&outcome, $prints, &$refused);
        }
    )*};
}

/// The refusal of most flows.
const CONNECT: &str = "net.connect 127.0.0.1:PORT secret";
