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
    merge,
    mirror::Mirror,
    number,
    printing::let_out,
    puppet::Puppet,
    standin::Standin,
};
use crate::{
    oracle::Speculated,
    supervisor::request::{Reply, Request},
    sys::{
        process::{Shared, are_same, is_same_file, kill},
        trace::{self, Event},
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
        let layers = live.shadows.take().map_err(|_| Failed::Lost)?;
        self.shared.uncovered();
        merge::survey(&layers).map_err(|_| Failed::Drop("what it changed cannot be carried over"))?;
        let (gone, moved) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.gone), std::mem::take(&mut state.moved))
        };
        if self.is_used_above(live, &moved).map_err(|_| Failed::Drop("what waits for it cannot be seen"))? {
            return Err(Failed::Drop("it renamed a file that a process that waits for it has open"));
        }
        if !self.plane.rehearse(request) {
            return Err(Failed::Drop("more than that answer is needed"));
        }
        self.plane.take_over_bases().map_err(|_| Failed::Drop("what the host had cannot be noted"))?;
        let lost = |_: Errno| Failed::Lost;
        for (root, upper) in &layers {
            merge::carry_over(&self.plane, &gone, root, upper.as_fd()).map_err(lost)?;
        }
        rests.iter().try_for_each(|rest| rest.take_over(&mut live.standins)).map_err(lost)?;
        self.exchange(live, &members, &mut again).map_err(lost)
    }

    /// Whether somebody who waits for the fork has a file open, or in memory, that had one of these names: it has another
    /// file under the new one then.
    fn is_used_above(&self, live: &Live, names: &BTreeSet<Vec<u8>>) -> io::Result<bool> {
        for original in live.line[..live.level].iter().filter(|_| !names.is_empty()) {
            let opened = self.proc.descriptors(original.pid)?.into_iter().map(|descriptor| descriptor.path);
            if opened.chain(self.proc.mapped(original.pid)?).any(|path| names.contains(&path)) {
                return Ok(true);
            }
        }
        Ok(false)
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
            if self.proc.maps_files(tid, &live.covered.roots).map_err(unseen)? {
                return Err(Failed::Drop("it shares memory of a file of the workspace"));
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
        let mirror = Puppet::new(&self.proc, original).and_then(Mirror::new);
        let printed = live.standins.drain(..).zip(printed.into_iter().map(Result::unwrap_or_default));
        let_out(printed.collect());
        self.shared.stands(self.proc.own_number(original).ok(), live.top);
        for thread in live.threads.keys() {
            // One that was killed meanwhile is gone by itself.
            let _ = trace::detach(*thread);
        }
        if mirror.and_then(|mirror| self.follow(mirror, original, live.top)).is_err() {
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

    /// Has an original wait until the fork ends, and end as that did.
    fn follow(&self, mut mirror: Mirror, original: Pid, top: Pid) -> io::Result<()> {
        mirror.follow(&self.proc, top)?;
        loop {
            if let Some((_, event)) = trace::next(Some(original), true)?
                && let Some(status) = mirror.happened(&self.proc, event)?
            {
                return mirror.end(status);
            }
        }
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

/// Why a run ends that cannot go on as its fork.
const NOT_CARRIED_OVER: &str = "what it did while a call waited could not be carried over";
