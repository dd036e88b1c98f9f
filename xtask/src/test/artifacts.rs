//! Test executables: which there are, and where cargo put them.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{failure::Failure, layout, shell};

/// The suites that drive the `vantio` command.
pub const END_TO_END: [&str; 15] = [
    "programs",
    "posix",
    "escapes",
    "network",
    "flows",
    "holds",
    "speculation",
    "lifecycle",
    "crash",
    "checkpoints",
    "view",
    "nested",
    "learning",
    "terminal",
    "detached",
];

/// Tells `env` that signals do what they do by themselves: whoever starts the tests may ignore some, as `nohup` does.
pub const DEFAULT_SIGNALS: &str = "--default-signal";

/// A test executable.
pub struct Artifact {
    /// The suite's name.
    pub suite: &'static str,
    /// Where it lies.
    pub executable: PathBuf,
}

impl Artifact {
    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new("env");
        command.arg(DEFAULT_SIGNALS).arg(&self.executable);
        command
    }
}

/// Builds the named suites.
pub fn build(suites: &[&'static str]) -> Result<Vec<Artifact>, Failure> {
    let mut cargo = layout::cargo();
    cargo.args(["test", "--quiet", "--package", "vantio", "--no-run", "--message-format=json"]);
    for suite in suites {
        cargo.args(["--test", suite]);
    }
    let messages = shell::quiet(&mut cargo)?;
    let executables: Vec<_> = messages.lines().filter_map(executable).collect();
    let find = |suite: &&'static str| {
        let found = executables.iter().find(|(name, _)| name == suite);
        let executable = found.map(|(_, path)| path.clone());
        executable
            .map(|executable| Artifact { suite, executable })
            .ok_or_else(|| Failure::Check(format!("cargo built no suite `{suite}`")))
    };
    suites.iter().map(find).collect()
}

fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let target = message.get("target")?;
    let is_suite = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    is_suite.then(|| Some((target.get("name")?.as_str()?.to_owned(), PathBuf::from(path))))?
}
