//! An original that stands in for its twin: it waits for the twin's end, and ends likewise.

use std::{thread, time::Instant};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{
    return_to::drain,
    room::{PATIENCE, PAUSE, Room},
};
use crate::{
    speculation::{
        adopt::{ENTERS, end_likewise, pass_on},
        puppet::Puppet,
    },
    sys::{
        memory,
        process::kill,
        trace::{self, Event, Options, Registers, Way},
    },
};

/// An original that waits.
pub(super) struct Stand {
    /// Who goes on in its place.
    pub(super) acting: Pid,
    /// A page of the original's memory, where the kernel tells how that ends.
    page: u64,
    /// What the original had when it was stopped.
    before: Registers,
}

impl Room {
    /// Has `original`, which stands still, wait for `twin` from now on.
    pub(super) fn stand_in(&mut self, original: Pid, twin: Pid) -> io::Result<()> {
        trace::set_options(original, Options::KEPT)?;
        let mut puppet = Puppet::new(&self.proc, original)?;
        let before = puppet.before;
        // Whoever waits for the end of a pipe shall see it when the twin closes it, and a signal reaches the twin whatever
        // the original has blocked.
        puppet.call(libc::SYS_close_range, [0, u32::MAX.into(), 0, 0, 0, 0])?;
        // What waits for it was sent to what it was.
        drain(&mut puppet)?;
        drop(puppet.signals());
        let page = puppet.new_page()?;
        let set = u64::from(libc::SIG_SETMASK.unsigned_abs());
        puppet.call(libc::SYS_rt_sigprocmask, [set, page, 0, 8, 0, 0])?;
        bury_all(&mut puppet)?;
        self.await_twin(puppet, twin, page)?;
        self.stands.insert(original, Stand { acting: twin, page, before });
        Ok(())
    }

    /// Has an original that stands in already wait for another twin: the one before is gone.
    pub(super) fn stand_in_again(&mut self, original: Pid, twin: Pid) -> io::Result<()> {
        let Some(stand) = self.stands.get(&original) else { return Err(Errno::SRCH) };
        let (page, before) = (stand.page, stand.before);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match trace::next(Some(original), false)? {
                Some((_, Event::Call)) if !is_beginning(trace::registers(original)?.result()) => break,
                Some((_, Event::Ended(_))) => return Err(Errno::SRCH),
                None if Instant::now() > deadline => return Err(Errno::TIMEDOUT),
                None => thread::sleep(PAUSE),
                // A signal for the one that is gone.
                Some(_) => trace::resume(original, Way::ToCall)?,
            }
        }
        let mut puppet = Puppet::new(&self.proc, original)?;
        puppet.before = before;
        bury_all(&mut puppet)?;
        self.await_twin(puppet, twin, page)?;
        self.stands.insert(original, Stand { acting: twin, page, before });
        Ok(())
    }

    fn await_twin(&self, mut puppet: Puppet, twin: Pid, page: u64) -> io::Result<()> {
        let own = self.proc.own_number(twin)?;
        let all = u64::from(libc::__WALL.unsigned_abs());
        puppet.begin(libc::SYS_wait4, [own.unsigned_abs().into(), page, all, 0, 0, 0])?;
        for signal in puppet.signals() {
            pass_on(signal, twin);
        }
        Ok(())
    }

    /// Something happened to an original that stands in.
    pub(super) fn of_stand(&mut self, original: Pid, event: Event) {
        let Some(stand) = self.stands.get(&original) else { return };
        let acting = stand.acting;
        let went = match event {
            Event::Call => match trace::registers(original).map(|registers| registers.result()) {
                Ok(result) if is_beginning(result) => trace::resume(original, Way::ToCall),
                Ok(result) if result > 0 => return self.ends(original),
                Ok(_) | Err(_) => Err(Errno::CHILD),
            },
            Event::Signal(signal) => {
                pass_on(signal, acting);
                trace::resume(original, Way::ToCall)
            }
            Event::Ended(_) => {
                // The original was killed, and so is its twin.
                let _ = kill(acting.as_raw_pid(), libc::SIGKILL);
                self.stands.remove(&original);
                return self.look_after();
            }
            Event::Group => trace::resume(original, Way::Stopped),
            Event::Birth | Event::BirthAndWait | Event::Exec | Event::Exit | Event::Trap => {
                trace::resume(original, Way::ToCall)
            }
        };
        if went.is_err() && !self.proc.is_ended(original) {
            // Whoever waits for the original must not hear of another end.
            let _ = kill(original.as_raw_pid(), libc::SIGKILL);
        }
    }

    /// The twin has ended.
    fn ends(&mut self, original: Pid) {
        let Some(stand) = self.stands.remove(&original) else { return };
        let mut status = [0; 4];
        let done = memory::read(original, stand.page, &mut status).and_then(|_| {
            let mut puppet = Puppet::new(&self.proc, original)?;
            puppet.before = stand.before;
            end_likewise(puppet, i32::from_ne_bytes(status))
        });
        if done.is_err() {
            let _ = kill(original.as_raw_pid(), libc::SIGKILL);
        }
        self.look_after();
    }
}

/// Has a process bury all its children that have ended.
fn bury_all(puppet: &mut Puppet) -> io::Result<()> {
    let flags = u64::from((libc::__WALL | libc::WNOHANG).unsigned_abs());
    loop {
        match puppet.call(libc::SYS_wait4, [u64::MAX, 0, flags, 0, 0, 0]) {
            Ok(0) | Err(Errno::CHILD) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a call has not come to its end.
fn is_beginning(result: i64) -> bool {
    matches!(result, ENTERS | -514..=-512)
}
