//! The same bytes in SQLite alone: no chain, no index, no trigger.

use std::{path::Path, time::Duration};

use rusqlite::Connection;

use super::Way;
use crate::{
    failure::Failure,
    stopwatch::{Spent, Stopwatch},
};

pub struct Sqlite {
    connection: Connection,
    line: String,
    batch: u64,
}

impl Sqlite {
    /// Inserts `batch` rows in a transaction.
    pub fn new(path: &Path, line: &str, batch: u64) -> Result<Self, Failure> {
        let connection = Connection::open(path)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection
            .execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT", ())?;
        Ok(Self { connection, line: line.to_owned(), batch })
    }
}

impl Way for Sqlite {
    fn append(&mut self, time: Duration) -> Result<Spent, Failure> {
        let watch = Stopwatch::start();
        let mut count = 0;
        while watch.elapsed() < time {
            let transaction = self.connection.transaction()?;
            let mut insert = transaction.prepare_cached("INSERT INTO entries (line) VALUES (?1)")?;
            for _ in 0..self.batch {
                insert.execute([&self.line])?;
            }
            drop(insert);
            transaction.commit()?;
            count += self.batch;
        }
        Ok(watch.spent(count))
    }
}
