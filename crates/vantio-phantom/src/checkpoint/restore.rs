//! Going back to a checkpoint.
//!
//! The journals are walked backwards, segment by segment, and what they say is put back. Which segments are
//! done is written down, and a segment can be repeated: a restore that a crash cut off is finished by the next
//! command. The run must have ended: an overlay that is mounted does not follow what changes below it.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with},
};
use serde::{Deserialize, Serialize};

use super::{
    Checkpoint, CheckpointError, INFO_FILE, VERSION,
    record::{self, Id},
    shelf::{self, folder, ids},
    trash::{self, Trash},
    undo::{Twins, Undo},
    upper::Ground,
};
use crate::{
    changes::RunFolder,
    commit::{Moment, finish::lock},
};

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The checkpoint that the run is back at.
    pub checkpoint: Checkpoint,
    /// Later checkpoints, which are gone.
    pub dropped: Vec<u64>,
}

/// How a restore is done.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Called at every moment a crash could fall into. For tests.
    #[doc(hidden)]
    pub at_moment: Option<&'a dyn Fn(usize) -> Moment>,
}

/// Puts the layers of `run`, which has ended, back to what they were at checkpoint `id`. Later checkpoints
/// are dropped.
pub fn restore(run: &RunFolder, id: u64, options: Options<'_>) -> Result<Restored, CheckpointError> {
    let _lock = lock_run(run)?;
    run.layers()?;
    finish(run, Options::default(), &mut Twins::default())?;
    begin(run, id)?;
    let restored = finish(run, options, &mut Twins::default())?;
    restored.ok_or(CheckpointError::Lost { what: "nobody knows what was to be restored".into() })
}

/// Finishes a restore that a crash cut off.
pub fn recover(run: &RunFolder) -> Result<Option<Restored>, CheckpointError> {
    if !is_restoring(run) {
        return Ok(None);
    }
    let _lock = lock_run(run)?;
    finish(run, Options::default(), &mut Twins::default())
}

/// Erases what restores of `run` have taken out of its layers: the longest part of the work, which can be done last.
pub fn erase(run: &RunFolder) -> Result<(), CheckpointError> {
    let shelf = folder(run.path());
    trash::erase(&shelf).map_err(|error| CheckpointError::failed("erase", &shelf, error))
}

/// Whether a restore of `run` began that is not finished.
pub fn is_restoring(run: &RunFolder) -> bool {
    intent(run).exists()
}

fn lock_run(run: &RunFolder) -> Result<fs::File, CheckpointError> {
    let runs = run.path().parent().unwrap_or(run.path());
    lock(runs).map_err(|error| CheckpointError::failed("lock", runs, io::Error::other(error)))
}

/// Writes down what is to be done.
pub(super) fn begin(run: &RunFolder, id: u64) -> Result<(), CheckpointError> {
    let shelf = folder(run.path());
    if !ids(&shelf)?.contains(&id) {
        return Err(CheckpointError::Unknown { reference: id.to_string() });
    }
    if shelf::read(&shelf, id)?.commits != shelf::commits(run)? {
        return Err(CheckpointError::Committed { id });
    }
    let temporary = shelf.join(".intent");
    let write = || -> io::Result<()> {
        let mut text = serde_json::to_vec(&Line::Begin { version: VERSION, to: id })?;
        text.push(b'\n');
        fs::write(&temporary, text)?;
        fs::rename(&temporary, intent(run))
    };
    write().map_err(|error| CheckpointError::failed("write", &temporary, error))
}

/// Does what is written down, if anything is.
pub(super) fn finish(
    run: &RunFolder,
    options: Options<'_>,
    twins: &mut Twins,
) -> Result<Option<Restored>, CheckpointError> {
    let Some((to, done)) = read(&intent(run))? else { return Ok(None) };
    let shelf = folder(run.path());
    let layers = run.layers()?;
    let grounds = Ground::open_all(run.path(), &layers)
        .map_err(|error| CheckpointError::failed("open the layers of", run.path(), error))?;
    let clock = Clock { options, moment: std::cell::Cell::new(0) };
    let trash = Trash::open(&shelf).map_err(|error| CheckpointError::failed("use", &shelf, error))?;
    let mut dropped = Vec::new();
    for id in ids(&shelf)?.into_iter().rev().filter(|id| *id >= to) {
        let place = shelf.join(id.to_string());
        let failed = |what, error| CheckpointError::failed(what, &place, error);
        let segments = record::read(&place).map_err(|error| failed("read", error))?;
        for (index, segment) in segments.iter().enumerate().rev() {
            let steps = done.get(&(id, index)).copied().unwrap_or_default();
            let log = |step| {
                note(&intent(run), id, index, step)
                    .map_err(|error| failed("write what was restored of", error))
            };
            let mut undo = Undo::new(&grounds, &place, &trash, twins, &clock)?;
            if !steps.lines {
                undo.lines(segment)?;
                log(Step::Lines)?;
                clock.tick()?;
            }
            let Some(by) = segment.by.as_ref().filter(|_| !steps.moved) else { continue };
            let node = if let Some(node) = steps.moving { Some(node) } else { undo.moved(segment)? };
            if let Some(node) = node {
                log(Step::Moving(node))?;
                undo.take_back(by, node)?;
                clock.tick()?;
            }
            log(Step::Moved)?;
            clock.tick()?;
        }
        if id > to {
            drop_folder(&trash, &shelf, id).map_err(|error| failed("drop", error))?;
            dropped.push(id);
        } else {
            empty(&trash, &shelf, id).map_err(|error| failed("empty", error))?;
        }
        clock.tick()?;
    }
    let checkpoint = shelf::read(&shelf, to)?;
    let path = intent(run);
    fs::remove_file(&path).map_err(|error| CheckpointError::failed("remove", &path, error))?;
    Ok(Some(Restored { checkpoint, dropped }))
}

/// A line of the intent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin {
        version: u32,
        to: u64,
    },
    /// Of a segment of a checkpoint.
    Done(u64, usize, Step),
}

/// What is done of a segment.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// What its lines say is put back.
    Lines,
    /// This directory is about to get its name of before.
    Moving(Id),
    /// It has it.
    Moved,
}

#[derive(Clone, Copy, Default)]
struct Steps {
    lines: bool,
    moving: Option<Id>,
    moved: bool,
}

/// What is to be restored, and what is done of each segment.
type Intent = (u64, HashMap<(u64, usize), Steps>);

fn read(path: &Path) -> Result<Option<Intent>, CheckpointError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| CheckpointError::failed("read", path, error))?,
    };
    let mut lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let Some(Line::Begin { version: VERSION, to }) = lines.next() else {
        return Err(CheckpointError::Lost { what: "what was to be restored cannot be read".into() });
    };
    let mut done: HashMap<_, Steps> = HashMap::new();
    for line in lines {
        let Line::Done(id, index, step) = line else { continue };
        let steps = done.entry((id, index)).or_default();
        match step {
            Step::Lines => steps.lines = true,
            Step::Moving(node) => steps.moving = Some(node),
            Step::Moved => steps.moved = true,
        }
    }
    Ok(Some((to, done)))
}

fn note(path: &Path, id: u64, index: usize, step: Step) -> io::Result<()> {
    let mut text = serde_json::to_vec(&Line::Done(id, index, step))?;
    text.push(b'\n');
    OpenOptions::new().append(true).mode(0o600).open(path)?.write_all(&text)
}

fn intent(run: &RunFolder) -> std::path::PathBuf {
    folder(run.path()).join("restoring.jsonl")
}

fn drop_folder(trash: &Trash, shelf: &Path, id: u64) -> io::Result<()> {
    trash.take(open(shelf)?.as_fd(), id.to_string().as_bytes())
}

/// Leaves of a checkpoint what is known about it: another folder takes its place, whatever is in it.
fn empty(trash: &Trash, shelf: &Path, id: u64) -> io::Result<()> {
    let (place, other) = (shelf.join(id.to_string()), shelf.join(EMPTIED));
    let folder = open(shelf)?;
    // From before a crash.
    trash.take(folder.as_fd(), EMPTIED.as_bytes())?;
    DirBuilder::new().mode(0o700).create(&other)?;
    let info = fs::read(place.join(INFO_FILE))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(other.join(INFO_FILE))?.write_all(&info)?;
    renameat_with(CWD, &other, CWD, &place, RenameFlags::EXCHANGE)?;
    trash.take(folder.as_fd(), EMPTIED.as_bytes())
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Counts the moments of a restore, for tests that crash it.
pub(super) struct Clock<'a> {
    options: Options<'a>,
    moment: std::cell::Cell<usize>,
}

impl Clock<'_> {
    pub(super) fn tick(&self) -> Result<(), CheckpointError> {
        let Some(at_moment) = self.options.at_moment else { return Ok(()) };
        let moment = self.moment.get();
        self.moment.set(moment + 1);
        if at_moment(moment) == Moment::Crash { Err(CheckpointError::Interrupted) } else { Ok(()) }
    }
}

const EMPTIED: &str = ".emptied";
