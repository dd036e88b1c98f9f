//! A fork that goes on: its threads, and what happens to them.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{Job, ascent::Owed, descriptors::Covered, look::Proc, shadow::Shadows, standin::Standin};
use crate::{
    supervisor::request::Request,
    sys::{
        process::kill,
        trace::{self, Event, Registers, Way},
    },
};

/// A process of the run that a fork was made of, or that stands still for one.
pub(super) struct Original {
    pub(super) pid: Pid,
    /// What it goes on with, where it made calls for us.
    pub(super) settled: Option<Registers>,
    /// Forks of it, which it has to bury.
    pub(super) forks: Vec<Pid>,
}

/// A fork that goes on.
pub(super) struct Live {
    /// From the run's first program to the one that is held.
    pub(super) line: Vec<Original>,
    /// Which of them the fork is of that is alive.
    pub(super) level: usize,
    /// Those of which no fork can be given what it has.
    pub(super) lost: HashSet<Pid>,
    pub(super) top: Pid,
    /// With which status it is about to end, as `wait(2)` tells it.
    pub(super) ending: Option<i32>,
    /// All threads of the fork, and where one stands still.
    pub(super) threads: HashMap<Pid, bool>,
    /// Threads that do not stop before the child that they made has started a program or ended.
    pub(super) waits_for: HashMap<Pid, Pid>,
    pub(super) shadows: Shadows,
    pub(super) covered: Covered,
    pub(super) standins: Vec<Standin>,
    /// The mounts of the run before.
    pub(super) mounts: BTreeSet<u64>,
    /// Whether the fork was written down.
    pub(super) is_told: bool,
    /// The call of the original, once it was answered.
    pub(super) settled: Option<Request>,
    /// What the fork has yet to be told.
    pub(super) owed: Option<Owed>,
    pub(super) queue: VecDeque<Job>,
    /// How often it was looked at.
    pub(super) looks: u32,
}

/// What a look at the fork's threads found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Something,
    /// A thread was born.
    Born(Pid),
    /// The process that the original stands for is about to end.
    Ending,
}

impl Live {
    /// Sees to one thing that happened to a thread.
    pub(super) fn step(&mut self, proc: &Proc) -> io::Result<Found> {
        let Some((tid, event)) = ended(trace::next(None, false))? else { return Ok(Found::Nothing) };
        if self.is_original(tid) {
            return self.of_original(tid, event).map(|_| Found::Something);
        }
        let is_new = !self.threads.contains_key(&tid) && !matches!(event, Event::Ended(_));
        if is_new {
            self.threads.insert(tid, false);
        }
        self.pass(proc, tid, event).map(|found| if is_new { Found::Born(tid) } else { found })
    }

    fn is_original(&self, tid: Pid) -> bool {
        self.line.iter().any(|original| original.pid == tid)
    }

    /// Sees to what happened to an original; whether it has a signal to handle. Those that wait for the one that is held
    /// stand where they were stopped.
    fn of_original(&self, tid: Pid, event: Event) -> io::Result<bool> {
        let is_held = self.line.last().is_some_and(|held| held.pid == tid);
        match event {
            Event::Ended(_) => Err(Errno::SRCH),
            Event::Signal(signal) if is_held => trace::resume(tid, Way::On(signal)).map(|()| true),
            Event::Group if is_held => trace::resume(tid, Way::Stopped).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Whether the original that is held has a signal to handle.
    pub(super) fn is_called_away(&self) -> io::Result<bool> {
        let Some(held) = self.line.last() else { return Ok(false) };
        match ended(trace::next(Some(held.pid), false))? {
            Some((tid, event)) => self.of_original(tid, event),
            None => Ok(false),
        }
    }

    fn pass(&mut self, proc: &Proc, tid: Pid, event: Event) -> io::Result<Found> {
        self.note_wait(tid, event);
        self.note_program(tid, event)?;
        let way = match event {
            Event::Ended(status) => {
                self.threads.remove(&tid);
                if tid == self.top && self.ending.is_none() {
                    self.ending = Some(status);
                    return Ok(Found::Ending);
                }
                return Ok(Found::Something);
            }
            Event::Exit if tid == self.top && is_last(proc, tid) => {
                self.ending = Some(i32::try_from(trace::message(tid)?).unwrap_or(0));
                self.threads.insert(tid, true);
                return Ok(Found::Ending);
            }
            Event::Group => Way::Stopped,
            Event::Signal(signal) => Way::On(signal),
            Event::Call if !self.tell_end(tid)? => {
                self.threads.insert(tid, true);
                return Ok(Found::Something);
            }
            Event::Birth | Event::BirthAndWait | Event::Exec | Event::Exit | Event::Call | Event::Trap => {
                Way::On(0)
            }
        };
        match trace::resume(tid, self.way(tid, way)) {
            // It is being killed.
            Ok(()) | Err(Errno::SRCH) => Ok(Found::Something),
            Err(error) => Err(error),
        }
    }

    /// A program that a thread began takes the place of all threads of its process, by the number of the first.
    fn note_program(&mut self, tid: Pid, event: Event) -> io::Result<()> {
        if event == Event::Exec {
            let former = i32::try_from(trace::message(tid)?).ok().and_then(Pid::from_raw);
            former.filter(|former| *former != tid).map(|former| self.threads.remove(&former));
            self.threads.insert(tid, false);
        }
        Ok(())
    }

    /// What a thread waits for after this.
    fn note_wait(&mut self, tid: Pid, event: Event) {
        self.waits_for.remove(&tid);
        if event == Event::BirthAndWait {
            // One that is being killed waits for nobody.
            let number = trace::message(tid).ok().and_then(|number| i32::try_from(number).ok());
            self.waits_for.extend(number.and_then(Pid::from_raw).map(|child| (tid, child)));
        }
    }

    /// Makes room for what the fork prints, and has its terminal follow the size of the run's.
    pub(super) fn attend(&mut self) -> io::Result<()> {
        for standin in &mut self.standins {
            standin.attend()?;
            if standin.follows_size()? {
                // The signal for it came before the size did. One that is gone needs none.
                for tid in self.threads.keys() {
                    let _ = kill(tid.as_raw_pid(), libc::SIGWINCH);
                }
            }
        }
        Ok(())
    }

    /// Stops every thread; fails where one does not stop in time. Those of which `unwind` says that it has broken off
    /// a call, which they have to make once more, are returned.
    pub(super) fn stop(&mut self, proc: &Proc, unwind: impl Fn(Pid) -> bool) -> io::Result<HashSet<Pid>> {
        let deadline = Instant::now() + PATIENCE;
        let mut unwound = HashSet::new();
        self.running().try_for_each(interrupt)?;
        while self.running().next().is_some() {
            if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT);
            }
            // A call may be put aside only now.
            unwound.extend(self.running().filter(|tid| unwind(*tid)));
            match ended(trace::next(None, false))? {
                None => {
                    self.let_hinderers_go_on(&unwound)?;
                    std::thread::sleep(PAUSE);
                }
                Some((tid, event)) if self.is_original(tid) => drop(self.of_original(tid, event)?),
                Some((tid, event)) => self.stop_at(proc, tid, event)?,
            }
        }
        Ok(unwound)
    }

    /// The call of the original, where it was answered; what else was still to be seen to is of no use without the fork.
    pub(super) fn take_settled(&mut self) -> Option<Request> {
        let queued = self.queue.drain(..).find_map(|job| match job {
            Job::Settled(request) => Some(request),
            _ => None,
        });
        self.settled.take().or(queued)
    }

    /// All threads but the one that is about to end.
    pub(super) fn lasting(&self) -> impl Iterator<Item = Pid> {
        self.threads.keys().copied().filter(|tid| self.ending.is_none() || *tid != self.top)
    }

    fn running(&self) -> impl Iterator<Item = Pid> {
        self.threads.iter().filter(|(_, stands)| !**stands).map(|(tid, _)| *tid)
    }

    /// Sees to what happened to a thread while all are stopped.
    fn stop_at(&mut self, proc: &Proc, tid: Pid, event: Event) -> io::Result<()> {
        self.note_program(tid, event)?;
        let awaited = self.waits_for.get(&tid).copied();
        self.note_wait(tid, event);
        // It had to go on until now.
        if let Some(child) = awaited.filter(|child| self.threads.get(child) == Some(&false)) {
            interrupt(child)?;
        }
        match event {
            Event::Ended(_) => {
                self.threads.remove(&tid);
                if tid == self.top && self.ending.is_none() {
                    return Err(Errno::SRCH);
                }
            }
            Event::Trap => {
                self.threads.insert(tid, true);
            }
            Event::Exit if tid == self.top && is_last(proc, tid) => {
                self.ending = Some(i32::try_from(trace::message(tid)?).unwrap_or(0));
                self.threads.insert(tid, true);
            }
            // It stays stopped by job control, and cannot be worked with.
            Event::Group => {
                self.threads.insert(tid, false);
                trace::resume(tid, Way::Stopped)?;
            }
            _ => {
                self.threads.insert(tid, false);
                // Whatever else a thread stops for takes the place of the stop that it was asked for.
                interrupt(tid)?;
                let signal = if let Event::Signal(signal) = event { signal } else { 0 };
                trace::resume(tid, Way::On(signal))?;
            }
        }
        Ok(())
    }

    /// Lets those who stand go on whose parent cannot stop before they do. Fails where one has a call to make once more,
    /// which it must not return from.
    fn let_hinderers_go_on(&mut self, unwound: &HashSet<Pid>) -> io::Result<()> {
        for (parent, child) in &self.waits_for {
            if self.threads.get(parent) == Some(&false) && self.threads.get(child) == Some(&true) {
                if unwound.contains(child) {
                    return Err(Errno::BUSY);
                }
                trace::resume(*child, Way::On(0))?;
                self.threads.insert(*child, false);
            }
        }
        Ok(())
    }

    /// Ends every thread of the fork; nothing of it is left but what its parents have to bury.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE_TO_KILL;
        for tid in self.threads.keys() {
            // Gone already: nothing to end.
            let _ = kill(tid.as_raw_pid(), libc::SIGKILL);
            // Whoever stands at its end does not hear of it.
            let _ = trace::resume(*tid, Way::On(0));
        }
        while !self.threads.is_empty() {
            match ended(trace::next(None, false))? {
                None if Instant::now() > deadline => return Err(Errno::TIMEDOUT),
                None => {
                    // The number of a thread that began a program is gone with no word of it.
                    self.threads.retain(|tid, _| kill(tid.as_raw_pid(), 0) != Err(Errno::SRCH));
                    std::thread::sleep(PAUSE);
                }
                Some((tid, Event::Ended(_))) => {
                    self.threads.remove(&tid);
                }
                // Whoever is gone has nothing to go on with.
                Some((tid, event)) if self.is_original(tid) => drop(self.of_original(tid, event)),
                Some((tid, _)) => {
                    self.threads.insert(tid, false);
                    let _ = kill(tid.as_raw_pid(), libc::SIGKILL);
                    // Whoever is being killed does not stop again.
                    let _ = trace::resume(tid, Way::On(0));
                }
            }
        }
        Ok(())
    }
}

/// Whether a thread that is about to end is the last of its process, which ends with it.
fn is_last(proc: &Proc, tid: Pid) -> bool {
    proc.is_single_threaded(tid).unwrap_or(false)
}

pub(super) fn interrupt(tid: Pid) -> io::Result<()> {
    match trace::interrupt(tid) {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// `None` where nobody is left to wait for.
fn ended(next: io::Result<Option<(Pid, Event)>>) -> io::Result<Option<(Pid, Event)>> {
    match next {
        Err(Errno::CHILD | Errno::INTR) => Ok(None),
        other => other,
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_TO_KILL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_micros(200);
