//! `vantio commit`

use std::{fmt::Write as _, os::fd::AsFd as _, path::PathBuf};

use serde_json::json;
use vantio_core::{Hash, RunId, json::Value};
use vantio_phantom::{
    changes::{Escaped, PathBytes},
    checkpoint,
    commit::{self, CommitReport, Options, Selector},
};

use super::{
    changes::{checkpoint_failure, claim_kept, commit_failure, entry, host_root, ledger, pending},
    pick::{Asked, Pick, absolute, pick},
};
use crate::{
    arguments::Commit,
    failure::Failure,
    oracle::bytes_value,
    present::{note, print, print_json},
    run::policy::current_directory,
    store::{Claim, Outcome as Ended, Store},
};

/// Brings what a run changed to the host: all of it, or the paths that are named.
pub fn commit(store: &Store, arguments: &Commit, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let short = store.short(id);
    let mut claim = claim_kept(store, id)?;
    let outcome = perform(store, &mut claim, arguments);
    claim.save()?;
    claim.release()?;
    let outcome = outcome?;
    if json {
        print_json(&outcome.to_json(&id.to_string()))?;
    } else if outcome.is_nothing() {
        note(format!("run {short}: nothing pending\n"));
    } else {
        print(outcome.to_text(&short))?;
    }
    Ok(if outcome.is_complete() { 0 } else { 4 })
}

/// Commits what was picked in a review.
pub fn commit_pick(store: &Store, id: RunId, pick: Pick) -> Result<u8, Failure> {
    let short = store.short(id);
    let mut claim = claim_kept(store, id)?;
    let outcome = may_be_committed(&claim).and_then(|()| apply(store, &mut claim, pick, &Settled::default()));
    claim.save()?;
    claim.release()?;
    let outcome = outcome?;
    if outcome.is_nothing() {
        note(format!("run {short}: nothing was committed\n"));
    } else {
        print(outcome.to_text(&short))?;
    }
    Ok(if outcome.is_complete() { 0 } else { 4 })
}

fn may_be_committed(claim: &Claim) -> Result<(), Failure> {
    if claim.record.commit != "never" {
        return Ok(());
    }
    Err(Failure::new("E_COMMIT_NEVER", "the policy of this run says that nothing of it is committed")
        .help("`vantio diff RUN --patch` prints its changes; a policy with `phantom: {commit: review}` lets them be committed"))
}

/// Commits what a policy with `commit: auto` commits when the program has exited: everything
/// but hazards.
pub fn auto_commit(store: &Store, claim: &mut Claim) -> Result<Option<Outcome>, Failure> {
    // What was cut off is for a person to judge.
    let has_ended = matches!(claim.record.outcome, Some(Ended::Exited(_)));
    if claim.record.commit != "auto" || !has_ended {
        return Ok(None);
    }
    let asked = Asked { all: true, ..Asked::default() };
    let pick = pick(&pending(store, &claim.record)?, &asked);
    apply(store, claim, pick, &Settled::default()).map(Some)
}

/// What a commit did and left.
#[derive(Debug, Default)]
pub struct Outcome {
    report: CommitReport,
    hazards: Vec<(Vec<u8>, Vec<&'static str>)>,
    pending: u64,
    /// Checkpoints that the commit has made useless.
    forgotten: usize,
}

/// How conflicts are settled.
#[derive(Default)]
struct Settled {
    theirs: Vec<Selector>,
    ours: Vec<Selector>,
}

fn perform(store: &Store, claim: &mut Claim, arguments: &Commit) -> Result<Outcome, Failure> {
    may_be_committed(claim)?;
    let directory = current_directory()?;
    let resolve = |paths: &[PathBuf]| -> Result<Vec<Vec<u8>>, Failure> {
        paths.iter().map(|path| absolute(&directory, path)).collect()
    };
    let (theirs, ours) = (resolve(&arguments.theirs)?, resolve(&arguments.ours)?);
    let mut asked = Asked::from_arguments(arguments)?;
    theirs.iter().chain(&ours).for_each(|path| asked.add(path));
    let changes = pending(store, &claim.record)?;
    let pick = pick(&changes, &asked);
    if pick.selection.is_none() && pick.hazards.is_empty() && !asked.patterns.is_empty() {
        return Err(Failure::misuse("E_NO_SUCH_CHANGE", "no pending change matches the pattern")
            .help("`vantio diff RUN` lists what waits; patterns are relative to this folder"));
    }
    let selectors = |paths: Vec<Vec<u8>>| paths.into_iter().map(Selector::new).collect();
    apply(store, claim, pick, &Settled { theirs: selectors(theirs), ours: selectors(ours) })
}

/// Commits a pick; the ledger knows before the host changes, and again afterwards.
fn apply(store: &Store, claim: &mut Claim, pick: Pick, settled: &Settled) -> Result<Outcome, Failure> {
    let mut outcome = Outcome { hazards: pick.hazards, ..Outcome::default() };
    if let Some(selection) = pick.selection {
        let ledger = ledger(store)?;
        let request = Value::object([("selected", selected_value(&selection))]);
        ledger.append(entry(&claim.record, "phantom.commit", request.clone()))?;
        let (theirs, ours) = (&settled.theirs, &settled.ours);
        let options = Options { theirs, ours, withheld: &pick.withheld, ..Options::default() };
        let report = commit::commit(&claim.world(), &selection, options, host_root()?.as_fd());
        outcome.report = report.map_err(|error| commit_failure(&error))?;
        if outcome.report.number.is_some() {
            // What the host has now, no restore could take back.
            let world = claim.world();
            let dropped = checkpoint::drop_all(&world);
            outcome.forgotten = dropped.map_err(|error| checkpoint_failure(store, &world, &error))?;
        }
        let end = entry(&claim.record, "phantom.commit.end", request);
        ledger.append(vantio_ledger::Draft { response: outcome.to_value(), ..end })?;
    }
    outcome.pending = pending(store, &claim.record)?.changes().len() as u64;
    claim.record.pending = Some(outcome.pending);
    Ok(outcome)
}

fn selected_value(selection: &[Selector]) -> Value {
    match i64::try_from(selection.len()) {
        Ok(0) => "all".into(),
        Ok(count) => Value::Integer(count),
        Err(_) => Value::Null,
    }
}

impl Outcome {
    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.report.is_nothing_pending() && self.hazards.is_empty()
    }

    /// Whether everything that was asked for is done.
    pub fn is_complete(&self) -> bool {
        !self.report.is_incomplete() && self.hazards.is_empty()
    }

    /// What was done and what was left, for a person.
    pub fn to_text(&self, short: &str) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let report = &self.report;
        if !report.committed.is_empty() {
            line(format!("committed {}", paths(report.committed.len())));
        }
        if !report.dropped.is_empty() {
            line(format!("dropped {}: the host's stay", paths(report.dropped.len())));
        }
        match self.forgotten {
            0 => {}
            1 => line("dropped its checkpoint: it was from before this commit".into()),
            count => line(format!("dropped its {count} checkpoints: they were from before this commit")),
        }
        for path in &report.along {
            line(format!("  came along: {}", Escaped(path)));
        }
        for conflict in &report.conflicts {
            line(format!("conflict: {conflict}"));
        }
        if let Some(conflict) = report.conflicts.first() {
            let path = Escaped(&conflict.path);
            line(format!("  to take the run's:   vantio commit {short} --theirs {path}"));
            line(format!("  to keep the host's:  vantio commit {short} --ours {path}"));
        }
        for held in &report.held {
            line(format!("waits: {} needs {}", Escaped(&held.path), Escaped(&held.on)));
        }
        for (path, reasons) in self.hazards.iter().take(HAZARD_LINES) {
            line(format!("hazard: {}: {}", Escaped(path), reasons.join(", ")));
        }
        if self.hazards.len() > HAZARD_LINES {
            line(format!("  … {} more hazards: vantio diff {short}", self.hazards.len() - HAZARD_LINES));
        }
        if let Some((path, _)) = self.hazards.first() {
            line(format!("  to commit one, name it:  vantio commit {short} {}", Escaped(path)));
            line(format!("  to commit all of them:   vantio commit {short} --hazards"));
        }
        for (path, blocked) in &report.never {
            line(format!("never committed: {}: {}", Escaped(path), blocked.reason()));
        }
        text
    }

    /// The same, for a program.
    pub fn to_json(&self, run: &str) -> serde_json::Value {
        let list =
            |paths: &[Vec<u8>]| paths.iter().map(|path| path_json(path)).collect::<serde_json::Value>();
        let report = &self.report;
        let conflicts = report
            .conflicts
            .iter()
            .map(|conflict| json!({ "path": path_json(&conflict.path), "reason": conflict.reason.text() }));
        let held = report
            .held
            .iter()
            .map(|held| json!({ "path": path_json(&held.path), "on": path_json(&held.on) }));
        let hazards =
            self.hazards.iter().map(|(path, reasons)| json!({ "path": path_json(path), "reasons": reasons }));
        let never =
            report.never.iter().map(|(path, blocked)| json!({ "path": path_json(path), "reason": blocked }));
        json!({
            "run": run,
            "committed": list(&report.committed),
            "along": list(&report.along),
            "dropped": list(&report.dropped),
            "conflicts": conflicts.collect::<serde_json::Value>(),
            "held": held.collect::<serde_json::Value>(),
            "hazards": hazards.collect::<serde_json::Value>(),
            "never": never.collect::<serde_json::Value>(),
            "pending": self.pending,
        })
    }

    /// What the ledger keeps: the first paths, and a digest over all of them.
    fn to_value(&self) -> Value {
        let committed = &self.report.committed;
        let joined = committed.join(&0);
        let count = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        Value::object([
            ("committed", count(committed.len())),
            ("conflicts", count(self.report.conflicts.len())),
            ("dropped", count(self.report.dropped.len())),
            (
                "first",
                Value::Array(committed.iter().take(PATHS_KEPT).map(|path| bytes_value(path)).collect()),
            ),
            ("hazards_left", count(self.hazards.len())),
            ("paths_digest", Hash::of(&joined).to_string().into()),
        ])
    }
}

fn path_json(path: &[u8]) -> serde_json::Value {
    serde_json::to_value(PathBytes::from(path)).unwrap_or_default()
}

fn paths(count: usize) -> String {
    if count == 1 { "1 path".into() } else { format!("{count} paths") }
}

/// Hazards that a report names.
const HAZARD_LINES: usize = 20;

/// How many paths an entry of the ledger names.
const PATHS_KEPT: usize = 1000;
