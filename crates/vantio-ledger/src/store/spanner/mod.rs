//! Google Cloud Spanner: many writers, each with a chain of its own, under one tree. Experimental:
//! it has met Google's emulator only.
//!
//! A writer appends to a chain that nobody else knows, so it waits for nobody. A batch is one
//! read-write transaction; every row of it is inserted unless it is there, and counted, so that a
//! batch whose outcome is not known is simply sent again. Whoever makes a checkpoint reads the newest
//! one and writes the next in one serialisable transaction: two that do so at once read the same row,
//! and Spanner lets only one of them commit. That nothing is changed afterwards is the business of
//! database roles, see [`schema`].

mod address;
mod connection;
mod read;
mod schema;
mod statements;
#[cfg(test)]
mod tests;
mod tree;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use google_cloud_spanner::{Error, transaction::ReadWriteTransaction};
use jiff::Timestamp;
use uuid::Uuid;

use self::{
    address::Address,
    connection::{Connection, find, may_be_committed, refusal, server_error},
    statements::Request,
};
use crate::{
    LedgerError,
    chain::Chain,
    clock::Clock,
    key,
    link::Links,
    note::SigningKey,
    store::{Row, Source, Store},
    tree::Builder,
};

/// A database opened for appending.
struct Appender {
    connection: Connection,
    /// Which log the tables hold.
    log: Uuid,
    /// The chain that this writer began.
    writer: Uuid,
    chain: Chain,
    clock: Clock,
    /// The tree as of the last checkpoint that this writer made.
    tree: Option<Builder>,
    /// How many entries of the chain are in the tree.
    covered: u64,
    /// Entries that other writers left behind have been given their places.
    has_swept: bool,
}

/// How often a batch is sent whose outcome is not known.
const ATTEMPTS: u32 = 3;

/// How long it may take to read, or to make the tables.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins a chain, with the key of the log: made at first in the folder `keys`, but not where
/// another has signed checkpoints already.
pub(crate) fn open(
    address: &str,
    keys: &Path,
    domain: &str,
    busy: Duration,
) -> Result<(Box<dyn Store>, SigningKey), LedgerError> {
    let appender = Appender::open(address, busy)?;
    let path = keys.join(key_name(appender.log));
    let newest = tree::newest_note(&appender.connection)?;
    let key = key::of_log(&path, domain, newest.as_ref().map(|(_, note)| &**note))?;
    Ok((Box::new(appender), key))
}

/// The same database, for one who has the key already.
pub(crate) fn open_again(address: &str, busy: Duration) -> Result<Box<dyn Store>, LedgerError> {
    Ok(Box::new(Appender::open(address, busy)?))
}

/// The database opened for reading, and the name of the file with its log's key.
pub(crate) fn source(address: &str) -> Result<(Box<dyn Source>, String), LedgerError> {
    let (source, log) = read::Database::open(address)?;
    Ok((Box::new(source), key_name(log)))
}

/// Makes the tables and the roles, as whoever may define them, where they are not there yet.
pub(crate) fn prepare(text: &str) -> Result<(), LedgerError> {
    let address = Address::parse(text)?;
    let connection = Connection::open(text, &address, false, PATIENCE)?;
    schema::make(&connection, &address)?;
    schema::check(&connection, &address)
}

/// What the database is called.
pub(crate) fn name(address: &str) -> PathBuf {
    address::name(address)
}

fn key_name(log: Uuid) -> String {
    format!("{log}.key")
}

impl Appender {
    fn open(text: &str, busy: Duration) -> Result<Self, LedgerError> {
        let address = Address::parse(text)?;
        let connection = Connection::open(text, &address, true, busy)?;
        let log = schema::open(&connection)?;
        schema::check(&connection, &address)?;
        Self::new(connection, log)
    }

    fn new(connection: Connection, log: Uuid) -> Result<Self, LedgerError> {
        let mut clock = Clock::after(Timestamp::UNIX_EPOCH, None);
        let writer = clock.record_id(Timestamp::now())?;
        let clock = Clock::after(Timestamp::UNIX_EPOCH, None);
        let (chain, tree) = (Chain::GENESIS, None);
        Ok(Self { connection, log, writer, chain, clock, tree, covered: 0, has_swept: false })
    }

    /// Writes rows in one transaction, once, however often it must be sent.
    fn insert(&self, rows: &[Row<'_>]) -> Result<(), LedgerError> {
        let malformed = |_| LedgerError::Draft { reason: "its record has no canonical form" };
        let requests = statements::insert(self.writer, rows).map_err(malformed)?;
        let (mut attempt, begun) = (1, Instant::now());
        loop {
            let written =
                self.connection.write(async |transaction| self.send(&transaction, &requests, rows).await);
            match written {
                Err(error)
                    if attempt < ATTEMPTS
                        && begun.elapsed() < self.connection.limit()
                        && may_be_committed(&error) =>
                {
                    attempt += 1;
                }
                written => return written.map_err(server_error(&self.connection.name)),
            }
        }
    }

    async fn send(
        &self,
        transaction: &ReadWriteTransaction,
        requests: &[Request],
        rows: &[Row<'_>],
    ) -> Result<(), Error> {
        let mut is_new = true;
        for request in requests {
            is_new &= transaction.execute_batch_update(request.batch.clone()).await? == request.counts;
        }
        if is_new {
            return Ok(());
        }
        // What is there already must be what was sent before, to the last row.
        let found = find(transaction, statements::hashes(self.writer, rows)).await?;
        let found: Vec<Vec<u8>> = found.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        if found.iter().map(Vec::as_slice).eq(rows.iter().map(|row| &row.this_hash.0[..])) {
            return Ok(());
        }
        let detail = "entries of a chain are there that its writer has not written".into();
        Err(refusal(LedgerError::Damaged { path: self.connection.name.clone(), detail }))
    }
}

impl Store for Appender {
    fn writer(&self) -> Option<Uuid> {
        Some(self.writer)
    }

    fn end(&self) -> Chain {
        self.chain
    }

    fn append(&mut self, links: &mut Links, key: Option<&SigningKey>) -> Result<(), LedgerError> {
        let chain = links.follow(&self.chain)?;
        let rows: Vec<_> = links.rows().collect();
        // Spanner limits a transaction, so a very large batch is several, one after the other.
        for part in rows.chunks(statements::ROWS) {
            self.insert(part)?;
        }
        self.chain = chain;
        key.map_or(Ok(()), |key| self.checkpoint(key))
    }

    fn uncovered(&self) -> u64 {
        self.chain.next.saturating_sub(self.covered)
    }

    fn checkpoint(&mut self, key: &SigningKey) -> Result<(), LedgerError> {
        self.grow(key)
    }

    fn cosign(&mut self, size: u64, line: &str) -> Result<(), LedgerError> {
        let id = self.clock.record_id(Timestamp::now())?;
        let kept = self
            .connection
            .write(async |transaction| transaction.buffer([statements::cosignature(size, id, line)]));
        kept.map_err(server_error(&self.connection.name))
    }
}
