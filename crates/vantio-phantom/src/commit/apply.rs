//! Carrying the steps out.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, chmod, fallocate, linkat, mkdirat, openat,
        syncfs, unlinkat,
    },
    io::Errno,
};

use super::{
    Clock, CommitError,
    conflict::is_same_file,
    journal::Steps,
    meta::{Meta, overwrite, set_times},
    moving::rename,
    plan::{Kind, Plan, Planned},
    stage::Stage,
    steps::{Action, Dir, Id, Step},
};
use crate::changes::{
    ChangeKind, LayerRoot, Node, Shared,
    beneath::{self, Pinned, join, magic, stat_at, stat_fd},
    names_in,
};

/// Why a commit stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The host changed the path under the commit's hands.
    Conflict(Vec<u8>),
    /// A test asked for a crash.
    Crash,
    /// A step failed.
    Failed(CommitError),
}

impl Stopped {
    pub(super) fn failed(what: &'static str, path: &[u8], source: io::Error) -> Self {
        Self::Failed(CommitError::Step { what, path: path.to_vec(), source })
    }
}

impl From<CommitError> for Stopped {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

impl From<Stopped> for CommitError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(error) => error,
            Stopped::Crash => Self::Interrupted,
            Stopped::Conflict(path) => Self::Step {
                what: "the host keeps changing",
                path,
                source: io::ErrorKind::ResourceBusy.into(),
            },
        }
    }
}

/// What the steps work with.
pub(super) struct Apply<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) layers: &'a [LayerRoot],
    pub(super) stage: &'a Stage<'a>,
    pub(super) clock: &'a Clock<'a>,
}

impl Apply<'_> {
    /// Takes every step, then sets the times of the directories that changed.
    pub(super) fn run(&self, steps: &Steps) -> Result<(), Stopped> {
        let expected = self.expected();
        self.prepare(steps)?;
        for (planned, step) in self.plan.steps.iter().zip(&steps.list) {
            self.clock.tick()?;
            match self.step(planned, step, &expected) {
                Ok(()) => {}
                Err(Trouble::Moved) => return Err(Stopped::Conflict(self.absolute(step))),
                Err(Trouble::Io(error)) if means_moved(&error) => {
                    return Err(Stopped::Conflict(self.absolute(step)));
                }
                Err(Trouble::Io(source)) => {
                    return Err(Stopped::failed("cannot change", &self.absolute(step), source));
                }
            }
        }
        self.clock.tick()?;
        self.settle_dirs(&steps.dirs)?;
        self.sync()
    }

    /// Reserves what is written in place, and makes directories writable that
    /// their owner had closed: the run wrote into them all the same.
    fn prepare(&self, steps: &Steps) -> Result<(), Stopped> {
        for (planned, step) in self.plan.steps.iter().zip(&steps.list) {
            if let (Kind::Rewrite(old), Action::Rewrite { .. }) = (&planned.kind, &step.action) {
                match self.reserve(step, old) {
                    Err(error) if means_moved(&error) => return Err(Stopped::Conflict(self.absolute(step))),
                    other => other.map_err(|source| {
                        Stopped::failed("no room to write", &self.absolute(step), source)
                    })?,
                }
            }
        }
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        for dir in &steps.dirs {
            let Some((path, meta)) = &dir.before else { continue };
            if meta.mode & 0o300 != 0o300 {
                let opened = self.layers[dir.layer].lower.dir(path.as_bytes());
                let opened =
                    opened.map_err(|error| Stopped::failed("cannot open", path.as_bytes(), error))?;
                // Its owner may; for another's directory the step itself fails.
                let _ = chmod(magic(opened.as_fd()), Mode::from_raw_mode(meta.mode | 0o700));
            }
        }
        Ok(())
    }

    fn reserve(&self, step: &Step, old: &Node) -> io::Result<()> {
        let new = self.stage.depot(step.layer)?.stat(step.slot.as_bytes())?;
        let size = new.map_or(0, |stat| Node::of_stat(&stat).size);
        if size <= old.size {
            return Ok(());
        }
        let now = self.plan.now(&self.layers[step.layer].layer, step.path.as_bytes());
        let file = self.host_file(step, &now, OFlags::RDWR)?;
        if !is_same_file(Some(&Node::of_stat(&stat_fd(file.as_fd())?)), old) {
            return Err(Errno::STALE.into());
        }
        match fallocate(&file, FallocateFlags::KEEP_SIZE, old.size, size - old.size) {
            // It moves the time by which the step knows the file.
            Ok(()) => set_times(file.as_fd(), old.accessed, old.modified),
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn step(&self, planned: &Planned<'_>, step: &Step, expected: &Expected<'_>) -> Result<(), Trouble> {
        let (dir, name) = self.layers[step.layer].lower.parent(&planned.path)?;
        let place = Place { dir: &dir, name };
        let depot = self.stage.depot(step.layer)?;
        let slot = step.slot.as_bytes();
        match &planned.kind {
            Kind::Take(node) => {
                place.require(node, expected)?;
                place.rename(depot.as_fd(), slot, RenameFlags::NOREPLACE, true)?;
                let came = check(depot, slot, node, &self.absolute(step), expected);
                or_back(came, || place.rename(depot.as_fd(), slot, RenameFlags::NOREPLACE, false))
            }
            Kind::Remove(node) => {
                place.require(node, expected)?;
                Ok(unlinkat(&dir, name, AtFlags::REMOVEDIR).map_err(io::Error::from)?)
            }
            Kind::Make(node) => Ok(place.make(node)?),
            Kind::PutMoved(_) | Kind::PutNew => {
                Ok(place.rename(depot.as_fd(), slot, RenameFlags::NOREPLACE, false)?)
            }
            Kind::Swap(old) => {
                place.require(old, expected)?;
                place.rename(depot.as_fd(), slot, RenameFlags::EXCHANGE, false)?;
                let came = check(depot, slot, old, &self.absolute(step), expected);
                or_back(came, || place.rename(depot.as_fd(), slot, RenameFlags::EXCHANGE, false))
            }
            Kind::Rewrite(old) => {
                place.require_content(old)?;
                self.rewrite(step, depot)
            }
            Kind::Meta(old, _) => set_meta(&place, step, old, expected),
            Kind::Link(existing) => self.link(&place, step, existing),
        }
    }

    fn rewrite(&self, step: &Step, depot: &Pinned) -> Result<(), Trouble> {
        let from = File::from(depot.at(step.slot.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW)?);
        let dir = depot.dir(b"")?;
        let node = Node::at(dir.as_fd(), step.slot.as_bytes())?.ok_or(Trouble::Moved)?;
        let to = self.host_file(step, step.path.as_bytes(), OFlags::RDWR)?;
        Ok(overwrite(&from, &to, &Meta::of(&node))?)
    }

    /// Opens the host's file of a step that works in place.
    fn host_file(&self, step: &Step, path: &[u8], flags: OFlags) -> io::Result<File> {
        let (Action::Rewrite { node, .. } | Action::Meta { node, .. }) = &step.action else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let lower = &self.layers[step.layer].lower;
        open_in_place(lower, path, *node, flags)
    }

    fn link(&self, place: &Place<'_>, step: &Step, existing: &[u8]) -> Result<(), Trouble> {
        let Action::Link { node, .. } = &step.action else { return Ok(()) };
        let (dir, name) = self.layers[step.layer].lower.parent(existing)?;
        linkat(&dir, name, place.dir, place.name, AtFlags::empty()).map_err(io::Error::from)?;
        let linked = stat_at(place.dir.as_fd(), place.name)?.map(|stat| Node::of_stat(&stat));
        if linked.is_some_and(|linked| linked.id == *node) {
            return Ok(());
        }
        unlinkat(place.dir, place.name, AtFlags::empty()).map_err(io::Error::from)?;
        Err(Trouble::Moved)
    }

    fn settle_dirs(&self, dirs: &[Dir]) -> Result<(), Stopped> {
        for dir in dirs {
            let Some((path, meta)) = &dir.after else { continue };
            let layer = &self.layers[dir.layer];
            let set = layer.lower.dir(path.as_bytes()).and_then(|opened| {
                let now = Node::of_stat(&stat_fd(opened.as_fd())?);
                let stays = dir.before.as_ref().is_some_and(|(_, before)| before.is_like(meta));
                let is_set = stays && now.mode == meta.mode;
                if is_set { meta.set_times(opened.as_fd()) } else { meta.set(opened.as_fd()) }
            });
            match set {
                // Another's directory keeps the times that the change gave it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other.map_err(|error| {
                    Stopped::failed("cannot set times", &layer.layer.absolute(path.as_bytes()), error)
                })?,
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Stopped> {
        for (index, layer) in self.layers.iter().enumerate() {
            if self.stage.depot(index).is_ok() {
                let dir = layer.lower.at(b"", OFlags::RDONLY | OFlags::DIRECTORY);
                dir.and_then(|dir| Ok(syncfs(dir)?)).map_err(|error| {
                    Stopped::failed("cannot sync", layer.layer.mount_point.as_bytes(), error)
                })?;
            }
        }
        Ok(())
    }

    fn absolute(&self, step: &Step) -> Vec<u8> {
        self.layers[step.layer].layer.absolute(step.path.as_bytes())
    }

    fn expected(&self) -> Expected<'_> {
        let changes = self.plan.set.changes();
        let replaced = changes.iter().flat_map(|change| &change.origin.replaced);
        let deleted = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Deleted)
            .filter_map(|change| Some((change.host_path(), change.before.as_ref()?)))
            .chain(replaced.map(|(path, node)| (&path[..], node)))
            .collect();
        let renamed = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Renamed)
            .map(crate::changes::Change::host_path)
            .collect();
        let moved = |step: &Planned<'_>| match step.kind {
            Kind::PutMoved(node) if !node.is_dir() => Some(node.id),
            _ => None,
        };
        let moved = self.plan.steps.iter().filter_map(moved).collect();
        Expected { deleted, renamed, shared: &self.plan.shared, moved }
    }
}

/// Takes a step back whose outcome is not the expected one.
fn or_back(came: io::Result<bool>, back: impl FnOnce() -> io::Result<()>) -> Result<(), Trouble> {
    if matches!(came, Ok(true)) {
        return Ok(());
    }
    back()?;
    came?;
    Err(Trouble::Moved)
}

/// True when what came out of the host is what the plan saw there: the
/// file itself, and for a tree that goes, everything in it and no more.
fn check(
    depot: &Pinned,
    slot: &[u8],
    node: &Node,
    absolute: &[u8],
    expected: &Expected<'_>,
) -> io::Result<bool> {
    let Some(stat) = stat_at(depot.as_fd(), slot)? else { return Ok(false) };
    let found = Node::of_stat(&stat);
    if !is_same_file(Some(&found), node) {
        return Ok(false);
    }
    // A renamed directory keeps what the host has in it.
    if !node.is_dir() || expected.renamed.contains(absolute) {
        return Ok(true);
    }
    let mut waiting = vec![(slot.to_vec(), absolute.to_vec())];
    while let Some((at, path)) = waiting.pop() {
        let dir = depot.at(&at, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in names_in(&dir)? {
            let (child, path) = (join(&at, &name), join(&path, &name));
            let Some(stat) = stat_at(dir.as_fd(), &name)? else { return Ok(false) };
            let found = Node::of_stat(&stat);
            let Some(known) = expected.deleted.get(path.as_slice()) else { return Ok(false) };
            if !expected.is(&found, known) {
                return Ok(false);
            }
            if found.is_dir() {
                waiting.push((child, path));
            }
        }
    }
    Ok(true)
}

fn set_meta(place: &Place<'_>, step: &Step, old: &Node, expected: &Expected<'_>) -> Result<(), Trouble> {
    let Action::Meta { new, .. } = &step.action else { return Ok(()) };
    let file = place.open()?;
    let found = Node::of_stat(&stat_fd(file.as_fd())?);
    // The entries of a directory may have changed already, by a step.
    let is_base = if old.is_dir() { found.id == old.id } else { expected.is(&found, old) };
    let is_relinked = found.links > 1 && found.is_still(old);
    if !(is_base || is_relinked) {
        return Err(Trouble::Moved);
    }
    Ok(new.set(file.as_fd())?)
}

/// What the plan saw on the host.
struct Expected<'a> {
    /// What trees that go hold, by absolute path.
    deleted: HashMap<&'a [u8], &'a Node>,
    renamed: HashSet<&'a [u8]>,
    shared: &'a Shared<'a>,
    /// Files that are moved by themselves, in pieces of a directory.
    moved: HashSet<Id>,
}

impl Expected<'_> {
    /// True for what was not touched. What a step does to one name of a file moves the change time of all.
    fn is(&self, found: &Node, known: &Node) -> bool {
        if known.is_dir() || self.shared.has_several(known.id) || self.moved.contains(&known.id) {
            found.is_still(known)
        } else {
            found.is_untouched_since(known)
        }
    }
}

enum Trouble {
    Moved,
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A name in an opened directory of the host.
struct Place<'a> {
    dir: &'a OwnedFd,
    name: &'a [u8],
}

impl Place<'_> {
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.dir, self.name, flags, Mode::empty())?)
    }

    /// Fails unless the file is, change time included, what the plan saw.
    fn require(&self, node: &Node, expected: &Expected<'_>) -> Result<(), Trouble> {
        let found = stat_at(self.dir.as_fd(), self.name)?.map(|stat| Node::of_stat(&stat));
        if found.is_some_and(|found| expected.is(&found, node)) { Ok(()) } else { Err(Trouble::Moved) }
    }

    /// The same where an earlier step may have given the file another name.
    fn require_content(&self, node: &Node) -> Result<(), Trouble> {
        let found = stat_at(self.dir.as_fd(), self.name)?.map(|stat| Node::of_stat(&stat));
        if is_same_file(found.as_ref(), node) { Ok(()) } else { Err(Trouble::Moved) }
    }

    /// Makes a directory as `node` was. Its owner may write in it until it is settled.
    fn make(&self, node: &Node) -> io::Result<()> {
        mkdirat(self.dir, self.name, Mode::RWXU)?;
        let mode = if rustix::process::geteuid().is_root() { node.mode } else { node.mode | 0o700 };
        Meta { mode, ..Meta::of(node) }.set(self.open()?.as_fd())
    }

    /// Renames this entry to a slot, or a slot to this entry.
    fn rename(&self, depot: BorrowedFd<'_>, slot: &[u8], flags: RenameFlags, is_out: bool) -> io::Result<()> {
        let (here, there) = ((self.dir.as_fd(), self.name), (depot, slot));
        if is_out { rename(here, there, flags) } else { rename(there, here, flags) }
    }
}

/// Opens the regular file `id` at `path` for writing in place, also where its
/// owner may not write it.
pub(super) fn open_in_place(lower: &Pinned, path: &[u8], id: (u64, u64), flags: OFlags) -> io::Result<File> {
    let pinned = lower.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let node = Node::of_stat(&stat_fd(pinned.as_fd())?);
    if node.id != id {
        return Err(Errno::STALE.into());
    }
    let open = || beneath::reopen(pinned.as_fd(), flags);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            chmod(magic(pinned.as_fd()), Mode::from_raw_mode(node.mode | 0o600))?;
            open().map(File::from)
        }
        other => other.map(File::from),
    }
}

/// True for an error that says that somebody else was at work on the path.
fn means_moved(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::EXIST
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::XDEV
                | Errno::NOTEMPTY
                | Errno::STALE
                | Errno::TXTBSY
                | Errno::BUSY
        )
    )
}
