//! The journal of a commit: `commit.journal` in the run's folder.
//!
//! Lines of JSON. `begin` says where the depots are, `steps` lists everything
//! that will be done, `applied` says that all of it was. Each is on disk
//! before what follows it begins. Kept for an undo, it gets an `undone` line for
//! each part that is taken back.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    CommitError,
    apply::Stopped,
    depot::{DepotPlace, UNDO_FOLDER, undo_folder},
    steps::{Dir, Folder, Id, Step},
};
use crate::changes::{Base, Committed, PathBytes, Stamp};

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Begin(Begin),
    Steps(Steps),
    Applied(Stamp),
    Undone(Undone),
}

/// Where a commit works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    version: u32,
    pub(super) number: u64,
    pub(super) layers: Vec<Ground>,
}

/// The host directory and the depot of a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ground {
    pub(super) mount_point: PathBytes,
    /// `None` where the commit changes nothing.
    pub(super) depot: Option<DepotPlace>,
}

/// What a commit does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    pub(super) dirs: Vec<Dir>,
    pub(super) settled: Vec<Committed>,
    /// The directories that are new on the host; earlier versions did not keep them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) folders: Option<Vec<Folder>>,
    /// The files that steps take away or change, and their change times before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) was: Vec<(Id, Stamp)>,
    /// The new bases of changes of which a part is committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rebased: Vec<Rebased>,
    /// What bases know those by that are committed in spite of a conflict. Taken back, they conflict again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) overruled: Vec<PathBytes>,
}

/// What the host has, after the commit, of a change that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rebased {
    /// The path that bases know it by.
    pub(super) known_by: PathBytes,
    /// Where it is then.
    pub(super) place: PathBytes,
    pub(super) base: Base,
}

/// A journal that was read back.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) begin: Begin,
    pub(super) steps: Option<Steps>,
    /// When the last step was done, on the host's coarse real-time clock.
    pub(super) applied: Option<Stamp>,
    /// What undos took back that did not take back all.
    pub(super) undone: Undone,
    /// There was such an undo, and it was told what stays.
    pub(super) was_tried: bool,
}

/// What of a commit was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undone {
    /// Steps, by index.
    pub(super) steps: BTreeSet<usize>,
    /// Files that are on the host again, with their change times since then.
    pub(super) returned: BTreeSet<(Id, Stamp)>,
}

impl Record {
    /// The absolute path of a step.
    pub(super) fn absolute(&self, step: &Step) -> Option<Vec<u8>> {
        let layer = self.begin.layers.get(step.layer)?;
        Some(absolute(layer.mount_point.as_bytes(), step.path.as_bytes()))
    }

    /// Reads the journal at `path`; `None` when there is none, or none whose
    /// first line is whole (nothing happened yet).
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CommitError> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| unusable(path, &error))?,
        };
        let mut record: Option<Self> = None;
        // What follows the last newline was torn by a crash.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &text[..end]);
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|error| unusable(path, &error))?;
            match (line, &mut record) {
                (Line::Begin(begin), _) if begin.version != VERSION => {
                    return Err(unusable(path, &format!("version {} is not {VERSION}", begin.version)));
                }
                (Line::Begin(begin), none @ None) => {
                    *none = Some(Self {
                        begin,
                        steps: None,
                        applied: None,
                        undone: Undone::default(),
                        was_tried: false,
                    });
                }
                (Line::Steps(steps), Some(record)) => record.steps = Some(steps),
                (Line::Applied(at), Some(record)) => record.applied = Some(at),
                (Line::Undone(more), Some(record)) => {
                    record.undone.steps.extend(more.steps);
                    record.undone.returned.extend(more.returned);
                    record.was_tried = true;
                }
                _ => return Err(unusable(path, &"its lines are out of order")),
            }
        }
        Ok(record)
    }
}

/// The absolute path of what a layer that begins at `mount_point` has at `path`.
pub(super) fn absolute(mount_point: &[u8], path: &[u8]) -> Vec<u8> {
    let root = if mount_point == b"/" { &b""[..] } else { mount_point };
    [root, b"/", path].concat()
}

/// Records in the journal of a commit that this was taken back.
pub(super) fn record_undone(path: &Path, undone: Undone) -> io::Result<()> {
    let mut text = serde_json::to_vec(&Line::Undone(undone))?;
    text.push(b'\n');
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    // What a crash tore must not become a line.
    let whole = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1);
    file.set_len(whole)?;
    file.seek(io::SeekFrom::Start(whole))?;
    file.write_all(&text)?;
    file.sync_all()
}

/// A journal that is being written.
pub(super) struct Journal {
    file: File,
    run: PathBuf,
    begin: Begin,
}

impl Journal {
    /// Opens a journal for a commit that works on `layers`.
    pub(super) fn begin(run: &Path, layers: Vec<Ground>) -> Result<Self, Stopped> {
        let failed = |source| Stopped::failed("cannot write", JOURNAL_FILE.as_bytes(), source);
        let begin = Begin { version: VERSION, number: next_number(run).map_err(failed)?, layers };
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(0o600).open(run.join(JOURNAL_FILE));
        let mut journal = Self { file: file.map_err(failed)?, run: run.to_path_buf(), begin };
        journal.write(&Line::Begin(journal.begin.clone())).map_err(failed)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(journal.folder()).map_err(failed)?;
        File::open(run).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(journal)
    }

    /// The commit's number within its run.
    pub(super) fn number(&self) -> u64 {
        self.begin.number
    }

    /// The folder that keeps what the commit displaces.
    pub(super) fn folder(&self) -> PathBuf {
        undo_folder(&self.run, self.number())
    }

    /// Where a layer's depot is.
    pub(super) fn depot(&self, layer: usize) -> Option<&DepotPlace> {
        self.begin.layers.get(layer).and_then(|ground| ground.depot.as_ref())
    }

    /// Records what will be done.
    pub(super) fn record_steps(&mut self, steps: Steps) -> Result<(), Stopped> {
        let failed = |source| Stopped::failed("cannot write", JOURNAL_FILE.as_bytes(), source);
        self.write(&Line::Steps(steps)).map_err(failed)
    }

    /// Records that it was done: from here on a crash is finished, not undone.
    pub(super) fn record_applied(&mut self) -> Result<(), Stopped> {
        let failed = |source| Stopped::failed("cannot write", JOURNAL_FILE.as_bytes(), source);
        self.write(&Line::Applied(Stamp::now())).map_err(failed)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_all()
    }
}

/// Numbers of the run's commits that can be undone, ascending.
pub(super) fn numbers(run: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(run.join(UNDO_FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn next_number(run: &Path) -> io::Result<u64> {
    Ok(numbers(run)?.last().map_or(1, |last| last + 1))
}

fn unusable(path: &Path, what: &dyn std::fmt::Display) -> CommitError {
    CommitError::Journal { path: path.display().to_string(), what: what.to_string() }
}

pub(super) const JOURNAL_FILE: &str = "commit.journal";
const VERSION: u32 = 1;
