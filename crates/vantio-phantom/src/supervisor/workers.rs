//! The threads that answer the agent's system calls.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use rustix::{
    fs::Mode,
    io::Errno,
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

use super::{Plane, identity, request::Link, turn::Held, wait::WaitingRoom};
use crate::sys::{
    process::{enter, unshare},
    seccomp::Listener,
};

/// A worker that does not work yet.
pub(crate) struct Worker {
    /// That it is in the run, or why not.
    entered: Receiver<rustix::io::Result<()>>,
    /// Has it begin.
    begins: SyncSender<Arc<Link>>,
}

impl Plane {
    /// Starts the workers, which enter the run's mount namespace and wait. The calling thread sees the host's mounts.
    pub(crate) fn hire(self: &Arc<Self>, namespace: BorrowedFd<'_>) -> io::Result<Vec<Worker>> {
        // Where flows are tracked a worker may wait for what others have to answer first.
        let more = if self.census.is_some() { WORKERS_BESIDE } else { 0 };
        (0..workers() + more).map(|_| self.start_worker(namespace)).collect()
    }

    /// Has the workers answer what arrives at `listener`. The calling thread sees the host's mounts.
    pub(crate) fn serve(
        self: &Arc<Self>,
        listener: Listener,
        namespace: BorrowedFd<'_>,
        workers: Vec<Worker>,
    ) -> io::Result<()> {
        let room = WaitingRoom::new(Arc::clone(&self.oracle), self.may_wait, self.speculator.clone());
        let room = Arc::new(room);
        // Said once.
        let _ = self.room.set(Arc::clone(&room));
        let link = Link::new(listener, self.census.clone(), self.meters.clone(), Arc::clone(&room))?;
        let link = Arc::new(link);
        self.keeping.twins.serve(self, namespace.try_clone_to_owned()?);
        self.open_waiting_room(&room, namespace.try_clone_to_owned()?)?;
        let forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(start) = forks {
            start(Arc::clone(self), namespace.try_clone_to_owned()?)?;
        }
        for Worker { entered, begins } in workers {
            entered.recv().map_err(io::Error::other)??;
            begins.send(Arc::clone(&link)).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn start_worker(self: &Arc<Self>, namespace: BorrowedFd<'_>) -> io::Result<Worker> {
        let (plane, namespace) = (Arc::clone(self), namespace.try_clone_to_owned()?);
        let (says, entered) = sync_channel(1);
        let (begins, begun) = sync_channel(1);
        thread::Builder::new().name("vantio-worker".into()).spawn(move || {
            let entered = plane.enter_run(namespace.as_fd());
            // Whoever failed is not told to begin.
            let _ = says.send(entered);
            if let Ok(link) = begun.recv() {
                plane.work(&link);
            }
        })?;
        Ok(Worker { entered, begins })
    }

    /// Moves this thread alone into the run's file system.
    pub(crate) fn see_run(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
        unshare(libc::CLONE_FS)?;
        enter(namespace, libc::CLONE_NEWNS)?;
        rustix::process::umask(Mode::empty());
        Ok(())
    }

    /// As [`Self::see_run`], with no more capabilities than it takes to answer.
    pub(super) fn enter_run(&self, namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
        Self::see_run(namespace)?;
        if let Some(census) = &self.census {
            census.enter()?;
        }
        self.drop_capabilities()
    }

    /// Keeps what reading the agent's memory takes, and what the agent itself has.
    fn drop_capabilities(&self) -> rustix::io::Result<()> {
        let own = CapabilitySet::SYS_PTRACE;
        let kept = if self.privileged { own.union(identity::ROOT_CAPABILITIES) } else { own };
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)
    }

    fn work(self: &Arc<Self>, link: &Arc<Link>) {
        let mut held = None;
        loop {
            let mut turn = held.take().filter(Held::goes_on).unwrap_or_else(|| link.turn().take());
            match link.next() {
                Ok(Some(mut request)) => {
                    request.stay(turn.answers(request.id(), request.tid()));
                    // Where flows are tracked this call may have to wait for another one's answer.
                    let keeps = self.census.is_none() && request.is_quick() && !link.has_more();
                    held = keeps.then_some(turn);
                    self.reply_to(&request);
                }
                Ok(None) => held = Some(turn),
                // The run is over.
                Err(Errno::PIPE) => return,
                // Without notifications nothing can be judged: the run must not go on.
                Err(_) => return self.end_run("its calls could not be heard any more"),
            }
        }
    }
}

/// As many as the machine can run at once, within reason.
fn workers() -> usize {
    thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8))
}

/// Workers more than [`workers`], for those that wait.
const WORKERS_BESIDE: usize = 6;
