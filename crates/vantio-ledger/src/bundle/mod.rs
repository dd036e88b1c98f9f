//! Bundles: entries with all that it takes to check them elsewhere, in one file.
//!
//! A bundle is an uncompressed tar of plain files, the same bytes for the same content:
//!
//! ```text
//! MANIFEST         what the bundle is of, and the SHA-256 of every other file, as sha256sum writes it
//! checkpoint       the newest signed note, with its cosignatures
//! key              the key that the log says is its own
//! tile/…           of a bundle of one run: the part of the tree that its entries are below
//! policy/HASH.bin  the compiled policy of this hash
//! trust/bundle.pem the authority of the agents' identities
//! entries.jsonl    the entries, a line each
//! ```
//!
//! Who the authority is and what a policy means is judged by others; that the entries are those
//! of the log is judged here.

mod examine;
mod manifest;
mod open;
mod pack;

pub use examine::{Examined, MetPolicy, MetSvid, RunSpan};
pub use open::{Bundle, OpenBundleError};
pub use pack::{BundleOptions, Bundled, PackError};

/// What a bundle's files are called.
pub mod names {
    use vantio_core::Hash;

    /// The list of the others.
    pub const MANIFEST: &str = "MANIFEST";
    /// The signed tree head.
    pub const CHECKPOINT: &str = "checkpoint";
    /// The log's own key.
    pub const KEY: &str = "key";
    /// The entries.
    pub const ENTRIES: &str = "entries.jsonl";
    /// The authority of the agents' identities, in PEM.
    pub const TRUST: &str = "trust/bundle.pem";

    /// The compiled policy of this hash.
    pub fn policy(hash: Hash) -> String {
        format!("policy/{hash}.bin")
    }

    /// Whether a file of this name has a place in a bundle.
    pub(super) fn is_known(name: &str) -> bool {
        let is_policy = || {
            let hash = name.strip_prefix("policy/").and_then(|name| name.strip_suffix(".bin"));
            hash.is_some_and(|hash| hash.parse::<Hash>().is_ok())
        };
        matches!(name, CHECKPOINT | KEY | ENTRIES | TRUST)
            || name.parse::<crate::tree::Tile>().is_ok()
            || is_policy()
    }
}
