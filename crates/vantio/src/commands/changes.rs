//! What commands on a run's changes share.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::fs::{Mode, OFlags};
use vantio_core::{Hash, RunId, json::Value};
use vantio_ledger::{Draft, Entry, Filter, Ledger, LedgerError, Reader};
use vantio_phantom::{
    changes::{ChangeSet, RunFolder, RunFolderError, ScanError, scan},
    checkpoint::{self, Checkpoint, CheckpointError},
    commit::{CommitError, mark_conflicts},
};

use super::sweep::sweep;
use crate::{
    approvals,
    failure::Failure,
    oracle::event,
    output::is_full,
    present::shown,
    store::{Claim, Record, State, Store, StoreError, open_ledger},
};

/// The root of the host's tree.
pub fn host_root() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
        .map_err(|cause| Failure::new("E_HOST_ROOT", "the root folder cannot be opened").because(cause))
}

/// What a run changed and nobody has committed yet.
pub fn pending(store: &Store, record: &Record) -> Result<ChangeSet, Failure> {
    found(&store.world(record))
}

/// The same, with what the host changed too marked.
pub fn marked(store: &Store, record: &Record) -> Result<ChangeSet, Failure> {
    let (run, mut set) = (store.world(record), pending(store, record)?);
    let marked = mark_conflicts(&run, &mut set, host_root()?.as_fd());
    marked.map(|()| set).map_err(|error| commit_failure(&error))
}

/// The same at a glance, to tell of it: a commit judges it anew.
pub fn glance(store: &Store, record: &Record) -> Result<ChangeSet, Failure> {
    found(&store.world(record).at_a_glance())
}

fn found(run: &RunFolder) -> Result<ChangeSet, Failure> {
    match scan(run, host_root()?.as_fd()) {
        // It was discarded, or its world was never built.
        Err(ScanError::Folder(RunFolderError::Discarded)) => Ok(ChangeSet::default()),
        other => other.map_err(|error| scan_failure(&error)),
    }
}

/// Holds a run that ended and was not discarded.
pub fn claim_kept(store: &Store, id: RunId) -> Result<Claim, Failure> {
    let claim = claim_ended(store, id)?;
    if claim.record.state != State::Discarded {
        return Ok(claim);
    }
    let failure = discarded(&store.short(id));
    claim.release()?;
    Err(failure)
}

/// Nothing is left of a run to do it with.
pub fn discarded(short: &str) -> Failure {
    Failure::new("E_RUN_DISCARDED", format!("run {short} was discarded")).help(format!(
        "nothing of it is left; its entries in the ledger are: `vantio ledger list --run {short}`"
    ))
}

/// A run that has not ended.
pub fn still_lives(short: &str) -> Failure {
    Failure::new("E_RUN_LIVE", format!("run {short} still lives"))
}

/// Holds a run that ended, to change what is known about it.
pub fn claim_ended(store: &Store, id: RunId) -> Result<Claim, Failure> {
    match store.claim(id) {
        Err(StoreError::Busy { .. }) if store.read(id)?.state == State::Running => {
            let short = store.short(id);
            Err(still_lives(&short).help(format!("wait until it ends, or end it: vantio kill {short}")))
        }
        // Whoever held it died since this command began, or what was left could not be cleaned up then.
        Ok(claim) if claim.was_abandoned() => {
            drop(claim);
            sweep(store);
            Ok(store.claim(id)?)
        }
        other => Ok(other?),
    }
}

/// An entry about a run, by this user.
pub fn entry(record: &Record, op: &str, request: vantio_core::json::Value) -> Draft {
    let policy_hash = record.policy_hash.parse().unwrap_or(Hash::ZERO);
    Draft { keeps_detail: !record.drops_details, ..event(record.id, policy_hash, op, request) }
}

/// Whether the ledger has an entry of this operation about a run.
pub fn has_entry(store: &Store, record: &Record, op: &str) -> bool {
    first_entry(store, record, op).is_some()
}

/// The ledger's first entry of this operation about a run.
pub fn first_entry(store: &Store, record: &Record, op: &str) -> Option<Result<Entry, LedgerError>> {
    let filter = Filter { run_id: Some(record.id), op: Some(op.into()), limit: Some(1), ..Filter::default() };
    Reader::open_at(&store.ledger()).ok()?.entries(&filter).next()
}

/// Fails where the ledger has nothing of what a run did, so that nobody takes that for nothing done.
pub fn must_be_recorded(store: &Store, record: &Record) -> Result<(), Failure> {
    let filter =
        Filter { run_id: Some(record.id), op: Some("run.start".into()), limit: Some(1), ..Filter::default() };
    let is_recorded = match Reader::open_at(&store.ledger()) {
        Err(LedgerError::NotFound { .. }) => false,
        reader => reader?.entries(&filter).next().transpose()?.is_some(),
    };
    if is_recorded {
        return Ok(());
    }
    let short = store.short(record.id);
    let failure =
        Failure::new("E_LEDGER_RUN", format!("the ledger here has nothing of what run {short} did"));
    Err(if record.state == State::Failed {
        failure.because("it failed to start").help("a run that failed to start did nothing")
    } else {
        failure.help("`vantio ledger archive --list` lists what was put away; --store FILE reads an archive")
    })
}

/// Writes the last entries of a run whose supervisor cannot: nobody waits for an answer any more, and it is over.
pub fn write_end(store: &Store, record: &Record, request: Value) -> Result<(), Failure> {
    let open = match Reader::open_at(&store.ledger()) {
        Err(LedgerError::NotFound { .. }) => BTreeMap::new(),
        reader => approvals::orphans(&reader?, record.id)?,
    };
    let ledger = ledger(store)?;
    for (question, intent) in &open {
        ledger.append(entry(record, approvals::HOLD_ANSWER, approvals::withdrawn(question, intent)))?;
    }
    ledger.append(entry(record, "run.end", request))?;
    Ok(())
}

/// Opens the ledger for appending.
pub fn ledger(store: &Store) -> Result<Ledger, Failure> {
    Ok(open_ledger(store)?)
}

/// A failed comparison, for a person.
pub fn scan_failure(error: &ScanError) -> Failure {
    match error {
        ScanError::Folder(error) => folder_failure(error),
        other @ ScanError::Read { .. } => coded(&other.to_string())
            .help(
            "the host and the run's folder must be readable, and what was mounted where the run wrote must be mounted; \
             try as the user who ran it",
        ),
        other @ ScanError::Write { source, .. } => coded(&other.to_string()).help(if is_full(source) {
            "free space there, or name a folder on another file system"
        } else {
            "name a folder that you may write in"
        }),
    }
}

/// A failed commit or discard, for a person.
pub fn commit_failure(error: &CommitError) -> Failure {
    let help = match error {
        CommitError::Folder(error) => return folder_failure(error),
        CommitError::Scan(error) => return scan_failure(error),
        CommitError::NoSuchChange { .. } => {
            return coded(&error.to_string())
                .misused()
                .help("`vantio diff RUN` lists what waits; paths are relative to this folder");
        }
        CommitError::NoSpace { .. } => "free space, or commit a part: vantio commit RUN PATH",
        CommitError::Step { .. } => "nothing was committed; see to the cause and commit again",
        CommitError::NotUndone { source, .. } if is_full(source) => {
            "nothing was taken back; free space there and undo again"
        }
        CommitError::NotUndone { .. } => "nothing was taken back; see to the cause and undo again",
        CommitError::Undo { .. } => "see to the cause and undo again: it goes on where it stopped",
        CommitError::Journal { .. } => {
            "the journal of an interrupted commit is unreadable; the ledger names what it was about to change"
        }
        CommitError::NoHunks { .. } => "commit it whole, or not at all",
        CommitError::OtherHunks { .. } => "it changed since they were chosen; choose again",
        CommitError::NotCommitted { .. } => {
            "`vantio ledger list --op phantom.commit.end` tells what was committed"
        }
        CommitError::SeveralCommits => "name those of one commit at a time: vantio undo RUN PATH",
        CommitError::CameWith { .. } => "name that folder to take all of it back",
        CommitError::HalfRestored => {
            "see to what `vantio restore` says stands in the way, or drop the run: vantio discard RUN"
        }
        CommitError::CalledOff => "nothing was committed, and all of it waits still",
        CommitError::NothingToUndo | CommitError::Interrupted => "",
    };
    coded(&error.to_string()).help(help)
}

/// A failed checkpoint or restore of the run, for a person.
pub fn checkpoint_failure(store: &Store, run: &RunFolder, error: &CheckpointError) -> Failure {
    let id = run.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = id.parse().map_or(id, |id| store.short(id));
    let failure = match error {
        CheckpointError::Folder(error) => return folder_failure(error),
        CheckpointError::Unknown { reference } => Failure::misuse(
            "E_CHECKPOINT_UNKNOWN",
            format!("run {short} has no checkpoint `{}`", shown(reference)),
        ),
        other => coded(&other.to_string()),
    };
    let known = checkpoint::list(run).unwrap_or_default();
    let named = |checkpoint: &Checkpoint| match &checkpoint.label {
        Some(label) => format!("{} ({})", checkpoint.id, shown(label)),
        None => checkpoint.id.to_string(),
    };
    let list: Vec<String> = known.iter().map(|(checkpoint, _)| named(checkpoint)).collect();
    match error {
        CheckpointError::Unknown { .. } | CheckpointError::LabelTaken { .. } if list.is_empty() => {
            failure.help(format!("it has none; take one: vantio checkpoint {short}"))
        }
        CheckpointError::Unknown { .. } | CheckpointError::LabelTaken { .. } => {
            failure.help(format!("it has {}", list.join(", ")))
        }
        CheckpointError::Failed { .. } => {
            failure.help("see to the cause and try again: a restore goes on where it stopped")
        }
        CheckpointError::Committed { .. } => {
            failure.help("what the host has now, a restore of the run does not take back")
        }
        CheckpointError::Version { .. } => failure.help("use the version of Vantio that took it"),
        _ => failure,
    }
}

fn folder_failure(error: &RunFolderError) -> Failure {
    match error {
        RunFolderError::Discarded => Failure::new("E_RUN_EMPTY", "nothing is left of this run's changes")
            .help("it never started, or it was discarded; `vantio ps --all` tells which"),
        other => coded(&other.to_string())
            .help("the run's folder is not what Vantio wrote; `vantio discard RUN` drops it"),
    }
}

/// The libraries below write `E_CODE: message`.
pub fn coded(text: &str) -> Failure {
    match text.split_once(": ") {
        Some((code, message)) if code.starts_with("E_") => Failure::new(code, message),
        _ => Failure::new("E_FAILED", text),
    }
}
