//! A copy of a run's layers as they were at a checkpoint, to look at.
//!
//! The copy has directories of its own and shares the files: each is a second name of the run's. It is restored as
//! the run would be; whatever that changes in place is copied first.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, chmod, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat},
    process::geteuid,
};

use super::{
    CHECKPOINTS_FOLDER, CheckpointError,
    record::Id,
    restore,
    shelf::{self, remove},
    undo::Twins,
    upper::{Ground, copy, node_of, notes, open_to_read, set_notes},
};
use crate::{
    changes::{
        FileType, Layer, Node, RunFolder,
        beneath::{join, magic, stat_fd},
        names_in,
    },
    commit::meta::Meta,
};

/// The layers of a run as they were at a checkpoint, or as they are. Removed when dropped.
#[derive(Debug)]
pub struct Shadow {
    folder: PathBuf,
    run: RunFolder,
}

impl Shadow {
    /// Copies the layers of `run` as they were at checkpoint `id`; as they are now without one. Nothing may change
    /// them meanwhile.
    pub fn new(run: &RunFolder, id: Option<u64>) -> Result<Self, CheckpointError> {
        let name = format!("{SHADOW}{}-{}", std::process::id(), id.unwrap_or(0));
        let failed = |error| CheckpointError::failed("copy", run.path(), error);
        remove(run.path(), &name).map_err(failed)?;
        let folder = run.path().join(&name);
        let shadow = Self { run: run.at(folder.clone()), folder };
        let mut copying = Copying { twins: Twins::default(), known: HashMap::new() };
        copying.run(run, &shadow.folder, id).map_err(failed)?;
        if let Some(id) = id {
            restore::begin(&shadow.run, id)?;
            restore::finish(&shadow.run, restore::Options::default(), &mut copying.twins)?;
        }
        Ok(shadow)
    }

    /// The copy, as a run's folder.
    pub fn run(&self) -> &RunFolder {
        &self.run
    }

    /// Removes what commands that were killed left.
    pub fn sweep(run: &RunFolder) {
        let Ok(entries) = fs::read_dir(run.path()) else { return };
        for entry in entries.flatten() {
            if let Some(name) = entry.file_name().to_str().filter(|name| name.starts_with(SHADOW)) {
                // The next one tries again.
                let _ = remove(run.path(), name);
            }
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        if let (Some(parent), Some(name)) =
            (self.folder.parent(), self.folder.file_name().and_then(|name| name.to_str()))
        {
            // What stays is swept by the next command.
            let _ = remove(parent, name);
        }
    }
}

struct Copying {
    twins: Twins,
    /// The copies of files with several names.
    known: HashMap<Id, OwnedFd>,
}

impl Copying {
    fn run(&mut self, run: &RunFolder, to: &Path, id: Option<u64>) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(to)?;
        for file in ["layers.json", "committed.json"] {
            match fs::copy(run.path().join(file), to.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let layers = run.layers().map_err(io::Error::other)?;
        for layer in &layers {
            builder.recursive(true).create(to.join(&layer.upper))?;
        }
        let from = Ground::open_all(run.path(), &layers)?;
        let copies = Ground::open_all(to, &layers)?;
        for (ground, copy) in from.iter().zip(&copies) {
            self.tree(ground, copy)?;
        }
        let Some(id) = id else { return Ok(()) };
        let checkpoints = shelf::folder(run.path());
        let later =
            shelf::ids(&checkpoints).map_err(io::Error::other)?.into_iter().filter(|later| *later >= id);
        for later in later {
            let upper = format!("{CHECKPOINTS_FOLDER}/{later}");
            builder.recursive(true).create(to.join(&upper))?;
            let as_layer = |upper| Layer {
                mount_point: b"/".to_vec().into(),
                upper,
                kind: crate::changes::LayerKind::User,
            };
            let layers = [as_layer(upper)];
            let (from, copies) = (Ground::open_all(run.path(), &layers)?, Ground::open_all(to, &layers)?);
            if let (Some(from), Some(copy)) = (from.first(), copies.first()) {
                self.tree(from, copy)?;
            }
        }
        Ok(())
    }

    fn tree(&mut self, from: &Ground, to: &Ground) -> io::Result<()> {
        let mut loosened = Vec::new();
        let copied = self.tree_loosening(from, to, &mut loosened);
        while let Some((file, mode)) = loosened.pop() {
            // A failure leaves the run's copy more readable for its owner.
            let _ = chmod(magic(file.as_fd()), Mode::from_raw_mode(mode));
        }
        copied
    }

    /// Directories that their owner may not use are opened on the way.
    fn tree_loosening(
        &mut self,
        from: &Ground,
        to: &Ground,
        loosened: &mut Vec<(OwnedFd, u32)>,
    ) -> io::Result<()> {
        let mut waiting = vec![Vec::new()];
        let mut done = Vec::new();
        while let Some(path) = waiting.pop() {
            let old = from.root.at(&path, OFlags::PATH | OFlags::DIRECTORY)?;
            let mode = Node::of_stat(&stat_fd(old.as_fd())?).mode;
            if mode & 0o700 != 0o700 && !geteuid().is_root() {
                chmod(magic(old.as_fd()), Mode::from_raw_mode(mode | 0o700))?;
                loosened.push((old.try_clone()?, mode));
            }
            let node = Node { mode, ..node_of(old.as_fd())? };
            let new = to.root.dir(&path)?;
            self.twins.directories.insert(node.id, node_of(new.as_fd())?.id);
            for name in names_in(&open_to_read(old.as_fd(), &node)?)? {
                if self.entry(&old, &new, &name)? {
                    waiting.push(join(&path, &name));
                }
            }
            done.push((path, node));
        }
        for (path, node) in done.into_iter().rev() {
            set_notes(to, &path, &notes(from, &path)?)?;
            Meta::of(&node).set(to.root.dir(&path)?.as_fd())?;
        }
        Ok(())
    }

    /// Copies one entry; true for a directory, which is made empty.
    fn entry(&mut self, old: &OwnedFd, new: &OwnedFd, name: &[u8]) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(old, name, flags, Mode::empty())?;
        let node = node_of(file.as_fd())?;
        if node.is_dir() {
            mkdirat(new, name, Mode::RWXU)?;
            return Ok(true);
        }
        if node.is_whiteout() {
            mknodat(new, name, rustix::fs::FileType::CharacterDevice, Mode::empty(), 0)?;
        } else if node.links == 1 || !matches!(node.file_type, FileType::File | FileType::Symlink) {
            linkat(old, name, new, name, AtFlags::empty())?;
            self.twins.borrowed.insert(node.id);
        } else {
            self.group((old, &file), &node, new, name)?;
        }
        Ok(false)
    }

    /// A file with several names is copied, once.
    fn group(
        &mut self,
        (old, file): (&OwnedFd, &OwnedFd),
        node: &Node,
        new: &OwnedFd,
        name: &[u8],
    ) -> io::Result<()> {
        if let Some(copied) = self.known.get(&node.id) {
            let path = magic(copied.as_fd());
            return Ok(linkat(CWD, path, new, name, AtFlags::SYMLINK_FOLLOW)?);
        }
        if node.file_type == FileType::Symlink {
            symlinkat(readlinkat(old, name, Vec::new())?, new, name)?;
        } else {
            copy(file.as_fd(), node, new.as_fd(), name)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copied = openat(new, name, flags, Mode::empty())?;
        Meta::of(node).set(copied.as_fd())?;
        self.known.insert(node.id, copied);
        Ok(())
    }
}

/// What the names of such copies begin with, in a run's folder.
const SHADOW: &str = ".shadow-";
