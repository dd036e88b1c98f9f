//! Calls that wait for somebody's answer.
//!
//! Such a call is put aside whole: no thread waits with it, nothing that was found for it is kept, no lock is held. Once
//! its answer is there it is answered from the beginning, as if it had only just been made: the path is resolved
//! again, and the oracle, which knows the answer by then, judges what is found.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::Mode, io::Errno, process::Pid};

use super::{
    Plane,
    request::{Reply, Request},
};
use crate::{
    Oracle,
    net::Pool,
    speculation::{Job, Speculator},
    sys::{process::unshare, socket::RESTART},
};

/// The calls that wait, and a thread that looks after them where there can be any.
pub(crate) struct WaitingRoom {
    oracle: Arc<dyn Oracle>,
    /// `None` where nobody looks after them.
    calls: Option<Mutex<Vec<Call>>>,
    arrived: Condvar,
    /// Who has the run go on as a fork meanwhile, where that may be.
    speculator: Option<Arc<Speculator>>,
}

/// A call that waits.
struct Call {
    request: Request,
    /// How often in a row the caller was seen to have a signal waiting.
    interruptions: u32,
    /// Since when.
    since: Instant,
    /// Whether it was seen whether the run may go on meanwhile.
    is_considered: bool,
}

impl WaitingRoom {
    /// A room; `is_open` where the oracle may have a call wait.
    pub(crate) fn new(oracle: Arc<dyn Oracle>, is_open: bool, speculator: Option<Arc<Speculator>>) -> Self {
        Self { oracle, calls: is_open.then(Mutex::default), arrived: Condvar::new(), speculator }
    }

    /// Takes a call in, until the oracle knows its answer. Where nobody would look after it, it is refused.
    pub(super) fn enter(&self, request: Request) {
        let Some(calls) = &self.calls else { return request.again().reply(Reply::Error(Errno::ACCESS)) };
        if let Some(speculator) = &self.speculator {
            speculator.is_held_again(request.tid());
        }
        self.admit(calls, request, self.speculator.is_none());
    }

    /// As [`Self::enter`], and nothing goes on meanwhile.
    pub(super) fn enter_considered(&self, request: Request) {
        if let Some(calls) = &self.calls {
            self.admit(calls, request, true);
        }
    }

    fn admit(&self, calls: &Mutex<Vec<Call>>, request: Request, is_considered: bool) {
        lock(calls).push(Call { request, interruptions: 0, since: Instant::now(), is_considered });
        self.arrived.notify_one();
    }

    /// Takes the call of a thread out, where it is not just looked at.
    pub(super) fn take_of(&self, tid: Pid) -> Option<Request> {
        let mut calls = lock(self.calls.as_ref()?);
        let at = calls.iter().position(|call| call.request.tid() == tid)?;
        Some(calls.swap_remove(at).request)
    }

    /// Puts aside for good, or until it is made once more, what a fork may not do yet.
    pub(super) fn defer(&self, request: Request) {
        if let Some(speculator) = &self.speculator {
            speculator.keep(request);
        }
    }

    /// Has the run go on as a fork, where a call has waited long enough; whether the call is taken over.
    fn is_forked(&self, call: &mut Call) -> bool {
        let Some(speculator) = self.speculator.as_ref().filter(|_| !call.is_considered) else { return false };
        if call.since.elapsed() < speculator.after() || speculator.owns(call.request.tid()) {
            return false;
        }
        call.is_considered = true;
        let reason =
            if speculator.has_forked() { Some(FORKED) } else { speculator.is_active().then_some(WITHIN) };
        if let Some(reason) = reason {
            self.oracle.waits_because(number(&call.request), reason);
            return false;
        }
        speculator.consider(&call.request)
    }

    /// Signals that are no reason for a thread to stop waiting: those of its fork's end.
    fn unheard(&self, tid: u32) -> u64 {
        let tid = i32::try_from(tid).ok().and_then(Pid::from_raw);
        let owner = self.speculator.as_ref().filter(|forks| tid.is_some_and(|tid| forks.owns(tid)));
        owner.map_or(0, |_| crate::proc::mask(libc::SIGCHLD))
    }

    /// Tells of the call that the run goes on for; whether it is taken over.
    fn tell_fork(&self, call: &Call, job: impl FnOnce(Request) -> Job) -> bool {
        let owner = self.speculator.as_ref().filter(|speculator| speculator.owns(call.request.tid()));
        owner.is_some_and(|speculator| speculator.tell(job(call.request.clone())))
    }

    /// A call is about to be answered for good.
    pub(super) fn pass(&self, request: &Request) {
        if self.calls.is_some() {
            self.oracle.answers(number(request));
        }
        if let Some(speculator) = &self.speculator {
            speculator.answers(request);
        }
    }

    fn take(&self, calls: &Mutex<Vec<Call>>) -> Vec<Call> {
        let calls = self.arrived.wait_while(lock(calls), |calls| calls.is_empty());
        std::mem::take(&mut *calls.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Plane {
    /// Starts the thread that looks after calls that wait, in the run's mount namespace.
    pub(super) fn open_waiting_room(
        self: &Arc<Self>,
        room: &Arc<WaitingRoom>,
        namespace: OwnedFd,
    ) -> std::io::Result<()> {
        if room.calls.is_none() {
            return Ok(());
        }
        let (plane, room) = (Arc::clone(self), Arc::clone(room));
        let (ready, started) = sync_channel(1);
        thread::Builder::new().name("vantio-waiting".into()).spawn(move || {
            let entered = plane.enter_run(namespace.as_fd());
            let is_ready = entered.is_ok();
            let _ = ready.send(entered);
            if is_ready {
                plane.look_after(&room);
            }
        })?;
        Ok(started.recv().map_err(std::io::Error::other)??)
    }

    /// Every thread of this pool is born here, and so in the run's mount namespace.
    fn look_after(self: &Arc<Self>, room: &WaitingRoom) {
        let Some(calls) = &room.calls else { return };
        let pool = Pool::new("vantio-resumed", RESUMED_MAX);
        for look in 0_usize.. {
            let mut present = room.take(calls);
            // Whether a caller has a signal waiting is read in a file: of many not every time.
            let sees_signals = look.is_multiple_of(1 + present.len() / FEW);
            present.retain_mut(|call| !self.is_over(room, &pool, call, sees_signals));
            lock(calls).append(&mut present);
            thread::sleep(INTERVAL);
        }
    }

    /// Looks at one call; whether it waits no longer.
    fn is_over(
        self: &Arc<Self>,
        room: &WaitingRoom,
        pool: &Pool,
        call: &mut Call,
        sees_signals: bool,
    ) -> bool {
        let tid = number(&call.request);
        if !call.request.is_waiting() {
            room.tell_fork(call, |_| Job::GiveUp("the process that was held is gone"));
            room.oracle.leaves(tid);
            return true;
        }
        if room.is_forked(call) {
            return true;
        }
        if room.oracle.is_settled(tid) {
            if room.tell_fork(call, Job::Settled) {
                return true;
            }
            let (plane, request) = (Arc::clone(self), call.request.again());
            // Without a thread for it now, there is one at the next look.
            return pool.submit(move || plane.resume(&request)).is_ok();
        }
        let interruption = sees_signals.then(|| call.interruption(room.unheard(tid))).flatten();
        interruption.is_some_and(|error| {
            if room.tell_fork(call, |_| Job::GiveUp("the process that is held got a signal")) {
                return false;
            }
            room.oracle.steps_aside(tid);
            call.request.answer(Reply::Error(error));
            true
        })
    }

    fn resume(self: &Arc<Self>, request: &Request) {
        // The working directory and the file mode mask are set while a call is answered: each thread has its own.
        if unshare(libc::CLONE_FS).is_err() {
            return request.reply(Reply::Error(Errno::AGAIN));
        }
        rustix::process::umask(Mode::empty());
        self.reply_to(request);
    }
}

impl Call {
    /// What the call ends with where the caller has a signal to handle, and nobody else takes it, or where its parent
    /// has and cannot before the caller goes on.
    fn interruption(&mut self, but: u64) -> Option<Errno> {
        let is_own = self.request.is_interrupted_but_by(but);
        if !is_own && !self.request.keeps_parent() {
            self.interruptions = 0;
            return None;
        }
        self.interruptions += 1;
        let is_of_leader = self.is_of_leader();
        // What is sent to a process is taken by its first thread, unless that one blocks it.
        if self.interruptions < if is_of_leader { LOOKS } else { LOOKS_OF_OTHERS } {
            return None;
        }
        // The call starts again after a handler that wants this. Of another thread it is not known
        // whether it takes the signal, and without one the number would reach the program.
        Some(if is_own && is_of_leader { RESTART } else { Errno::INTR })
    }

    fn is_of_leader(&self) -> bool {
        self.request.process().is_ok_and(|process| process == self.request.tid())
    }
}

fn number(request: &Request) -> u32 {
    request.tid().as_raw_pid().unsigned_abs()
}

fn lock(calls: &Mutex<Vec<Call>>) -> MutexGuard<'_, Vec<Call>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long an answer takes to be noticed, and a caller's death.
const INTERVAL: Duration = Duration::from_millis(20);
/// So many are looked at in full each time.
const FEW: usize = 32;
/// How often in a row a signal has to be seen: another thread may be about to take it.
const LOOKS: u32 = 2;
/// The same, of a thread that is not its process's first.
const LOOKS_OF_OTHERS: u32 = 10;
/// Why nothing goes on of a run that has gone on so.
const FORKED: &str = "the run goes on as a fork of itself already";
/// Why nothing goes on of what goes on so.
const WITHIN: &str = "it is asked by a run that goes on as a fork";
/// Calls that are answered at one time after they waited.
const RESUMED_MAX: usize = 64;
