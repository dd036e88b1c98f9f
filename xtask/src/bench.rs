//! `cargo xtask bench`: Vantio beside its peers, in interleaved rounds.

mod ledger;
mod phantom;
mod policy;

use std::{path::PathBuf, process::Command};

use crate::{failure::Failure, layout, shell, step::step};

use phantom::{Case, Subject};
pub use phantom::{Probe, probe};

/// What to measure and how to print it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bench
    #[arg(value_name = "NAME", value_enum, default_value_t = Bench::Phantom)]
    name: Bench,
    /// Measure only these cases of `phantom`
    #[arg(long, value_name = "CASE", value_enum)]
    case: Vec<Case>,
    /// Measure only these subjects of `phantom`; ratios need the one that they refer to
    #[arg(long, value_name = "SUBJECT", value_enum)]
    subject: Vec<Subject>,
    /// Sizes of the rule sets of `policy`; by default 1, 10, 100, 1000 and 10000
    #[arg(long, value_name = "N", num_args = 1..)]
    rules: Vec<usize>,
    /// Sizes of the ledgers of `ledger`; by default 10000 and 1000000
    #[arg(long, value_name = "N", num_args = 1..)]
    entries: Vec<u64>,
    /// Where `ledger` writes: a folder on a disk; by default where the state folder is
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Rounds of each case; a case has its own number by default
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A bench.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// Starting a program, what it does and what becomes of it, beside other sandboxes
    Phantom,
    /// One decision, beside other policy engines
    Policy,
    /// Appending to the ledger and verifying it, beside databases
    Ledger,
}

impl Bench {
    /// The stable name.
    const fn name(self) -> &'static str {
        match self {
            Self::Phantom => "phantom",
            Self::Policy => "policy",
            Self::Ledger => "ledger",
        }
    }
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let belongs = [
        (
            "`--case` and `--subject`",
            !arguments.case.is_empty() || !arguments.subject.is_empty(),
            Bench::Phantom,
        ),
        ("`--rules`", !arguments.rules.is_empty(), Bench::Policy),
        (
            "`--entries` and `--folder`",
            !arguments.entries.is_empty() || arguments.folder.is_some(),
            Bench::Ledger,
        ),
    ];
    if let Some((flags, _, bench)) =
        belongs.iter().find(|(_, given, bench)| *given && *bench != arguments.name)
    {
        return Err(Failure::Check(format!("{flags} belong to `bench {}`", bench.name())));
    }
    match arguments.name {
        Bench::Phantom => phantom::run(arguments),
        Bench::Policy => policy::run(arguments),
        Bench::Ledger => ledger::run(arguments),
    }
}

/// Builds a bench of the other workspace, which nothing else compiles; gives the command that runs it.
fn build(package: &str) -> Result<Command, Failure> {
    let mut build = layout::cargo();
    build.args(["build", "--quiet", "--release", "--package", package]);
    build.arg("--manifest-path").arg(layout::root().join("benches/Cargo.toml"));
    build.arg("--target-dir").arg(layout::target());
    step("build the bench and its peers", || shell::quiet(&mut build).map(drop))?;
    Ok(Command::new(layout::target().join("release").join(package)))
}
