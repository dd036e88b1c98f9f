//! Saves what a run's layers have before it changes, from the first checkpoint on.
//!
//! Whoever performs a change passes the gate ([`Keeper::enter`]), says what is about to change, and lets go of the
//! gate when it is done. A checkpoint, and the move of a directory, have the gate for themselves: so what
//! is said of a name stays true until the change is made.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rustix::{fd::AsFd as _, fs::OFlags};

use super::{
    Cause, Checkpoint, CheckpointError, VERSION,
    record::{Move, Place},
    segment::Level,
    shelf::{self, Epoch},
    upper::{Ground, NotesSource, open_to_read},
    writers::Writers,
};
use crate::cgroup::Cgroup;
use crate::changes::{Layer, Node, beneath, names_in};

/// What is about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// What a name stands for: it is given, taken or replaced.
    Name,
    /// The content of a file, maybe many times: it is opened for writing.
    Content,
    /// Mode, owner, times or attributes.
    Metadata,
}

/// Whether the run stands still already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Yes,
    No,
}

/// What a keeper is made from.
pub(crate) struct Setup {
    /// The run's folder.
    pub(crate) run: PathBuf,
    pub(crate) layers: Vec<Layer>,
    /// Paths, as the run sees them, at and below which no layer is.
    pub(crate) outside: Vec<Vec<u8>>,
    pub(crate) notes: NotesSource,
    /// The control group of the run's processes, where there is one.
    pub(crate) cgroup: Option<Cgroup>,
}

/// Keeps the checkpoints of one run that lives.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    pub(super) grounds: Vec<Ground>,
    outside: Vec<Vec<u8>>,
    pub(super) notes: NotesSource,
    cgroup: Option<Cgroup>,
    gate: RwLock<()>,
    state: Mutex<State>,
    /// What the next checkpoint will be, once it is laid ahead.
    next: Mutex<Option<Epoch>>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    labels: HashMap<String, u64>,
    epoch: Option<Epoch>,
    writers: Writers,
    /// Changes since the last checkpoint.
    changes: u64,
}

impl Keeper {
    /// Opens the layers of a run that has no checkpoint yet. Called where the host's mounts are seen.
    pub(crate) fn open(setup: Setup) -> io::Result<Self> {
        let Setup { run, layers, outside, notes, cgroup } = setup;
        Ok(Self {
            grounds: Ground::open_all(&run, &layers)?,
            folder: shelf::folder(&run),
            outside,
            notes,
            cgroup,
            gate: RwLock::default(),
            state: Mutex::default(),
            next: Mutex::default(),
        })
    }

    /// Waits until no checkpoint is being taken; none is taken as long as the result lives.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody changes anything; nobody does as long as the result lives.
    pub(crate) fn enter_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing has to be saved before this change. To be asked within the gate.
    pub(crate) fn is_saved(&self, path: &[u8], change: Change) -> bool {
        let Some((layer, path)) = self.place(path) else { return true };
        let mut state = self.lock();
        state.changes += 1;
        if change == Change::Content {
            state.writers.opened(Place::new(layer, path));
        }
        let Some(epoch) = &state.epoch else { return true };
        let is_known = change == Change::Name || epoch.names.inodes.is_empty();
        match (epoch.names.level(layer, path), change) {
            (Some(Level::Content), Change::Content | Change::Metadata)
            | (Some(Level::Metadata), Change::Metadata) => true,
            (Some(Level::Directory), _) => is_known,
            _ => is_known && epoch.names.covers(layer, path),
        }
    }

    /// Whether what is at the absolute `path`, as the run sees it, is in a layer.
    pub(crate) fn keeps(&self, path: &[u8]) -> bool {
        self.place(path).is_some()
    }

    /// Saves what is at the absolute `path`, as the run sees it, before it changes. Within the gate.
    pub(crate) fn before(&self, path: &[u8], change: Change) -> io::Result<()> {
        self.save(path, Work::Touch(change))
    }

    /// As [`Keeper::before`], for the removal or replacement of a directory.
    pub(crate) fn before_removal(&self, path: &[u8]) -> io::Result<()> {
        self.lock().changes += 1;
        self.save(path, Work::Remove)
    }

    /// Before what is at `from` gets another name. Within the gate.
    pub(crate) fn before_link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let places = self.place(from).zip(self.place(to));
        if let Some(((layer, from), (other, to))) = places {
            self.lock().writers.linked(&Place::new(layer, from), &Place::new(other, to));
        }
        self.save(from, Work::Link)?;
        self.before(to, Change::Name)
    }

    /// Before a nameless file that may be open for writing gets its first name. Within the gate.
    pub(crate) fn before_naming(&self, path: &[u8]) -> io::Result<()> {
        if let Some((layer, path)) = self.place(path) {
            self.lock().writers.opened(Place::new(layer, path));
        }
        self.before(path, Change::Name)
    }

    /// Before a rename of a directory, or an exchange with one, whoever calls having the gate for itself.
    pub(crate) fn before_move(&self, from: &[u8], to: &[u8], exchanges: bool) -> io::Result<()> {
        let (Some((layer, from)), Some((other, to))) = (self.place(from), self.place(to)) else {
            return Ok(());
        };
        if layer != other {
            // The kernel refuses it.
            return Ok(());
        }
        match &mut self.lock().epoch {
            Some(epoch) => Saver { keeper: self, epoch }.rename(layer, (from, to), exchanges),
            None => Ok(()),
        }
    }

    /// After a rename of anything.
    pub(crate) fn renamed(&self, from: &[u8], to: &[u8], exchanged: bool) {
        let (Some((layer, from)), Some((other, to))) = (self.place(from), self.place(to)) else { return };
        let (from, to) = (Place::new(layer, from), Place::new(other, to));
        let writers = &mut self.lock().writers;
        if exchanged {
            let aside = Place::new(usize::MAX, b"aside");
            writers.renamed(&to, &aside);
            writers.renamed(&from, &to);
            writers.renamed(&aside, &from);
        } else {
            writers.renamed(&from, &to);
        }
    }

    /// After what [`Keeper::before_move`] announced, whether it was done or failed.
    pub(crate) fn after_move(&self, was_carried: bool) -> io::Result<()> {
        self.lock().epoch.as_mut().map_or(Ok(()), |epoch| epoch.carried(was_carried))
    }

    /// How many changes were announced since the last checkpoint.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Whether there is a checkpoint to go back to.
    pub(crate) fn is_active(&self) -> bool {
        self.lock().epoch.is_some()
    }

    /// Whether nothing changed since the last checkpoint.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.lock().epoch.as_ref().is_some_and(|epoch| epoch.names.is_empty())
    }

    /// A file was made, or opened for writing otherwise than by [`Keeper::is_saved`].
    pub(crate) fn opened(&self, path: &[u8]) {
        if let Some((layer, path)) = self.place(path) {
            self.lock().writers.opened(Place::new(layer, path));
        }
    }

    /// Whether [`Keeper::forget_closed`] would save whoever takes the next checkpoint much work.
    pub(crate) fn has_many_writers(&self) -> bool {
        self.lock().writers.are_many()
    }

    /// Forgets files that nobody has open for writing any more; whoever calls has the gate for itself.
    pub(crate) fn forget_closed(&self) {
        let writers = &mut self.lock().writers;
        match writers.open(&self.grounds) {
            Ok(open) => writers.keep(open),
            // Whoever takes a checkpoint looks again, and says what stands in the way.
            Err(_) => writers.keep_all(),
        }
    }

    /// Makes the folder and the files of the next checkpoint, which wait for the disk.
    pub(crate) fn lay_ahead(&self) {
        let mut next = self.next();
        if next.is_none() {
            // Whoever takes the checkpoint tries again.
            *next = Epoch::begin(&self.folder).ok();
        }
    }

    /// Takes a checkpoint; whoever calls has the gate for itself.
    pub(crate) fn take(
        &self,
        label: Option<&str>,
        cause: Cause,
        standing: Standing,
    ) -> Result<Checkpoint, CheckpointError> {
        let mut state = self.lock();
        let id = state.last + 1;
        if let Some((label, id)) = label.and_then(|label| state.labels.get_key_value(label)) {
            return Err(CheckpointError::LabelTaken { label: label.clone(), id: *id });
        }
        let failed = |source| CheckpointError::failed("take a checkpoint in", &self.folder, source);
        let mut next = self.next();
        let laid = next.take().filter(|epoch| epoch.is_in(&self.folder));
        let mut epoch = laid.map_or_else(|| Epoch::begin(&self.folder), Ok).map_err(failed)?;
        let open = self.copy_open(&state.writers, &mut epoch, standing).map_err(failed)?;
        let checkpoint = Checkpoint {
            version: VERSION,
            id,
            label: label.map(str::to_owned),
            cause,
            time: shelf::now(),
            copied: open.len() as u64,
            moving: epoch.moving,
            commits: 0,
        };
        epoch.publish(&self.folder, &checkpoint).map_err(failed)?;
        state.writers.keep(open);
        state.labels.extend(label.map(|label| (label.to_owned(), id)));
        (state.last, state.epoch, state.changes) = (id, Some(epoch), 0);
        Ok(checkpoint)
    }

    /// Saves the files that are open for writing, and returns which. Nobody writes meanwhile, where that can be had.
    fn copy_open(
        &self,
        writers: &Writers,
        epoch: &mut Epoch,
        standing: Standing,
    ) -> io::Result<BTreeSet<Place>> {
        let open = writers.open(&self.grounds)?;
        let _still =
            self.cgroup.as_ref().filter(|_| !open.is_empty() && standing == Standing::No).map(Cgroup::still);
        for place in &open {
            let mut saver = Saver { keeper: self, epoch };
            saver.touch(place.layer, place.path.as_bytes(), Change::Content)?;
        }
        Ok(open)
    }

    fn save(&self, path: &[u8], work: Work) -> io::Result<()> {
        let Some((layer, path)) = self.place(path) else { return Ok(()) };
        let mut state = self.lock();
        let Some(epoch) = &mut state.epoch else { return Ok(()) };
        let mut saver = Saver { keeper: self, epoch };
        match work {
            Work::Touch(change) => saver.touch(layer, path, change),
            Work::Remove => saver.remove(layer, path),
            Work::Link => saver.link(layer, path),
        }
    }

    /// The layer that `path` is in, and its path there.
    fn place<'p>(&self, path: &'p [u8]) -> Option<(usize, &'p [u8])> {
        let below = |point: &[u8]| beneath::is_within(path, point).then_some(point.len());
        let layers = self.grounds.iter().enumerate();
        let (length, layer) =
            layers.filter_map(|(index, ground)| Some((below(&ground.mount_point)?, index))).max()?;
        // What stands in a layer and is none may hold one again.
        if self.outside.iter().filter_map(|outside| below(outside)).any(|outside| outside > length) {
            return None;
        }
        let rest = &path[if length == 1 { 0 } else { length }..];
        Some((layer, beneath::below_root(rest)))
    }

    fn next(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be saved of a name.
#[derive(Clone, Copy)]
enum Work {
    Touch(Change),
    Remove,
    Link,
}

/// Writes down what is at names, in the journal of the last checkpoint.
pub(super) struct Saver<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) epoch: &'a mut Epoch,
}

impl Saver<'_> {
    /// Before a directory is removed or replaced: what an overlay keeps in it goes with it.
    fn remove(&mut self, layer: usize, path: &[u8]) -> io::Result<()> {
        if self.epoch.names.covers(layer, path) {
            return Ok(());
        }
        let ground = self.ground(layer)?;
        if !ground.node(path)?.is_some_and(|node| node.is_dir()) {
            return self.touch(layer, path, Change::Name);
        }
        let listed = ground.root.at(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let node = Node::of_stat(&beneath::stat_fd(listed.as_fd())?);
        let names = names_in(&open_to_read(listed.as_fd(), &node)?)?;
        self.touch(layer, path, Change::Metadata)?;
        for name in names {
            self.touch(layer, &beneath::join(path, &name), Change::Name)?;
        }
        if self.epoch.names.gone.insert((layer, path.to_vec())) {
            let notes = self.keeper.notes.read(&self.keeper.grounds, layer, path)?;
            self.epoch.gone(Place::new(layer, path), notes)?;
        }
        Ok(())
    }

    fn rename(&mut self, layer: usize, (from, to): (&[u8], &[u8]), exchanges: bool) -> io::Result<()> {
        let old = self.moving_directory(layer, from, to)?;
        let other = if exchanges { self.moving_directory(layer, to, from)? } else { None };
        let ((from, node), (to, other)) = match (old, other) {
            (Some(node), other) => ((from, node), (to, other)),
            (None, Some(node)) => ((to, node), (from, None)),
            (None, None) => {
                self.touch(layer, from, Change::Name)?;
                return self.remove(layer, to);
            }
        };
        for path in [from, to] {
            self.touch_parent(layer, path)?;
        }
        if other.is_none() {
            self.remove(layer, to)?;
        }
        let read = |path| self.keeper.notes.read(&self.keeper.grounds, layer, path);
        let notes = read(from)?;
        let other = other.map(|node| read(to).map(|notes| (node.id, notes))).transpose()?;
        let by = Move {
            layer,
            from: from.into(),
            to: to.into(),
            node: node.id,
            notes,
            other,
            exchanged: exchanges,
        };
        self.epoch.moved(by)
    }

    /// The directory of the upper layer at `path`, where its names cannot be told by what is written down once it is
    /// at `to`: it was there before they began to be, or another was at `to` then, where nothing is said of what it brings.
    fn moving_directory(&self, layer: usize, path: &[u8], to: &[u8]) -> io::Result<Option<Node>> {
        if self.epoch.names.covers(layer, path) && !self.was_directory(layer, to)? {
            return Ok(None);
        }
        Ok(self.ground(layer)?.node(path)?.filter(Node::is_dir))
    }

    /// Whether a directory was at `path` before the names began to be written down.
    fn was_directory(&self, layer: usize, path: &[u8]) -> io::Result<bool> {
        match self.epoch.names.level(layer, path) {
            Some(level) => Ok(level == Level::Directory),
            None if self.epoch.names.covers(layer, path) => Ok(false),
            None => Ok(self.ground(layer)?.node(path)?.is_some_and(|node| node.is_dir())),
        }
    }

    pub(super) fn touch_parent(&mut self, layer: usize, path: &[u8]) -> io::Result<()> {
        let (parent, _) = beneath::split(path);
        self.touch(layer, parent, Change::Metadata)
    }

    pub(super) fn ground(&self, layer: usize) -> io::Result<&Ground> {
        self.keeper.grounds.get(layer).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
