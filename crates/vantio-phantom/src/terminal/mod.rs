//! The terminal between the person and the run.
//!
//! The run never touches the caller's terminal. It has one of its own, made by
//! [`session`] in the run's `devpts`; the caller's process keeps the master and
//! [`attend`] carries bytes, sizes, signals and job control across. To the agent
//! and to the person it looks like one terminal:
//!
//! - `^C`, `^Z` and their kin are bytes to the caller's terminal, which is raw,
//!   and become signals at the run's.
//! - When the agent stops, so does the caller's process, by the same signal; when
//!   the shell continues it, the agent continues.
//! - An agent that starts in the background, or in a pipeline beside a program
//!   that may want the keyboard itself, gets the keyboard when it first reads:
//!   the kernel stops it with `SIGTTIN`, and that is the request.

mod attend;
mod relay;
mod screen;
pub(crate) mod session;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use rustix::{
    fs::FileType,
    io::Errno,
    stdio::{stderr, stdin, stdout},
    termios::{Termios, Winsize, isatty, tcgetattr, tcgetwinsize},
};

pub(crate) use attend::attend;

use self::screen::ground_of;
pub(crate) use self::screen::{Ground, Screen};
use crate::{
    Account, Ending,
    control::{ControlError, Failure},
};

/// What the run's terminal is to be like, as the caller's process found its own.
/// Made before the first fork; both sides go by it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Which of the descriptors 0, 1 and 2 are terminals, and become the run's.
    pub(crate) terminals: [bool; 3],
    /// Whether the agent's group has the run's terminal from the start.
    pub(crate) foreground: bool,
    /// Modes of the caller's terminal; `None` leaves the kernel's.
    pub(crate) modes: Option<Termios>,
    /// Size of the caller's terminal.
    pub(crate) size: Option<Winsize>,
}

/// How the run ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The agent's leader is gone, and this is written down of it.
    Ended(Ending, Account),
    /// The supervisor said that it failed.
    Failed(Failure),
}

/// Why a run could not be attended to its end. The supervisor ends the run when
/// the caller's process goes away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TerminalError {
    /// The supervisor died without a word.
    #[error("the supervisor is gone, and the run with it")]
    SupervisorLost,
    /// The supervisor cannot be understood.
    #[error("the supervisor cannot be reached: {0}")]
    Control(#[source] ControlError),
    /// The terminal, or the signals, failed.
    #[error("cannot {action}: {cause}")]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: Errno,
    },
}

impl Plan {
    /// The plan for a run whose standard descriptors are this process's.
    pub(crate) fn of_caller() -> Self {
        let terminals = [stdin(), stdout(), stderr()].map(isatty);
        let Some(terminal) = terminal_of(terminals) else {
            return Self { terminals, foreground: true, modes: None, size: None };
        };
        let is_fore = ground_of(terminal) == Ground::Fore;
        // A pipe's other end may be a program that wants the keyboard, such as a pager.
        let is_alone = !is_pipe(stdin()) && !is_pipe(stdout());
        Self {
            terminals,
            foreground: is_fore && is_alone,
            modes: is_fore.then(|| tcgetattr(terminal).ok()).flatten(),
            size: tcgetwinsize(terminal).ok(),
        }
    }

    /// Whether the run is to have a terminal at all.
    pub(crate) fn needs_terminal(&self) -> bool {
        self.terminals.contains(&true)
    }
}

impl TerminalError {
    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::SupervisorLost | Self::Control(_) => "E_SUPERVISOR_LOST",
            Self::Failed { .. } => "E_TERMINAL",
        }
    }

    /// What to do about it.
    pub(crate) const fn help(&self) -> &'static str {
        match self {
            Self::SupervisorLost | Self::Control(_) => {
                "nothing of the run is left alive; what it changed until then is kept: `vantio diff RUN` shows it"
            }
            Self::Failed { .. } => "run it without a terminal: `vantio run … </dev/null 2>&1 | cat`",
        }
    }
}

/// The descriptor through which the caller's terminal is used.
fn terminal_of(terminals: [bool; 3]) -> Option<BorrowedFd<'static>> {
    let descriptors = [stdin(), stdout(), stderr()];
    terminals.into_iter().zip(descriptors).find_map(|(is_terminal, fd)| is_terminal.then_some(fd))
}

fn is_pipe(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(descriptor)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket))
}
