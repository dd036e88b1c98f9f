//! `cargo xtask bench phantom`: Vantio beside its peers, in interleaved rounds.

mod case;
mod layers;
mod overlay;
mod peers;
mod probe;
mod projects;
mod sheet;
mod stage;
mod subject;

use std::time::{Duration, Instant};

use crate::{failure::Failure, setup, step::headline};

use super::Arguments;
use peers::Peers;
use sheet::{Row, Sheet};
use stage::Stage;
use subject::Wants;

pub use case::Case;
pub use probe::{Probe, probe};
pub use subject::Subject;

/// Sets up, measures and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    headline("setup");
    setup::packages("bench")?;
    let vantio = setup::release_binary()?;
    let peers = Peers::install()?;
    let stage = Stage::set(&vantio)?;
    let subjects =
        if arguments.subject.is_empty() { Subject::ALL.to_vec() } else { arguments.subject.clone() };
    let cases = if arguments.case.is_empty() { Case::ALL.to_vec() } else { arguments.case.clone() };
    for case in cases {
        headline(case.name());
        forget_names();
        let rounds = arguments.rounds.unwrap_or_else(|| case.rounds());
        let sheet = match case {
            Case::Checkpoint | Case::Restore | Case::Commit | Case::Memory => {
                sheet(case, layers::measure(&stage, case, rounds)?, Vec::new())
            }
            _ => measure(&stage, &peers, case, &subjects, rounds)?,
        };
        if arguments.json { sheet.print_json() } else { sheet.print_table() }
    }
    if !arguments.json {
        println!("\nWhat each peer does not do, as it is run here:");
        for (subject, lacks) in subjects.iter().filter_map(|subject| Some((subject, subject.lacks()?))) {
            println!("  {:<16} {lacks}", subject.name());
        }
        println!(
            "  {:<16} what `try` does to commit, by a shell, and no more; Vantio also looks for conflicts and hazards, journals, and can undo",
            "try-stand-in"
        );
    }
    Ok(())
}

/// Has the kernel forget the names that what ran before has left, where root asks: among a million of them, in tables that are
/// small, every name takes long to be found, and an overlay looks for each twice.
fn forget_names() {
    rustix::fs::sync();
    // An ordinary user measures on what there is.
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
}

fn sheet(case: Case, rows: Vec<Row>, missing: Vec<(&'static str, String)>) -> Sheet {
    Sheet { case: case.name(), what: case.what(), unit: case.unit(), goal: case.goal(), rows, missing }
}

/// Runs every subject once a round, so that noise on the machine meets all alike. A peer that fails is named with
/// its reason.
fn measure(
    stage: &Stage,
    peers: &Peers,
    case: Case,
    subjects: &[Subject],
    rounds: u32,
) -> Result<Sheet, Failure> {
    let wants = if case == Case::Connect { Wants::Server } else { Wants::Nothing };
    let mut entries: Vec<(Subject, Vec<f64>, Option<String>)> = subjects
        .iter()
        .map(|subject| {
            let why = subject.missing(stage, peers);
            (*subject, Vec::new(), why.or_else(|| subject.cannot(wants).map(str::to_owned)))
        })
        .collect();
    let mut slow = Vec::new();
    for round in 0..=rounds {
        for (subject, values, missing) in &mut entries {
            if missing.is_some() || slow.contains(subject) {
                continue;
            }
            let start = Instant::now();
            match case.measure(stage, peers, *subject) {
                // The first round warms caches; of a peer that takes very long it is the only one.
                Ok(measured) if round == 0 && !subject.is_own() && start.elapsed() > LONG => {
                    values.extend(measured);
                    slow.push(*subject);
                }
                Ok(measured) if round > 0 => values.extend(measured),
                Ok(_) => {}
                Err(failure) if subject.is_own() => return Err(failure),
                Err(failure) => *missing = Some(reason(&failure)),
            }
        }
    }
    let (measured, missing): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, _, missing)| missing.is_none());
    let row = |(subject, values, _): (Subject, Vec<f64>, _)| {
        Row::new(subject.name(), subject.is_own(), case.baseline(subject), values)
    };
    let missing = missing.into_iter().map(|(subject, _, why)| (subject.name(), why.unwrap_or_default()));
    Ok(sheet(case, measured.into_iter().map(row).collect(), missing.collect()))
}

/// The last line of a failure.
fn reason(failure: &Failure) -> String {
    let text = failure.to_string();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    format!("failed: {}", line.chars().take(120).collect::<String>())
}

/// So long that a peer is not measured again.
const LONG: Duration = Duration::from_secs(6);
