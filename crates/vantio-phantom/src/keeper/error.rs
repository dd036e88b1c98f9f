//! Why a detached run cannot be reached.

use std::io;

/// Why a keeper cannot be visited, or cannot work.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Nobody listens: the run is over, or has no keeper.
    #[error("nobody keeps the run's terminal any more")]
    Absent,
    /// It speaks another version, or has no room.
    #[error("the run's keeper refused: {0}")]
    Refused(String),
    /// The kernel refused.
    #[error("cannot {action}: {cause}")]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl KeeperError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Absent => "E_RUN_ENDED",
            Self::Refused(_) => "E_KEEPER_REFUSED",
            Self::Failed { .. } => "E_KEEPER",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Absent => "`vantio ps --all` tells what became of it",
            Self::Refused(_) => "use the version of vantio that started the run, or let somebody else detach",
            Self::Failed { .. } => "`vantio logs RUN` reads what the run wrote without its keeper",
        }
    }
}

/// Says in words what failed.
pub(super) fn failed<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> KeeperError {
    move |cause| KeeperError::Failed { action, cause: cause.into() }
}
