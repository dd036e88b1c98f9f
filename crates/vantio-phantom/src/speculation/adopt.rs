//! The fork is approved: what it changed becomes the run's, and the original stands in for it until it ends.

use std::{
    collections::{BTreeSet, HashSet},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::FileType,
    io::{self, Errno},
    process::Pid,
};

use super::{
    descriptors::{Given, reopen},
    fork::Thread,
    live::Live,
    look::Descriptor,
    merge, number,
    printing::let_out,
    puppet::Puppet,
    standin::Standin,
};
use crate::{
    oracle::Speculated,
    supervisor::request::{Reply, Request},
    sys::{
        memory,
        process::{Shared, are_same, is_same_file, kill},
        trace::{self, Event, Way},
    },
};

/// Why a fork is not adopted.
enum Failed {
    /// As if it had never been.
    Drop(&'static str),
    /// What it changed is carried over in part.
    Lost,
}

/// A process of the fork that stands still.
pub(super) struct Member {
    tid: Pid,
    /// Of which it is a thread.
    pub(super) process: Pid,
    /// Its working directory, where that is in a shadow.
    directory: Option<Vec<u8>>,
    /// What it has that has to be exchanged.
    pub(super) descriptors: Vec<Descriptor>,
}

impl Thread {
    /// Has the fork go on as the run.
    pub(super) fn adopt(&self, mut live: Live) {
        let Some(request) = live.settled.clone() else { return self.drop_fork(live, "") };
        match self.carry(&mut live, &request) {
            Ok(()) => self.stand_in(live, &request),
            Err(Failed::Drop(why)) => self.drop_fork(live, why),
            Err(Failed::Lost) => self.plane.end_run(NOT_CARRIED_OVER),
        }
    }

    fn carry(&self, live: &mut Live, request: &Request) -> Result<(), Failed> {
        let mut again = self.stop(live)?;
        // It would ask once more: nobody else's answer is for it.
        if !self.shared.has_set_out() {
            return Err(Failed::Drop("it had yet to make the call"));
        }
        if live.owed.is_some() && live.ending.is_none() {
            return Err(Failed::Drop("it had yet to hear of the end of what it started"));
        }
        let members = self.members(live)?;
        if !live.standins.iter().all(|standin| standin.can_be_handed_back().unwrap_or(false)) {
            return Err(Failed::Drop("it uses its terminal in another way"));
        }
        let rests = self.rests(live, &members).map_err(|_| Failed::Drop("what it prints cannot be seen"))?;
        let Some(rests) = rests else { return Err(Failed::Drop("it is printing more than is kept")) };
        let layers: Vec<_> =
            live.shadows.all.iter().map(|shadow| (shadow.root.as_path(), shadow.upper.as_fd())).collect();
        merge::survey(&layers).map_err(|_| Failed::Drop("what it changed cannot be carried over"))?;
        drop(layers);
        let layers = live.shadows.take().map_err(|_| Failed::Lost)?;
        self.shared.uncovered();
        if !self.plane.rehearse(request) {
            return Err(Failed::Drop("more than that answer is needed"));
        }
        let lost = |_: Errno| Failed::Lost;
        for (root, upper) in &layers {
            merge::carry_over(&self.plane, root, upper.as_fd()).map_err(lost)?;
        }
        rests.iter().try_for_each(|rest| rest.take_over(&mut live.standins)).map_err(lost)?;
        self.exchange(live, &members, &mut again).map_err(lost)
    }

    /// Has every thread of the fork stand still; those are returned that have broken off a call, which they have to make
    /// once more.
    fn stop(&self, live: &mut Live) -> Result<HashSet<Pid>, Failed> {
        let stopped = live.stop(&self.proc, |tid| {
            let call = self.shared.deferred_of(tid).or_else(|| self.plane.take_waiting_now(tid));
            call.is_some_and(|call| {
                self.plane.oracle().steps_aside(number(tid));
                call.answer(Reply::Error(Errno::INTR));
                true
            })
        });
        stopped.map_err(|_| Failed::Drop("a process of it could not be stopped"))
    }

    /// The processes of the fork, where all that they have can be exchanged.
    fn members(&self, live: &Live) -> Result<Vec<Member>, Failed> {
        let unseen = |_: Errno| Failed::Drop("what its processes have cannot be seen");
        let mounts: BTreeSet<u64> =
            live.shadows.all.iter().flat_map(|shadow| shadow.mounts.iter().copied()).collect();
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        for tid in live.lasting() {
            let process = self.proc.process(tid).map_err(unseen)?;
            let has_all = |what| are_same(number(tid), number(process), what).map_err(unseen);
            if !has_all(Shared::Descriptors)? || !has_all(Shared::Folders)? {
                return Err(Failed::Drop("its threads do not have the same open"));
            }
            if !seen.insert(process) {
                continue;
            }
            if self.proc.shares_memory(tid, Some(&live.covered.roots)).map_err(unseen)? {
                return Err(Failed::Drop("it shares memory of a file that it changed"));
            }
            let all = self.proc.descriptors(tid).map_err(unseen)?;
            let mut descriptors = Vec::new();
            for descriptor in all {
                let is_shadowed = mounts.contains(&descriptor.mount);
                if ["eventpoll", "inotify"].iter().any(|kind| {
                    descriptor
                        .path
                        .strip_prefix(b"anon_inode:")
                        .is_some_and(|name| String::from_utf8_lossy(name).contains(kind))
                }) {
                    return Err(Failed::Drop("it watches descriptors or files"));
                }
                let moves = descriptor.kind == FileType::Directory && descriptor.position != 0;
                let is_other = is_shadowed && !descriptor.is_at_its_path();
                if is_shadowed && (descriptor.is_locked || descriptor.links == 0 || moves || is_other) {
                    return Err(Failed::Drop("it has a file open that cannot be opened again"));
                }
                if is_shadowed
                    || live.standins.iter().any(|standin| standin.original_for(&descriptor).is_some())
                {
                    descriptors.push(descriptor);
                }
            }
            let link = format!("{}/cwd", tid.as_raw_pid());
            let is_shadowed = mounts.contains(&self.proc.mount_of(&link).map_err(unseen)?);
            let directory = is_shadowed.then(|| self.proc.link(&link)).transpose().map_err(unseen)?;
            members.push(Member { tid, process, directory, descriptors });
        }
        Ok(members)
    }

    /// Gives every process of the fork what it had, but of the run.
    fn exchange(&self, live: &mut Live, members: &[Member], again: &mut HashSet<Pid>) -> io::Result<()> {
        // Descriptors that were one open file stay one.
        let mut known: Vec<(Pid, i32, OwnedFd)> = Vec::new();
        let mut given = Vec::new();
        for member in members {
            let mut own = Vec::new();
            for descriptor in &member.descriptors {
                let file = exchanged(live, member.tid, descriptor, &mut known)?;
                own.push(Given { number: descriptor.number, file });
            }
            given.push(own);
        }
        for (member, given) in members.iter().zip(given) {
            let mut puppet = Puppet::new(&self.proc, member.tid)?;
            let goes_on =
                if again.remove(&member.tid) { puppet.before.again() } else { puppet.before.settled() };
            if let Some(directory) = &member.directory {
                puppet.change_directory(directory)?;
            }
            self.hand_over(live, &mut puppet, &given)?;
            puppet.leave_at(&goes_on)?;
        }
        for tid in again.iter() {
            trace::set_registers(*tid, &trace::registers(*tid)?.again())?;
        }
        Ok(())
    }

    /// Lets the fork go, and has the original wait for its end and end likewise.
    fn stand_in(&self, mut live: Live, request: &Request) {
        let tid = number(request.tid());
        let oracle = self.plane.oracle();
        let printed: Vec<_> = live.standins.iter_mut().map(Standin::printed).collect();
        let was_told = oracle.speculated(tid, Speculated::Adopted);
        oracle.answers(tid);
        self.shared.lock().original = None;
        let is_lost = !was_told
            || printed.iter().any(io::Result::is_err)
            || self.set_aside(&mut live.line, live.level, request).is_err();
        if is_lost {
            return self.plane.end_run(NOT_CARRIED_OVER);
        }
        let Some(original) = live.line.get(live.level).map(|original| original.pid) else { return };
        let puppet = self.clear(original);
        let printed = live.standins.drain(..).zip(printed.into_iter().map(Result::unwrap_or_default));
        let_out(printed.collect());
        self.shared.stands(self.proc.own_number(original).ok(), live.top);
        for thread in live.threads.keys() {
            // One that was killed meanwhile is gone by itself.
            let _ = trace::detach(*thread);
        }
        if puppet.and_then(|puppet| self.follow(puppet, live.top)).is_err() {
            // Whoever waits for the original must not hear of another end, and nothing goes on without it.
            for pid in [original, live.top] {
                let _ = kill(pid.as_raw_pid(), libc::SIGKILL);
            }
        }
        self.shared.forget();
    }

    /// Lets go of those above the one that the fork stands for, and ends those below.
    fn set_aside(
        &self,
        line: &mut [super::live::Original],
        level: usize,
        request: &Request,
    ) -> io::Result<()> {
        let held = line.len() - 1;
        if level == held {
            self.unhold(request)?;
        }
        for original in &line[level + 1..] {
            kill(original.pid.as_raw_pid(), libc::SIGKILL)?;
            while !matches!(trace::next(Some(original.pid), true)?, Some((_, Event::Ended(_)))) {}
        }
        for original in &line[..level] {
            if let Some(registers) = &original.settled {
                trace::set_registers(original.pid, registers)?;
            }
            trace::detach(original.pid)?;
        }
        Ok(())
    }

    /// Has `original` close what it has: whoever waits for the end of a pipe shall see it when the fork closes it.
    fn clear(&self, original: Pid) -> io::Result<Puppet> {
        let mut puppet = Puppet::new(&self.proc, original)?;
        // Where it is ignored, the end of a child is seen by nobody.
        set_default(&mut puppet, libc::SIGCHLD)?;
        puppet.call(libc::SYS_close_range, [0, u32::MAX.into(), 0, 0, 0, 0])?;
        Ok(puppet)
    }

    /// Has an original wait until the fork ends, and end as that did. Signals that come for it are passed on.
    fn follow(&self, mut puppet: Puppet, top: Pid) -> io::Result<()> {
        let (original, own) = (puppet.tid, self.proc.own_number(top)?);
        let status = puppet.with_page(|puppet, page| {
            // A signal reaches the fork whatever the original has blocked.
            let set = u64::from(libc::SIG_SETMASK.unsigned_abs());
            puppet.call(libc::SYS_rt_sigprocmask, [set, page, 0, 8, 0, 0])?;
            let mut stop = None;
            loop {
                let options = u64::from((libc::__WALL | libc::WUNTRACED).unsigned_abs());
                puppet.begin(libc::SYS_wait4, [own.unsigned_abs().into(), page, options, 0, 0, 0])?;
                for signal in puppet.signals() {
                    self.carry_on(signal, top);
                }
                self.await_change(original, top, stop)?;
                let mut status = [0; 4];
                memory::read(original, page, &mut status)?;
                let status = i32::from_ne_bytes(status);
                if !libc::WIFSTOPPED(status) {
                    return Ok(status);
                }
                let signal = libc::WSTOPSIG(status);
                if signal != libc::SIGSTOP {
                    set_default(puppet, signal)?;
                }
                stop = Some(signal);
            }
        })?;
        end_likewise(puppet, status)
    }

    /// Waits for the end of the call by which `original` waits. Where its fork was stopped by `stop`, it is too, until
    /// somebody continues it.
    fn await_change(&self, original: Pid, top: Pid, stop: Option<i32>) -> io::Result<()> {
        // Continued meanwhile, it goes on.
        let mut stop = stop.filter(|_| self.is_stopped(top));
        if let Some(signal) = stop {
            kill(original.as_raw_pid(), signal)?;
        }
        loop {
            let way = match trace::next(Some(original), true)? {
                Some((_, Event::Call)) => match trace::registers(original)?.result() {
                    ENTERS | -514..=-512 => Way::ToCall,
                    result if result < 0 => return Err(Errno::CHILD),
                    _ => return Ok(()),
                },
                Some((_, Event::Signal(signal))) if stop == Some(signal) => {
                    stop = None;
                    Way::ToCallWith(signal)
                }
                Some((_, Event::Signal(signal))) => {
                    self.carry_on(signal, top);
                    if signal == libc::SIGCONT {
                        stop = None;
                    }
                    Way::ToCall
                }
                Some((_, Event::Group)) => Way::Stopped,
                Some((_, Event::Trap)) => {
                    self.carry_on(libc::SIGCONT, top);
                    Way::ToCall
                }
                Some((_, Event::Ended(_))) => return Err(Errno::SRCH),
                _ => Way::ToCall,
            };
            trace::resume(original, way)?;
        }
    }

    /// Has a signal that came for the original come for the fork. Whoever was continued alone is continued with it.
    fn carry_on(&self, signal: i32, top: Pid) {
        if signal == libc::SIGCONT && self.is_stopped(top) {
            // It may be gone.
            let _ = kill(top.as_raw_pid(), signal);
        }
        pass_on(signal, top);
    }

    /// Whether job control has stopped a process.
    fn is_stopped(&self, pid: Pid) -> bool {
        self.proc.status(pid, "State:").is_ok_and(|state| state.starts_with('T'))
    }
}

/// What a process of the fork gets for a descriptor that it has.
fn exchanged(
    live: &Live,
    tid: Pid,
    descriptor: &Descriptor,
    known: &mut Vec<(Pid, i32, OwnedFd)>,
) -> io::Result<OwnedFd> {
    if let Some(original) = live.standins.iter().find_map(|standin| standin.original_for(descriptor)) {
        return original;
    }
    for (other, number, file) in known.iter() {
        if is_same_file((*other, *number), (tid, descriptor.number))? {
            return file.try_clone().map_err(|_| Errno::MFILE);
        }
    }
    let file = reopen(descriptor)?;
    known.push((tid, descriptor.number, file.try_clone().map_err(|_| Errno::MFILE)?));
    Ok(file)
}

pub(super) fn pass_on(signal: i32, top: Pid) {
    if !OF_GROUPS.contains(&signal) {
        // The fork may be gone.
        let _ = kill(top.as_raw_pid(), signal);
    }
}

/// Ends a process with this status of `wait(2)`.
pub(super) fn end_likewise(mut puppet: Puppet, status: i32) -> io::Result<()> {
    let tid = puppet.tid;
    if libc::WIFEXITED(status) {
        let code = u64::from(libc::WEXITSTATUS(status).unsigned_abs());
        puppet.begin(libc::SYS_exit_group, [code, 0, 0, 0, 0, 0])?;
    } else {
        let signal = libc::WTERMSIG(status);
        if signal != libc::SIGKILL {
            set_default(&mut puppet, signal)?;
        }
        puppet.with_page(|puppet, page| {
            // An empty page: no signal is blocked.
            let set = u64::from(libc::SIG_SETMASK.unsigned_abs());
            puppet.call(libc::SYS_rt_sigprocmask, [set, page, 0, 8, 0, 0]).map(drop)
        })?;
        kill(tid.as_raw_pid(), signal)?;
        trace::resume(tid, Way::On(0))?;
    }
    loop {
        match trace::next(Some(tid), true)? {
            Some((_, Event::Ended(_))) => return Ok(()),
            Some((_, Event::Signal(signal))) => trace::resume(tid, Way::On(signal))?,
            _ => trace::resume(tid, Way::On(0))?,
        }
    }
}

/// Has a signal take its usual effect.
fn set_default(puppet: &mut Puppet, signal: i32) -> io::Result<()> {
    let number = u64::from(signal.unsigned_abs());
    puppet.with_page(|puppet, page| puppet.call(libc::SYS_rt_sigaction, [number, page, 0, 8, 0, 0]).map(drop))
}

/// Why a run ends that cannot go on as its fork.
const NOT_CARRIED_OVER: &str = "what it did while a call waited could not be carried over";
/// What a thread has in its result register while it is about to make a call: `ENOSYS`.
pub(super) const ENTERS: i64 = -38;
/// What is sent to a whole group reaches the fork by itself.
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
