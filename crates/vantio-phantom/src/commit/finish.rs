//! The end of a commit that was applied, and the lock that all of this takes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::BorrowedFd, unix::fs::OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use super::{
    CommitError,
    away::{self, Lost},
    depot::{self, DepotPlace, undo_folder},
    journal::{JOURNAL_FILE, Record, Undone, record_undone},
    links,
    rollback::Ground,
};
use crate::changes::{RunFolder, base::rebase};

/// Waits until no other process commits, recovers, undoes or discards a run
/// of the same folder of runs. The lock ends with the value, and with the process.
pub(crate) fn lock(runs: &Path) -> Result<File, CommitError> {
    let path = runs.join(LOCK_FILE);
    let failed = |source| CommitError::Step {
        what: "cannot lock",
        path: path.as_os_str().as_encoded_bytes().to_vec(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(file)
}

/// Completes a commit whose journal says that it was applied, and returns the paths at which what it displaced could not be
/// kept. May be repeated.
pub(super) fn finish(run: &Path, host_root: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, CommitError> {
    let path = run.join(JOURNAL_FILE);
    let Some(record) = Record::read(&path)? else { return Ok(Vec::new()) };
    complete(run, &record, host_root).map_err(|source| CommitError::Step {
        what: "cannot complete the commit of",
        path: run.as_os_str().as_encoded_bytes().to_vec(),
        source,
    })
}

fn complete(run: &Path, record: &Record, host_root: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let folder = undo_folder(run, record.begin.number);
    let run_folder = RunFolder::new(run, 0);
    let mut settled = run_folder.committed().map_err(io::Error::other)?;
    settled.retain(|entry| entry.by != record.begin.number);
    settled.extend(record.steps.iter().flat_map(|steps| steps.settled.iter().cloned()));
    run_folder.write_committed(&settled)?;
    if let Some(steps) = &record.steps {
        rebase(run, steps.rebased.iter().map(|rebased| (&rebased.known_by, &rebased.base)))?;
    }
    let grounds = Ground::open_all(record, &folder, host_root)?;
    if let (Some(steps), Some(done)) = (&record.steps, record.applied) {
        let mut returned = links::release(&grounds, steps, done);
        returned.extend(links::touched(&grounds, steps)?);
        if !returned.is_empty() {
            record_undone(&run.join(JOURNAL_FILE), Undone { returned, ..Undone::default() })?;
        }
    }
    for (index, (layer, ground)) in record.begin.layers.iter().zip(&grounds).enumerate() {
        if let Some(place @ DepotPlace::Hidden { parent, .. }) = &layer.depot {
            let dirs = record.steps.iter().flat_map(|steps| &steps.dirs).filter(|dir| dir.layer == index);
            let mut changed = dirs.filter_map(|dir| dir.after.as_ref()).filter(|(path, _)| path == parent);
            let times = changed.next().map(|(_, meta)| (meta.accessed, meta.modified));
            if let Some(depot) = &ground.depot {
                away::keep(&folder, index, depot)?;
            }
            depot::remove(place, &folder, &ground.lower, times.or(place.times()))?;
        }
    }
    let lost = Lost::of(&folder, record)?.paths(record);
    fs::rename(run.join(JOURNAL_FILE), folder.join(JOURNAL_FILE))?;
    File::open(&folder)?.sync_all()?;
    File::open(run)?.sync_all()?;
    Ok(lost)
}

pub(super) const LOCK_FILE: &str = ".commit.lock";
