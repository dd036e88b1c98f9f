//! What a commit did and did not do.

use std::collections::{BTreeMap, HashSet};

use super::select::Chosen;
use crate::changes::{Blocked, ChangeSet, Escaped};

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
    /// What became of mode, owner and attributes of those that were renamed, in words, where that came too.
    pub looks: BTreeMap<Vec<u8>, String>,
    /// Paths that the host changed too. They stay pending.
    pub conflicts: Vec<Conflict>,
    /// Paths that stay pending because they depend on one that does.
    pub held: Vec<Held>,
    /// Paths that are never committed, and why.
    pub never: Vec<(Vec<u8>, Blocked)>,
    /// Paths whose change was dropped for what the host has.
    pub dropped: Vec<Vec<u8>>,
    /// Those of the committed paths that have a merge of what the host and the run had.
    pub merged: Vec<Vec<u8>>,
    /// Those of the committed paths that took the place of what the host had changed.
    pub overwritten: Vec<Vec<u8>>,
    /// Those of which only hunks were committed: the rest stays pending.
    pub partly: Vec<Vec<u8>>,
    /// Those of them of which mode, owner or attributes stay pending.
    pub unmoved: Vec<Unmoved>,
    /// Paths at which something was before that lay on another mount than the state folder and could not be kept there: an
    /// undo leaves them.
    pub unkept: Vec<Vec<u8>>,
}

impl CommitReport {
    /// True when there was nothing to commit, drop or report.
    pub fn is_nothing_pending(&self) -> bool {
        *self == Self::default()
    }

    /// Tells what was committed.
    pub(super) fn count(
        &mut self,
        set: &ChangeSet,
        Chosen { indices: chosen, replacements, forced, .. }: &Chosen,
    ) {
        let path = |index: &usize| set.changes()[*index].path.clone();
        let part = |index: &usize| replacements.get(index).map(|replacement| replacement.is_part);
        let of = |wanted: Option<bool>| chosen.iter().filter(move |index| part(index) == wanted).map(path);
        self.merged = of(Some(false)).collect();
        self.overwritten = forced.iter().map(path).collect();
        self.partly = of(Some(true)).collect();
        let unmoved = |index: &usize| {
            let (part, change) = (replacements.get(index)?, &set.changes()[*index]);
            let what = Some(change.metadata()).filter(|what| part.is_part && !what.is_empty())?;
            Some(Unmoved { path: change.path.clone(), what, leaves_hunks: part.leaves_hunks })
        };
        self.unmoved = chosen.iter().filter_map(unmoved).collect();
        self.committed = chosen.iter().filter(|index| part(index) != Some(true)).map(path).collect();
    }

    /// How many of `paths` are on the host now, whole or in part.
    pub fn among(&self, paths: &[Vec<u8>]) -> usize {
        let there: HashSet<&Vec<u8>> = self.committed.iter().chain(&self.partly).collect();
        paths.iter().filter(|path| there.contains(path)).count()
    }

    /// True when something that was selected is still pending.
    pub fn is_incomplete(&self) -> bool {
        !(self.conflicts.is_empty() && self.held.is_empty() && self.never.is_empty())
    }
}

/// A path of which hunks were committed, and not what the run made of its mode, owner or attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmoved {
    /// The path.
    pub path: Vec<u8>,
    /// What waits, in words.
    pub what: String,
    /// Whether hunks of it wait too.
    pub leaves_hunks: bool,
}

/// A path that the run and the host both changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: Vec<u8>,
    /// What the host did.
    pub reason: Reason,
    /// Whether a merge settles it.
    pub offer: Offer,
    /// Whether the run's version can be taken: not of a directory that the run only renamed and the host removed. Of one in
    /// which the run did more, that is taken.
    pub can_be_forced: bool,
}

/// What a three-way merge makes of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Both changes, side by side.
    Clean,
    /// Both changed these lines.
    Overlapping(Vec<Overlap>),
    /// It cannot be merged.
    Impossible(Unmergeable),
}

/// Lines that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Before the run.
    pub before: Lines,
    /// As the host has them.
    pub host: Lines,
    /// As the run has them.
    pub run: Lines,
}

/// Lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Number of the first, from 1; of no line, where they would stand.
    pub first: usize,
    /// Each, with what ends it.
    pub text: Vec<Vec<u8>>,
}

/// Why there is no merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmergeable {
    /// The host has nothing there any more.
    GoneFromHost,
    /// The host has not the directory any more that the run renamed.
    Remains,
    /// The run removed it.
    GoneFromRun,
    /// The two sides have different types of files, or not regular ones.
    OtherType,
    /// It holds NUL bytes.
    NotText,
    /// It is larger than a mebibyte, or has more than 40,000 lines.
    Large,
    /// One side cannot be read.
    Unreadable,
    /// It has several names in the run.
    SeveralNames,
    /// What it held before the run is not kept.
    Forgotten,
    /// Both changed the mode.
    Mode,
    /// Both changed the owner.
    Owner,
    /// Both changed this extended attribute.
    Attribute(Vec<u8>),
}

impl std::fmt::Display for Unmergeable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::GoneFromHost => "the host has nothing there to merge with",
            Self::Remains => "only what the run changed or added in it is left to take",
            Self::GoneFromRun => "the run removed it",
            Self::OtherType => "only regular files can be merged",
            Self::NotText => "both changed it, and it is not text",
            Self::Large => "it is larger than 1 MiB or has more than 40,000 lines",
            Self::Unreadable => "it cannot be read",
            Self::SeveralNames => "it has several names in the run",
            Self::Forgotten => "what it was before the run is not kept",
            Self::Mode => "both changed its mode",
            Self::Owner => "both changed its owner",
            Self::Attribute(name) => {
                return write!(formatter, "both changed its attribute `{}`", Escaped(name));
            }
        })
    }
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
