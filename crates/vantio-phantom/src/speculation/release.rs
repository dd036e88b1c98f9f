//! The end of a fork that is not approved: it is gone, and the originals go on.

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{
    call_of,
    fork::Thread,
    freeze::{stopped, stopped_anyhow},
    live::{Live, Original, interrupt},
    number,
    puppet::Puppet,
};
use crate::{
    oracle::Speculated,
    supervisor::request::{Reply, Request},
    sys::trace,
};

impl Thread {
    /// Ends the fork, and lets everybody go on as if there had been none.
    pub(super) fn drop_fork(&self, mut live: Live, why: &str) {
        let taken_apart = self.take_apart(&mut live);
        self.shared.lock().deferred.clear();
        if taken_apart.is_err() {
            // What the fork did may be seen: nothing may go on in such a world.
            return self.plane.end_run(NOT_TAKEN_BACK);
        }
        let held = live.line.last().map_or(0, |original| number(original.pid));
        let was_told = !live.is_told || self.plane.oracle().speculated(held, Speculated::Dropped(why));
        if !was_told || self.release(live).is_err() && self.plane.is_going_on() {
            self.plane.end_run(NOT_TAKEN_BACK);
        }
        self.shared.forget();
    }

    fn take_apart(&self, live: &mut Live) -> io::Result<()> {
        live.kill()?;
        live.shadows.uncover()?;
        self.shared.activate(false);
        self.plane.forget_bases();
        Ok(())
    }

    /// Lets the originals go on.
    fn release(&self, mut live: Live) -> io::Result<()> {
        let kept: Vec<_> = live.line.iter().map(|original| original.pid).collect();
        let is_answered = self.is_answered(&live);
        let Some(held) = live.line.pop() else { return Ok(()) };
        let request = live.take_settled().or_else(|| self.plane.take_waiting(held.pid));
        let released = match &request {
            // It makes its call once more: by then the oracle knows the answer, or asks again.
            Some(request) => {
                if !is_answered {
                    self.shared.lock().given_up = Some(call_of(request));
                }
                self.release_held(&held, request)
            }
            // A handler of a signal has it do something else.
            None => self.release_busy(&held),
        };
        for original in live.line {
            if !original.forks.is_empty() {
                let puppet = Puppet::new(&self.proc, original.pid)?;
                self.bury(puppet, &kept, |puppet| original.settled.unwrap_or(puppet.before))?;
            } else if let Some(settled) = &original.settled {
                trace::set_registers(original.pid, settled)?;
            }
            trace::detach(original.pid)?;
        }
        released
    }

    fn release_held(&self, held: &Original, request: &Request) -> io::Result<()> {
        self.unhold(request)?;
        let puppet = Puppet::new(&self.proc, held.pid)?;
        self.bury(puppet, &[], |puppet| puppet.before.again())?;
        trace::detach(held.pid)
    }

    fn release_busy(&self, held: &Original) -> io::Result<()> {
        interrupt(held.pid)?;
        match stopped(held.pid) {
            // It waits for a call of another kind: with this thread the kernel lets go of it.
            Err(Errno::TIMEDOUT) => return Ok(()),
            other => other?,
        }
        let puppet = Puppet::new(&self.proc, held.pid)?;
        self.bury(puppet, &[], |puppet| puppet.before.settled())?;
        trace::detach(held.pid)
    }

    /// Has a process that stands still see to children that have ended but those that are `kept`, and leaves it where it is
    /// to go on.
    fn bury(
        &self,
        mut puppet: Puppet,
        kept: &[Pid],
        goes_on: impl FnOnce(&Puppet) -> trace::Registers,
    ) -> io::Result<()> {
        let all = u64::from(libc::__WALL.unsigned_abs());
        for child in self.proc.children(puppet.tid, true)? {
            if kept.contains(&child) || !self.proc.is_ended(child) {
                continue;
            }
            let own = self.proc.own_number(child)?.unsigned_abs().into();
            // Nobody to bury is no harm.
            let _ = puppet.call(libc::SYS_wait4, [own, 0, all, 0, 0, 0]);
        }
        // A fork that started a program tells of its end. Nobody is to hear of it.
        puppet.forget(libc::SIGCHLD);
        let goes_on = goes_on(&puppet);
        puppet.leave_at(&goes_on)
    }

    /// Brings a thread out of a held call: it stands still after it, about to make it again.
    pub(super) fn unhold(&self, request: &Request) -> io::Result<()> {
        let tid = request.tid();
        interrupt(tid)?;
        self.plane.oracle().steps_aside(number(tid));
        request.answer(Reply::Error(Errno::INTR));
        stopped_anyhow(tid)
    }
}

/// Why a run ends that cannot go on without its fork.
const NOT_TAKEN_BACK: &str = "what it did while a call waited could not be taken back";
