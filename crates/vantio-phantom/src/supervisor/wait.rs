//! Calls that wait for somebody's answer.
//!
//! Such a call is put aside whole: no thread waits with it, nothing that was found for it is kept, no lock is held. Once
//! its answer is there it is answered from the beginning, as if it had only just been made: the path is resolved
//! again, and the oracle, which knows the answer by then, judges what is found.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread,
    time::Duration,
};

use rustix::{fs::Mode, io::Errno};

use super::{
    Plane,
    request::{Reply, Request},
};
use crate::{
    Oracle,
    net::Pool,
    sys::{process::unshare, socket::RESTART},
};

/// The calls that wait, and a thread that looks after them where there can be any.
pub(crate) struct WaitingRoom {
    oracle: Arc<dyn Oracle>,
    /// `None` where nobody looks after them.
    calls: Option<Mutex<Vec<Call>>>,
    arrived: Condvar,
}

/// A call that waits.
struct Call {
    request: Request,
    /// How often in a row the caller was seen to have a signal waiting.
    interruptions: u32,
}

impl WaitingRoom {
    /// A room; `is_open` where the oracle may have a call wait.
    pub(crate) fn new(oracle: Arc<dyn Oracle>, is_open: bool) -> Self {
        Self { oracle, calls: is_open.then(Mutex::default), arrived: Condvar::new() }
    }

    /// Takes a call in, until the oracle knows its answer. Where nobody would look after it, it is refused.
    pub(super) fn enter(&self, request: Request) {
        let Some(calls) = &self.calls else { return request.again().reply(Reply::Error(Errno::ACCESS)) };
        lock(calls).push(Call { request, interruptions: 0 });
        self.arrived.notify_one();
    }

    /// A call is about to be answered for good.
    pub(super) fn pass(&self, request: &Request) {
        if self.calls.is_some() {
            self.oracle.answers(number(request));
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
            room.oracle.leaves(tid);
            return true;
        }
        if room.oracle.is_settled(tid) {
            let (plane, request) = (Arc::clone(self), call.request.again());
            // Without a thread for it now, there is one at the next look.
            return pool.submit(move || plane.resume(&request)).is_ok();
        }
        sees_signals && call.is_interrupted() && {
            room.oracle.steps_aside(tid);
            // The call starts again after a handler that wants this. Of another thread it is not known
            // whether it takes the signal, and without one the number would reach the program.
            let error = if call.is_of_leader() { RESTART } else { Errno::INTR };
            call.request.answer(Reply::Error(error));
            true
        }
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
    /// Whether the caller has a signal to handle, and nobody else takes it.
    fn is_interrupted(&mut self) -> bool {
        if !self.request.is_interrupted() {
            self.interruptions = 0;
            return false;
        }
        self.interruptions += 1;
        // What is sent to a process is taken by its first thread, unless that one blocks it.
        self.interruptions >= if self.is_of_leader() { LOOKS } else { LOOKS_OF_OTHERS }
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
/// Calls that are answered at one time after they waited.
const RESUMED_MAX: usize = 64;
