//! Checkpoints of real runs: taken while programs work, gone back to when they have ended.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod automatic;
mod hostile;
mod live;
mod processes;
mod programs;
mod socket;
mod twins;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use common::{WORKSPACE, World, finish, parse};

/// A run that stops wherever its script says `pause`, until it is told to go on.
pub(crate) struct Paused {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Paused {
    /// Starts a shell script, up to its first `pause`.
    pub(crate) fn start(world: &World, script: &str) -> Self {
        Self::start_program(world, WORKSPACE, &["/bin/bash", "-euc", &format!("{PAUSE}\n{script}")])
    }

    /// Starts a program that prints a line wherever it waits for one.
    pub(crate) fn start_program(world: &World, policy: &str, program: &[&str]) -> Self {
        Self::start_program_saying(world, policy, program, "paused\n")
    }

    /// Starts a program that prints this line first.
    pub(crate) fn start_program_saying(world: &World, policy: &str, program: &[&str], first: &str) -> Self {
        let mut command = world.governed(policy, program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut run = Self { child, input, output };
        run.wait_for(first);
        run
    }

    /// Goes on to the next `pause`.
    pub(crate) fn next(&mut self) {
        self.input_line();
        self.wait();
    }

    /// Goes on to the end.
    pub(crate) fn end(mut self) {
        self.input.write_all(b"\n").unwrap();
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }

    /// Says a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for its end; whether it succeeded.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Goes on, without waiting for the next `pause`.
    pub(crate) fn input_line(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    /// Waits for the next `pause`.
    pub(crate) fn wait(&mut self) {
        self.wait_for("paused\n");
    }

    /// Waits for a line that the program prints.
    pub(crate) fn wait_for(&mut self, wanted: &str) {
        assert_eq!(self.line(), wanted);
    }

    /// The next line that the program prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Kills the command, and with it the supervisor and the run.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const PAUSE: &str = "pause() { echo paused; read -r _; }";

/// What `vantio diff` shows, with `arguments`, without times that only tell when.
pub(crate) fn diff(world: &World, arguments: &[&str]) -> Vec<String> {
    let text = world.ask(&[&["diff", "last", "--json"], arguments].concat());
    let changes = parse(&text)["changes"].as_array().cloned().unwrap_or_default();
    let field = |change: &Value, key: &str| change[key].to_string();
    let of = |change: &Value| {
        let mut change = change.clone();
        if change["after"]["type"] == "directory" {
            // It depends on what was in it once.
            change["after"]["size"] = 0.into();
        }
        format!(
            "{} {} {} {}",
            field(&change, "kind"),
            field(&change, "path"),
            field(&change, "from"),
            field(&change, "after")
        )
    };
    changes.iter().map(of).collect()
}

/// What `vantio diff --patch` prints, with `arguments`.
pub(crate) fn patch(world: &World, arguments: &[&str]) -> String {
    world.ask(&[&["diff", "last", "--patch"], arguments].concat())
}

/// Takes a checkpoint, and returns its number.
pub(crate) fn take(world: &World, arguments: &[&str]) -> u64 {
    let text = world.ask(&[&["checkpoint", "last", "--json"], arguments].concat());
    parse(&text)["id"].as_u64().unwrap()
}

/// The checkpoints that `--list` tells of.
pub(crate) fn list(world: &World) -> Vec<Value> {
    parse(&world.ask(&["checkpoint", "last", "--list", "--json"]))["checkpoints"].as_array().cloned().unwrap()
}

/// How often the ledger has an entry of this operation about the last run.
pub(crate) fn entries(world: &World, op: &str) -> usize {
    let text = world.ask(&["ledger", "list", "--run", "last", "--limit", "100000", "--json"]);
    let mut count = 0;
    common::visit(&parse(&text), &mut |entry| {
        count += usize::from(entry.get("op").and_then(Value::as_str) == Some(op));
    });
    count
}

/// The folder of the one run.
pub(crate) fn folder(world: &World) -> PathBuf {
    let runs = fs::read_dir(world.state().join("runs")).unwrap().flatten().map(|run| run.path());
    runs.filter(|run| run.is_dir()).max().unwrap()
}

/// Commits everything, and returns what the workspace then has: the names, types and contents.
pub(crate) fn committed(world: &World) -> String {
    finish(&mut world.vantio(["commit", "last", "--hazards"])).assert_success();
    tree(&world.workspace())
}

/// The names, types and contents below a folder.
pub(crate) fn tree(root: &Path) -> String {
    let script = "find . -mindepth 1 ! -type d -printf '%P %y %m %l\\n' | LC_ALL=C sort; \
        find . -type d -printf '%P %y %m\\n' | LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2";
    let mut shell = Command::new("/bin/sh");
    finish(shell.args(["-c", script]).current_dir(root)).assert_success().stdout.clone()
}
