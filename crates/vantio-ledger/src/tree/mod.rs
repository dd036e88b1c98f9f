//! The Merkle tree over a log's entries, which here are bytes: RFC 6962, section 2.1
//! (the same tree in RFC 9162, section 2.1), in the tiles of C2SP tlog-tiles.
//!
//! - [`Builder`] takes leaf hashes and gives tiles as they fill, and the root at any moment.
//! - [`Tiles`] is where tiles are read from; [`root`], [`inclusion`] and [`consistency`]
//!   work over it, and need only full tiles from a store: [`WithTail`] adds the rest.
//! - [`verify_inclusion`] and [`verify_consistency`] need nothing but a proof and roots.
//! - [`Tile`] and [`Bundle`] name the files of a published log; [`encode_bundle`] and
//!   [`encode_tile`] are what is in them.
//!
//! What an entry means, and who signs a root, is the business of others.

mod builder;
mod bundle;
mod hash;
mod path;
mod proof;
mod source;
mod tile;
mod verify;

pub use builder::{Builder, FullTile, RestoreError, WithTail};
pub use bundle::{BundleError, MAX_ENTRY_BYTES, decode_bundle, encode_bundle};
pub(crate) use hash::LEAF;
pub use hash::{EMPTY_ROOT, leaf_hash, node_hash};
pub use path::ParseTileError;
pub use proof::{consistency, inclusion, root};
pub use source::{TileBytesError, Tiles, TreeError, decode_tile, encode_tile};
pub use tile::{Bundle, MAX_SIZE, TILE_WIDTH, Tile};
pub use verify::{ProofError, verify_consistency, verify_inclusion};
