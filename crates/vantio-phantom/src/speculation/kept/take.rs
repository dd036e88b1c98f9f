//! A checkpoint with a twin.

use std::time::{Duration, Instant};

use rustix::{io, process::Pid};

use super::{
    not_kept,
    room::{Room, Twin},
};
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    speculation::{freeze, look::Obstacle, puppet::Puppet},
    sys::trace::{self, Options, Registers},
};

/// Why there is no twin.
enum Failed {
    /// At another moment there may be one.
    Now(Obstacle),
    Checkpoint(CheckpointError),
}

impl From<Obstacle> for Failed {
    fn from(obstacle: Obstacle) -> Self {
        Self::Now(obstacle)
    }
}

impl Room {
    /// Takes a checkpoint at the first moment at which a twin can be made: best one at which nobody waits for the process
    /// that acts, since nobody else has to be as it was then.
    pub(super) fn take(&mut self, label: Option<&str>) -> Result<Checkpoint, CheckpointError> {
        if self.plane.is_forking() {
            return Err(not_kept("a call is held, and the run goes on as a fork meanwhile"));
        }
        let begun = Instant::now();
        let mut obstacle = Obstacle::Others;
        while begun.elapsed() < PATIENCE {
            self.attend();
            let taken = self.line().map_err(Failed::Now).and_then(|line| {
                let Some((acting, ancestors)) = line.split_last() else {
                    return Err(Obstacle::Others.into());
                };
                let is_alone = ancestors.iter().all(|pid| self.stands.contains_key(pid));
                if is_alone || begun.elapsed() > PATIENCE_TO_BE_ALONE {
                    self.take_of(*acting, ancestors, label)
                } else {
                    Err(Failed::Now(Obstacle::Others))
                }
            });
            match taken {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(Failed::Checkpoint(error)) => return Err(error),
                Err(Failed::Now(found)) => obstacle = found,
            }
            std::thread::sleep(BETWEEN);
        }
        Err(obstacle.into())
    }

    fn take_of(&mut self, acting: Pid, ancestors: &[Pid], label: Option<&str>) -> Result<Checkpoint, Failed> {
        // Before it is stopped: most that stands in the way is seen without.
        self.carried(acting, ancestors)?;
        self.stop(acting)?;
        let taken = self.take_stopped(acting, ancestors, label);
        self.keep_few();
        // Before anybody could look for the twin.
        self.look_after();
        let left = trace::detach(acting);
        let checkpoint = taken?;
        left.map_err(Obstacle::at("let the process go on"))?;
        Ok(checkpoint)
    }

    /// Stops a thread; where that takes too long it goes on.
    pub(super) fn stop(&mut self, tid: Pid) -> Result<(), Obstacle> {
        let failed = Obstacle::at("stop the process");
        let waits = || Obstacle::Holds("a call that waits for an answer".to_owned());
        if self.loose.contains(&tid) {
            return Err(waits());
        }
        trace::seize(tid, Options::PLAIN).map_err(&failed)?;
        let stopped = trace::interrupt(tid).and_then(|()| freeze::stopped_within(tid, PATIENCE_TO_STOP));
        stopped.map_err(|error| {
            self.loose.insert(tid);
            match error {
                io::Errno::TIMEDOUT => waits(),
                other => failed(other),
            }
        })
    }

    fn take_stopped(
        &mut self,
        acting: Pid,
        ancestors: &[Pid],
        label: Option<&str>,
    ) -> Result<Checkpoint, Failed> {
        let failed = Obstacle::at("fork the process");
        if self.line()?.last() != Some(&acting) {
            return Err(Obstacle::Others.into());
        }
        if !self.is_childless(acting)? {
            return Err(Obstacle::Children.into());
        }
        let carried = self.carried(acting, ancestors)?;
        let directory = self.directory(acting)?;
        let group = self.proc.group(acting).map_err(&failed)?;
        let written = ancestors.iter().filter(|pid| !self.stands.contains_key(pid));
        let written = written.map(|pid| Ok((*pid, self.written(*pid)?))).collect::<Result<_, Obstacle>>()?;
        trace::set_options(acting, Options::BIRTHS).map_err(&failed)?;
        let mut puppet = Puppet::new(&self.proc, acting).map_err(&failed)?;
        let before = puppet.before;
        let root = self.root_of(acting);
        let born = self.fork_of(&mut puppet, root != acting);
        let settled = puppet.leave_at(&before.settled());
        let born = born?;
        settled.map_err(&failed)?;
        // From here on whoever waits may do nothing either.
        let made = ancestors
            .iter()
            .map(|pid| Ok((*pid, self.waits(*pid)?)))
            .collect::<Result<Vec<_>, Obstacle>>()
            .map_err(Failed::Now)
            .and_then(|ancestors| {
                // A relative sleep cannot go on where it was.
                set_apart(&self.proc, born, &before.anew()).map_err(|error| Failed::Now(failed(error)))?;
                let checkpoint = self.plane.take_checkpoint(label).map_err(Failed::Checkpoint)?;
                Ok((ancestors, checkpoint))
            });
        let twin = Twin {
            id: 0,
            pid: born,
            root,
            ancestors: Vec::new(),
            written,
            registers: before.anew(),
            carried,
            directory,
            group,
        };
        self.twins.push(match &made {
            Ok((ancestors, checkpoint)) => Twin { id: checkpoint.id, ancestors: ancestors.clone(), ..twin },
            Err(_) => twin,
        });
        if made.is_err() {
            self.end(born);
        }
        made.map(|(_, checkpoint)| checkpoint)
    }

    fn fork_of(&mut self, puppet: &mut Puppet, as_sibling: bool) -> Result<Pid, Obstacle> {
        let failed = Obstacle::at("fork the process");
        self.bury(puppet).map_err(&failed)?;
        let (has_timers, number) = puppet.timers_and_number().map_err(&failed)?;
        if has_timers {
            return Err(Obstacle::Holds("a timer".to_owned()));
        }
        fork(puppet, number, as_sibling).map_err(&failed)
    }

    /// The original that a process stands for, or itself.
    pub(super) fn root_of(&self, pid: Pid) -> Pid {
        let stand = self.stands.iter().find(|(_, stand)| stand.acting() == pid);
        stand.map_or(pid, |(original, _)| *original)
    }

    /// Ends the oldest, where there are too many.
    fn keep_few(&mut self) {
        while self.twins.len() > TWINS_MAX {
            let oldest = self.twins[0].pid;
            self.end(oldest);
        }
    }
}

/// Forks a process that stands still; the fork is its child or, `as_sibling`, its parent's, and dies with this thread.
pub(super) fn fork(puppet: &mut Puppet, number: u64, as_sibling: bool) -> io::Result<Pid> {
    let sibling = if as_sibling { u64::from(libc::CLONE_PARENT.unsigned_abs()) } else { 0 };
    let born = puppet.fork(freeze::fork_flags(number) | sibling, number)?;
    trace::set_options(born, Options::KEPT)?;
    Ok(born)
}

/// Gives a twin a process group of its own, so that it gets no signal that is sent to a group, and registers to go on
/// with.
pub(super) fn set_apart(
    proc: &crate::speculation::look::Proc,
    twin: Pid,
    registers: &Registers,
) -> io::Result<()> {
    let mut puppet = Puppet::new(proc, twin)?;
    puppet.call(libc::SYS_setpgid, [0; 6])?;
    puppet.leave_at(registers)
}

/// For how long a moment is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// For how long one is waited for at which nobody waits for the process.
const PATIENCE_TO_BE_ALONE: Duration = Duration::from_secs(1);
const PATIENCE_TO_STOP: Duration = Duration::from_millis(100);
const BETWEEN: Duration = Duration::from_micros(500);
/// Twins that a run has at most.
const TWINS_MAX: usize = 16;
