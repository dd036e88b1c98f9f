//! A process that stands in for another, its child: it stops when that stops and ends as that ends, and the signals that
//! come for it are passed on.

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{look::Proc, puppet::Puppet};
use crate::sys::{
    memory,
    process::kill,
    trace::{self, Event, Way},
};

pub(super) struct Mirror {
    puppet: Puppet,
    /// Who goes on in its place, and the number that this has in the run.
    acting: Pid,
    own: i32,
    /// Where the kernel tells what became of that.
    page: u64,
    /// What stopped that, where it has yet to stop likewise.
    stop: Option<i32>,
    /// Whether that was told to stop, and has not been told to go on since: it may be about to.
    was_told_to_stop: bool,
}

impl Mirror {
    /// Takes over a process that stands still. It goes on in place of itself until [`Self::follow`].
    pub(super) fn new(mut puppet: Puppet) -> io::Result<Self> {
        // Whoever waits for the end of a pipe shall see it when the other closes it.
        puppet.call(libc::SYS_close_range, [0, u32::MAX.into(), 0, 0, 0, 0])?;
        // Where it is ignored, the end of a child is seen by nobody.
        set_default(&mut puppet, libc::SIGCHLD)?;
        let page = puppet.new_page()?;
        // A signal reaches the other whatever this one blocked: the page is empty yet.
        let set = u64::from(libc::SIG_SETMASK.unsigned_abs());
        puppet.call(libc::SYS_rt_sigprocmask, [set, page, 0, 8, 0, 0])?;
        let acting = puppet.tid;
        Ok(Self { puppet, acting, own: 0, page, stop: None, was_told_to_stop: false })
    }

    pub(super) const fn acting(&self) -> Pid {
        self.acting
    }

    /// Takes the signals for not having come that came up to now, and buries all children that have ended.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        let flags = u64::from((libc::__WALL | libc::WNOHANG).unsigned_abs());
        loop {
            match self.puppet.call(libc::SYS_wait4, [u64::MAX, 0, flags, 0, 0, 0]) {
                Ok(0) | Err(Errno::CHILD) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        drop(self.puppet.signals());
        Ok(())
    }

    /// Has it wait for `acting` from now on.
    pub(super) fn follow(&mut self, proc: &Proc, acting: Pid) -> io::Result<()> {
        (self.acting, self.own) = (acting, proc.own_number(acting)?);
        (self.stop, self.was_told_to_stop) = (None, false);
        self.wait(proc)
    }

    /// Something happened to it; the status of `wait(2)` of the one that it follows, once that has ended.
    pub(super) fn happened(&mut self, proc: &Proc, event: Event) -> io::Result<Option<i32>> {
        let original = self.puppet.tid;
        let way = match event {
            Event::Call => match trace::registers(original)?.result() {
                result if is_beginning(result) => Way::ToCall,
                result if result < 0 => return Err(Errno::CHILD),
                _ => return self.has_changed(proc),
            },
            Event::Signal(libc::SIGCHLD) => self.stops(proc).map_or(Way::ToCall, Way::ToCallWith),
            Event::Signal(signal) => {
                self.pass_on(proc, signal);
                Way::ToCall
            }
            Event::Group => Way::Stopped,
            Event::Ended(_) => return Err(Errno::SRCH),
            Event::Birth | Event::BirthAndWait | Event::Exec | Event::Exit | Event::Trap => Way::ToCall,
        };
        trace::resume(original, way)?;
        Ok(None)
    }

    /// Ends it with this status of `wait(2)`.
    pub(super) fn end(mut self, status: i32) -> io::Result<()> {
        let original = self.puppet.tid;
        if libc::WIFEXITED(status) {
            let code = u64::from(libc::WEXITSTATUS(status).unsigned_abs());
            self.puppet.begin(libc::SYS_exit_group, [code, 0, 0, 0, 0, 0])?;
        } else {
            let signal = libc::WTERMSIG(status);
            if signal != libc::SIGKILL {
                set_default(&mut self.puppet, signal)?;
            }
            kill(original.as_raw_pid(), signal)?;
            trace::resume(original, Way::On(0))?;
        }
        loop {
            match trace::next(Some(original), true)? {
                Some((_, Event::Ended(_))) => return Ok(()),
                Some((_, Event::Signal(signal))) => trace::resume(original, Way::On(signal))?,
                _ => trace::resume(original, Way::On(0))?,
            }
        }
    }

    fn wait(&mut self, proc: &Proc) -> io::Result<()> {
        let options = u64::from((libc::__WALL | libc::WUNTRACED).unsigned_abs());
        let own = self.own.unsigned_abs().into();
        self.puppet.begin(libc::SYS_wait4, [own, self.page, options, 0, 0, 0])?;
        for signal in self.puppet.signals() {
            self.pass_on(proc, signal);
        }
        Ok(())
    }

    fn has_changed(&mut self, proc: &Proc) -> io::Result<Option<i32>> {
        let mut status = [0; 4];
        memory::read(self.puppet.tid, self.page, &mut status)?;
        let status = i32::from_ne_bytes(status);
        if !libc::WIFSTOPPED(status) {
            return Ok(Some(status));
        }
        let signal = libc::WSTOPSIG(status);
        if signal != libc::SIGSTOP {
            set_default(&mut self.puppet, signal)?;
        }
        self.wait(proc)?;
        self.stop = Some(signal);
        // To send what shall stop it would take away a continuation that has come and not been seen: it stops where it is
        // about to get a signal that is nothing to it.
        kill(self.puppet.tid.as_raw_pid(), libc::SIGCHLD)?;
        Ok(None)
    }

    /// What it stops by, like the one that it follows, unless it is to go on by now.
    fn stops(&mut self, proc: &Proc) -> Option<i32> {
        let goes_on = |tid| proc.awaits(tid, libc::SIGCONT).unwrap_or(false);
        self.stop.take().filter(|_| is_stopped(proc, self.acting) && !goes_on(self.puppet.tid))
    }

    /// Has a signal that came for it come for the one that it follows. Whoever was continued alone is continued with it.
    fn pass_on(&mut self, proc: &Proc, signal: i32) {
        let has_stopped = self.was_told_to_stop || is_stopped(proc, self.acting);
        self.was_told_to_stop = match signal {
            libc::SIGSTOP => true,
            libc::SIGCONT => false,
            _ => self.was_told_to_stop,
        };
        if !OF_GROUPS.contains(&signal) || (signal == libc::SIGCONT && has_stopped) {
            // It may be gone.
            let _ = kill(self.acting.as_raw_pid(), signal);
        }
    }
}

/// Whether a call has not come to its end.
pub(super) const fn is_beginning(result: i64) -> bool {
    matches!(result, ENTERS | -514..=-512)
}

/// Whether job control has stopped a process.
fn is_stopped(proc: &Proc, pid: Pid) -> bool {
    proc.status(pid, "State:").is_ok_and(|state| state.starts_with('T'))
}

/// Has a signal take its usual effect.
fn set_default(puppet: &mut Puppet, signal: i32) -> io::Result<()> {
    let number = u64::from(signal.unsigned_abs());
    puppet.with_page(|puppet, page| puppet.call(libc::SYS_rt_sigaction, [number, page, 0, 8, 0, 0]).map(drop))
}

/// What a thread has in its result register while it is about to make a call: `ENOSYS`.
pub(super) const ENTERS: i64 = -38;
/// What is sent to a whole group reaches the other by itself.
const OF_GROUPS: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGWINCH,
    libc::SIGCHLD,
];
