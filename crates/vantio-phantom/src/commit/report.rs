//! What a commit did and did not do.

use crate::changes::{Blocked, Escaped};

/// What became of the selected changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// The commit's number, by which it can be undone; `None` when nothing
    /// was committed.
    pub number: Option<u64>,
    /// Paths that are on the host now, ordered.
    pub committed: Vec<Vec<u8>>,
    /// Those of them that were not selected but belong to one that was.
    pub along: Vec<Vec<u8>>,
    /// Paths that the host changed too. They stay pending.
    pub conflicts: Vec<Conflict>,
    /// Paths that stay pending because they depend on one that does.
    pub held: Vec<Held>,
    /// Paths that are never committed, and why.
    pub never: Vec<(Vec<u8>, Blocked)>,
    /// Paths whose change was dropped for what the host has.
    pub dropped: Vec<Vec<u8>>,
}

impl CommitReport {
    /// True when there was nothing to commit, drop or report.
    pub fn is_nothing_pending(&self) -> bool {
        *self == Self::default()
    }

    /// True when something that was selected is still pending.
    pub fn is_incomplete(&self) -> bool {
        !(self.conflicts.is_empty() && self.held.is_empty() && self.never.is_empty())
    }
}

/// A path that the run and the host both changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: Vec<u8>,
    /// What the host did.
    pub reason: Reason,
}

/// A change that waits for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The path.
    pub path: Vec<u8>,
    /// The path it depends on.
    pub on: Vec<u8>,
}

/// What the host did meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It changed content, mode or owner.
    Changed,
    /// It made something where there was nothing.
    Appeared,
    /// It removed what the run changed.
    Vanished,
    /// It changed something while the commit was at work.
    Moved,
}

impl Reason {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Changed => "the host changed it since the run did",
            Self::Appeared => "the host made something there since the run did",
            Self::Vanished => "the host removed it since the run changed it",
            Self::Moved => "the host changed it while it was being committed",
        }
    }
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", Escaped(&self.path), self.reason.text())
    }
}
