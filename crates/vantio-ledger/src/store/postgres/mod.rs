//! A PostgreSQL server: many writers, each with a chain of its own, under one tree.
//!
//! A writer appends to a chain that nobody else knows, so it waits for nobody. Whoever makes a
//! checkpoint first gives the entries that have none a place in the tree, under an advisory lock.
//! Nothing is ever sent twice: when a commit's outcome is not known, the writer stops.

mod read;
mod schema;
mod tls;
mod tree;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use postgres::{Client, Config, Statement, config::Host, error::SqlState};
use uuid::Uuid;

use crate::{
    LedgerError, chain::Chain, clock::Clock, key, link::Links, note::SigningKey, store::Store, tree::Builder,
};

pub(crate) use read::Server;

/// A server opened for appending.
pub(crate) struct Appender {
    client: Client,
    insert: Statement,
    name: PathBuf,
    /// Which log the tables hold.
    log: Uuid,
    /// The chain that this writer began.
    writer: Uuid,
    chain: Chain,
    /// The tree as of the last checkpoint that this writer made.
    tree: Option<Builder>,
    /// How many entries of the chain are in the tree.
    covered: u64,
    /// Entries that other writers left behind have been given their places.
    has_swept: bool,
}

/// How long to wait for a server to answer at first.
const CONNECT: Duration = Duration::from_secs(10);

const INSERT: &str = "INSERT INTO vantio.entries \
    (writer, seq, run_id, op, decision, record_id, this_hash, body, detail) \
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::bytea[], \
    $8::text[], $9::text[])";

impl Appender {
    /// Connects, makes the tables where they are not there yet, and begins a chain.
    pub fn open(url: &str, busy: Duration) -> Result<Self, LedgerError> {
        let (mut client, name) = connect(url)?;
        let error = server_error(&name);
        let log = schema::open_or_make(&mut client, &name)?;
        let session = format!(
            "SET synchronous_commit = on; SET lock_timeout = {}; SET search_path = pg_catalog",
            busy.as_millis().clamp(1, i32::MAX as u128)
        );
        client.batch_execute(&session).map_err(&error)?;
        schema::check_settings(&mut client, &name)?;
        schema::check(&mut client, &name)?;
        let insert = client.prepare(INSERT).map_err(&error)?;
        let mut clock = Clock::after(Timestamp::UNIX_EPOCH, None);
        let writer = clock.record_id(Timestamp::now())?;
        Ok(Self {
            client,
            insert,
            name,
            log,
            writer,
            chain: Chain::GENESIS,
            tree: None,
            covered: 0,
            has_swept: false,
        })
    }

    /// The key of this log, from the folder `keys`: made at first, but not where another has signed
    /// checkpoints already.
    pub fn key(&mut self, keys: &Path, domain: &str) -> Result<SigningKey, LedgerError> {
        let path = keys.join(key_name(self.log));
        let newest = tree::newest_note(&mut self.client).map_err(server_error(&self.name))?;
        key::of_log(&path, domain, newest.as_ref().map(|(_, note)| &**note))
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
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq.cast_signed()).collect();
        let runs: Vec<Uuid> = rows.iter().map(|row| Uuid::from_bytes(*row.run_id.as_bytes())).collect();
        let ops: Vec<&str> = rows.iter().map(|row| row.op).collect();
        let decisions: Vec<Option<&str>> = rows.iter().map(|row| row.decision).collect();
        let records: Vec<Option<Uuid>> = rows.iter().map(|row| row.record_id).collect();
        let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.this_hash.0[..]).collect();
        let bodies: Vec<&str> = rows.iter().map(|row| row.text).collect();
        let details: Vec<Option<&str>> = rows.iter().map(|row| row.detail).collect();
        let error = server_error(&self.name);
        // One statement is a transaction of its own: the answer comes after its commit.
        self.client
            .execute(
                &self.insert,
                &[&self.writer, &seqs, &runs, &ops, &decisions, &records, &hashes, &bodies, &details],
            )
            .map_err(&error)?;
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
        let insert = "INSERT INTO vantio.cosignatures (size, line) VALUES ($1, $2)";
        let kept = self.client.execute(insert, &[&size.cast_signed(), &line]);
        kept.map(drop).map_err(server_error(&self.name))
    }
}

/// Makes the tables, as their owner, where they are not there yet.
pub(crate) fn prepare(url: &str) -> Result<(), LedgerError> {
    let (mut client, name) = connect(url)?;
    schema::open_or_make(&mut client, &name)?;
    schema::check_settings(&mut client, &name)?;
    schema::check(&mut client, &name)
}

/// What a server is called, without a password.
pub(crate) fn name(url: &str) -> PathBuf {
    let Ok(config) = url.parse::<Config>() else { return "postgres://".into() };
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().map(|port| format!(":{port}")).unwrap_or_default();
    format!("postgres://{host}{port}/{}", config.get_dbname().unwrap_or_default()).into()
}

fn key_name(log: Uuid) -> String {
    format!("{log}.key")
}

fn connect(url: &str) -> Result<(Client, PathBuf), LedgerError> {
    let name = name(url);
    let error = server_error(&name);
    let mut config: Config = url.parse().map_err(&error)?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    tls::demand(url, &mut config);
    let client = config.application_name("vantio").connect(tls::connector(&name)?).map_err(&error)?;
    Ok((client, name))
}

/// Turns the server's answers into ours.
fn server_error(name: &Path) -> impl Fn(postgres::Error) -> LedgerError + use<> {
    let path = name.to_path_buf();
    move |source| {
        let path = path.clone();
        let said = source.as_db_error().map(|error| error.message().to_owned());
        let reason = said.unwrap_or_else(|| reasons(&source));
        match source.code() {
            Some(&SqlState::DISK_FULL) => LedgerError::Full { path },
            Some(&(SqlState::INSUFFICIENT_PRIVILEGE | SqlState::READ_ONLY_SQL_TRANSACTION)) => {
                LedgerError::ReadOnly { path }
            }
            Some(&SqlState::LOCK_NOT_AVAILABLE) => LedgerError::Busy { path },
            Some(&(SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED)) => {
                LedgerError::Damaged { path, detail: reason }
            }
            _ => LedgerError::Server { path, reason, source: Arc::new(source) },
        }
    }
}

fn reasons(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
