//! Where entries are kept: two small traits, and the stores behind them.
//!
//! A [`Store`] appends and makes checkpoints, a [`Source`] reads. Everything above them (chains, the
//! tree, proofs, verification) knows no store by name.

mod contents;
pub(crate) mod postgres;
#[cfg(feature = "spanner")]
pub(crate) mod spanner;
#[cfg(not(feature = "spanner"))]
#[path = "spanner/absent.rs"]
pub(crate) mod spanner;
pub(crate) mod sqlite;

use std::{io, ops::Range, path::Path, sync::Arc};

use uuid::Uuid;
use vantio_core::{Hash, RunId, json};

use crate::{
    Entry, Filter, LedgerError, Malformed,
    chain::{self, Chain},
    entry,
    link::Links,
    note::{SigningKey, TreeHead},
    tree::{Builder, Tile},
};

pub(crate) use contents::{BLOCK, Contents, Keys, Rows};

/// A store opened for appending, by one writer at a time.
pub(crate) trait Store: Send {
    /// The chain that this writer appends to, where the store has several.
    fn writer(&self) -> Option<Uuid>;

    /// The end of the chain as this writer last saw it.
    fn end(&self) -> Chain;

    /// Appends, in one durable transaction, entries that it has linked to the end of the chain, and
    /// where `key` is given makes a checkpoint. After an error nothing may be appended any more: what
    /// was written is then not known.
    fn append(&mut self, links: &mut Links, key: Option<&SigningKey>) -> Result<(), LedgerError>;

    /// How many entries of this chain no checkpoint covers, as far as this writer knows.
    fn uncovered(&self) -> u64;

    /// Brings the tree up to date, and stores a signed checkpoint of it, all in one durable
    /// transaction.
    fn checkpoint(&mut self, key: &SigningKey) -> Result<(), LedgerError>;

    /// Does what an append leaves to be done, once those that wait for its entries are answered. Nothing depends on it.
    fn catch_up(&mut self) {}

    /// Does what whoever opens the store next would have to wait for. Nothing depends on it.
    fn tidy(&mut self) {}

    /// Keeps a line that a witness has signed of the checkpoint of `size` entries.
    fn cosign(&mut self, size: u64, line: &str) -> Result<(), LedgerError>;
}

/// A store opened for reading. The place of an entry is the index of its leaf in the tree; entries
/// that are not in the tree yet have the places after it.
pub(crate) trait Source: Send {
    /// How many entries there are.
    fn size(&self) -> Result<u64, LedgerError>;

    /// The places that the filter's numbers and times leave.
    fn bounds(&self, filter: &Filter) -> Result<Range<u64>, LedgerError>;

    /// At most `limit` entries within `bounds` that `filter` selects, in its order, each with its
    /// place.
    fn page(&self, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Result<Page, LedgerError>;

    /// What is read as long as this is held is of one moment, where the store can do that.
    fn hold(&self) -> Result<Box<dyn Held + '_>, LedgerError> {
        Ok(Box::new(()))
    }

    /// Gives every row to `each`, in order of their places, until it says false.
    fn walk(&self, each: &mut dyn FnMut(&Stored<'_>) -> bool) -> Result<(), LedgerError>;

    /// The texts of the entries at `places`, as far as they are there.
    fn texts(&self, places: Range<u64>) -> Result<Vec<String>, LedgerError>;

    /// The hashes and the root of a stored tile.
    fn tile(&self, tile: Tile) -> Result<Option<(Vec<u8>, Hash)>, LedgerError>;

    /// Sizes and notes of the checkpoints, the smallest first.
    fn checkpoints(&self) -> Result<Vec<(u64, String)>, LedgerError>;

    /// The note of the checkpoint of `size` entries.
    fn checkpoint(&self, size: u64) -> Result<Option<String>, LedgerError>;

    /// The lines that witnesses have signed of the checkpoint of `size` entries, in the order in
    /// which they came.
    fn cosignatures(&self, size: u64) -> Result<Vec<String>, LedgerError>;

    /// The size of the largest tree with a checkpoint.
    fn newest_checkpoint(&self) -> Result<Option<u64>, LedgerError>;

    /// Refuses a store whose definitions were changed, or an index of its own that is not of its
    /// `contents`: it would hide entries from a filtered list.
    fn check(&self, contents: &Contents) -> Result<(), LedgerError>;
}

/// A moment, as long as it is held.
pub(crate) trait Held {}

impl Held for () {}

/// Entries by their places.
pub(crate) type Page = Vec<(u64, Result<Entry, Malformed>)>;

/// A row ready for insertion.
pub(crate) struct Row<'a> {
    pub seq: u64,
    pub run_id: RunId,
    pub op: &'a str,
    pub decision: Option<&'static str>,
    pub record_id: Option<Uuid>,
    pub this_hash: Hash,
    pub text: &'a str,
    pub detail: Option<&'a str>,
    /// The hash of its leaf in the tree.
    pub leaf: Hash,
}

/// A row as it was found.
pub(crate) struct Stored<'r> {
    /// Where it stands,
    pub place: Option<u64>,
    /// and where it must.
    pub next: u64,
    pub writer: Option<Uuid>,
    pub seq: Option<u64>,
    pub run_id: Column<'r>,
    pub op: Column<'r>,
    pub decision: Column<'r>,
    pub record_id: Column<'r>,
    pub this_hash: Column<'r>,
    pub body: Column<'r>,
    pub detail: Column<'r>,
}

/// What stands in a column, which may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column<'r> {
    Null,
    Text(&'r [u8]),
    Bytes(&'r [u8]),
    Other,
}

impl<'r> Column<'r> {
    pub fn bytes(self) -> Option<&'r [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// What stands there, of whichever kind.
    pub fn raw(self) -> &'r [u8] {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => bytes,
            Self::Null | Self::Other => &[],
        }
    }

    pub fn text(self) -> Option<&'r str> {
        if let Self::Text(bytes) = self { str::from_utf8(bytes).ok() } else { None }
    }
}

/// The entry at `place` that the columns of a row say.
pub(crate) fn decode(
    place: u64,
    this_hash: Column<'_>,
    body: Column<'_>,
    detail: Column<'_>,
) -> Result<Entry, Malformed> {
    let this_hash = this_hash.bytes().and_then(|bytes| bytes.try_into().ok());
    let this_hash = Hash(this_hash.ok_or(Malformed::Field("this_hash"))?);
    let text = chain::read(body.text().ok_or(Malformed::NotCanonical)?, this_hash)?;
    let detail = match detail {
        Column::Null => None,
        detail => Some(entry::detail(&text, detail.text().ok_or(Malformed::Field("detail"))?)?),
    };
    Ok(Entry { index: place, ..entry::entry(&text, this_hash, detail)? })
}

/// The entry at `place` that a row of a server says.
fn decode_stored(place: u64, stored: &Stored<'_>) -> (u64, Result<Entry, Malformed>) {
    (place, decode(place, stored.this_hash, stored.body, stored.detail))
}

/// A row that a server gave.
trait Fetched {
    /// The row as it was found, where `next` must stand.
    fn stored(&self, next: u64) -> Stored<'_>;
}

/// Gives every row of a server to `each`, in order of their places, until it says false; `fetch` gives at
/// most `size` rows from the places on.
fn walk_pages<Row: Fetched>(
    fetch: impl Fn(Range<u64>) -> Result<Vec<Row>, LedgerError>,
    size: u64,
    each: &mut dyn FnMut(&Stored<'_>) -> bool,
) -> Result<(), LedgerError> {
    let mut next = 0;
    loop {
        let rows = fetch(next..u64::MAX)?;
        for row in &rows {
            if !each(&row.stored(next)) {
                return Ok(());
            }
            next += 1;
        }
        if (rows.len() as u64) < size {
            return Ok(());
        }
    }
}

/// Turns the system's answers into ours.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LedgerError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full { path: path.into() },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            LedgerError::ReadOnly { path: path.into() }
        }
        _ => LedgerError::Io { action, path: path.into(), source: Arc::new(source) },
    }
}

/// The signed checkpoint of a tree.
fn signed_head(tree: &Builder, key: &SigningKey) -> Result<String, LedgerError> {
    let refused = |reason: String| LedgerError::Checkpoint { reason };
    let head = TreeHead::new(key.name(), tree.size(), tree.root());
    let note = head.map_err(|source| refused(source.to_string()))?.sign(key);
    Ok(note.map_err(|source| refused(source.to_string()))?.to_string())
}

/// The number that a tile is stored under: a level has fewer than 2^48.
fn tile_id(level: u8, index: u64) -> i64 {
    i64::from(level) << 56 | index.cast_signed()
}

/// A text as it stands inside a string of JSON.
fn escaped(text: &str) -> String {
    let mut quoted = String::new();
    json::write_string(text, &mut quoted);
    quoted[1..quoted.len() - 1].to_owned()
}
