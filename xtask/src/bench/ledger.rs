//! `cargo xtask bench ledger`: runs the bench of the ledger.

use super::{Arguments, build};
use crate::{failure::Failure, shell};

/// Builds, measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut bench = build("bench-ledger")?;
    if !arguments.entries.is_empty() {
        bench.arg("--entries").args(arguments.entries.iter().map(u64::to_string));
    }
    if let Some(folder) = &arguments.folder {
        bench.arg("--folder").arg(folder);
    }
    if let Some(rounds) = arguments.rounds {
        bench.arg("--rounds").arg(rounds.to_string());
    }
    if arguments.json {
        bench.arg("--json");
    }
    shell::loud(&mut bench)
}
