//! The thread that keeps twins: what it is told, and what happens to whom it traces.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{
    Job, Twins,
    carry::{Carried, Written},
};
use crate::{
    speculation::{
        descriptors::{self, Given},
        look::Proc,
        mirror::Mirror,
        puppet::Puppet,
    },
    supervisor::{
        Plane,
        request::{Reply, Request},
    },
    sys::{
        process::kill,
        trace::{self, Event, Registers, Way},
    },
};

/// A process that stands still for a checkpoint.
pub(super) struct Twin {
    /// The checkpoint's number.
    pub(super) id: u64,
    pub(super) pid: Pid,
    /// Whose child it is: the process that was forked, or that stands in for what was.
    pub(super) root: Pid,
    /// Who waits for the root, from the run's first program on, and how often each had been switched from.
    pub(super) ancestors: Vec<(Pid, u64)>,
    /// What these have open for writing.
    pub(super) written: Vec<(Pid, Written)>,
    /// Where it goes on.
    pub(super) registers: Registers,
    /// What it has open that it gets anew.
    pub(super) carried: Vec<Carried>,
    /// Its working directory, where a checkpoint keeps that.
    pub(super) directory: Option<Vec<u8>>,
    /// Its process group, as the run numbers it.
    pub(super) group: i32,
}

/// All that the thread knows.
pub(super) struct Room {
    pub(super) plane: Arc<Plane>,
    pub(super) shared: Arc<Twins>,
    pub(super) jobs: Receiver<Job>,
    pub(super) proc: Proc,
    /// The oldest first.
    pub(super) twins: Vec<Twin>,
    /// Originals that stand in, by number.
    pub(super) stands: HashMap<Pid, Mirror>,
    /// Twins that are gone, and that their parents have not buried.
    pub(super) dead: HashSet<Pid>,
    /// Threads that shall be let go of as soon as they stop.
    pub(super) loose: HashSet<Pid>,
    looked: Instant,
}

impl Room {
    pub(super) fn new(plane: Arc<Plane>, shared: Arc<Twins>, jobs: Receiver<Job>, proc: OwnedFd) -> Self {
        Self {
            plane,
            shared,
            jobs,
            proc: Proc::new(proc),
            twins: Vec::new(),
            stands: HashMap::new(),
            dead: HashSet::new(),
            loose: HashSet::new(),
            looked: Instant::now(),
        }
    }

    pub(super) fn work(mut self) {
        loop {
            let is_idle = self.twins.is_empty() && self.stands.is_empty() && self.loose.is_empty();
            let job = if is_idle {
                self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.jobs.recv_timeout(if self.stands.is_empty() { REST } else { PAUSE })
            };
            match job {
                Ok(job) => self.do_job(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.attend();
        }
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::Take(label, answer) => drop(answer.send(self.take(label.as_deref()))),
            Job::Kept(answer) => {
                self.look_after();
                drop(answer.send(
                    self.twins.iter().map(|twin| twin.id).collect::<BTreeSet<_>>().into_iter().collect(),
                ));
            }
            Job::Stop(id, answer) => self.go_back(id, &answer),
            Job::Return(_, answer) => drop(answer.send(Err(super::not_brought("nobody asked for it")))),
            Job::Met(request) => request.answer(Reply::Error(Errno::PERM)),
        }
    }

    /// Sees to everything that happened, and now and then to who is there yet.
    pub(super) fn attend(&mut self) {
        while let Ok(Some((tid, event))) = trace::next(None, false) {
            self.happened(tid, event);
        }
        if self.looked.elapsed() > LOOK_EVERY {
            self.look_after();
        }
    }

    fn happened(&mut self, tid: Pid, event: Event) {
        if self.stands.contains_key(&tid) {
            return self.of_stand(tid, event);
        }
        if matches!(event, Event::Ended(_)) {
            self.loose.remove(&tid);
            return self.forget(tid);
        }
        if self.loose.remove(&tid) {
            // Gone meanwhile: nothing to let go of.
            let _ = trace::detach(tid);
            return;
        }
        if !self.twins.iter().any(|twin| twin.pid == tid) {
            let _ = trace::detach(tid);
        }
        // A twin stays where it is.
    }

    /// A twin is gone.
    pub(super) fn forget(&mut self, pid: Pid) {
        let Some(at) = self.twins.iter().position(|twin| twin.pid == pid) else { return };
        self.twins.remove(at);
        self.dead.insert(pid);
    }

    /// Ends the twins whose root is no more: nothing could ever go on in its place.
    pub(super) fn look_after(&mut self) {
        self.looked = Instant::now();
        let proc = &self.proc;
        self.dead.retain(|pid| proc.status(*pid, "State:").is_ok());
        let lost: Vec<_> = self.twins.iter().filter(|twin| !self.is_fit(twin)).map(|twin| twin.pid).collect();
        for pid in lost {
            self.end(pid);
        }
        let numbers = self.twins.iter().map(|twin| twin.pid).chain(self.dead.iter().copied());
        let hidden = numbers.filter_map(|pid| self.proc.own_number(pid).ok()).collect();
        self.shared.lock().hidden = hidden;
    }

    /// Whether a twin stands where it was stopped, and there is somebody in whose place it could go on.
    pub(super) fn is_fit(&self, twin: &Twin) -> bool {
        let stands = self.proc.status(twin.pid, "State:").is_ok_and(|state| state.starts_with('t'));
        let parent = self.proc.status(twin.pid, "PPid:").ok();
        stands
            && parent.and_then(|text| text.parse().ok()) == Some(twin.root.as_raw_pid())
            && !self.proc.is_ended(twin.root)
    }

    /// Ends a twin, and waits for its end.
    pub(super) fn end(&mut self, pid: Pid) {
        let _ = kill(pid.as_raw_pid(), libc::SIGKILL);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.twins.iter().any(|twin| twin.pid == pid) {
            match trace::next(Some(pid), false) {
                Ok(Some((_, Event::Ended(_)))) | Err(_) => self.forget(pid),
                Ok(Some(_)) => drop(trace::resume(pid, Way::On(0))),
                Ok(None) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Who is no part of the run as it sees itself.
    pub(super) fn is_aside(&self, pid: Pid) -> bool {
        self.dead.contains(&pid) || self.twins.iter().any(|twin| twin.pid == pid)
    }

    /// Has a process that stands still bury those of its children that were twins.
    pub(super) fn bury(&mut self, puppet: &mut Puppet) -> io::Result<()> {
        let all = u64::from(libc::__WALL.unsigned_abs());
        for child in self.proc.children(puppet.tid, true)? {
            if self.dead.contains(&child) && self.proc.is_ended(child) {
                let own = self.proc.own_number(child)?.unsigned_abs().into();
                // Nobody to bury is no harm.
                let _ = puppet.call(libc::SYS_wait4, [own, 0, all, 0, 0, 0]);
                self.dead.remove(&child);
            }
        }
        Ok(())
    }

    /// Puts descriptors in place of those that the thread has.
    pub(super) fn hand_over(&mut self, puppet: &mut Puppet, given: &[Given]) -> io::Result<()> {
        if given.is_empty() {
            return Ok(());
        }
        self.shared.lock().sent = Some(puppet.tid);
        descriptors::hand_over(puppet, given, || self.met())
    }

    fn met(&self) -> io::Result<Request> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Job::Met(request)) => return Ok(request),
                // Whoever asks meanwhile is told nothing.
                Ok(_) => {}
                Err(_) => return Err(Errno::TIMEDOUT),
            }
        }
    }
}

pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const PAUSE: Duration = Duration::from_millis(2);
const REST: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);
