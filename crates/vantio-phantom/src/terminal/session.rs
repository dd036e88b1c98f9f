//! The run's side: a pseudoterminal of its own, and who in the run may use it.
//!
//! Init leads the session, and the agent is a process group in it. Were the
//! agent itself the leader, its group would be an orphan, and the kernel would
//! discard every stop: `^Z` in an editor would do nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    io,
    process::Pid,
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{OptionalActions, Termios, Winsize, tcsetattr, tcsetpgrp, tcsetwinsize},
};

use super::Plan;
use crate::sys::tty::with_blocked;

/// A pseudoterminal of the run's own `devpts` instance.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Belongs to the caller's process; the supervisor sends it there and drops its own.
    pub(crate) master: OwnedFd,
    /// Belongs to the session; init keeps it open until the run ends.
    pub(crate) slave: OwnedFd,
}

/// Opens a pair in the `devpts` instance that `instance` is the root of, and
/// gives it the modes and the size of another terminal.
pub(crate) fn open_pair(
    instance: BorrowedFd<'_>,
    modes: Option<&Termios>,
    size: Option<Winsize>,
) -> io::Result<Pair> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(instance, "ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Some(modes) = modes {
        tcsetattr(&slave, OptionalActions::Now, modes)?;
    }
    if let Some(size) = size {
        tcsetwinsize(&slave, size)?;
    }
    Ok(Pair { master, slave })
}

/// Makes the calling process, init, leader of a new session on `slave`, or on
/// no terminal.
pub(crate) fn lead(slave: Option<BorrowedFd<'_>>) -> io::Result<()> {
    rustix::process::setsid()?;
    slave.map_or(Ok(()), rustix::process::ioctl_tiocsctty)
}

/// Makes the calling process, the agent before its `execve`, a group of the
/// session and gives it `slave` wherever the caller had a terminal.
pub(crate) fn join(slave: Option<BorrowedFd<'_>>, plan: &Plan) -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    let Some(slave) = slave else { return Ok(()) };
    if plan.foreground {
        hand_over(slave, rustix::process::getpgrp())?;
    }
    let [input, output, error] = plan.terminals;
    if input {
        rustix::stdio::dup2_stdin(slave)?;
    }
    if output {
        rustix::stdio::dup2_stdout(slave)?;
    }
    if error {
        rustix::stdio::dup2_stderr(slave)?;
    }
    Ok(())
}

/// Gives the terminal to the process group `agent`. Init does so whenever the
/// agent was stopped for touching a terminal it did not have (`SIGTTIN`,
/// `SIGTTOU`), and leaves it stopped until the caller continues it.
pub(crate) fn hand_over(slave: BorrowedFd<'_>, agent: Pid) -> io::Result<()> {
    with_blocked(libc::SIGTTOU, || tcsetpgrp(slave.as_fd(), agent))
}
