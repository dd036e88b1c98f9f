//! What the ledger keeps of a commit.

use vantio_core::{Hash, json::Value};
use vantio_phantom::commit::Selector;

use super::{Outcome, Settled};
use crate::oracle::bytes_value;

/// What was asked for: how much of the run, and what of it in spite of a hazard or a conflict.
pub(super) fn asked(selection: &[Selector], accepted: usize, settled: &Settled) -> Value {
    let selected = if selection.is_empty() { "all".into() } else { count(selection.len()) };
    let Settled { theirs, ours, merge, with_markers, hunks } = settled;
    let besides = [
        ("hazards", accepted),
        ("theirs", theirs.len()),
        ("ours", ours.len()),
        ("merge", merge.len()),
        ("hunks", hunks.len()),
    ];
    let mut members = vec![("selected", selected)];
    members.extend(some(besides));
    members.extend(with_markers.then_some(("markers", true.into())));
    Value::object(members)
}

/// What became of it: numbers, the first paths, and a digest over all of them.
pub(super) fn done(outcome: &Outcome) -> Value {
    let report = &outcome.report;
    let committed: Vec<&[u8]> = report.committed.iter().chain(&report.partly).map(Vec::as_slice).collect();
    let joined = committed.join(&0);
    let first = committed.iter().take(PATHS_KEPT).map(|path| bytes_value(path)).collect();
    let mut members = vec![
        ("committed", count(report.committed.len())),
        ("conflicts", count(report.conflicts.len())),
        ("dropped", count(report.dropped.len())),
        ("first", Value::Array(first)),
        ("hazards_left", count(outcome.hazards.len())),
        ("paths_digest", Hash::of(&joined).to_string().into()),
    ];
    members.extend(some([
        ("hazards", outcome.accepted),
        ("merged", report.merged.len()),
        ("overwritten", report.overwritten.len()),
        ("partly", report.partly.len()),
        ("unkept", report.unkept.len()),
    ]));
    Value::object(members)
}

/// What is rare is there where there is some.
fn some<const N: usize>(numbers: [(&'static str, usize); N]) -> impl Iterator<Item = (&'static str, Value)> {
    numbers.into_iter().filter(|(_, number)| *number > 0).map(|(name, number)| (name, count(number)))
}

fn count(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How many paths an entry of the ledger names.
const PATHS_KEPT: usize = 1000;
