//! `vantio commit`

mod hunks;
mod outcome;
mod record;
mod scope;

use std::{collections::HashMap, os::fd::AsFd as _, path::PathBuf};

use vantio_core::RunId;
use vantio_phantom::{
    changes::Escaped,
    checkpoint,
    commit::{self, CommitError, CommitReport, HunkChoice, Options, Selector},
};

use super::{
    changes::{checkpoint_failure, claim_kept, commit_failure, entry, glance, host_root, ledger, pending},
    interruption::Interruption,
    pick::{Asked, Pick, absolute, has, pick},
};
use crate::{
    arguments::Commit,
    failure::Failure,
    present::{note, print, print_json, waited},
    run::policy::current_directory,
    store::{Claim, Outcome as Ended, Record, Store},
};

/// Brings what a run changed to the host: all of it, or the paths that are named.
pub fn commit(store: &Store, arguments: &Commit, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let short = store.short(id);
    let mut claim = claim_kept(store, id)?;
    let interruption = Interruption::listen()?;
    let outcome = waited("committing", || perform(store, &mut claim, arguments, &interruption));
    claim.save()?;
    claim.release()?;
    let outcome = outcome?;
    if json {
        print_json(outcome.to_json(&id.to_string()))?;
    } else if outcome.is_nothing() {
        note(format!("run {short}: nothing pending\n"));
    } else {
        print(outcome.to_text(&short))?;
    }
    Ok(if outcome.is_complete() { 0 } else { 4 })
}

/// Commits what was picked in a review.
pub fn commit_pick(store: &Store, id: RunId, pick: Pick, settled: &Settled) -> Result<u8, Failure> {
    let short = store.short(id);
    let mut claim = claim_kept(store, id)?;
    let interruption = Interruption::listen()?;
    let outcome = may_be_committed(&claim.record)
        .and_then(|()| waited("committing", || apply(store, &mut claim, pick, settled, Some(&interruption))));
    claim.save()?;
    claim.release()?;
    // What was not accepted is not asked for.
    let outcome = Outcome { scope: Some(Vec::new()), ..outcome? };
    if outcome.is_nothing() {
        note(format!("run {short}: nothing was committed\n"));
    } else {
        print(outcome.to_text(&short))?;
    }
    Ok(if outcome.is_complete() { 0 } else { 4 })
}

/// Fails where the policy of the run says that nothing of it is committed.
pub fn may_be_committed(record: &Record) -> Result<(), Failure> {
    if record.commit != "never" {
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
    apply(store, claim, pick, &Settled::default(), None).map(Some)
}

/// What a commit did and left.
#[derive(Debug, Default)]
pub struct Outcome {
    report: CommitReport,
    hazards: Vec<(Vec<u8>, Vec<&'static str>)>,
    /// Of these only some hunks were asked for.
    parts: Vec<Vec<u8>>,
    /// How many hazards are on the host now.
    accepted: usize,
    pending: u64,
    /// Checkpoints that the commit has made useless.
    forgotten: usize,
    /// The words that ask for what was asked for and waits still; `None` where that was all.
    scope: Option<Vec<String>>,
}

/// How conflicts are settled, and of what only a part is committed.
#[derive(Debug, Default)]
pub struct Settled {
    /// Below these paths the run's version is taken.
    pub theirs: Vec<Selector>,
    /// Below these paths the host's version stays.
    pub ours: Vec<Selector>,
    /// Below these paths both are merged.
    pub merge: Vec<Selector>,
    /// Lines that both changed are committed with markers.
    pub with_markers: bool,
    /// Of these changes only some hunks are committed.
    pub hunks: Vec<HunkChoice>,
}

pub use outcome::{hazard_json, held_json, never_json, offered, paths_json};

fn perform(
    store: &Store,
    claim: &mut Claim,
    arguments: &Commit,
    interruption: &Interruption,
) -> Result<Outcome, Failure> {
    may_be_committed(&claim.record)?;
    let directory = current_directory()?;
    let changes = pending(store, &claim.record)?;
    let resolve = |paths: &[PathBuf]| -> Result<Vec<Vec<u8>>, Failure> {
        paths.iter().map(|path| absolute(&directory, path, |path| has(&changes, path))).collect()
    };
    let (theirs, ours) = (resolve(&arguments.theirs)?, resolve(&arguments.ours)?);
    let merge = resolve(&arguments.merge)?;
    settled_once([&theirs, &ours, &merge])?;
    let mut asked = Asked::from_arguments(arguments, &changes)?;
    let hunks = hunks::chosen(store, &claim.record, &changes, &arguments.hunks)?;
    // Hunks alone are all that is asked for.
    asked.all &= hunks.is_empty();
    let parts = hunks.iter().map(|choice| &choice.path);
    theirs.iter().chain(&ours).chain(&merge).chain(parts).for_each(|path| asked.add(path));
    asked.must_match(&changes)?;
    let pick = pick(&changes, &asked);
    let selectors = |paths: Vec<Vec<u8>>| paths.into_iter().map(Selector::new).collect();
    let (theirs, ours, merge) = (selectors(theirs), selectors(ours), selectors(merge));
    let settled = Settled { theirs, ours, merge, with_markers: arguments.markers, hunks };
    let mut outcome = apply(store, claim, pick, &settled, Some(interruption))?;
    if !asked.all {
        outcome.scope = Some(scope::waiting(arguments, &asked, &changes, &outcome)?);
    }
    Ok(outcome)
}

/// Fails where a conflict is to be settled in two ways.
fn settled_once(ways: [&Vec<Vec<u8>>; 3]) -> Result<(), Failure> {
    let mut seen = HashMap::new();
    for (way, path) in
        ways.iter().enumerate().flat_map(|(way, paths)| paths.iter().map(move |path| (way, path)))
    {
        if seen.insert(path, way).is_some_and(|before| before != way) {
            let text = format!("`{}` is to be settled in two ways", Escaped(path));
            return Err(Failure::misuse("E_SETTLED_TWICE", text)
                .help("name it with one of --theirs, --ours and --merge"));
        }
    }
    Ok(())
}

/// Commits a pick; the ledger knows before the host changes, and again afterwards. An interruption takes it back.
fn apply(
    store: &Store,
    claim: &mut Claim,
    pick: Pick,
    settled: &Settled,
    interruption: Option<&Interruption>,
) -> Result<Outcome, Failure> {
    let signal = || interruption.and_then(Interruption::signal);
    let failed = |error: CommitError| match signal() {
        Some(signal) if matches!(error, CommitError::CalledOff) => commit_failure(&error).interrupted(signal),
        _ => commit_failure(&error),
    };
    let is_called_off = || signal().is_some();
    if is_called_off() {
        return Err(failed(CommitError::CalledOff));
    }
    let parts = settled.hunks.iter().map(|choice| choice.path.clone()).collect();
    let mut outcome = Outcome { hazards: pick.hazards, parts, ..Outcome::default() };
    if let Some(selection) = pick.selection {
        let ledger = ledger(store)?;
        let request = record::asked(&selection, pick.accepted, settled);
        ledger.append(entry(&claim.record, "phantom.commit", request.clone()))?;
        let Settled { theirs, ours, merge, with_markers, hunks } = settled;
        let (withheld, with_markers) = (&pick.withheld, *with_markers);
        let is_called_off: Option<&dyn Fn() -> bool> = Some(&is_called_off);
        let options = Options {
            theirs,
            ours,
            merge,
            with_markers,
            hunks,
            withheld,
            is_called_off,
            ..Options::default()
        };
        let report = commit::commit(&claim.world(), &selection, options, host_root()?.as_fd());
        outcome.report = report.map_err(failed)?;
        outcome.accepted = outcome.report.among(&pick.risky);
        if outcome.report.number.is_some() {
            // What the host has now, no restore could take back.
            let world = claim.world();
            let dropped = checkpoint::drop_all(&world);
            outcome.forgotten = dropped.map_err(|error| checkpoint_failure(store, &world, &error))?;
        }
        let end = entry(&claim.record, "phantom.commit.end", request);
        ledger.append(vantio_ledger::Draft { response: record::done(&outcome), ..end })?;
    }
    outcome.pending = glance(store, &claim.record)?.changes().len() as u64;
    claim.record.pending = Some(outcome.pending);
    Ok(outcome)
}
