//! The folders of a run's checkpoints.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, fstat, openat, stat},
};

use super::{
    CHECKPOINTS_FOLDER, Cause, Checkpoint, CheckpointError, INFO_FILE, VERSION,
    record::{self, Line, Move, Notes, Place},
    segment::Names,
};
use crate::{changes::RunFolder, commit::discard::remove_tree};

/// The checkpoints of `run`, oldest first, each with the bytes that its slots take.
pub fn list(run: &RunFolder) -> Result<Vec<(Checkpoint, u64)>, CheckpointError> {
    let folder = folder(run.path());
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for id in ids(&folder)? {
        let place = folder.join(id.to_string());
        let bytes = size(&place, &mut seen);
        let bytes = bytes.map_err(|error| CheckpointError::failed("read", &place, error))?;
        list.push((read(&folder, id)?, bytes));
    }
    Ok(list)
}

/// The checkpoint of `run` that `reference` names: a number or a label.
pub fn find(run: &RunFolder, reference: &str) -> Result<Checkpoint, CheckpointError> {
    let folder = folder(run.path());
    for id in ids(&folder)? {
        let checkpoint = read(&folder, id)?;
        if checkpoint.label.as_deref() == Some(reference) || id.to_string() == reference {
            return Ok(checkpoint);
        }
    }
    Err(CheckpointError::Unknown { reference: reference.to_owned() })
}

/// Takes a checkpoint of a run that ended: nothing changes its layers any more.
pub fn take_ended(run: &RunFolder, label: Option<&str>) -> Result<Checkpoint, CheckpointError> {
    run.layers()?;
    let folder = folder(run.path());
    check_label(&folder, label)?;
    let id = ids(&folder)?.last().map_or(1, |last| last + 1);
    let label = label.map(str::to_owned);
    let cause = Cause::Asked;
    let commits = commits(run)?;
    let checkpoint =
        Checkpoint { version: VERSION, id, label, cause, time: now(), copied: 0, moving: 0, commits };
    let failed = |error| CheckpointError::failed("take a checkpoint in", &folder, error);
    Epoch::begin(&folder).and_then(|mut epoch| epoch.publish(&folder, &checkpoint)).map_err(failed)?;
    Ok(checkpoint)
}

/// The number of the run's last commit.
pub(super) fn commits(run: &RunFolder) -> Result<u64, CheckpointError> {
    Ok(run.committed()?.iter().map(|settled| settled.by).max().unwrap_or(0))
}

/// Drops every checkpoint of `run`, and returns how many there were.
pub fn drop_all(run: &RunFolder) -> Result<usize, CheckpointError> {
    let folder = folder(run.path());
    let count = ids(&folder)?.len();
    remove(run.path(), CHECKPOINTS_FOLDER)
        .map_err(|error| CheckpointError::failed("remove", &folder, error))?;
    Ok(count)
}

/// Where the checkpoints of the run whose folder is `run` are.
pub(super) fn folder(run: &Path) -> PathBuf {
    run.join(CHECKPOINTS_FOLDER)
}

/// Numbers of the checkpoints in `folder`, ascending.
pub(super) fn ids(folder: &Path) -> Result<Vec<u64>, CheckpointError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|error| CheckpointError::failed("read", folder, error))?;
    let mut ids: Vec<u64> =
        entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// What is known about checkpoint `id` in `folder`.
pub(super) fn read(folder: &Path, id: u64) -> Result<Checkpoint, CheckpointError> {
    let path = folder.join(id.to_string()).join(INFO_FILE);
    let failed = |error: io::Error| CheckpointError::failed("read", &path, error);
    let text = fs::read(&path).map_err(failed)?;
    let checkpoint: Checkpoint =
        serde_json::from_slice(&text).map_err(|error| failed(io::Error::other(error)))?;
    if checkpoint.version != VERSION {
        return Err(CheckpointError::Version { id, found: checkpoint.version });
    }
    Ok(checkpoint)
}

pub(super) fn check_label(folder: &Path, label: Option<&str>) -> Result<(), CheckpointError> {
    let Some(label) = label else { return Ok(()) };
    for id in ids(folder)? {
        if read(folder, id)?.label.as_deref() == Some(label) {
            return Err(CheckpointError::LabelTaken { label: label.to_owned(), id });
        }
    }
    Ok(())
}

/// Removes an entry of `parent` with all that is in it; that it is gone already is fine.
pub(super) fn remove(parent: &Path, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => remove_tree(parent.as_fd(), name.as_bytes()),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The bytes on disk of what is in `folder`, each file once.
fn size(folder: &Path, seen: &mut HashSet<u64>) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let data = match entry?.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if seen.insert(data.ino()) {
            bytes += data.blocks() * 512;
        }
    }
    Ok(bytes)
}

/// A checkpoint since which changes are written down.
#[derive(Debug)]
pub(super) struct Epoch {
    slots: OwnedFd,
    journal: File,
    /// For what is told of it, until it is published.
    info: Option<File>,
    /// A line was torn.
    is_torn: bool,
    /// A move was announced.
    is_moving: bool,
    count: u64,
    /// Files that changed while they were copied.
    pub(super) moving: u64,
    pub(super) names: Names,
}

impl Epoch {
    /// Begins one in `folder`, which is created where there is none. Until it is [published](Self::publish)
    /// it is no checkpoint.
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(folder)?;
        remove(folder, BEGUN)?;
        let place = folder.join(BEGUN);
        builder.recursive(false).create(&place)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let create = |path| OpenOptions::new().append(true).create_new(true).mode(0o600).open(path);
        Ok(Self {
            slots: openat(CWD, &place, flags, Mode::empty())?,
            journal: create(record::path(&place))?,
            info: Some(create(place.join(INFO_FILE))?),
            is_torn: false,
            is_moving: false,
            count: 0,
            moving: 0,
            names: Names::default(),
        })
    }

    /// Whether what was begun in `folder` is still there.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let begun = stat(folder.join(BEGUN)).ok().zip(fstat(&self.slots).ok());
        begun.is_some_and(|(there, own)| (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
    }

    /// Makes what was begun in `folder` the checkpoint that `checkpoint` tells of.
    pub(super) fn publish(&mut self, folder: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut info = self.info.take().ok_or(io::ErrorKind::AlreadyExists)?;
        info.write_all(&serde_json::to_vec(checkpoint)?)?;
        fs::rename(folder.join(BEGUN), folder.join(checkpoint.id.to_string()))
    }

    /// A new name in the checkpoint's folder.
    pub(super) fn slot(&mut self) -> String {
        self.count += 1;
        format!("slot-{}", self.count)
    }

    pub(super) fn slots(&self) -> BorrowedFd<'_> {
        self.slots.as_fd()
    }

    /// Writes a line past this process: a supervisor that is killed must not take it along.
    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        if self.is_torn {
            text.insert(0, b'\n');
        }
        text.push(b'\n');
        self.is_torn = true;
        self.journal.write_all(&text)?;
        self.is_torn = false;
        Ok(())
    }

    pub(super) fn gone(&mut self, at: Place, notes: Notes) -> io::Result<()> {
        self.write(&Line::Gone { at, notes })
    }

    /// Names begin anew.
    pub(super) fn moved(&mut self, by: Move) -> io::Result<()> {
        self.write(&Line::Moved(Box::new(by)))?;
        self.names = Names::default();
        self.is_moving = true;
        Ok(())
    }

    /// Whether the last move was carried out.
    pub(super) fn carried(&mut self, was_carried: bool) -> io::Result<()> {
        if std::mem::take(&mut self.is_moving) { self.write(&Line::Carried(was_carried)) } else { Ok(()) }
    }
}

const BEGUN: &str = ".begun";
