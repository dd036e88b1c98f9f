//! The same bytes in PostgreSQL: no chain, no index, no trigger.

use std::{env, time::Duration};

use postgres::{Client, NoTls, Statement};
use postgres_server::{Server, is_installed};

use super::Way;
use crate::{
    failure::Failure,
    place::is_in_memory,
    stopwatch::{Spent, Stopwatch},
};

/// Starts a server in the folder for temporary files, or says why there is none.
pub fn server() -> Result<Result<Server, String>, Failure> {
    if !is_installed() {
        return Ok(Err("PostgreSQL is not installed: apt-get install postgresql".to_owned()));
    }
    if is_in_memory(&env::temp_dir())? {
        return Ok(Err("its folder would be in memory: set TMPDIR to one on a disk".to_owned()));
    }
    Ok(Ok(Server::start()))
}

pub struct Postgres {
    client: Client,
    insert: Statement,
    lines: Vec<String>,
}

impl Postgres {
    /// Inserts `batch` rows in a statement, which is a transaction.
    pub fn new(server: &Server, name: &str, line: &str, batch: u64) -> Result<Self, Failure> {
        let mut client = Client::connect(&server.url("postgres", "postgres"), NoTls)?;
        let table = name.replace('-', "_");
        client.batch_execute(&format!(
            "CREATE TABLE {table} (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text NOT NULL)"
        ))?;
        let insert = client.prepare(&format!("INSERT INTO {table} (line) SELECT unnest($1::text[])"))?;
        let lines = (0..batch).map(|_| line.to_owned()).collect();
        Ok(Self { client, insert, lines })
    }
}

impl Way for Postgres {
    fn append(&mut self, time: Duration) -> Result<Spent, Failure> {
        let watch = Stopwatch::start();
        let mut count = 0;
        while watch.elapsed() < time {
            count += self.client.execute(&self.insert, &[&self.lines])?;
        }
        // Most of the work is in the server's processes.
        Ok(Spent { cpu: Duration::ZERO, ..watch.spent(count) })
    }
}
