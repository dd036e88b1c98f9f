//! Making good what a crash left.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use super::{
    CommitError,
    depot::{self, undo_folder},
    finish,
    journal::{JOURNAL_FILE, Record},
    rollback::{Ground, Reason, roll_back},
    undo::{self, UndoReport},
};
use crate::{changes::RunFolder, checkpoint};

/// A commit or undo that a crash had cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The run's folder.
    pub run: PathBuf,
    /// What was done about it.
    pub remedy: Remedy,
    /// Paths that could not be put back because the host changed them
    /// meanwhile; what was there before is in the run's `undo` folder.
    pub stayed: Vec<Vec<u8>>,
    /// Paths at which a commit that was finished displaced something that could not be kept: no undo takes them back.
    pub unkept: Vec<Vec<u8>>,
}

/// What was done about a commit or undo that a crash had cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The commit was finished.
    CommitFinished,
    /// The commit was taken back.
    CommitTakenBack,
    /// The undo was finished.
    UndoFinished,
}

/// Finishes or takes back every commit below `runs` that a crash cut off.
/// To be called before anything else is done with a run.
pub fn recover(runs: &Path, host_root: BorrowedFd<'_>) -> Result<Vec<Recovered>, CommitError> {
    if !runs.exists() {
        return Ok(Vec::new());
    }
    let _lock = finish::lock(runs)?;
    let mut recovered = Vec::new();
    for run in folders(runs).map_err(|source| failed(runs, source))? {
        recovered.extend(recover_run(&run, host_root)?);
    }
    Ok(recovered)
}

/// Keeps others out while something is done with `run`, and finishes what a crash cut off of it; what waits there has to be
/// of one moment.
pub(super) fn take_over(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<fs::File, CommitError> {
    take_over_undo(run, host_root).map(|(lock, _)| lock)
}

/// The same, and what was finished if that was an undo of a whole commit.
pub(super) fn take_over_undo(
    run: &RunFolder,
    host_root: BorrowedFd<'_>,
) -> Result<(fs::File, Option<UndoReport>), CommitError> {
    let lock = finish::lock(run.path().parent().unwrap_or(run.path()))?;
    let resumed = undo::resume_whole(run.path(), host_root)?;
    recover_run(run.path(), host_root)?;
    if checkpoint::is_restoring(run) { Err(CommitError::HalfRestored) } else { Ok((lock, resumed)) }
}

/// The same as [`recover`] for one run, under a lock that is held already.
pub(super) fn recover_run(run: &Path, host_root: BorrowedFd<'_>) -> Result<Option<Recovered>, CommitError> {
    if let Some(recovered) = undo::resume(run, host_root)? {
        return Ok(Some(recovered));
    }
    let path = run.join(JOURNAL_FILE);
    let Some(record) = Record::read(&path)? else {
        // A journal without a whole first line: nothing was begun.
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(None),
        };
    };
    if record.applied.is_some() {
        let unkept = finish::finish(run, host_root)?;
        return Ok(Some(Recovered {
            run: run.to_path_buf(),
            remedy: Remedy::CommitFinished,
            stayed: Vec::new(),
            unkept,
        }));
    }
    let stayed = take_back(run, &record, host_root).map_err(|source| failed(run, source))?;
    let remedy = Remedy::CommitTakenBack;
    Ok(Some(Recovered { run: run.to_path_buf(), remedy, stayed, unkept: Vec::new() }))
}

fn take_back(run: &Path, record: &Record, host_root: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let folder = undo_folder(run, record.begin.number);
    let grounds = Ground::open_all(record, &folder, host_root)?;
    let stayed = match &record.steps {
        Some(steps) => {
            roll_back(&RunFolder::new(run, 0), host_root, &grounds, steps, Reason::Unfinished)?.paths
        }
        None => Vec::new(),
    };
    if stayed.is_empty() {
        for (layer, ground) in record.begin.layers.iter().zip(&grounds) {
            if let Some(place) = &layer.depot {
                depot::remove(place, &folder, &ground.lower, place.times())?;
            }
        }
        depot::remove_folder(&folder)?;
    }
    fs::remove_file(run.join(JOURNAL_FILE))?;
    Ok(stayed)
}

fn folders(runs: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn failed(path: &Path, source: io::Error) -> CommitError {
    CommitError::Step { what: "cannot recover", path: path.as_os_str().as_encoded_bytes().to_vec(), source }
}
