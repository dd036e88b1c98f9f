//! Checkpoints with processes: a run that lives goes back to one, and its process goes on from there.
//!
//! At a checkpoint the process that acts is forked, copy-on-write, and the fork, its twin, is kept: it stands still, in
//! nobody's call, until the run goes back to that checkpoint. Then everything that came since is ended, the files become
//! what they were ([`files`]), a twin of the twin is kept in its place, and the twin goes on. The original stands
//! in for it: it waits, and ends as the twin ends. What cannot be had twice is not kept at all ([`carry`]).

mod carry;
mod files;
mod line;
mod return_to;
mod room;
mod stand;
mod take;

use std::{
    collections::BTreeSet,
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::{self, Errno},
    process::Pid,
};

use super::look::Obstacle;
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    supervisor::{Plane, request::Request},
};

/// What workers, and whoever asks for checkpoints, know of twins.
#[derive(Debug)]
pub(crate) struct Twins {
    init: Pid,
    /// Why this run has none.
    never: Option<&'static str>,
    world: OnceLock<World>,
    thread: Mutex<Option<Sender<Job>>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct World {
    plane: Weak<Plane>,
    /// The run's mount namespace.
    namespace: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    /// The twins, as the run numbers them.
    hidden: BTreeSet<i32>,
    /// Who is sent to make a call that nobody answers.
    sent: Option<Pid>,
}

/// What the thread that keeps twins is told.
enum Job {
    Take(Option<String>, SyncSender<Result<Checkpoint, CheckpointError>>),
    Kept(SyncSender<Vec<u64>>),
    /// Everything is to stand still, for a return to this checkpoint.
    Stop(u64, SyncSender<Result<(), CheckpointError>>),
    /// The steps of the return; without them there is none any more.
    Return(Option<(File, OwnedFd)>, SyncSender<Result<(), CheckpointError>>),
    Met(Request),
}

impl Twins {
    /// For the run whose process 1 is `init`.
    pub(crate) fn new(init: Pid, never: Option<&'static str>) -> Self {
        Self { init, never, world: OnceLock::new(), thread: Mutex::default(), state: Mutex::default() }
    }

    /// Tells who answers the run.
    pub(crate) fn serve(&self, plane: &Arc<Plane>, namespace: OwnedFd) {
        // Said once.
        let _ = self.world.set(World { plane: Arc::downgrade(plane), namespace });
    }

    /// Takes a checkpoint with a twin. The calling thread sees the host's mounts.
    pub(crate) fn take(self: &Arc<Self>, label: Option<&str>) -> Result<Checkpoint, CheckpointError> {
        if let Some(why) = self.never {
            return Err(not_kept(why));
        }
        self.start().map_err(|error| not_kept(format!("no thread could be started: {error}")))?;
        let label = label.map(str::to_owned);
        self.ask(|answer| Job::Take(label, answer)).unwrap_or_else(|| Err(not_kept("the run is over")))
    }

    /// The checkpoints that have one.
    pub(crate) fn kept(&self) -> Vec<u64> {
        self.ask(Job::Kept).unwrap_or_default()
    }

    /// Goes back to a checkpoint. The calling thread sees the host's mounts.
    pub(crate) fn go_back(
        &self,
        id: u64,
        steps: &mut dyn FnMut() -> Option<(File, OwnedFd)>,
    ) -> Result<(), CheckpointError> {
        let none = || Err(not_brought("it keeps no processes"));
        self.ask(|answer| Job::Stop(id, answer)).unwrap_or_else(none)?;
        let steps = steps();
        self.ask(|answer| Job::Return(steps, answer)).unwrap_or_else(none)
    }

    /// Takes a call over that a thread was sent to make.
    pub(crate) fn meets(&self, request: &Request) -> bool {
        let mut state = self.lock();
        let is_sent = state.sent == Some(request.tid());
        if is_sent {
            state.sent = None;
        }
        is_sent && self.tell(Job::Met(request.clone()))
    }

    /// Whether a process of the run with this number is a twin, which nobody may signal.
    pub(crate) fn is_kept(&self, number: i32) -> bool {
        self.lock().hidden.contains(&number)
    }

    fn ask<T>(&self, job: impl FnOnce(SyncSender<T>) -> Job) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        if self.tell(job(answer)) { answered.recv().ok() } else { None }
    }

    fn tell(&self, job: Job) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, where it is not there.
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        let World { plane, namespace } = self.world.get().ok_or(Errno::SRCH)?;
        let plane = plane.upgrade().ok_or(Errno::SRCH)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, "/proc", flags, Mode::empty())?;
        let namespace = namespace.try_clone().map_err(|_| Errno::MFILE)?;
        let (jobs, received) = channel();
        let (ready, started) = sync_channel(1);
        let shared = Arc::clone(self);
        thread::Builder::new()
            .name("vantio-twins".into())
            .spawn(move || {
                let entered = Plane::see_run(namespace.as_fd()).and_then(|()| super::fork::limit());
                let is_ready = entered.is_ok();
                let _ = ready.send(entered);
                if is_ready {
                    room::Room::new(plane, shared, received, proc).work();
                }
            })
            .map_err(|_| Errno::AGAIN)?;
        started.recv().map_err(|_| Errno::IO)??;
        *thread = Some(jobs);
        Ok(())
    }
}

fn not_kept(why: impl Into<String>) -> CheckpointError {
    CheckpointError::Processes { what: "the processes cannot be kept", why: why.into() }
}

fn not_brought(why: impl Into<String>) -> CheckpointError {
    CheckpointError::Processes { what: "the processes cannot be brought back", why: why.into() }
}

impl From<Obstacle> for CheckpointError {
    fn from(obstacle: Obstacle) -> Self {
        not_kept(obstacle.to_string())
    }
}
