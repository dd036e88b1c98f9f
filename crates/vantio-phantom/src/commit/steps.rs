//! The steps of a commit, as the journal keeps them.
//!
//! A *slot* is a name in the depot of the step's layer. Whether a step was
//! taken can be told by which file is in the slot and which on the host.

use serde::{Deserialize, Serialize};

use super::meta::Meta;
use crate::changes::PathBytes;

/// Device and inode.
pub(super) type Id = (u64, u64);

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// Index of the layer.
    pub(super) layer: usize,
    /// The path on the host, relative to the layer.
    pub(super) path: PathBytes,
    /// The slot it uses.
    pub(super) slot: String,
    /// What is done.
    pub(super) action: Action,
}

/// What a step does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    /// Moves `node` from the host to the slot.
    Take { node: Id },
    /// Removes the directory `node`, from which all that was in it went before, and which cannot be moved to a slot.
    Remove { node: Id, meta: Box<Meta> },
    /// Makes the directory anew that was `node` before it was removed elsewhere.
    Make { node: Id, meta: Box<Meta> },
    /// Moves `node` from the slot to the host, where nothing is.
    Put { node: Id },
    /// Exchanges `new` in the slot with `old` on the host.
    Swap { old: Id, new: Id },
    /// Writes what the slot has into `node`, which has other names that must
    /// follow; `backup` is the slot of its old content.
    Rewrite { node: Id, backup: String },
    /// Changes mode, owner, attributes and times of `node`.
    Meta { node: Id, old: Box<Meta>, new: Box<Meta> },
    /// Gives `node`, which the host has at `existing`, another name.
    Link { node: Id, existing: PathBytes },
}

impl Action {
    /// The files that it moves or changes: what is done to one shows on each of its names.
    pub(super) fn ids(&self) -> Vec<Id> {
        match self {
            Self::Swap { old, new } => vec![*old, *new],
            Self::Take { node }
            | Self::Remove { node, .. }
            | Self::Make { node, .. }
            | Self::Put { node }
            | Self::Rewrite { node, .. }
            | Self::Meta { node, .. }
            | Self::Link { node, .. } => vec![*node],
        }
    }

    /// Whether nothing is at the path when it is done.
    pub(super) const fn clears(&self) -> bool {
        matches!(self, Self::Take { .. } | Self::Remove { .. })
    }
}

/// A directory that the steps bring, and what it is then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Folder {
    pub(super) layer: usize,
    /// On the host, relative to the layer.
    pub(super) path: PathBytes,
    pub(super) node: Id,
    pub(super) meta: Meta,
}

/// A directory whose entries the steps change: its times are set afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dir {
    pub(super) layer: usize,
    /// Where it was before the steps, if it was.
    pub(super) before: Option<(PathBytes, Meta)>,
    /// Where it is after them, and what it is then.
    pub(super) after: Option<(PathBytes, Meta)>,
}
