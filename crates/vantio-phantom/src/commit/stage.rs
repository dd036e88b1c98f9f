//! Copying what is new beside where it goes, before anything is changed.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write as _},
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{
        AtFlags, FileType as RawType, Mode, OFlags, fstatvfs, linkat, mkdirat, mknodat, openat, symlinkat,
        syncfs,
    },
};

use super::{
    Clock, CommitError,
    apply::Stopped,
    depot,
    journal::{Journal, Steps},
    meta::Meta,
    plan::{Item, Kind, Plan, Planned, full_host_node},
    steps::{Action, Folder, Id, Step},
};
use crate::changes::{
    FileType, LayerRoot, Node, Readable, Stamp,
    beneath::{Pinned, stat_fd},
    copy_content,
};

/// The depots of a commit.
pub(super) struct Stage<'a> {
    plan: &'a Plan<'a>,
    layers: &'a [LayerRoot],
    depots: HashMap<usize, Pinned>,
    clock: &'a Clock<'a>,
}

impl<'a> Stage<'a> {
    /// Makes the depots that the journal names.
    pub(super) fn new(
        plan: &'a Plan<'a>,
        layers: &'a [LayerRoot],
        journal: &Journal,
        clock: &'a Clock<'a>,
    ) -> Result<Self, Stopped> {
        let mut depots = HashMap::new();
        for (index, layer) in layers.iter().enumerate() {
            let Some(place) = journal.depot(index) else { continue };
            let made = depot::create(place, &journal.folder(), &layer.lower);
            let failed =
                |source| Stopped::failed("cannot stage below", layer.layer.mount_point.as_bytes(), source);
            depots.insert(index, made.map_err(failed)?);
        }
        Ok(Self { plan, layers, depots, clock })
    }

    /// The depot of a layer.
    pub(super) fn depot(&self, layer: usize) -> io::Result<&Pinned> {
        self.depots.get(&layer).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Copies every new file, and says what the steps are.
    pub(super) fn fill(&self) -> Result<Steps, Stopped> {
        self.check_space()?;
        for item in &self.plan.items {
            self.clock.tick()?;
            self.copy(item).map_err(|source| Stopped::failed("cannot copy", &item.change.path, source))?;
        }
        let folders = self.plan.items.iter().filter(|item| is_dir(item)).map(|item| self.folder(item));
        let folders = folders.collect::<io::Result<Vec<_>>>();
        let folders = Some(folders.map_err(|source| Stopped::failed("cannot read", b"/", source))?);
        // A directory's times and permissions come after its entries, and may close it.
        for item in self.plan.items.iter().rev().filter(|item| is_dir(item)) {
            self.finish_dir(item)
                .map_err(|source| Stopped::failed("cannot copy", &item.change.path, source))?;
        }
        let mut steps = Vec::new();
        for planned in &self.plan.steps {
            let absolute = self.layers[planned.layer].layer.absolute(&planned.path);
            let step = self.step(planned);
            steps.extend(step.map_err(|source| Stopped::failed("cannot stage", &absolute, source))?);
        }
        let dirs = self.plan.dirs(self.layers);
        let dirs = dirs.map_err(|source| Stopped::failed("cannot read", b"/", source))?;
        for depot in self.depots.values() {
            let synced = depot.at(b"", OFlags::RDONLY | OFlags::DIRECTORY).and_then(|dir| Ok(syncfs(dir)?));
            synced.map_err(|source| Stopped::failed("cannot sync", b"/", source))?;
        }
        let was = self.plan.steps.iter().filter_map(|planned| self.before(planned)).collect();
        Ok(Steps { list: steps, dirs, folders, was, ..Steps::default() })
    }

    fn check_space(&self) -> Result<(), Stopped> {
        for (layer, depot) in &self.depots {
            let copies = self.plan.items.iter().filter(|item| item.layer == *layer && item.link_to.is_none());
            let new: u64 = copies.filter_map(Item::node).map(room).sum();
            let old: u64 = self.plan.steps.iter().filter(|step| step.layer == *layer).map(backup_room).sum();
            let failed = |source| Stopped::failed("cannot measure", b"/", source);
            let fd = depot.at(b"", OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
            let free = fstatvfs(fd).map_err(|error| failed(error.into()))?;
            let available = free.f_bavail.saturating_mul(free.f_frsize);
            // What is written in place may need room twice.
            let needed = new.saturating_add(old.saturating_mul(2));
            // One in memory may not say how large it is (`ramfs`).
            if free.f_blocks > 0 && needed > available {
                return Err(CommitError::NoSpace { needed, available }.into());
            }
        }
        Ok(())
    }

    fn copy(&self, item: &Item<'_>) -> io::Result<()> {
        let depot = self.depot(item.layer)?;
        let (parent, name) = depot.parent(&item.at)?;
        let Some(after) = item.node() else { return Ok(()) };
        if let Some(first) = &item.link_to {
            let (dir, existing) = depot.parent(first)?;
            return Ok(linkat(&dir, existing, &parent, name, AtFlags::empty())?);
        }
        match after.file_type {
            FileType::File => return self.copy_file(item, after, &parent, name),
            FileType::Directory => return Ok(mkdirat(&parent, name, PRIVATE_DIR)?),
            FileType::Symlink => symlinkat(after.target.as_deref().unwrap_or_default(), &parent, name)?,
            FileType::Fifo => mknodat(&parent, name, RawType::Fifo, PRIVATE, 0)?,
            FileType::Socket | FileType::Character | FileType::Block => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        let fd = openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        Meta::of(after).set(fd.as_fd())
    }

    fn copy_file(&self, item: &Item<'_>, after: &Node, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        if let Some(content) = item.replacement.and_then(|replacement| replacement.content.as_ref()) {
            let mut to = create(parent, name)?;
            to.write_all(content)?;
            return Meta::of(after).set(to.as_fd());
        }
        let change = item.change;
        let layer = &self.layers[change.origin.layer];
        let (Some(upper), Some(path)) = (&layer.upper, &change.origin.upper) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (dir, source) = upper.parent(path)?;
        let Some(node) = &change.after else { return Err(io::ErrorKind::NotFound.into()) };
        let from = File::from(Readable { node, dir: dir.as_fd(), name: source }.open()?);
        let to = create(parent, name)?;
        copy_content(&from, &to)?;
        Meta::of(after).set(to.as_fd())
    }

    fn finish_dir(&self, item: &Item<'_>) -> io::Result<()> {
        let Some(after) = item.node() else { return Ok(()) };
        let dir = self.depot(item.layer)?.dir(&item.at)?;
        Meta::of(after).set(dir.as_fd())
    }

    /// A directory that is staged, by where it will be.
    fn folder(&self, item: &Item<'_>) -> io::Result<Folder> {
        let dir = self.depot(item.layer)?.dir(&item.at)?;
        let path = self.layers[item.layer].layer.relative(&item.change.path).unwrap_or_default().to_vec();
        let meta = item.node().map(Meta::of).ok_or(io::ErrorKind::NotFound)?;
        Ok(Folder {
            layer: item.layer,
            path: path.into(),
            node: Node::of_stat(&stat_fd(dir.as_fd())?).id,
            meta,
        })
    }

    fn step(&self, planned: &Planned<'_>) -> io::Result<Option<Step>> {
        let action = match &planned.kind {
            Kind::Take(node) => Action::Take { node: node.id },
            Kind::Remove(node) => {
                let found = full_host_node(&self.layers[planned.layer], &planned.path)?;
                let found = found.ok_or(io::ErrorKind::NotFound)?;
                Action::Remove { node: node.id, meta: Box::new(Meta::of(&found)) }
            }
            Kind::Make(node) => Action::Make { node: node.id, meta: Box::new(Meta::of(node)) },
            Kind::PutMoved(node) => Action::Put { node: node.id },
            Kind::PutNew => Action::Put { node: self.staged(planned)? },
            Kind::Swap(old) => Action::Swap { old: old.id, new: self.staged(planned)? },
            Kind::Rewrite(old) => Action::Rewrite { node: old.id, backup: self.back_up(planned, old)? },
            Kind::Meta(old, new) => {
                let mut new = Meta::of(new);
                new.accessed = old.accessed;
                Action::Meta { node: old.id, old: Box::new(Meta::of(old)), new: Box::new(new) }
            }
            Kind::Link(existing) => {
                let node = self.linked(planned.layer, existing)?.id;
                Action::Link { node, existing: existing.clone().into() }
            }
        };
        let path = planned.path.clone().into();
        Ok(Some(Step { layer: planned.layer, path, slot: planned.slot.clone(), action }))
    }

    /// The file that a step takes away or changes, and its change time.
    fn before(&self, planned: &Planned<'_>) -> Option<(Id, Stamp)> {
        let node = match &planned.kind {
            Kind::Take(node) | Kind::Swap(node) | Kind::Rewrite(node) | Kind::Meta(node, _) => {
                (*node).clone()
            }
            Kind::Link(existing) => self.linked(planned.layer, existing).ok()?,
            Kind::Remove(_) | Kind::Make(_) | Kind::PutMoved(_) | Kind::PutNew => return None,
        };
        (!node.is_dir()).then_some((node.id, node.changed))
    }

    /// The file that a step gives another name. It may stand at its new path only after a rename.
    fn linked(&self, layer: usize, existing: &[u8]) -> io::Result<Node> {
        let layer = &self.layers[layer];
        let stat = layer.lower.stat(&self.plan.now(&layer.layer, existing))?;
        Ok(Node::of_stat(&stat.ok_or(io::ErrorKind::NotFound)?))
    }

    fn staged(&self, planned: &Planned<'_>) -> io::Result<Id> {
        let stat = self.depot(planned.layer)?.stat(planned.slot.as_bytes())?;
        Ok(Node::of_stat(&stat.ok_or(io::ErrorKind::NotFound)?).id)
    }

    /// Keeps the content of a file that will be written in place.
    fn back_up(&self, planned: &Planned<'_>, old: &Node) -> io::Result<String> {
        let backup = format!("{}-old", planned.slot);
        let layer = &self.layers[planned.layer];
        let path = self.plan.now(&layer.layer, &planned.path);
        let (dir, name) = layer.lower.parent(&path)?;
        let from = File::from(Readable { node: old, dir: dir.as_fd(), name }.open()?);
        let depot = self.depot(planned.layer)?.dir(b"")?;
        let to = create(&depot, backup.as_bytes())?;
        copy_content(&from, &to)?;
        Meta::of(old).set(to.as_fd())?;
        Ok(backup)
    }
}

fn create(parent: &OwnedFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(parent, name, flags, PRIVATE)?))
}

fn is_dir(item: &Item<'_>) -> bool {
    item.node().is_some_and(Node::is_dir)
}

/// What a copy takes at most: holes are kept.
fn room(node: &Node) -> u64 {
    node.allocated.max(BLOCK)
}

fn backup_room(step: &Planned<'_>) -> u64 {
    match &step.kind {
        Kind::Rewrite(old) => room(old),
        _ => 0,
    }
}

/// What a directory or an empty file costs at most.
const BLOCK: u64 = 4096;
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIR: Mode = Mode::RWXU;
