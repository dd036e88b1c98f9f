//! `cargo xtask bench policy`: builds the bench of the decision, which has a workspace of its own so that
//! nothing else compiles the peers, and runs it.

use std::process::Command;

use super::Arguments;
use crate::{failure::Failure, layout, shell, step::step};

/// Builds, measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut build = layout::cargo();
    build.args(["build", "--quiet", "--release", "--package", "bench-policy"]);
    build.arg("--manifest-path").arg(layout::root().join("benches/Cargo.toml"));
    build.arg("--target-dir").arg(layout::target());
    step("build the bench and its peers", || shell::quiet(&mut build).map(drop))?;

    let mut bench = Command::new(layout::target().join("release/bench-policy"));
    if !arguments.rules.is_empty() {
        bench.arg("--rules").args(arguments.rules.iter().map(usize::to_string));
    }
    if let Some(rounds) = arguments.rounds {
        bench.arg("--rounds").arg(rounds.to_string());
    }
    if arguments.json {
        bench.arg("--json");
    }
    shell::loud(&mut bench)
}
