//! `cargo xtask bench`: Vantio beside its peers, in interleaved rounds.

mod cases;
mod ledger;
mod policy;
mod probe;
mod subjects;
mod table;

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{
    failure::Failure,
    layout, setup, shell,
    step::{headline, step},
};

use cases::{Case, Stage};
pub use probe::{Probe, probe};
use subjects::Subject;
use table::{Row, Sheet};

/// What to measure and how to print it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bench
    #[arg(value_name = "NAME", value_enum, default_value_t = Bench::Run)]
    name: Bench,
    /// Measure only these cases of `run`
    #[arg(long, value_name = "CASE", value_enum)]
    case: Vec<Case>,
    /// The subject that ratios of `run` refer to; by default bwrap for start-up, bare for the rest
    #[arg(long, value_name = "SUBJECT", value_parser = subjects::NAMES)]
    baseline: Option<String>,
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
    /// Starting a program and what it does, beside other sandboxes
    Run,
    /// One decision, beside other policy engines
    Policy,
    /// Appending to the ledger and verifying it, beside databases
    Ledger,
}

impl Bench {
    /// The stable name.
    const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Policy => "policy",
            Self::Ledger => "ledger",
        }
    }
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let belongs = [
        ("`--case` and `--baseline`", !arguments.case.is_empty() || arguments.baseline.is_some(), Bench::Run),
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
        Bench::Run => sandboxes(arguments),
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

fn sandboxes(arguments: &Arguments) -> Result<(), Failure> {
    headline("setup");
    setup::packages("bench")?;
    let vantio = setup::release_binary()?;
    let stage = Stage::set(vantio)?;
    let subjects = subjects::installed();
    let cases = if arguments.case.is_empty() { Case::ALL.to_vec() } else { arguments.case.clone() };
    for case in cases {
        headline(case.name());
        let sheet = measure(arguments, &stage, case, &subjects)?;
        if arguments.json { sheet.print_json() } else { sheet.print_table() }
    }
    if !arguments.json {
        subjects.iter().filter_map(Subject::footnote).for_each(|note| println!("{note}"));
    }
    Ok(())
}

/// Runs every subject once a round, so that noise on the machine meets all alike.
fn measure(arguments: &Arguments, stage: &Stage, case: Case, subjects: &[Subject]) -> Result<Sheet, Failure> {
    let mut samples: Vec<Vec<Duration>> = vec![Vec::new(); subjects.len()];
    for round in 0..=arguments.rounds.unwrap_or_else(|| case.rounds()) {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let measured = case.measure(stage, subject)?;
            // The first round warms caches.
            if round > 0 {
                samples.extend(measured);
            }
        }
    }
    let rows =
        subjects.iter().zip(samples).map(|(subject, samples)| Row::new(subject.name(), samples)).collect();
    let baseline = arguments.baseline.as_deref().unwrap_or_else(|| case.baseline());
    Ok(Sheet {
        bench: Bench::Run.name(),
        case: case.name(),
        unit: case.unit(),
        baseline: baseline.to_owned(),
        rows,
    })
}
