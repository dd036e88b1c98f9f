//! `cargo xtask bench policy`: runs the bench of the decision.

use super::{Arguments, build};
use crate::{failure::Failure, shell};

/// Builds, measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut bench = build("bench-policy")?;
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
