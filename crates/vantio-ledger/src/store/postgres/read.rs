//! Reading from a server, with no right to write.

use std::{cell::RefCell, fmt::Write as _, ops::Range, path::PathBuf};

use postgres::{Client, Row, types::ToSql};
use uuid::Uuid;
use vantio_core::{Decision, Hash};

use super::{
    connect, key_name, schema, server_error,
    tree::{self, PENDING, TIME},
};
use crate::{
    Filter, LedgerError,
    store::{Column, Contents, Fetched, Page, Source, Stored, decode_stored, escaped, walk_pages},
    tree::Tile,
};

/// A server opened for reading.
pub(crate) struct Server {
    client: RefCell<Client>,
    name: PathBuf,
    log: Uuid,
}

/// One moment of the store, however many queries look at it.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How many rows are read at a time.
const PAGE: u64 = 1024;

const COLUMNS: &str = "e.run_id, e.op, e.decision, e.record_id, e.this_hash, e.body, e.detail";

/// A row with its place. Of an entry that is gone, only the place is left.
struct Found {
    place: u64,
    writer: Uuid,
    seq: u64,
    run_id: Option<Uuid>,
    op: Option<String>,
    decision: Option<String>,
    record_id: Option<Uuid>,
    this_hash: Option<Vec<u8>>,
    body: Option<String>,
    detail: Option<String>,
}

impl Server {
    /// Connects to a server that has a ledger.
    pub fn open(url: &str) -> Result<Self, LedgerError> {
        let (mut client, name) = connect(url)?;
        let log = schema::open(&mut client, &name)?;
        let session = "SET default_transaction_read_only = on";
        client.batch_execute(session).map_err(server_error(&name))?;
        Ok(Self { client: RefCell::new(client), name, log })
    }

    /// What the server is called.
    pub fn name(&self) -> PathBuf {
        self.name.clone()
    }

    /// The name of the file with this log's key.
    pub fn key_name(&self) -> String {
        key_name(self.log)
    }

    fn ask<Value>(
        &self,
        question: impl FnOnce(&mut Client) -> Result<Value, postgres::Error>,
    ) -> Result<Value, LedgerError> {
        question(&mut self.client.borrow_mut()).map_err(server_error(&self.name))
    }

    /// What `look` sees of one moment.
    fn at_one_moment<Value>(
        &self,
        look: impl FnOnce() -> Result<Value, LedgerError>,
    ) -> Result<Value, LedgerError> {
        self.ask(|client| client.batch_execute(SNAPSHOT))?;
        let seen = look();
        let ended = self.ask(|client| client.batch_execute("ROLLBACK"));
        let seen = seen?;
        ended.map(|()| seen)
    }

    /// Rows with a place in the tree, and those that the next checkpoint will give one.
    fn rows(&self, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Result<Vec<Found>, LedgerError> {
        let placed = format!(
            "SELECT l.idx AS place, l.writer AS writer, l.seq AS seq, {COLUMNS} FROM vantio.leaves l \
             LEFT JOIN vantio.entries e ON e.writer = l.writer AND e.seq = l.seq"
        );
        let pending = format!(
            "SELECT * FROM (SELECT (SELECT coalesce(max(idx) + 1, 0) FROM vantio.leaves) \
             + row_number() OVER (ORDER BY {TIME}, e.writer, e.seq) - 1 AS place, e.writer, e.seq, {COLUMNS} \
             FROM vantio.entries e WHERE {PENDING}) AS e"
        );
        let mut sources = [(placed, "l.idx"), (pending, "e.place")];
        if filter.newest {
            sources.reverse();
        }
        let mut found = Vec::new();
        for (source, place) in sources {
            let left = limit - found.len() as u64;
            if left == 0 {
                break;
            }
            let (query, parameters) = query(&source, place, filter, bounds, left);
            let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(AsRef::as_ref).collect();
            let rows = self.ask(|client| {
                client.query(&query, &parameters)?.iter().map(Found::read).collect::<Result<Vec<_>, _>>()
            })?;
            found.extend(rows);
        }
        Ok(found)
    }
}

fn query(
    source: &str,
    place: &str,
    filter: &Filter,
    bounds: &Range<u64>,
    limit: u64,
) -> (String, Vec<Box<dyn ToSql + Sync>>) {
    let mut query = source.to_owned();
    let mut parameters: Vec<Box<dyn ToSql + Sync>> = Vec::new();
    let mut restrict = |condition: &str, value: Option<Box<dyn ToSql + Sync>>| {
        if let Some(value) = value {
            parameters.push(value);
            let word = if parameters.len() == 1 { "WHERE" } else { "AND" };
            let _ = write!(query, " {word} {}", condition.replace('?', &format!("${}", parameters.len())));
        }
    };
    let bound = |seq: u64| Some(Box::new(i64::try_from(seq).unwrap_or(i64::MAX)) as Box<dyn ToSql + Sync>);
    restrict(&format!("{place} >= ?"), bound(bounds.start));
    restrict(&format!("{place} < ?"), bound(bounds.end));
    let run_id = filter.run_id.map(|id| Box::new(Uuid::from_bytes(*id.as_bytes())) as Box<dyn ToSql + Sync>);
    restrict("e.run_id = ?", run_id);
    restrict("e.op = ?", filter.op.clone().map(|op| Box::new(op) as Box<dyn ToSql + Sync>));
    let refused = "e.decision = ? AND e.decision <> 'Permit'";
    let condition = if filter.decision == Some(Decision::Permit) { "e.decision = ?" } else { refused };
    restrict(condition, filter.decision.map(|decision| Box::new(decision.name()) as Box<dyn ToSql + Sync>));
    // Chains are written at the same time, so times do not rise along the tree.
    let time = |time| Box::new(format!("{time:.9}")) as Box<dyn ToSql + Sync>;
    restrict(&format!("{TIME} >= ?"), filter.since.map(time));
    restrict(&format!("{TIME} < ?"), filter.until.map(time));
    let text = filter.text.as_deref().map(|text| Box::new(escaped(text)) as Box<dyn ToSql + Sync>);
    restrict("strpos(e.body || coalesce(e.detail, ''), ?) > 0", text);
    let order = if filter.newest { "DESC" } else { "ASC" };
    let _ = write!(query, " ORDER BY {place} {order} LIMIT {limit}");
    (query, parameters)
}

impl Source for Server {
    fn size(&self) -> Result<u64, LedgerError> {
        let size: i64 =
            self.ask(|client| client.query_one("SELECT count(*) FROM vantio.entries", &[])?.try_get(0))?;
        Ok(size.cast_unsigned())
    }

    fn bounds(&self, filter: &Filter) -> Result<Range<u64>, LedgerError> {
        Ok(filter.since_seq..u64::MAX)
    }

    fn page(&self, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Result<Page, LedgerError> {
        let found = self.at_one_moment(|| self.rows(filter, bounds, limit))?;
        Ok(found.iter().map(|found| decode_stored(found.place, &found.stored(found.place))).collect())
    }

    fn walk(&self, each: &mut dyn FnMut(&Stored<'_>) -> bool) -> Result<(), LedgerError> {
        self.at_one_moment(|| walk_pages(|places| self.rows(&Filter::default(), &places, PAGE), PAGE, each))
    }

    fn texts(&self, places: Range<u64>) -> Result<Vec<String>, LedgerError> {
        let query = "SELECT e.body FROM vantio.leaves l \
                     JOIN vantio.entries e ON e.writer = l.writer AND e.seq = l.seq \
                     WHERE l.idx >= $1 AND l.idx < $2 ORDER BY l.idx";
        let bounds = [places.start.cast_signed(), places.end.cast_signed()];
        self.ask(|client| {
            client.query(query, &[&bounds[0], &bounds[1]])?.iter().map(|row| row.try_get(0)).collect()
        })
    }

    fn tile(&self, tile: Tile) -> Result<Option<(Vec<u8>, Hash)>, LedgerError> {
        self.ask(|client| tree::tile(client, tile))
    }

    fn checkpoints(&self) -> Result<Vec<(u64, String)>, LedgerError> {
        let query = "SELECT size, note FROM vantio.checkpoints ORDER BY size";
        self.ask(|client| {
            let rows = client.query(query, &[])?;
            rows.iter().map(|row| Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get(1)?))).collect()
        })
    }

    fn checkpoint(&self, size: u64) -> Result<Option<String>, LedgerError> {
        let query = "SELECT note FROM vantio.checkpoints WHERE size = $1";
        self.ask(|client| {
            client.query_opt(query, &[&size.cast_signed()])?.map(|row| row.try_get(0)).transpose()
        })
    }

    fn cosignatures(&self, size: u64) -> Result<Vec<String>, LedgerError> {
        let query = "SELECT line FROM vantio.cosignatures WHERE size = $1 ORDER BY id";
        self.ask(|client| {
            let rows = client.query(query, &[&size.cast_signed()])?;
            rows.iter().map(|row| row.try_get(0)).collect()
        })
    }

    fn newest_checkpoint(&self) -> Result<Option<u64>, LedgerError> {
        let newest: Option<i64> =
            self.ask(|client| client.query_one("SELECT max(size) FROM vantio.checkpoints", &[])?.try_get(0))?;
        Ok(newest.map(i64::cast_unsigned))
    }

    // Its indexes are the server's own.
    fn check(&self, _: &Contents) -> Result<(), LedgerError> {
        schema::check(&mut self.client.borrow_mut(), &self.name)
    }
}

impl Found {
    fn read(row: &Row) -> Result<Self, postgres::Error> {
        Ok(Self {
            place: row.try_get::<_, i64>(0)?.cast_unsigned(),
            writer: row.try_get(1)?,
            seq: row.try_get::<_, i64>(2)?.cast_unsigned(),
            run_id: row.try_get(3)?,
            op: row.try_get(4)?,
            decision: row.try_get(5)?,
            record_id: row.try_get(6)?,
            this_hash: row.try_get(7)?,
            body: row.try_get(8)?,
            detail: row.try_get(9)?,
        })
    }
}

impl Fetched for Found {
    fn stored(&self, next: u64) -> Stored<'_> {
        fn uuid(id: Option<&Uuid>) -> Column<'_> {
            id.map_or(Column::Null, |id| Column::Bytes(id.as_bytes()))
        }
        fn text(text: Option<&String>) -> Column<'_> {
            text.map_or(Column::Null, |text| Column::Text(text.as_bytes()))
        }
        Stored {
            place: Some(self.place),
            next,
            writer: Some(self.writer),
            seq: Some(self.seq),
            run_id: uuid(self.run_id.as_ref()),
            op: text(self.op.as_ref()),
            decision: text(self.decision.as_ref()),
            record_id: uuid(self.record_id.as_ref()),
            this_hash: self.this_hash.as_deref().map_or(Column::Null, Column::Bytes),
            body: text(self.body.as_ref()),
            detail: text(self.detail.as_ref()),
        }
    }
}
