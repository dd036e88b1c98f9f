//! The caller's terminal.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    io::{self, Errno},
    termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};

use crate::sys::tty::FatalGuard;

/// The terminal that the caller types at and looks at.
///
/// While it is *attached* it is in raw mode and what is typed belongs to the
/// run. It gets its modes back when it is detached or dropped, and when a signal
/// ends the process.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Declared before the descriptor that it uses, hence dropped before.
    attached: Option<Attached>,
    terminal: OwnedFd,
}

#[derive(Debug)]
struct Attached {
    _guard: FatalGuard,
    /// The modes before.
    modes: Termios,
}

/// What this process is to its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// It may read, and change the modes.
    Fore,
    /// Another process group has the terminal.
    Back,
    /// The terminal was hung up.
    Gone,
}

impl Screen {
    /// Opens `terminal` anew, so that not to wait for it is this process's own
    /// choice and nothing that the shell would find changed.
    pub(crate) fn open(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(reopened) => reopened,
            // A terminal that changed hands (`su`) may not be opened, only used as it is.
            Err(_) => rustix::io::fcntl_dupfd_cloexec(terminal, 3)?,
        };
        Ok(Self { attached: None, terminal })
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    pub(crate) fn ground(&self) -> Ground {
        ground_of(self.terminal.as_fd())
    }

    pub(crate) fn size(&self) -> io::Result<Winsize> {
        tcgetwinsize(&self.terminal)
    }

    /// Takes the terminal, if this process may: raw mode from here on.
    pub(crate) fn attach(&mut self) -> io::Result<()> {
        if self.attached.is_none() && self.ground() == Ground::Fore {
            let modes = tcgetattr(&self.terminal)?;
            self.attached = Some(Attached { _guard: FatalGuard::arm(self.terminal.as_fd())?, modes });
            self.set_raw()?;
        }
        Ok(())
    }

    /// Gives the terminal back, unless somebody else has taken it already.
    pub(crate) fn detach(&mut self) {
        let Some(attached) = self.attached.take() else { return };
        if self.ground() == Ground::Fore {
            // A terminal that refuses its own former modes is gone, and needs none.
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &attached.modes);
        }
    }

    /// Sees to an attached terminal after a stop that this process did not choose:
    /// whoever used it meanwhile may have changed its modes, or still has it.
    pub(crate) fn reattach(&mut self) -> io::Result<()> {
        match self.ground() {
            Ground::Fore if self.is_attached() => self.set_raw(),
            Ground::Fore => Ok(()),
            Ground::Back | Ground::Gone => {
                self.attached = None;
                Ok(())
            }
        }
    }

    fn set_raw(&self) -> io::Result<()> {
        let mut modes = tcgetattr(&self.terminal)?;
        modes.make_raw();
        tcsetattr(&self.terminal, OptionalActions::Now, &modes)
    }
}

impl AsFd for Screen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.detach();
    }
}

/// What this process is to `terminal`. Job control does not apply to a terminal
/// that is not the controlling one.
pub(crate) fn ground_of(terminal: BorrowedFd<'_>) -> Ground {
    match tcgetpgrp(terminal) {
        Ok(group) if group == rustix::process::getpgrp() => Ground::Fore,
        // The controlling terminal of a session in another PID namespace is numbered 0, which is no error.
        Ok(_) | Err(Errno::OPNOTSUPP) => Ground::Back,
        Err(Errno::NOTTY) => Ground::Fore,
        Err(_) => Ground::Gone,
    }
}
