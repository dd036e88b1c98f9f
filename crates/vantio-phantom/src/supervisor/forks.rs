//! What is different while a run goes on as a fork of itself, and what the thread that forks needs of the plane.

use std::{sync::Arc, time::Duration};

use rustix::{
    io::{self, Errno},
    process::Pid,
};
use vantio_core::Intent;

use super::{
    Plane,
    request::{Reply, Request},
    unkept,
};
use crate::{
    Oracle, Ruling,
    checkpoint::Change,
    speculation::{LARGEST_COPIED, Speculator},
    sys::process::kill,
};

impl Plane {
    /// The fork that goes on, if one does: whoever calls then is of it.
    pub(super) fn fork_going_on(&self) -> Option<&Speculator> {
        self.speculator.as_deref().filter(|speculator| speculator.is_active())
    }

    /// Has the original of a fork wait at the call that it makes again, whatever its answer is by now: that is the
    /// fork's too.
    pub(super) fn hold_original(self: &Arc<Self>, request: &Request) -> Option<Reply> {
        self.speculator.as_ref().filter(|speculator| speculator.awaits(request))?;
        self.rehearse(request);
        request.wait();
        Some(Reply::Error(Errno::INTR))
    }

    /// Whether the call is put aside, because a fork makes it and it cannot be taken back.
    pub(super) fn defers(&self, request: &Request) -> bool {
        let defers = self.fork_going_on().is_some();
        if defers {
            request.defer();
        }
        defers
    }

    /// What is ruled of an intent because a fork asks, or somebody only wants to know.
    pub(super) fn decide_for_fork(&self, request: &Request, intent: &Intent<'_>) -> Option<Ruling> {
        let speculator = self.fork_going_on()?;
        if speculator.hinders(intent.effect, &intent.target) {
            request.defer();
            return Some(Ruling::Refuse);
        }
        let original = speculator.assumed(request)?;
        let ruling = self.oracle.assume(intent, original);
        if ruling != Ruling::Permit {
            request.defer();
            return Some(Ruling::Refuse);
        }
        Some(ruling)
    }

    /// A signal to a thread, or a call that changes another process or what all of the run share.
    pub(super) fn act_on_others(&self, request: &Request) -> Reply {
        let Some(speculator) = self.fork_going_on() else { return Reply::Continue };
        let target = match request.number() {
            libc::SYS_prlimit64
            | libc::SYS_sched_setaffinity
            | libc::SYS_sched_setparam
            | libc::SYS_sched_setscheduler
            | libc::SYS_sched_setattr => request.int(0),
            libc::SYS_setpriority | libc::SYS_ioprio_set if request.int(0) < 2 => request.int(1),
            _ => -1,
        };
        if target == 0 || speculator.is_own(target) {
            return Reply::Continue;
        }
        request.defer();
        Reply::Later
    }

    /// Whether a signal of a fork may be sent: to one of its own.
    pub(super) fn is_own_signal(&self, request: &Request) -> bool {
        let Some(speculator) = self.fork_going_on() else { return true };
        let (target, signal) = (request.int(0), request.int(1));
        let is_probe = request.number() == libc::SYS_kill && signal == 0;
        is_probe || target > 0 && speculator.is_own(target)
    }

    /// Sends a signal to a fork that has become the run and sends it to the number that it had before, as it does to
    /// itself: it has come before the call returns, which it would not by way of the original.
    pub(super) fn signal_to_itself(&self, request: &Request) -> Option<Reply> {
        let speculator = self.speculator.as_ref().filter(|_| request.number() == libc::SYS_kill)?;
        let fork = speculator.stood_in_for(request.int(0))?;
        if request.process() != Ok(fork) || !request.is_waiting() {
            return None;
        }
        let sent = kill(fork.as_raw_pid(), request.int(1));
        Some(sent.map_or_else(Reply::Error, |()| Reply::Value(0)))
    }

    pub(crate) fn oracle(&self) -> &dyn Oracle {
        &*self.oracle
    }

    /// Whether the run has not ended.
    pub(crate) fn is_going_on(&self) -> bool {
        rustix::process::test_kill_process(self.init).is_ok()
    }

    /// Has a call wait again that was taken out of the waiting room.
    pub(crate) fn take_back(self: &Arc<Self>, request: Request) {
        if let Some(room) = self.room.get() {
            room.enter(request);
        }
    }

    /// As [`Self::take_back`], and it is not forked for.
    pub(crate) fn take_back_considered(&self, request: Request) {
        if let Some(room) = self.room.get() {
            room.enter_considered(request);
        }
    }

    /// Takes the call of a thread out of the waiting room.
    pub(crate) fn take_waiting(&self, tid: Pid) -> Option<Request> {
        // Those that are just looked at are not there.
        (0..LOOKS_MAX).find_map(|look| {
            if look > 0 {
                std::thread::sleep(PAUSE);
            }
            self.take_waiting_now(tid)
        })
    }

    /// As [`Self::take_waiting`], at this moment.
    pub(crate) fn take_waiting_now(&self, tid: Pid) -> Option<Request> {
        self.room.get()?.take_of(tid)
    }

    /// Has the call of an original judged for good, and nothing of it done: whether it is permitted.
    pub(crate) fn rehearse(self: &Arc<Self>, request: &Request) -> bool {
        let rehearsal = request.rehearsal();
        drop(self.answer(&rehearsal));
        rehearsal.was_permitted()
    }

    /// What the host had when a fork first changed something is what it had when the run did.
    pub(crate) fn take_over_bases(&self) -> io::Result<()> {
        self.base.take_over().map_err(|error| unkept(&error))
    }

    /// The run has changed nothing of what a fork did.
    pub(crate) fn forget_bases(&self) {
        self.base.forget_aside();
    }

    /// Before what a fork changed is carried over to `path`. What the host had there was noted as the fork changed it.
    pub(crate) fn before_carrying(&self, path: &[u8], change: Change) -> io::Result<()> {
        let _gate = self.keeping.keeper().enter();
        self.save_before(path, change)
    }

    /// As [`Self::before_carrying`], of a folder that is removed.
    pub(crate) fn before_carrying_without(&self, path: &[u8]) -> io::Result<()> {
        let _gate = self.keeping.keeper().enter();
        self.save_before_removal(path)
    }

    /// Before what a folder looks like changes.
    pub(crate) fn before_looks(&self, path: &[u8]) -> io::Result<()> {
        self.before_carrying(path, Change::Metadata)
    }

    /// Puts a call of a fork aside that would have so much copied into memory.
    pub(super) fn copies(&self, request: &Request, bytes: u64) -> io::Result<()> {
        if bytes > LARGEST_COPIED { self.put_aside(request) } else { Ok(()) }
    }

    /// Puts a call of a fork aside that failed with what it may fail with only in a shadow, where all of a file is copied
    /// first: not everything that a file may have can be given to a copy in memory.
    pub(super) fn as_in_run<T>(&self, request: &Request, done: io::Result<T>) -> io::Result<T> {
        if done.as_ref().is_err_and(|error| OF_COPIES.contains(error)) {
            self.put_aside(request)?;
        }
        done
    }

    /// Tells a fork that goes on that the file of a name is no longer the run's: it has none, another, or `moved`.
    pub(super) fn tell_fork_gone(&self, path: &[u8], moved: bool) {
        if let Some(speculator) = self.fork_going_on() {
            speculator.gone(path, moved);
        }
    }

    /// A call by which nothing happened.
    pub(super) fn put_aside(&self, request: &Request) -> io::Result<()> {
        if self.defers(request) { Err(Errno::ACCESS) } else { Ok(()) }
    }
}

/// What copying a file fails with.
const OF_COPIES: [Errno; 8] = [
    Errno::PERM,
    Errno::INVAL,
    Errno::OPNOTSUPP,
    Errno::OVERFLOW,
    Errno::IO,
    Errno::NOSPC,
    Errno::NOMEM,
    Errno::TOOBIG,
];
const LOOKS_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
