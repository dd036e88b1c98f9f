//! Taking a commit back.

use std::{
    fs::{self, File},
    io,
    os::fd::BorrowedFd,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    CommitError, Recovered,
    depot::{self, undo_folder},
    finish,
    journal::{JOURNAL_FILE, Record, numbers},
    recover::recover_run,
    rollback::{Ground, Reason, changed_since, roll_back},
};
use crate::changes::{RunFolder, write_json};

/// What an undo did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoReport {
    /// The commit that was taken back.
    pub number: u64,
    /// Paths that stayed as they are, because the host changed them since or
    /// because what was there before is not kept.
    pub stayed: Vec<Vec<u8>>,
}

/// Takes back the last commit of `run` that was not taken back yet. Files
/// return with the inodes they had. The changes are pending again, unless the
/// run was discarded.
pub fn undo(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<UndoReport, CommitError> {
    let _lock = finish::lock(run.path().parent().unwrap_or(run.path()))?;
    recover_run(run.path(), host_root)?;
    let failed = |source| failed(run.path(), source);
    let number = undoable(run)?.ok_or(CommitError::NothingToUndo)?;
    let stays = match Record::read(&undo_folder(run.path(), number).join(JOURNAL_FILE))? {
        Some(record) => stays(run.path(), &record, host_root).map_err(failed)?,
        None => Vec::new(),
    };
    let undoing = Undoing { number, stays };
    write_json(run.path(), UNDOING_FILE, &undoing).map_err(failed)?;
    take_back(run.path(), &undoing, host_root)
}

/// The commit of `run` that [`undo`] would take back.
pub fn undoable(run: &RunFolder) -> Result<Option<u64>, CommitError> {
    let numbers = numbers(run.path()).map_err(|source| failed(run.path(), source))?;
    Ok(numbers.into_iter().rev().find(|number| undo_folder(run.path(), *number).join(JOURNAL_FILE).exists()))
}

/// An undo that has begun.
#[derive(Serialize, Deserialize)]
struct Undoing {
    number: u64,
    /// Steps that are not taken back, by index.
    stays: Vec<usize>,
}

fn stays(run: &Path, record: &Record, host_root: BorrowedFd<'_>) -> io::Result<Vec<usize>> {
    let (Some(steps), Some(applied)) = (&record.steps, record.applied) else { return Ok(Vec::new()) };
    let grounds = Ground::open_all(record, &undo_folder(run, record.begin.number), host_root)?;
    changed_since(&grounds, steps, applied)
}

/// Completes an undo that a crash cut off.
pub(super) fn resume(run: &Path, host_root: BorrowedFd<'_>) -> Result<Option<Recovered>, CommitError> {
    let text = match fs::read(run.join(UNDOING_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| failed(run, error))?,
    };
    let undoing: Undoing = serde_json::from_slice(&text).map_err(|error| failed(run, error.into()))?;
    let report = take_back(run, &undoing, host_root)?;
    Ok(Some(Recovered { run: run.to_path_buf(), finished: true, stayed: report.stayed }))
}

fn take_back(run: &Path, undoing: &Undoing, host_root: BorrowedFd<'_>) -> Result<UndoReport, CommitError> {
    let number = undoing.number;
    let folder = undo_folder(run, number);
    let record = Record::read(&folder.join(JOURNAL_FILE))?;
    let stayed = match &record {
        Some(record) => {
            unwind(run, record, &undoing.stays, host_root).map_err(|source| failed(run, source))?
        }
        // Everything but the marker was cleared away before the crash.
        None => Vec::new(),
    };
    clear(run, number).map_err(|source| failed(run, source))?;
    Ok(UndoReport { number, stayed })
}

fn unwind(
    run: &Path,
    record: &Record,
    stays: &[usize],
    host_root: BorrowedFd<'_>,
) -> io::Result<Vec<Vec<u8>>> {
    let folder = undo_folder(run, record.begin.number);
    let grounds = Ground::open_all(record, &folder, host_root)?;
    let Some(steps) = &record.steps else { return Ok(Vec::new()) };
    let stayed = roll_back(&RunFolder::new(run, 0), host_root, &grounds, steps, Reason::Undo(stays))?;
    for (layer, ground) in record.begin.layers.iter().zip(&grounds) {
        if let Some(place) = layer.depot.as_ref().filter(|_| stayed.is_empty()) {
            depot::remove(place, &folder, &ground.lower, None)?;
        }
    }
    Ok(stayed)
}

/// Forgets the commit, last of all that it is being undone.
fn clear(run: &Path, number: u64) -> io::Result<()> {
    let folder = undo_folder(run, number);
    let run_folder = RunFolder::new(run, 0);
    let mut settled = run_folder.committed().map_err(io::Error::other)?;
    settled.retain(|entry| entry.by != number);
    if !run_folder.is_discarded() {
        run_folder.write_committed(&settled)?;
    }
    match fs::rename(folder.join(JOURNAL_FILE), folder.join(UNDONE_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    depot::forget(run, &folder)?;
    fs::remove_file(run.join(UNDOING_FILE))?;
    File::open(run)?.sync_all()
}

fn failed(run: &Path, source: io::Error) -> CommitError {
    CommitError::Step { what: "cannot undo", path: run.as_os_str().as_encoded_bytes().to_vec(), source }
}

pub(super) const UNDOING_FILE: &str = "undoing.json";
const UNDONE_FILE: &str = "undone.journal";
