//! Checkpoints of the run that this supervisor serves.
//!
//! What is about to change is told before it does, and saved by a thread of its own: it sees the host's mounts, and
//! may read what the run's user may not. Paths are those of the moment, read again within the gate.

use std::{
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{Arc, RwLockReadGuard, RwLockWriteGuard},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, openat, statat, statx},
    io::{self, Errno},
    process::Pid,
};

use super::{
    Plane,
    request::Request,
    resolve::{Entry, Object, join},
};
use crate::{
    Oracle, Spec,
    census::DELETED,
    cgroup::Cgroup,
    changes::RunFolder,
    checkpoint::{
        Automatic, Cause, Change, Checkpoint, CheckpointError, Checkpoints, Keeper, NotesSource, STEPS,
        Setup, Standing, steps_folder,
    },
    net::Room,
    speculation::Twins,
    sys::lease,
};

/// What it takes besides.
pub(crate) struct Beginning {
    pub(crate) privileged: bool,
    pub(crate) notes: NotesSource,
    pub(crate) cgroup: Option<Cgroup>,
    /// Process 1 of the run.
    pub(crate) init: Pid,
}

/// The keeper of the run's checkpoints, and who works for it.
pub(crate) struct Keeping {
    keeper: Arc<Keeper>,
    /// Sees the host's mounts.
    host: Arc<Room>,
    automatic: Automatic,
    pub(super) twins: Arc<Twins>,
}

impl std::fmt::Debug for Keeping {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.keeper.fmt(formatter)
    }
}

/// While this lives no checkpoint is taken: what was told is about to be done.
pub(super) struct Passage<'a> {
    _gate: RwLockReadGuard<'a, ()>,
}

/// As [`Passage`], for a rename.
pub(super) struct Renaming<'a> {
    plane: &'a Plane,
    from: Vec<u8>,
    to: Vec<u8>,
    exchanges: bool,
    moves: bool,
    _gate: Gate<'a>,
}

enum Gate<'a> {
    /// With others.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// A directory moves, and with it the names of all below.
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl Keeping {
    /// Has `host`, which sees the host's mounts as the calling thread does, work for it.
    pub(super) fn start(
        spec: &Spec,
        beginning: Beginning,
        oracle: &Arc<dyn Oracle>,
        host: Arc<Room>,
    ) -> std::io::Result<Arc<Self>> {
        let Beginning { privileged, notes, cgroup, init } = beginning;
        lease::ignore_breaks();
        let layers = RunFolder::new(&spec.folder, 0).layers().map_err(std::io::Error::other)?;
        let own: &[&[u8]] = if privileged { OWN } else { OWN_OF_USER };
        let outside = own.iter().map(|path| path.to_vec()).collect();
        let keeper =
            Arc::new(Keeper::open(Setup { run: spec.folder.clone(), layers, outside, notes, cgroup })?);
        let twins = Arc::new(Twins::new(init, without_twins(spec)));
        let taker = Taker {
            keeper: Arc::clone(&keeper),
            oracle: Arc::clone(oracle),
            twins: Arc::clone(&twins),
            folder: spec.folder.clone(),
        };
        oracle.attach_checkpoints(Arc::new(taker));
        Ok(Arc::new(Self { keeper, host, automatic: spec.checkpoints, twins }))
    }

    /// Before a name is given to a local socket: what `path` is at this moment.
    pub(super) fn announce(&self, path: Vec<u8>) -> io::Result<()> {
        let _gate = self.keeper.enter();
        if self.keeper.is_saved(&path, Change::Name) {
            return Ok(());
        }
        self.save(move |keeper| keeper.before(&path, Change::Name))
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Has the thread do `work`.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Keeper) -> T + Send + 'static,
    ) -> io::Result<T> {
        let keeper = Arc::clone(&self.keeper);
        self.host.call(move || Ok(work(&keeper)))
    }

    /// Has the thread make what the next checkpoint will need, while nobody waits for it.
    fn lay_ahead(&self) {
        // Nothing depends on it.
        let keeper = Arc::clone(&self.keeper);
        let _ = self.host.tell(move || keeper.lay_ahead());
    }

    /// What could not be saved must not change.
    pub(super) fn save(
        &self,
        work: impl FnOnce(&Keeper) -> std::io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        // As long as there is no checkpoint, nothing is read or written for it.
        let saved = if self.keeper.is_active() { self.ask(work)? } else { work(&self.keeper) };
        saved.map_err(|error| super::unkept(&error))
    }
}

/// Takes checkpoints for others than the workers.
struct Taker {
    keeper: Arc<Keeper>,
    oracle: Arc<dyn Oracle>,
    twins: Arc<Twins>,
    folder: PathBuf,
}

impl Checkpoints for Taker {
    fn take(&self, label: Option<&str>, cause: Cause) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = {
            let _gate = self.keeper.enter_alone();
            self.keeper.take(label, cause, Standing::No)?
        };
        self.oracle.checkpointed(&checkpoint);
        Ok(checkpoint)
    }

    fn take_whole(&self, label: Option<&str>) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = self.twins.take(label)?;
        self.oracle.checkpointed(&checkpoint);
        Ok(checkpoint)
    }

    fn lay_ahead(&self) {
        self.keeper.lay_ahead();
    }

    fn kept(&self) -> Vec<u64> {
        self.twins.kept()
    }

    fn go_back(&self, id: u64, compare: &mut dyn FnMut() -> bool) -> Result<(), CheckpointError> {
        let folder = steps_folder(&self.folder);
        self.twins.go_back(id, &mut || {
            if !compare() {
                return None;
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(CWD, &folder, flags, Mode::empty()).ok()?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Some((openat(&folder, STEPS, flags, Mode::empty()).ok()?.into(), folder))
        })
    }

    fn hold(&self, work: &mut dyn FnMut()) {
        let _gate = self.keeper.enter_alone();
        work();
    }
}

impl Plane {
    /// Before a name is given, taken or replaced that is no directory's.
    pub(super) fn naming(&self, entry: &Entry) -> io::Result<Passage<'_>> {
        self.pass(|| self.path_now(entry), Change::Name)
    }

    /// Before a file is made.
    pub(super) fn making(&self, entry: &Entry, writes: bool) -> io::Result<Passage<'_>> {
        let passage = self.naming(entry)?;
        if writes && self.fork_going_on().is_none() {
            self.keeping.keeper.opened(&self.path_now(entry)?);
        }
        Ok(passage)
    }

    /// Before an object changes.
    pub(super) fn changing(&self, object: &Object, change: Change) -> io::Result<Passage<'_>> {
        let keeping = &self.keeping;
        if self.fork_going_on().is_some() {
            return Ok(Passage { _gate: keeping.keeper.enter() });
        }
        self.take_if_due()?;
        let gate = keeping.keeper.enter();
        let path = self.view.path_of(object.fd.as_fd())?;
        if path.ends_with(DELETED) && is_nameless(object, &path)? {
            // Nobody can give its content back, and a checkpoint may have it for what had its name.
            let links = statx(&object.fd, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?.stx_nlink;
            let may_be_kept = change == Change::Content && links > 0 && keeping.keeper.is_active();
            return if may_be_kept { Err(Errno::STALE) } else { Ok(Passage { _gate: gate }) };
        }
        if !keeping.keeper.is_saved(&path, change) {
            keeping.save(move |keeper| keeper.before(&path, change))?;
        }
        Ok(Passage { _gate: gate })
    }

    /// Before a directory is removed.
    pub(super) fn removing(&self, entry: &Entry) -> io::Result<Passage<'_>> {
        if self.fork_going_on().is_some() {
            return Ok(Passage { _gate: self.keeping.keeper.enter() });
        }
        self.take_if_due()?;
        let gate = self.keeping.keeper.enter();
        let path = self.path_now(entry)?;
        self.keeping.save(move |keeper| keeper.before_removal(&path))?;
        Ok(Passage { _gate: gate })
    }

    /// Before an object gets another name.
    pub(super) fn linking(&self, source: &Object, entry: &Entry) -> io::Result<Passage<'_>> {
        self.take_if_due()?;
        let gate = self.keeping.keeper.enter();
        let to = self.path_now(entry)?;
        let from = self.view.path_of(source.fd.as_fd())?;
        if from.ends_with(DELETED) && is_nameless(source, &from)? || source.data.stx_nlink == 0 {
            self.keeping.save(move |keeper| keeper.before_naming(&to))?;
        } else {
            self.keeping.save(move |keeper| keeper.before_link(&from, &to))?;
        }
        Ok(Passage { _gate: gate })
    }

    /// Before a rename.
    pub(super) fn renaming(&self, names: (&Entry, &Entry), exchanges: bool) -> io::Result<Renaming<'_>> {
        if self.fork_going_on().is_none() {
            self.take_if_due()?;
        }
        let (from, to) = names;
        let moves = is_directory(from)? || exchanges && is_directory(to)?;
        let keeper = &self.keeping.keeper;
        let gate = if moves {
            Gate::Alone { _guard: keeper.enter_alone() }
        } else {
            Gate::Shared { _guard: keeper.enter() }
        };
        if moves != (is_directory(from)? || exchanges && is_directory(to)?) {
            return Err(Errno::BUSY);
        }
        let (old, new) = (self.path_now(from)?, self.path_now(to)?);
        if self.fork_going_on().is_some() {
            return Ok(Renaming { plane: self, from: old, to: new, exchanges, moves: false, _gate: gate });
        }
        let renaming =
            Renaming { plane: self, from: old.clone(), to: new.clone(), exchanges, moves, _gate: gate };
        if moves {
            self.keeping.save(move |keeper| keeper.before_move(&old, &new, exchanges))?;
        } else {
            for path in [old, new] {
                if !keeper.is_saved(&path, Change::Name) {
                    self.keeping.save(move |keeper| keeper.before(&path, Change::Name))?;
                }
            }
        }
        Ok(renaming)
    }

    /// Takes the checkpoint that the policy asks for before a tool of the agent's starts.
    pub(super) fn checkpoint_before(&self, request: &Request) -> io::Result<()> {
        if self.fork_going_on().is_some() {
            return Ok(());
        }
        if self.keeping.automatic.exec && self.is_tool(request)? { self.take(Cause::Exec) } else { Ok(()) }
    }

    /// Whether the caller's parent is the run's first program, whose own is init.
    fn is_tool(&self, request: &Request) -> io::Result<bool> {
        let parent = request.status_field("PPid:").ok_or(Errno::SRCH)?;
        let above = request.status_field_of(&parent, "PPid:");
        Ok(above.and_then(|above| above.parse().ok()) == Some(self.init.as_raw_pid()))
    }

    fn take_if_due(&self) -> io::Result<()> {
        if self.keeping.keeper.has_many_writers() {
            let _gate = self.keeping.keeper.enter_alone();
            self.keeping.ask(Keeper::forget_closed)?;
            // Who changes much may go back.
            self.keeping.lay_ahead();
        }
        match self.keeping.automatic.writes {
            Some(writes) if self.keeping.keeper.changes() >= writes => self.take(Cause::Writes),
            _ => Ok(()),
        }
    }

    /// Takes a checkpoint, unless the last one still says what there is.
    fn take(&self, cause: Cause) -> io::Result<()> {
        let taken = {
            let _gate = self.keeping.keeper.enter_alone();
            if self.keeping.keeper.is_unchanged() {
                return Ok(());
            }
            self.keeping.ask(move |keeper| keeper.take(None, cause, Standing::No))?
        };
        self.keeping.lay_ahead();
        // Where the policy asks for a checkpoint, nothing goes on without it.
        self.oracle.checkpointed(&taken.map_err(|_| Errno::NOSPC)?);
        Ok(())
    }

    fn pass(&self, path: impl Fn() -> io::Result<Vec<u8>>, change: Change) -> io::Result<Passage<'_>> {
        if self.fork_going_on().is_some() {
            return Ok(Passage { _gate: self.keeping.keeper.enter() });
        }
        self.take_if_due()?;
        let gate = self.keeping.keeper.enter();
        let path = path()?;
        if !self.keeping.keeper.is_saved(&path, change) {
            self.keeping.save(move |keeper| keeper.before(&path, change))?;
        }
        Ok(Passage { _gate: gate })
    }

    /// Where a name is at this moment: what holds it may have moved since it was resolved.
    fn path_now(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        Ok(join(&self.view.path_of(entry.parent.fd.as_fd())?, &entry.name))
    }
}

impl Renaming<'_> {
    /// Tells whether it was done.
    pub(super) fn renamed(self, was_done: bool) -> io::Result<()> {
        let keeping = &self.plane.keeping;
        if was_done && self.plane.fork_going_on().is_none() {
            keeping.keeper.renamed(&self.from, &self.to, self.exchanges);
        }
        if self.moves { keeping.save(move |keeper| keeper.after_move(was_done)) } else { Ok(()) }
    }
}

/// Why a run never has a twin.
fn without_twins(spec: &Spec) -> Option<&'static str> {
    if spec.tracks_flows {
        Some("the policy follows labels or an order")
    } else if spec.frozen.is_some() {
        Some("the run sees a copy of its workspace")
    } else {
        None
    }
}

/// Whether the kernel's mark in the path of an object is one, and no part of its name.
fn is_nameless(object: &Object, path: &[u8]) -> io::Result<bool> {
    let named = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO);
    let data = statx(&object.fd, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    Ok(!named.is_ok_and(|named| {
        (named.stx_ino, named.stx_dev_major, named.stx_dev_minor)
            == (data.stx_ino, data.stx_dev_major, data.stx_dev_minor)
    }))
}

fn is_directory(entry: &Entry) -> io::Result<bool> {
    match statat(&entry.parent.fd, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(data) => Ok(FileType::from_raw_mode(data.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a run has of its own, and no layer holds.
const OWN: &[&[u8]] = &[b"/dev", b"/proc", b"/sys", b"/tmp"];
const OWN_OF_USER: &[&[u8]] = &[b"/dev", b"/proc", b"/sys", b"/tmp", b"/var/tmp"];
