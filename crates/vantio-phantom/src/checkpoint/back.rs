//! What has to change in a run that lives, so that it has what it had at a checkpoint.
//!
//! Its layers are mounted, and a mount does not follow what changes below it: so they are compared with a copy of them
//! as they were, and what differs is put back through the run's own mounts. Whoever compares sees the host as its user
//! does, and leaves the steps in the run's folder for the supervisor, which takes them.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fd::BorrowedFd;
use serde::{Deserialize, Serialize};

use super::{CheckpointError, Shadow, VERSION, shelf::remove};
use crate::{
    changes::{Between, Change, ChangeKind, FileType, Node, PathBytes, RunFolder, between, copy_content},
    commit::meta::Meta,
};

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// As the run sees it.
    pub(crate) path: PathBytes,
    pub(crate) former: Former,
}

/// What was at a path, and is to be there again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Former {
    Nothing,
    Directory(Meta),
    File {
        /// Where its content is.
        slot: String,
        meta: Meta,
        /// Whether what is there is written anew and not replaced.
        in_place: bool,
        /// Another path that names the same file.
        same_as: Option<PathBytes>,
    },
    Symlink {
        target: PathBytes,
        meta: Meta,
    },
    Fifo(Meta),
    /// What is there, with this besides its content.
    Looks(Meta),
}

/// Writes down what `run`, in which nothing moves, lacks of what it was at checkpoint `id`.
pub fn prepare(run: &RunFolder, id: u64, host_root: BorrowedFd<'_>) -> Result<(), CheckpointError> {
    let failed = |error| CheckpointError::failed("compare", run.path(), error);
    remove(run.path(), FOLDER).map_err(failed)?;
    let place = run.path().join(FOLDER);
    DirBuilder::new().mode(0o700).create(&place).map_err(failed)?;
    let shadow = Shadow::new(run, Some(id))?;
    let compared = between(run, shadow.run(), host_root).map_err(|error| failed(io::Error::other(error)))?;
    let relinked = compared.relinked();
    let mut planning =
        Planning { compared: &compared, place, steps: Vec::new(), relinked: &relinked, made: HashMap::new() };
    for change in compared.changes().changes() {
        planning.add(change).map_err(failed)?;
    }
    for path in relinked.iter().filter(|path| compared.changes().get(path).is_none()) {
        planning.link(path).map_err(failed)?;
    }
    let retimed = compared.retimed().map_err(failed)?.into_iter();
    let step =
        |(path, node): (Vec<u8>, _)| Step { path: path.into(), former: Former::Looks(Meta::of(&node)) };
    planning.steps.extend(retimed.map(step));
    planning.finish().map_err(failed)
}

/// Where the steps for the run whose folder is `run` are left.
pub(crate) fn folder(run: &Path) -> PathBuf {
    run.join(FOLDER)
}

/// The steps that were left, read from `file`; none that names what it must not.
pub(crate) fn read(file: File) -> io::Result<Vec<Step>> {
    let left: Left = serde_json::from_reader(io::BufReader::new(file))?;
    let is_sound = left.version == VERSION && left.steps.iter().all(Step::is_sound);
    if is_sound { Ok(left.steps) } else { Err(io::ErrorKind::InvalidData.into()) }
}

impl Step {
    fn is_sound(&self) -> bool {
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        let is_path = |path: &[u8]| {
            path.strip_prefix(b"/").is_some_and(|rest| rest.split(|byte| *byte == b'/').all(is_name))
        };
        let is_slot = |slot: &str| {
            slot.strip_prefix("slot-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        is_path(self.path.as_bytes())
            && match &self.former {
                Former::File { slot, same_as, .. } => {
                    is_slot(slot) && same_as.as_ref().is_none_or(|path| is_path(path.as_bytes()))
                }
                _ => true,
            }
    }
}

#[derive(Serialize, Deserialize)]
struct Left {
    version: u32,
    steps: Vec<Step>,
}

struct Planning<'a> {
    compared: &'a Between,
    place: PathBuf,
    steps: Vec<Step>,
    /// Files that are made anew for the sake of their names.
    relinked: &'a BTreeSet<&'a [u8]>,
    /// Of a file that has several names, by the first of them: the one that was made.
    made: HashMap<&'a [u8], PathBytes>,
}

impl Planning<'_> {
    fn add(&mut self, change: &Change) -> io::Result<()> {
        let path: PathBytes = change.path.clone().into();
        let Some(after) = &change.after else {
            self.steps.push(Step { path, former: Former::Nothing });
            return Ok(());
        };
        if change.kind == ChangeKind::Retyped {
            self.steps.push(Step { path: path.clone(), former: Former::Nothing });
        }
        let meta = Meta::of(after);
        let is_relinked = self.relinked.contains(&*change.path);
        let former = match (change.kind, after.file_type) {
            (_, FileType::File) if is_relinked => self.file(&change.path, after, false)?,
            (ChangeKind::Metadata, _) | (ChangeKind::Modified, FileType::Directory) => Former::Looks(meta),
            (_, FileType::Directory) => Former::Directory(meta),
            (_, FileType::File) => {
                // What was there may have more names: a checkpoint keeps it by them.
                let is_alone = |node: &Node| node.file_type == FileType::File && node.links == 1;
                let is_in_place =
                    change.kind == ChangeKind::Modified && change.before.as_ref().is_some_and(is_alone);
                self.file(&change.path, after, is_in_place)?
            }
            (_, FileType::Symlink) => {
                Former::Symlink { target: after.target.clone().unwrap_or_default().into(), meta }
            }
            (_, FileType::Fifo) => Former::Fifo(meta),
            // No layer keeps one.
            (_, FileType::Socket | FileType::Character | FileType::Block) => return Ok(()),
        };
        self.steps.push(Step { path, former });
        Ok(())
    }

    /// A file whose content stays, and whose names do not.
    fn link(&mut self, path: &[u8]) -> io::Result<()> {
        let Some(node) = self.compared.second(path)?.filter(|node| node.file_type == FileType::File) else {
            return Ok(());
        };
        let former = self.file(path, &node, false)?;
        self.steps.push(Step { path: path.into(), former });
        Ok(())
    }

    fn file(&mut self, path: &[u8], node: &Node, in_place: bool) -> io::Result<Former> {
        let slot = format!("slot-{}", self.steps.len());
        let mut options = OpenOptions::new();
        let to = options.write(true).create_new(true).mode(0o600).open(self.place.join(&slot))?;
        copy_content(&self.compared.open_second(path)?, &to)?;
        let same_as = self.compared.names_of(path).and_then(|names| {
            let made = self.made.entry(names.first()?).or_insert_with(|| path.into());
            (made.as_bytes() != path).then(|| made.clone())
        });
        Ok(Former::File { slot, meta: Meta::of(node), in_place, same_as })
    }

    fn finish(self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(self.place.join(STEPS))?;
        let left = Left { version: VERSION, steps: self.steps };
        Ok(serde_json::to_writer(io::BufWriter::new(file), &left)?)
    }
}

/// Removes what was left, taken or not.
pub fn forget(run: &RunFolder) {
    // What stays is removed before the next steps are left, and with the run.
    let _ = remove(run.path(), FOLDER);
}

const FOLDER: &str = "going-back";
pub(crate) const STEPS: &str = "steps.json";
