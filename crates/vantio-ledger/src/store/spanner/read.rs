//! Reading from Spanner, with no right to write.

use std::{cell::RefCell, fmt::Write as _, ops::Range};

use google_cloud_spanner::{
    Error,
    result::Row,
    statement::{Statement, StatementBuilder},
    transaction::MultiUseReadOnlyTransaction,
    types::{self, Type},
    value::Value,
};
use uuid::Uuid;
use vantio_core::{Decision, Hash};

use super::{
    PATIENCE,
    address::Address,
    connection::{Connection, server_error},
    schema,
    tree::{self, PENDING, TIME},
};
use crate::{
    Filter, LedgerError,
    store::{Column, Contents, Fetched, Page, Source, Stored, decode_stored, escaped, walk_pages},
    tree::Tile,
};

/// A database opened for reading.
pub(super) struct Database {
    connection: Connection,
    address: Address,
    /// What queries look at, where they look at one moment.
    moment: RefCell<Option<MultiUseReadOnlyTransaction>>,
}

/// How many rows are read at a time.
const PAGE: u64 = 1024;

const COLUMNS: &str = "e.run_id, e.op, e.decision, e.record_id, e.this_hash, e.body, e.detail";

/// A row with its place. Of an entry that is gone, only the place is left.
struct Found {
    place: u64,
    writer: Option<Uuid>,
    seq: u64,
    run_id: Identifier,
    op: Option<String>,
    decision: Option<String>,
    record_id: Identifier,
    this_hash: Option<Vec<u8>>,
    body: Option<String>,
    detail: Option<Vec<u8>>,
}

/// What stands where an identifier should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identifier {
    Null,
    Uuid(Uuid),
    Other,
}

impl Database {
    /// Connects to a database that has a ledger, and tells which log it is.
    pub fn open(text: &str) -> Result<(Self, Uuid), LedgerError> {
        let address = Address::parse(text)?;
        let connection = Connection::open(text, &address, true, PATIENCE)?;
        let log = schema::open(&connection)?;
        Ok((Self { connection, address, moment: RefCell::new(None) }, log))
    }

    fn ask(&self, statement: Statement) -> Result<Vec<Row>, LedgerError> {
        match &*self.moment.borrow() {
            Some(moment) => self.connection.query_at(moment, statement),
            None => self.connection.query(statement),
        }
    }

    /// The rows that a statement finds, each taken apart by `read`.
    fn ask_for<Value>(
        &self,
        statement: Statement,
        read: impl Fn(&Row) -> Result<Value, Error>,
    ) -> Result<Vec<Value>, LedgerError> {
        let rows = self.ask(statement)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(server_error(&self.connection.name))
    }

    /// What `look` sees of one moment.
    fn at_one_moment<Value>(
        &self,
        look: impl FnOnce() -> Result<Value, LedgerError>,
    ) -> Result<Value, LedgerError> {
        self.moment.replace(Some(self.connection.moment()?));
        let seen = look();
        self.moment.replace(None);
        seen
    }

    /// Rows with a place in the tree, and those that the next checkpoint will give one.
    fn rows(&self, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Result<Vec<Found>, LedgerError> {
        let mut sources = [placed(), pending()];
        if filter.newest {
            sources.reverse();
        }
        let mut found = Vec::new();
        for source in sources {
            let left = limit - found.len() as u64;
            if left == 0 {
                break;
            }
            found.extend(self.ask_for(query(&source, filter, bounds, left), Found::read)?);
        }
        Ok(found)
    }
}

/// Entries with a place.
fn placed() -> String {
    format!(
        "SELECT l.idx AS place, l.writer AS writer, l.seq AS seq, {COLUMNS} FROM leaves l \
         LEFT JOIN entries e ON e.writer = l.writer AND e.seq = l.seq"
    )
}

/// Entries without one, numbered on. There are no window functions here, but an array has offsets.
fn pending() -> String {
    format!(
        "SELECT (SELECT COALESCE(MAX(idx) + 1, 0) FROM leaves) + n AS place, e.writer, e.seq, {COLUMNS} \
         FROM UNNEST(ARRAY(SELECT AS STRUCT e.writer, e.seq FROM entries e WHERE {PENDING} \
         ORDER BY {TIME}, e.writer, e.seq)) AS p WITH OFFSET AS n \
         JOIN entries e ON e.writer = p.writer AND e.seq = p.seq"
    )
}

fn query(source: &str, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Statement {
    let mut conditions = String::new();
    let mut parameters: Vec<(Type, Value)> = Vec::new();
    let mut restrict = |condition: &str, parameter: Option<(Type, Value)>| {
        if let Some(parameter) = parameter {
            parameters.push(parameter);
            let word = if parameters.len() == 1 { "WHERE" } else { "AND" };
            let name = format!("@p{}", parameters.len());
            let _ = write!(conditions, " {word} {}", condition.replace('?', &name));
        }
    };
    let bound = |place: u64| Some((types::int64(), Value::from(i64::try_from(place).unwrap_or(i64::MAX))));
    let text = |text: String| (types::string(), Value::from(text));
    restrict("e.place >= ?", bound(bounds.start));
    restrict("e.place < ?", bound(bounds.end));
    restrict("e.run_id = ?", filter.run_id.map(|id| text(Uuid::from_bytes(*id.as_bytes()).to_string())));
    restrict("e.op = ?", filter.op.clone().map(text));
    restrict("e.decision = ?", filter.decision.map(|decision: Decision| text(decision.name().into())));
    // Chains are written at the same time, so times do not rise along the tree.
    restrict(&format!("{TIME} >= ?"), filter.since.map(|time| text(format!("{time:.9}"))));
    restrict(&format!("{TIME} < ?"), filter.until.map(|time| text(format!("{time:.9}"))));
    restrict(
        "STRPOS(CONCAT(e.body, IFNULL(SAFE_CONVERT_BYTES_TO_STRING(e.detail), '')), ?) > 0",
        filter.text.as_deref().map(|sought| text(escaped(sought))),
    );
    let order = if filter.newest { "DESC" } else { "ASC" };
    let query = format!("SELECT * FROM ({source}) AS e{conditions} ORDER BY e.place {order} LIMIT {limit}");
    let add = |query: StatementBuilder, (number, (kind, value)): (usize, (Type, Value))| {
        query.add_typed_param(format!("p{}", number + 1), value, kind)
    };
    parameters.into_iter().enumerate().fold(Statement::builder(query), add).build()
}

impl Source for Database {
    fn size(&self) -> Result<u64, LedgerError> {
        let counted = self.ask_for(Statement::builder("SELECT COUNT(*) FROM entries").build(), number)?;
        Ok(counted.first().copied().unwrap_or(0))
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
        let query = "SELECT e.body FROM leaves l JOIN entries e ON e.writer = l.writer AND e.seq = l.seq \
                     WHERE l.idx >= @first AND l.idx < @end ORDER BY l.idx";
        let query = Statement::builder(query)
            .add_typed_param("first", places.start.cast_signed(), types::int64())
            .add_typed_param("end", places.end.cast_signed(), types::int64());
        self.ask_for(query.build(), |row| row.get(0))
    }

    fn tile(&self, tile: Tile) -> Result<Option<(Vec<u8>, Hash)>, LedgerError> {
        let mut found = self.ask_for(tree::select_tile(tile), tree::read_tile)?;
        Ok(found.pop())
    }

    fn checkpoints(&self) -> Result<Vec<(u64, String)>, LedgerError> {
        let query = Statement::builder("SELECT size, note FROM checkpoints ORDER BY size");
        self.ask_for(query.build(), |row| Ok((number(row)?, row.get(1)?)))
    }

    fn checkpoint(&self, size: u64) -> Result<Option<String>, LedgerError> {
        let query = of_size("SELECT note FROM checkpoints WHERE size = @size", size);
        Ok(self.ask_for(query, |row| row.get(0))?.pop())
    }

    fn cosignatures(&self, size: u64) -> Result<Vec<String>, LedgerError> {
        let query = of_size("SELECT line FROM cosignatures WHERE size = @size ORDER BY committed, id", size);
        self.ask_for(query, |row| row.get(0))
    }

    fn newest_checkpoint(&self) -> Result<Option<u64>, LedgerError> {
        let query = Statement::builder("SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1");
        Ok(self.ask_for(query.build(), number)?.pop())
    }

    // Its indexes are the server's own.
    fn check(&self, _: &Contents) -> Result<(), LedgerError> {
        schema::check(&self.connection, &self.address)
    }
}

fn of_size(query: &str, size: u64) -> Statement {
    Statement::builder(query).add_typed_param("size", size.cast_signed(), types::int64()).build()
}

fn number(row: &Row) -> Result<u64, Error> {
    row.get::<i64>(0).map(i64::cast_unsigned)
}

impl Found {
    fn read(row: &Row) -> Result<Self, Error> {
        let writer: String = row.get(1)?;
        Ok(Self {
            place: number(row)?,
            writer: match Identifier::read(Some(&writer)) {
                Identifier::Uuid(writer) => Some(writer),
                _ => None,
            },
            seq: row.get::<i64>(2)?.cast_unsigned(),
            run_id: Identifier::read(row.get::<Option<String>>(3)?.as_deref()),
            op: row.get(4)?,
            decision: row.get(5)?,
            record_id: Identifier::read(row.get::<Option<String>>(6)?.as_deref()),
            this_hash: row.get(7)?,
            body: row.get(8)?,
            detail: row.get(9)?,
        })
    }
}

impl Fetched for Found {
    fn stored(&self, next: u64) -> Stored<'_> {
        fn text(text: Option<&String>) -> Column<'_> {
            text.map_or(Column::Null, |text| Column::Text(text.as_bytes()))
        }
        Stored {
            place: Some(self.place),
            next,
            writer: self.writer,
            seq: Some(self.seq),
            run_id: self.run_id.column(),
            op: text(self.op.as_ref()),
            decision: text(self.decision.as_ref()),
            record_id: self.record_id.column(),
            this_hash: self.this_hash.as_deref().map_or(Column::Null, Column::Bytes),
            body: text(self.body.as_ref()),
            detail: self.detail.as_deref().map_or(Column::Null, Column::Text),
        }
    }
}

impl Identifier {
    /// There is one way to write an identifier.
    fn read(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Null };
        match text.parse::<Uuid>() {
            Ok(id) if id.to_string() == text => Self::Uuid(id),
            _ => Self::Other,
        }
    }

    fn column(&self) -> Column<'_> {
        match self {
            Self::Null => Column::Null,
            Self::Uuid(id) => Column::Bytes(id.as_bytes()),
            Self::Other => Column::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_written_in_one_way() {
        let id = "0190e5c6-0000-7000-8000-00000000000a";
        assert_eq!(Identifier::read(Some(id)), Identifier::Uuid(id.parse().unwrap()));
        assert_eq!(Identifier::read(None), Identifier::Null);
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), String::new()] {
            assert_eq!(Identifier::read(Some(&other)), Identifier::Other, "{other}");
        }
    }
}
