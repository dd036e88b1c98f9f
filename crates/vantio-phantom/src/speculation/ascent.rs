//! A fork has come to its end, and who waits for the original goes on as a fork as well.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::FileType,
    io::{self, Errno},
    process::Pid,
};

use super::{
    descriptors,
    fork::Thread,
    freeze::{WAITING, fork_flags},
    live::Live,
    look::{Descriptor, Obstacle},
    mirror,
    puppet::Puppet,
    standin::Standin,
};
use crate::sys::{
    memory,
    process::kill,
    trace::{self, Event, Options, Registers, Way},
};

/// The end of a child of which a fork has yet to be told: the child is of another, as the kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// The child, as the run numbers it.
    number: i32,
    group: i32,
    /// Whether that is the parent's as well.
    is_of_group: bool,
    /// As `wait(2)` tells it.
    status: i32,
    /// Whether the call is being made that it is told by.
    is_being_told: bool,
}

impl Thread {
    /// The fork is about to end: whoever waits for the original is forked as well, and told of the end.
    pub(super) fn go_up(&self, live: &mut Live) {
        let Some(above) = live.level.checked_sub(1) else { return };
        if self.may_go_up(live, above).is_ok() {
            // Where it fails the fork stands at its end until there is an answer.
            let _ = self.fork_parent(live, above);
        }
    }

    fn may_go_up(&self, live: &Live, above: usize) -> Result<(), Obstacle> {
        let seen = Obstacle::at("see the parent");
        let (parent, child) = (live.line[above].pid, live.line[live.level].pid);
        let number = trace::registers(parent).map_err(&seen)?.number();
        // What it would be told of the end is not known for every way to wait.
        if !WAITING.contains(&number) || number == libc::SYS_waitid {
            return Err(Obstacle::Busy(parent.as_raw_pid()));
        }
        if self.proc.children(parent, true).map_err(&seen)? != [child] {
            return Err(Obstacle::Children);
        }
        let all = self.proc.descriptors(parent).map_err(&seen)?;
        // A shell that gives its terminal to whom it starts takes it back first, which a fork cannot.
        let is_job = self.proc.group(parent).map_err(&seen)? != self.proc.group(child).map_err(&seen)?;
        if is_job && all.iter().any(Descriptor::is_terminal) {
            return Err(Obstacle::Holds("jobs".to_owned()));
        }
        // No ends of children are told of where that is ignored.
        let ignores_ends = self.proc.ignores(parent, libc::SIGCHLD).map_err(&seen)?;
        let directory = self.proc.link(&format!("{}/cwd", parent.as_raw_pid())).map_err(&seen)?;
        let has_another = live.shadows.has_changed(&directory)
            || all.iter().any(|descriptor| {
                matches!(descriptor.kind, FileType::RegularFile | FileType::Directory)
                    && live.shadows.has_changed(&descriptor.path)
            });
        if ignores_ends || has_another || live.lost.contains(&parent) {
            return Err(Obstacle::Holds("what it cannot be given".to_owned()));
        }
        let others: Vec<_> = live.line[..above].iter().map(|original| original.pid).collect();
        descriptors::check(&self.proc, parent, &others, (&live.mounts, &self.roots))
    }

    fn fork_parent(&self, live: &mut Live, above: usize) -> io::Result<()> {
        let parent = live.line[above].pid;
        let owed = self.owed(live, above)?;
        let sources = self.sources(live, above)?;
        let mut puppet = Puppet::new(&self.proc, parent)?;
        let before = puppet.before;
        live.line[above].settled = Some(before.settled());
        let born = puppet.timers_and_number().and_then(|(has_timers, address)| {
            if has_timers { Err(Errno::BUSY) } else { puppet.fork(fork_flags(address), address) }
        });
        for signal in puppet.signals() {
            // Whoever has one to handle is no fork's parent for long.
            let _ = kill(parent.as_raw_pid(), signal);
        }
        let born = born?;
        live.line[above].forks.push(born);
        live.threads.insert(born, true);
        let read: BTreeSet<_> = sources.iter().map(|(number, _)| *number).collect();
        if let Err(error) = self.prepare(live, (parent, born), &before, sources, &owed) {
            // It is nobody yet, and may not go on with what it has.
            let _ = kill(born.as_raw_pid(), libc::SIGKILL);
            live.await_end(born);
            return Err(error);
        }
        // From now on it is the parent's to read.
        let mut number = 0..;
        live.standins.retain(|_| number.next().is_none_or(|number| !read.contains(&number)));
        let old = live.top;
        (live.top, live.level, live.ending) = (born, above, None);
        live.owed = (before.number() != libc::SYS_wait4).then_some(owed);
        live.threads.insert(born, false);
        if let Some(stands) = live.threads.get_mut(&old) {
            *stands = false;
            // One that is being killed ends by itself.
            let _ = trace::resume(old, Way::On(0));
            live.await_end(old);
        }
        trace::resume(born, live.way(born, Way::On(0)))
    }

    /// What the fork of a parent has to be told of the end of its child.
    fn owed(&self, live: &Live, above: usize) -> io::Result<Owed> {
        let (parent, child) = (live.line[above].pid, live.line[live.level].pid);
        let group = self.proc.group(child)?;
        Ok(Owed {
            number: self.proc.own_number(child)?,
            group,
            is_of_group: group == self.proc.group(parent)?,
            status: live.ending.ok_or(Errno::INVAL)?,
            is_being_told: false,
        })
    }

    /// Gives a fork of a parent what is its own, and has it stand where it is to go on.
    fn prepare(
        &self,
        live: &mut Live,
        (parent, born): (Pid, Pid),
        before: &Registers,
        sources: Vec<(usize, Standin)>,
        owed: &Owed,
    ) -> io::Result<()> {
        trace::set_options(born, Options::WHOLE)?;
        self.join(born)?;
        let mut fork = Puppet::new(&self.proc, born)?;
        let known = live.standins.len();
        let given = known..known + sources.len();
        live.standins.extend(sources.into_iter().map(|(_, source)| source));
        let equipped = self.equip(live, parent, &mut fork);
        live.standins.drain(given);
        equipped?;
        if before.number() == libc::SYS_wait4 {
            owed.tell(born, before)?;
            fork.leave_at(&before.returning(owed.number.into()))?;
        } else {
            fork.leave_at(&before.anew())?;
        }
        kill(born.as_raw_pid(), libc::SIGCHLD)
    }

    /// What a parent gets where it reads what its child prints, each with the number of what the child's fork printed
    /// into.
    fn sources(&self, live: &mut Live, above: usize) -> io::Result<Vec<(usize, Standin)>> {
        let (parent, child) = (live.line[above].pid, live.line[live.level].pid);
        let theirs = self.proc.descriptors(child)?;
        let mut sources = Vec::new();
        for descriptor in self.proc.descriptors(parent)? {
            let is_other_end = |other: &Descriptor| other.is_other_end_of(&descriptor);
            if descriptor.kind != FileType::Fifo || !theirs.iter().any(is_other_end) {
                continue;
            }
            for other in &live.line[..above] {
                if self.proc.descriptors(other.pid)?.iter().any(is_other_end) {
                    return Err(Errno::BUSY);
                }
            }
            // Nobody but who ends prints into it, and nobody reads what the parent writes.
            if descriptor.may_write() || live.threads.len() > 1 {
                return Err(Errno::BUSY);
            }
            let at = live.standins.iter().position(|standin| standin.is_for_other_end(&descriptor));
            let at = at.ok_or(Errno::BUSY)?;
            if !sources.iter().any(|(known, _)| *known == at) {
                sources.push((at, live.standins[at].source(parent, &descriptor)?));
            }
        }
        Ok(sources)
    }
}

impl Live {
    /// Waits until a thread that is ending has ended. One whose process has other threads may not.
    fn await_end(&mut self, tid: Pid) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match trace::next(Some(tid), false) {
                Ok(Some((_, Event::Ended(_)))) => {
                    self.threads.remove(&tid);
                    return;
                }
                // One that is being killed does not stop again.
                Ok(Some(_)) => drop(trace::resume(tid, Way::On(0))),
                Ok(None) => thread::sleep(PAUSE),
                Err(_) => return,
            }
        }
    }

    /// How a thread goes on, where it may have to be told of the end of a child.
    pub(super) fn way(&self, tid: Pid, way: Way) -> Way {
        match way {
            Way::On(signal) if tid == self.top && self.owed.is_some() => Way::ToCallWith(signal),
            way => way,
        }
    }

    /// A thread stands before or after a call; whether it can go on. It cannot where it waits for a child in a way in which
    /// it cannot be told of its end.
    pub(super) fn tell_end(&mut self, tid: Pid) -> io::Result<bool> {
        let Some(owed) = self.owed.as_mut().filter(|_| tid == self.top) else { return Ok(true) };
        let registers = trace::registers(tid)?;
        if owed.is_being_told {
            trace::set_registers(tid, &registers.returning(owed.number.into()))?;
            self.owed = None;
            return Ok(true);
        }
        let is_before = registers.result() == mirror::ENTERS;
        if is_before && registers.number() == libc::SYS_wait4 && owed.is_waited_for(&registers) {
            owed.tell(tid, &registers)?;
            // A call that does nothing in its place: to make none is refused by the filter.
            trace::set_registers(tid, &registers.becoming(libc::SYS_getpid))?;
            owed.is_being_told = true;
        }
        Ok(!is_before || registers.number() != libc::SYS_waitid)
    }
}

impl Owed {
    /// Whether this call waits for the child.
    fn is_waited_for(&self, wait: &Registers) -> bool {
        // The kernel takes an `int` for what it is.
        match wait.argument(0) as i32 {
            -1 => true,
            0 => self.is_of_group,
            number if number < 0 => number.checked_neg() == Some(self.group),
            number => number == self.number,
        }
    }

    /// Writes what this call is told besides its result.
    fn tell(&self, tid: Pid, wait: &Registers) -> io::Result<()> {
        if wait.argument(1) != 0 {
            memory::write(tid, wait.argument(1), &self.status.to_ne_bytes())?;
        }
        if wait.argument(3) != 0 {
            memory::write(tid, wait.argument(3), &[0; USAGE])?;
        }
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_micros(200);
/// The size of `struct rusage`.
const USAGE: usize = 144;
