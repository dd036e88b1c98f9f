//! Cleaning up after commands that died.

use std::{os::fd::AsFd as _, path::Path};

use vantio_core::{RunId, json::Value};
use vantio_phantom::{
    cgroup::Cgroup,
    changes::Escaped,
    checkpoint::{self, Shadow},
    commit::{self, Remedy},
    keeper, snapshot,
};

use super::changes::{checkpoint_failure, commit_failure, glance, has_entry, host_root, write_end};
use crate::{
    approvals, checkpoints,
    failure::Failure,
    present::{note, now_ms, shown_path},
    store::{Claim, State, Store},
};

/// Ends what a crash left half done: commits are finished or taken back, control groups
/// removed, runs marked as died. What cannot be cleaned up stays for the next command,
/// and a line on standard error says so.
pub fn sweep(store: &Store) {
    match store.abandoned() {
        Ok(claims) if claims.is_empty() => {}
        Ok(claims) => {
            if let Err(failure) = recover_commits(store) {
                note(format!(
                    "vantio: an interrupted commit could not be finished or taken back: {failure}\n"
                ));
                return;
            }
            for claim in claims {
                match claim {
                    Ok(claim) => recover_or_tell(store, claim),
                    Err(error) => note(format!("vantio: {error}: {}\n", error.advice())),
                }
            }
        }
        Err(error) => note(format!("vantio: the state folder could not be cleaned up: {error}\n")),
    }
}

/// Finishes or takes back commits that a crash cut off.
fn recover_commits(store: &Store) -> Result<(), Failure> {
    let recovered =
        commit::recover(&store.runs(), host_root()?.as_fd()).map_err(|error| commit_failure(&error))?;
    for commit in recovered {
        let run = shown_path(&commit.run);
        let what = match commit.remedy {
            Remedy::CommitFinished => "commit was finished",
            Remedy::CommitTakenBack => "commit was taken back",
            Remedy::UndoFinished => "undo was finished",
        };
        note(format!("vantio: an interrupted {what}: {run}\n"));
        for path in commit.stayed {
            note(format!("vantio: {} stays as it is: the host changed it meanwhile\n", Escaped(&path)));
        }
        for path in commit.unkept {
            note(format!(
                "vantio: no undo takes {} back: what was there could not be kept\n",
                Escaped(&path)
            ));
        }
    }
    Ok(())
}

/// Whether a discard began to erase what the run left.
fn is_half_discarded(store: &Store, claim: &Claim) -> bool {
    claim.world().is_discarded() && has_entry(store, &claim.record, "phantom.discard")
}

fn recover_or_tell(store: &Store, claim: Claim) {
    let id = store.short(claim.record.id);
    if let Err(failure) = recover(store, claim) {
        note(format!("vantio: run {id} could not be cleaned up: {failure}\n"));
    }
}

/// Removes what a dead run left outside its folder.
pub fn clean(dead: RunId, folder: &Path) -> Result<(), Failure> {
    Cgroup::sweep(&|run| run == dead);
    close(folder);
    snapshot::remove(folder)
        .map_err(|cause| Failure::new("E_STATE", "a copy of the workspace cannot be removed").because(cause))
}

/// Removes the sockets of a run that is over.
pub fn close(folder: &Path) {
    approvals::remove(folder);
    checkpoints::remove(folder);
    keeper::remove(folder);
}

fn recover(store: &Store, mut claim: Claim) -> Result<(), Failure> {
    let dead = claim.record.id;
    clean(dead, &store.folder(dead))?;
    if claim.record.state != State::Discarded && is_half_discarded(store, &claim) {
        commit::discard(&claim.world()).map_err(|error| commit_failure(&error))?;
        claim.record.state = State::Discarded;
        note(format!("vantio: an interrupted discard of run {} was finished\n", store.short(dead)));
    }
    if claim.record.state == State::Running {
        if has_entry(store, &claim.record, "run.start") && !has_entry(store, &claim.record, "run.end") {
            let request = Value::object([("ending", Value::from("died"))]);
            write_end(store, &claim.record, request)?;
        }
        claim.record.state = State::Died;
        claim.record.ended = Some(now_ms());
    }
    Shadow::sweep(&claim.world());
    if let Some(restored) = checkpoint::recover(&claim.world())
        .map_err(|error| checkpoint_failure(store, &claim.world(), &error))?
    {
        let (run, id) = (store.short(dead), restored.checkpoint.id);
        note(format!("vantio: an interrupted restore was finished: run {run} is back at checkpoint {id}\n"));
    }
    // A restore that was killed at its end has that left to do.
    checkpoint::erase(&claim.world()).map_err(|error| checkpoint_failure(store, &claim.world(), &error))?;
    claim.record.pending = glance(store, &claim.record).ok().map(|changes| changes.changes().len() as u64);
    claim.save()?;
    claim.release()?;
    Ok(())
}
