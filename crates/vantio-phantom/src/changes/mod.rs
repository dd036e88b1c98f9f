//! What a run changed: its upper layers compared with the host.
//!
//! [`scan`] reads and never writes. What brings changes to the host is in
//! [`crate::commit`].

pub(crate) mod base;
pub(crate) mod beneath;
mod between;
mod bytes;
mod compare;
mod content;
mod escape;
mod hazards;
mod hunks;
mod json;
mod layers;
mod lent;
mod model;
pub(crate) mod node;
mod patch;
mod roots;
mod scan;
mod shared;
mod sides;
mod tree;
mod trees;
mod walk;

pub use base::{Base, BaseJournal, Bases, Kept};
pub use between::{Between, between};
pub use bytes::PathBytes;
pub use escape::{Escaped, EscapedText};
pub use hazards::Hazard;
pub use hunks::Hunks;
pub use layers::{Layer, LayerKind, RunFolder, RunFolderError, Surroundings, write_layers};
pub use model::{Blocked, Change, ChangeKind, ChangeSet};
pub use node::{FileType, Node, Stamp};
pub use scan::{ScanError, scan};

pub(crate) use compare::{Readable, same_content, same_metadata};
pub(crate) use content::{copy_content, data_after};
pub(crate) use hunks::is_fit;
pub(crate) use layers::{Committed, LAYERS_FILE, OVERLAY_PREFIXES, moved, path_now, path_then, write_json};
pub(crate) use model::Origin;
pub(crate) use roots::LayerRoot;
pub(crate) use scan::{open_layers, scan_layers};
pub(crate) use shared::Shared;
pub(crate) use sides::Sides;
pub(crate) use walk::names_in;
