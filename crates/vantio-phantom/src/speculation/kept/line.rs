//! Who acts in a run, and who waits for whom.

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::room::Room;
use crate::speculation::look::Obstacle;

impl Room {
    /// The processes from the run's first program to the one that acts, each the only child of the one before; or what
    /// else there is. Who has just left children to process 1 counts: they may not be seen.
    pub(super) fn line(&self) -> Result<Vec<Pid>, Obstacle> {
        let failed = Obstacle::at("see the processes of the run");
        let mut line = Vec::new();
        let mut last = self.shared.init;
        loop {
            let mut children = self.proc.children(last, last == self.shared.init).map_err(&failed)?;
            children.retain(|child| !self.is_aside(*child));
            match children[..] {
                [] => break,
                [child] if self.proc.is_single_threaded(child).map_err(&failed)? => line.push(child),
                [child] => return Err(Obstacle::Threads(self.proc.own_number(child).map_err(&failed)?)),
                _ => return Err(Obstacle::Others),
            }
            last = line.last().copied().unwrap_or(last);
        }
        Ok(line)
    }

    /// Whether a process has no children, not even such that have ended.
    pub(super) fn is_childless(&self, pid: Pid) -> Result<bool, Obstacle> {
        let mut children =
            self.proc.children(pid, true).map_err(Obstacle::at("see the processes of the run"))?;
        children.retain(|child| !self.is_aside(*child));
        Ok(children.is_empty())
    }

    /// How often a process that waits for its child was switched from. As long as it is not again, it has done nothing.
    pub(super) fn waits(&self, pid: Pid) -> Result<u64, Obstacle> {
        let failed = Obstacle::at("see what waits for the process");
        let number = pid.as_raw_pid();
        if self.stands.contains_key(&pid) {
            return Ok(STANDS);
        }
        let switches = || -> io::Result<u64> {
            let count =
                |key| -> io::Result<u64> { self.proc.status(pid, key)?.parse().map_err(|_| Errno::SRCH) };
            Ok(count("voluntary_ctxt_switches:")? + count("nonvoluntary_ctxt_switches:")?)
        };
        let before = switches().map_err(&failed)?;
        let call = self.proc.read(&format!("{number}/syscall")).map_err(&failed)?;
        let call = String::from_utf8_lossy(&call);
        let call = call.split_whitespace().next().and_then(|number| number.parse().ok());
        let is_waiting = call.is_some_and(|number: i64| WAITING.contains(&number));
        let stands = self.proc.status(pid, "State:").map_err(&failed)?.starts_with(['S', 't']);
        if is_waiting && stands && switches().map_err(&failed)? == before {
            return Ok(before);
        }
        Err(Obstacle::Busy(self.proc.own_number(pid).map_err(&failed)?))
    }

    /// Every process of the run but its first, with all below it.
    pub(super) fn everybody(&self) -> io::Result<Vec<Pid>> {
        let mut all = Vec::new();
        let mut waiting = vec![self.shared.init];
        while let Some(pid) = waiting.pop() {
            let below = match self.proc.children_of_threads(pid) {
                // One that is gone meanwhile has none.
                Err(Errno::NOENT | Errno::SRCH) => continue,
                other => other?,
            };
            all.extend(&below);
            waiting.extend(below);
        }
        Ok(all)
    }
}

/// What an ancestor may be doing: nothing but to wait for the end of the one below it.
const WAITING: &[i64] = &[libc::SYS_wait4, libc::SYS_waitid];
/// Of an original that stands in: it does nothing by itself.
const STANDS: u64 = 0;
