//! Finding entries: by their places, and by what their blocks are known for.
//!
//! Whatever is read is read a block after the other, and no place of a block may be missing: a file whose
//! pages were made to lead past an entry does not hide it.

use std::{fmt::Write as _, ops::Range};

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, types::Value};
use vantio_core::Decision;

use crate::{
    Filter,
    store::{BLOCK, Column, Page, decode, escaped},
};

/// Why nothing can be looked up.
pub(super) enum Fault {
    /// SQLite says so.
    Store(rusqlite::Error),
    /// The entry at this place is not there.
    Gone(u64),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

/// What is looked for.
pub(super) struct Lookup<'l> {
    connection: &'l Connection,
    filter: &'l Filter,
    /// What a block must have.
    keys: Vec<Value>,
    /// The text, as it stands inside an entry.
    text: Option<String>,
}

impl<'l> Lookup<'l> {
    pub fn new(connection: &'l Connection, filter: &'l Filter) -> Self {
        let run = filter.run_id.map(|id| Value::Blob(id.as_bytes().to_vec()));
        let op = filter.op.clone().map(Value::Text);
        // Almost every block has permits.
        let decision = filter.decision.filter(|decision| *decision != Decision::Permit);
        let decision = decision.map(|decision| Value::Text(decision.name().into()));
        let keys = [decision, op, run].into_iter().flatten().collect();
        Self { connection, filter, keys, text: filter.text.as_deref().map(escaped) }
    }

    /// At most `limit` entries among `places`, all of which are there.
    pub fn page(&self, mut places: Range<u64>, limit: u64) -> Result<Page, Fault> {
        let mut page = Page::new();
        while (page.len() as u64) < limit
            && let Some(block) = self.next_block(&places)?
        {
            let (first, end) = (block * BLOCK, (block + 1) * BLOCK);
            let within = places.start.max(first)..places.end.min(end);
            if self.filter.newest {
                places.end = within.start;
            } else {
                places.start = within.end;
            }
            self.read(within, limit, &mut page)?;
        }
        Ok(page)
    }

    /// The block to read next for what is among `places`.
    fn next_block(&self, places: &Range<u64>) -> rusqlite::Result<Option<u64>> {
        if places.is_empty() {
            return Ok(None);
        }
        let (first, last) = (places.start / BLOCK, (places.end - 1) / BLOCK);
        if self.keys.is_empty() {
            return Ok(Some(if self.filter.newest { last } else { first }));
        }
        let mut query = "SELECT block FROM blocks WHERE block BETWEEN ?1 AND ?2 AND key = ?3".to_owned();
        for number in 1..self.keys.len() {
            let _ = write!(
                query,
                " AND EXISTS (SELECT 1 FROM blocks AS other WHERE other.key = ?{} AND other.block = blocks.block)",
                number + 3
            );
        }
        let _ = write!(query, " ORDER BY block {} LIMIT 1", self.order());
        let range = [first.cast_signed(), last.cast_signed()];
        let range = range.iter().map(|bound| bound as &dyn ToSql);
        let parameters: Vec<_> = range.chain(self.keys.iter().map(|key| key as &dyn ToSql)).collect();
        let mut statement = self.connection.prepare_cached(&query)?;
        let block = statement.query_row(&*parameters, |row| row.get::<_, i64>(0)).optional()?;
        Ok(block.map(i64::cast_unsigned))
    }

    /// Adds what is looked for of one block.
    fn read(&self, mut places: Range<u64>, limit: u64, page: &mut Page) -> Result<(), Fault> {
        let query = format!(
            "SELECT seq, this_hash, body, detail, run_id, op, decision FROM entries \
             WHERE seq >= ?1 AND seq < ?2 ORDER BY seq {}",
            self.order()
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut rows = statement.query([places.start.cast_signed(), places.end.cast_signed()])?;
        while let Some(place) = if self.filter.newest { places.next_back() } else { places.next() } {
            let row = rows.next()?.ok_or(Fault::Gone(place))?;
            if row.get::<_, i64>(0)?.cast_unsigned() != place {
                return Err(Fault::Gone(place));
            }
            if !self.is_wanted(row)? {
                continue;
            }
            let [this_hash, body, detail] =
                [row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?].map(Column::from);
            page.push((place, decode(place, this_hash, body, detail)));
            if page.len() as u64 == limit {
                break;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let Filter { run_id, op, decision, .. } = self.filter;
        let column = |index| row.get_ref(index).map(Column::from);
        let is = |index, wanted: Option<Column<'_>>| -> rusqlite::Result<bool> {
            Ok(wanted.is_none() || wanted == Some(column(index)?))
        };
        Ok(is(4, run_id.as_ref().map(|id| Column::Bytes(id.as_bytes())))?
            && is(5, op.as_ref().map(|op| Column::Text(op.as_bytes())))?
            && is(6, decision.map(|decision| Column::Text(decision.name().as_bytes())))?
            && match &self.text {
                None => true,
                Some(text) => has(column(2)?, text) || has(column(3)?, text),
            })
    }

    const fn order(&self) -> &'static str {
        if self.filter.newest { "DESC" } else { "ASC" }
    }
}

/// The texts of the entries at `places`, all of which are there.
pub(super) fn texts(connection: &Connection, places: Range<u64>) -> Result<Vec<String>, Fault> {
    let query = "SELECT seq, body FROM entries WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([places.start.cast_signed(), places.end.cast_signed()])?;
    let mut texts = Vec::new();
    for place in places {
        let row = rows.next()?.ok_or(Fault::Gone(place))?;
        if row.get::<_, i64>(0)?.cast_unsigned() != place {
            return Err(Fault::Gone(place));
        }
        texts.push(row.get(1)?);
    }
    Ok(texts)
}

fn has(column: Column<'_>, text: &str) -> bool {
    column.text().is_some_and(|column| column.contains(text))
}
