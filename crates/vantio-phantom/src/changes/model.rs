//! A set of changes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

use super::{Hazard, Node, tree::moved};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The host has nothing there.
    Added,
    /// Same type, other content (or target).
    Modified,
    /// The run removed it.
    Deleted,
    /// A directory that the run moved here from `from`.
    Renamed,
    /// Another type of file.
    Retyped,
    /// Same content; other mode, owner or attributes.
    Metadata,
}

impl ChangeKind {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Retyped => "retyped",
            Self::Metadata => "metadata",
        }
    }

    /// The sign that stands for it in a list.
    pub const fn mark(self) -> char {
        match self {
            Self::Added => '+',
            Self::Modified => '~',
            Self::Deleted => '-',
            Self::Renamed => '>',
            Self::Retyped => '!',
            Self::Metadata => '*',
        }
    }
}

/// Why a change can never be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocked {
    /// A device node.
    Device,
    /// A Unix socket.
    Socket,
    /// Something cannot be read, so it is not known what it holds.
    Unreadable,
    /// A file system of the host is mounted there.
    Mount,
    /// The path is longer than a system call takes.
    TooDeep,
}

impl Blocked {
    /// Why, in a few words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Device => "a device node is never committed",
            Self::Socket => "a socket is never committed",
            Self::Unreadable => "it cannot be read",
            Self::Mount => "a file system of the host is mounted there",
            Self::TooDeep => "its path is longer than a system call takes",
        }
    }
}

/// One path that ends up different from what the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path; of a deletion, where the host has it.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: ChangeKind,
    /// Where the host has it, when that is another path: for a rename, and
    /// for what changed below one.
    pub from: Option<Vec<u8>>,
    /// What the host has.
    pub before: Option<Node>,
    /// What the run left.
    pub after: Option<Node>,
    /// Every name of the same file in the run, its own among them, changed or
    /// not; empty where it has one name.
    pub links: Arc<[Vec<u8>]>,
    /// What deserves a look before this is committed.
    pub hazards: Vec<Hazard>,
    /// Why it can never be committed.
    pub blocked: Option<Blocked>,
    pub(crate) origin: Origin,
}

impl Change {
    /// Where the host has it.
    pub fn host_path(&self) -> &[u8] {
        self.from.as_deref().unwrap_or(&self.path)
    }

    /// What became of mode, owner and attributes, in words; empty where they are as they were.
    pub fn metadata(&self) -> String {
        let both = self.before.as_ref().zip(self.after.as_ref());
        both.map_or(String::new(), |(before, after)| moved(before, after))
    }

    /// True for a rename of what the host has not any more.
    pub(crate) fn lost_its_source(&self) -> bool {
        self.kind == ChangeKind::Renamed && self.before.is_none()
    }
}

/// Where a change was found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Path within the layer's upper directory; `None` for a deletion.
    pub(crate) upper: Option<Vec<u8>>,
    /// What the host has, and where, that is gone because this is in its place now, and that is no base of it.
    pub(crate) replaced: Vec<(Vec<u8>, Node)>,
    /// The host had this directory when the run first wrote below it.
    pub(crate) had_lower: bool,
    /// What the host has at this path, or above it, the run moved elsewhere.
    pub(crate) is_vacated: bool,
    /// The host changed it too, where that was asked.
    pub(crate) is_conflict: bool,
}

/// Everything a run changed, ordered by the bytes of the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    pub(crate) changes: Vec<Change>,
    /// Unchanged names of files that have several names in the run: by layer
    /// and inode of the upper layer.
    pub(crate) kept_links: HashMap<(usize, u64), Vec<Vec<u8>>>,
    /// Files of the host with several names, of which the run has a copy of
    /// its own under one and left it as it was.
    pub(crate) kept_apart: HashSet<(u64, u64)>,
    /// What the run left as the host has it but for its time, by path: no changes.
    pub(crate) retimed: BTreeMap<Vec<u8>, Node>,
}

impl ChangeSet {
    /// The changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// True when the run left everything as the host has it.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The change of `path`, if it changed.
    pub fn get(&self, path: &[u8]) -> Option<&Change> {
        self.position(path).map(|index| &self.changes[index])
    }

    /// Some of the changes.
    #[must_use]
    pub fn filtered(&self, is_wanted: impl Fn(&Change) -> bool) -> Self {
        let changes = self.changes.iter().filter(|change| is_wanted(change)).cloned().collect();
        Self { changes, ..self.clone() }
    }

    pub(crate) fn position(&self, path: &[u8]) -> Option<usize> {
        self.changes.binary_search_by(|change| change.path.as_slice().cmp(path)).ok()
    }
}
