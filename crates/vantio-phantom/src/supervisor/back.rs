//! What a return to a checkpoint, with processes, needs of the plane.

use std::{
    sync::{RwLockWriteGuard, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::io::{self, Errno};

use super::{Plane, request::Request};
use crate::{
    checkpoint::{Cause, Change, Checkpoint, CheckpointError, Standing},
    speculation::Speculator,
};

/// While this lives, a call is being answered.
pub(super) struct Answering<'a>(&'a Plane);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Plane {
    pub(super) fn count_in(&self) -> Answering<'_> {
        self.answering.fetch_add(1, Ordering::AcqRel);
        Answering(self)
    }

    /// Takes a call over that a process was sent to make.
    pub(super) fn meets(&self, request: &Request) -> bool {
        self.keeping.twins.meets(request)
            || self.speculator.as_ref().is_some_and(|speculator| speculator.meets(request))
    }

    /// Whether a process of the run with this number stands still for a checkpoint.
    pub(super) fn is_kept(&self, number: i32) -> bool {
        self.keeping.twins.is_kept(number)
    }

    /// Whether the run goes on as a fork while a call is held.
    pub(crate) fn is_forking(&self) -> bool {
        self.speculator.as_deref().is_some_and(Speculator::is_forking)
    }

    /// Whether checkpoints keep what is at `path`.
    pub(crate) fn keeps(&self, path: &[u8]) -> bool {
        self.keeping.keeper().keeps(path)
    }

    /// Takes a checkpoint of a run that stands still.
    pub(crate) fn take_checkpoint(&self, label: Option<&str>) -> Result<Checkpoint, CheckpointError> {
        let _gate = self.enter_alone();
        let label = label.map(str::to_owned);
        let taken =
            self.keeping.ask(move |keeper| keeper.take(label.as_deref(), Cause::Asked, Standing::Yes));
        taken.unwrap_or_else(|_| Err(CheckpointError::Lost { what: "the run is over".into() }))
    }

    /// Waits until nobody changes anything; nobody does as long as the result lives.
    pub(crate) fn enter_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.keeping.keeper().enter_alone()
    }

    /// Waits until every call has been answered that was made by somebody who is gone.
    pub(crate) fn await_quiet(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.answering.load(Ordering::Acquire) > 0 {
            if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Before what is at `path` changes because the run goes back. Whoever calls has the gate for itself.
    pub(crate) fn before_going_back(&self, path: &[u8], change: Change) -> io::Result<()> {
        self.note_base(path)?;
        self.save_before(path, change)
    }

    /// As [`Self::before_going_back`], of a directory that is removed.
    pub(crate) fn before_going_back_without(&self, path: &[u8]) -> io::Result<()> {
        self.note_base(path)?;
        self.save_before_removal(path)
    }

    /// Saves what checkpoints have of `path` before that changes. Whoever calls is within the gate.
    pub(super) fn save_before(&self, path: &[u8], change: Change) -> io::Result<()> {
        if self.keeping.keeper().is_saved(path, change) {
            return Ok(());
        }
        let path = path.to_vec();
        self.keeping.save(move |keeper| keeper.before(&path, change))
    }

    /// As [`Self::save_before`], of a directory that is removed.
    pub(super) fn save_before_removal(&self, path: &[u8]) -> io::Result<()> {
        let path = path.to_vec();
        self.keeping.save(move |keeper| keeper.before_removal(&path))
    }

    /// Before a file is opened for writing that was open at the checkpoint.
    pub(crate) fn before_reopening(&self, path: &[u8]) -> io::Result<()> {
        self.before_going_back(path, Change::Content)
    }
}

/// For how long an answer may take to somebody who is gone.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);
