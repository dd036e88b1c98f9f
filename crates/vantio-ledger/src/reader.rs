//! Reading entries, with no right to write.

use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use vantio_core::{Decision, RunId};

use crate::{
    Entry, LedgerError, Location, key,
    note::{SignedNote, TreeHead, TreeHeadError, VerifierKey},
    store::{Source, io_error, postgres, spanner, sqlite},
};

/// A ledger opened for reading.
pub struct Reader {
    pub(crate) source: Box<dyn Source>,
    /// The file, or what a server is called.
    pub(crate) path: PathBuf,
    /// Where the key of this ledger's checkpoints is.
    key: PathBuf,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Which entries to read. The default is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of one run.
    pub run_id: Option<RunId>,
    /// Those of one operation.
    pub op: Option<String>,
    /// Those with one verdict.
    pub decision: Option<Decision>,
    /// Those at or after a sequence number.
    pub since_seq: u64,
    /// Those at or after a time.
    pub since: Option<Timestamp>,
    /// Those before a time.
    pub until: Option<Timestamp>,
    /// Those with a text in them, as it is or as JSON escapes it.
    pub text: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
    /// The newest first.
    pub newest: bool,
}

impl Reader {
    /// Opens the ledger at `path`. Its folder may be read-only.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if !path.try_exists().map_err(io_error("open", path))? {
            return Err(LedgerError::NotFound { path: path.into() });
        }
        let path = path.canonicalize().map_err(io_error("open", path))?;
        Ok(Self { source: Box::new(sqlite::File::open(&path)?), key: key::beside(&path), path })
    }

    /// Opens the ledger at `location`.
    pub fn open_at(location: &Location) -> Result<Self, LedgerError> {
        match location {
            Location::File(path) => Self::open(path),
            Location::Postgres { url, keys } => {
                let source = postgres::Server::open(url)?;
                let key = keys.join(source.key_name());
                Ok(Self { path: source.name(), source: Box::new(source), key })
            }
            Location::Spanner { address, keys } => {
                let (source, key) = spanner::source(address)?;
                Ok(Self { path: spanner::name(address), source, key: keys.join(key) })
            }
        }
    }

    /// The entries that `filter` selects, in order. What is appended meanwhile
    /// may be among them.
    pub fn entries(&self, filter: &Filter) -> Entries<'_> {
        Entries { reader: self, filter: filter.clone(), bounds: None, page: VecDeque::new(), is_last: false }
    }

    /// The entry at place `seq`, or `None` beyond the end.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let filter = Filter { since_seq: seq, limit: Some(1), ..Filter::default() };
        let entry = self.entries(&filter).next().transpose()?;
        Ok(entry.filter(|entry| entry.index == seq))
    }

    /// How many entries there are, as the store claims.
    pub fn size(&self) -> Result<u64, LedgerError> {
        self.source.size()
    }

    /// The newest signed checkpoint.
    pub fn newest_checkpoint(&self) -> Result<Option<SignedNote>, LedgerError> {
        self.source.newest_checkpoint()?.map_or(Ok(None), |size| self.checkpoint_of(size))
    }

    /// The newest signed checkpoint, and the tree that it is of.
    pub fn newest_head(&self) -> Result<Option<(SignedNote, TreeHead)>, LedgerError> {
        let Some(note) = self.newest_checkpoint()? else { return Ok(None) };
        let head = note.text().parse().map_err(|error: TreeHeadError| {
            self.damaged(&format!("the newest checkpoint is not one: {error}"))
        })?;
        Ok(Some((note, head)))
    }

    /// The signed checkpoint of the tree with `size` entries, with what witnesses have signed of it.
    pub fn checkpoint_of(&self, size: u64) -> Result<Option<SignedNote>, LedgerError> {
        let Some(note) = self.source.checkpoint(size)? else { return Ok(None) };
        let wrong =
            |cause| self.damaged(&format!("the checkpoint of {size} entries is no signed note: {cause}"));
        let mut note: SignedNote = note.parse().map_err(wrong)?;
        for line in self.source.cosignatures(size)? {
            line.parse().and_then(|signature| note.add(signature)).map_err(wrong)?;
        }
        Ok(Some(note))
    }

    /// The key that this ledger's checkpoints are signed with, where it is at hand.
    pub fn verifier_key(&self) -> Result<Option<VerifierKey>, LedgerError> {
        let Some(key) = key::existing(&self.key)? else {
            return key::public(&key::public_beside(&self.path));
        };
        let key = key.verifier();
        let is_successors = |[_, next]: [Option<String>; 2]| next == Some(key.to_string());
        if self.neighbours().is_ok_and(is_successors) { self.key_set_aside() } else { Ok(Some(key)) }
    }
}

/// Entries in order; see [`Reader::entries`].
pub struct Entries<'a> {
    reader: &'a Reader,
    filter: Filter,
    /// What is left, once it is known.
    bounds: Option<Range<u64>>,
    page: VecDeque<Result<Entry, LedgerError>>,
    is_last: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.is_last
            && let Err(error) = self.turn()
        {
            self.is_last = true;
            return Some(Err(error));
        }
        self.page.pop_front()
    }
}

impl Entries<'_> {
    fn turn(&mut self) -> Result<(), LedgerError> {
        let source = &self.reader.source;
        let mut bounds = match self.bounds.take() {
            Some(bounds) => bounds,
            None => source.bounds(&self.filter)?,
        };
        let wanted = self.filter.limit.unwrap_or(PAGE).min(PAGE);
        let page = source.page(&self.filter, &bounds, wanted)?;
        let count = page.len() as u64;
        self.is_last = count < PAGE;
        if let Some(limit) = &mut self.filter.limit {
            *limit -= count;
        }
        match page.last() {
            Some((last, _)) if self.filter.newest => bounds.end = *last,
            Some((last, _)) => bounds.start = last + 1,
            None => {}
        }
        self.bounds = Some(bounds);
        let named =
            |(seq, entry): (u64, Result<Entry, _>)| entry.map_err(|fault| LedgerError::Entry { seq, fault });
        self.page = page.into_iter().map(named).collect();
        Ok(())
    }
}

const PAGE: u64 = 256;
