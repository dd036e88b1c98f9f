//! A process on this host, told from others that had or will have its number.

use std::{fs, io, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Store, StoreError, error};

/// A process, by its number and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    /// In clock ticks since boot: field 22 of `proc_pid_stat(5)`.
    began: u64,
}

impl Process {
    /// This process.
    pub fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        let began = began(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, began })
    }

    /// Reads what [`Process::write`] wrote; `None` when nothing did.
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let text = match fs::read_to_string(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|cause| error::folder(path, cause))?,
        };
        let mut numbers = text.split_whitespace();
        let pid = numbers.next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let began = numbers.next().and_then(|began| began.parse().ok());
        Ok(pid.zip(began).map(|(pid, began)| Self { pid, began }))
    }

    /// Writes it down.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, format!("{} {}\n", self.pid.as_raw_nonzero(), self.began))
    }

    /// Whether it is what has this number now.
    pub fn is(&self, pid: Pid) -> bool {
        self.pid == pid && began(pid) == Some(self.began)
    }

    /// Kills it, unless it is gone.
    pub fn kill(&self) -> io::Result<()> {
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            other => other?,
        };
        // The handle names one process; that it is the right one is seen after it is open.
        if began(self.pid) != Some(self.began) {
            return Ok(());
        }
        match pidfd_send_signal(handle, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Whether the process makes connections for an agent: the supervisor of a run in the folder `runs`.
pub fn is_supervisor(pid: Pid, runs: &Path) -> bool {
    let Ok(held) = super::ids_in(&super::held_beside(runs)) else { return true };
    let mut supervisors =
        held.iter().map(|id| Process::read(&Store::supervisor_in(&runs.join(id.to_string()))));
    // A number that was a supervisor's may be anybody's by now.
    supervisors.any(|supervisor| supervisor.ok().flatten().is_some_and(|supervisor| supervisor.is(pid)))
}

fn began(pid: Pid) -> Option<u64> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    String::from_utf8_lossy(&stat).rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;

    #[test]
    fn only_the_process_that_was_meant_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supervisor");
        assert_eq!(Process::read(&path).unwrap(), None);

        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = Process { pid, began: began(pid).unwrap() };
        Process { began: process.began + 1, ..process }.kill().unwrap();
        assert!(child.try_wait().unwrap().is_none());

        process.write(&path).unwrap();
        assert_eq!(Process::read(&path).unwrap(), Some(process));
        process.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        process.kill().unwrap();
    }
}
