//! Processes that stand still while one of them is forked.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{fork::Thread, live::Original, look::Obstacle, puppet::Puppet};
use crate::{
    supervisor::request::Request,
    sys::{
        memory,
        trace::{self, Event, Options, Registers, Way},
    },
};

/// A fork that could not be made.
pub(super) struct Failed {
    pub(super) obstacle: Obstacle,
    /// Whether the call was answered, so that it is made again.
    pub(super) was_answered: bool,
}

impl From<Obstacle> for Failed {
    fn from(obstacle: Obstacle) -> Self {
        Self { obstacle, was_answered: false }
    }
}

/// Processes that stand still; they go on where this is dropped.
pub(super) struct Line<'a> {
    pub(super) thread: &'a Thread,
    pub(super) stopped: Vec<Pid>,
}

impl Line<'_> {
    pub(super) fn freeze(&mut self, pid: Pid) -> Result<(), Obstacle> {
        let failed = Obstacle::at("stop what waits for the process");
        trace::seize(pid, Options::BIRTHS).map_err(&failed)?;
        self.stopped.push(pid);
        trace::interrupt(pid).map_err(&failed)?;
        stopped(pid).map_err(&failed)?;
        let registers = trace::registers(pid).map_err(&failed)?;
        if WAITING.contains(&registers.number())
            && !self.waits_at_terminal(pid, &registers).map_err(&failed)?
        {
            return Ok(());
        }
        Err(Obstacle::Busy(self.thread.proc.own_number(pid).map_err(&failed)?))
    }

    /// Whether a process that waits would go on with what somebody types.
    fn waits_at_terminal(&self, pid: Pid, registers: &Registers) -> io::Result<bool> {
        let is_terminal = |number: &i32| {
            let path =
                self.thread.proc.link(&format!("{}/fd/{number}", pid.as_raw_pid())).unwrap_or_default();
            path.starts_with(b"/dev/pts/") || path == b"/dev/tty"
        };
        Ok(waited_for(pid, registers)?.iter().any(is_terminal))
    }

    /// Forks the thread that makes the call. On success it has made its call again, and the fork stands after it.
    pub(super) fn fork_held(&mut self, request: &Request) -> Result<Pid, Failed> {
        let tid = request.tid();
        let failed = Obstacle::at("stop the process");
        trace::seize(tid, Options::BIRTHS).map_err(&failed)?;
        let undone = |errno, was_answered| Failed { obstacle: failed(errno), was_answered };
        if let Err(errno) = self.thread.unhold(request) {
            // Whatever it is, it is not held back by us.
            let _ = trace::detach(tid);
            return Err(undone(errno, true));
        }
        let mut puppet = match Puppet::new(&self.thread.proc, tid) {
            Ok(puppet) => puppet,
            Err(errno) => {
                let _ = trace::detach(tid);
                return Err(undone(errno, true));
            }
        };
        let before = puppet.before;
        let born = fork_quiet(&mut puppet).and_then(|born| {
            // It goes on from where the original was, and dies with this thread.
            let set =
                trace::set_options(born, Options::WHOLE).and_then(|()| trace::set_registers(born, &before));
            set.map(|()| born).map_err(Obstacle::at("hold the fork"))
        });
        let left = puppet.leave_at(&before.again());
        let went = match &born {
            Ok(_) => left.and_then(|()| trace::resume(tid, Way::On(0))),
            Err(_) => left.and_then(|()| trace::detach(tid)),
        };
        let born = born.map_err(|obstacle| Failed { obstacle, was_answered: true })?;
        went.map(|()| born).map_err(|errno| undone(errno, true))
    }

    pub(super) fn keep(mut self, held: Pid, born: Pid) -> Vec<Original> {
        let others = std::mem::take(&mut self.stopped).into_iter();
        let others = others.map(|pid| Original { pid, settled: None, forks: Vec::new() });
        others.chain([Original { pid: held, settled: None, forks: vec![born] }]).collect()
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        for pid in &self.stopped {
            // Gone already, or running: then it is let go by the kernel.
            let _ = trace::detach(*pid);
        }
    }
}

/// The descriptors that a call waits to read from.
fn waited_for(pid: Pid, registers: &Registers) -> io::Result<Vec<i32>> {
    let [first, second] = [registers.argument(0), registers.argument(1)];
    let read = |address, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = if length == 0 { 0 } else { memory::read(pid, address, &mut bytes)? };
        bytes.truncate(count);
        Ok::<_, Errno>(bytes)
    };
    Ok(match registers.number() {
        libc::SYS_read => i32::try_from(first).into_iter().collect(),
        libc::SYS_poll | libc::SYS_ppoll => {
            let entries = read(first, second.min(DESCRIPTORS_MAX) * 8)?;
            entries
                .chunks_exact(8)
                .map(|entry| i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]))
                .collect()
        }
        libc::SYS_select | libc::SYS_pselect6 if second != 0 => {
            let set = read(second, first.min(DESCRIPTORS_MAX).div_ceil(8))?;
            let is_in = |number: &i32| {
                set.get(*number as usize / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1)
            };
            (0..first.min(DESCRIPTORS_MAX) as i32).filter(is_in).collect()
        }
        _ => Vec::new(),
    })
}

fn fork_quiet(puppet: &mut Puppet) -> Result<Pid, Obstacle> {
    let failed = Obstacle::at("fork the process");
    let (has_timers, number) = puppet.timers_and_number().map_err(&failed)?;
    if has_timers {
        return Err(Obstacle::Holds("a timer".to_owned()));
    }
    puppet.fork(fork_flags(number), number).map_err(&failed)
}

/// A child that sends no signal when it ends, and knows its own number.
pub(super) fn fork_flags(number: u64) -> u64 {
    let flags = if number == 0 { 0 } else { libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID };
    u64::from(flags.unsigned_abs())
}

/// Waits until a thread that was interrupted stands still.
pub(super) fn stopped(tid: Pid) -> io::Result<()> {
    stopped_within(tid, PATIENCE)
}

/// As [`stopped`], for so long.
pub(super) fn stopped_within(tid: Pid, patience: Duration) -> io::Result<()> {
    match stop_of(tid, patience)? {
        Event::Trap => Ok(()),
        // It stays so.
        _ => Err(Errno::TIMEDOUT),
    }
}

/// As [`stopped`], and one that job control has stopped counts.
pub(super) fn stopped_anyhow(tid: Pid) -> io::Result<()> {
    stop_of(tid, PATIENCE).map(drop)
}

/// By what a thread that was interrupted stands still: because of that, or by job control.
fn stop_of(tid: Pid, patience: Duration) -> io::Result<Event> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match trace::next(Some(tid), false)? {
            Some((_, event @ (Event::Trap | Event::Group))) => return Ok(event),
            Some((_, Event::Ended(_))) => return Err(Errno::SRCH),
            Some((_, event)) => {
                // Whatever else it stops for takes the place of the stop that it was asked for.
                trace::interrupt(tid)?;
                let signal = if let Event::Signal(signal) = event { signal } else { 0 };
                trace::resume(tid, Way::On(signal))?;
            }
            None => thread::sleep(PAUSE),
        }
    }
    Err(Errno::TIMEDOUT)
}

/// What an ancestor may be doing.
pub(super) const WAITING: &[i64] = &[
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_read,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_rt_sigsuspend,
];
/// So many descriptors are looked at.
const DESCRIPTORS_MAX: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(300);
