//! Where a test's ledger is: in a file, or in a database of its own on the server.

use std::{path::PathBuf, sync::Arc};

use postgres::Client;
use postgres_server::Server;
use tempfile::TempDir;
use vantio_ledger::{Ledger, Location, Options, Reader, Terms, Verified, VerifyError};

use crate::common::{open, refusal};

const TABLES: [&str; 5] = ["entries", "leaves", "tiles", "checkpoints", "cosignatures"];

pub struct Place {
    /// As who appends: on a server the restricted role.
    pub location: Location,
    /// Whoever may do anything to the tables.
    pub vandal: Vandal,
    _folder: TempDir,
}

pub enum Vandal {
    File(PathBuf),
    Server(Arc<Server>, String),
}

impl Place {
    pub fn file() -> Self {
        let (folder, path) = crate::common::place();
        Self { location: Location::File(path.clone()), vandal: Vandal::File(path), _folder: folder }
    }

    /// An empty database, without the tables of a ledger.
    pub fn bare(server: &Arc<Server>) -> Self {
        let (folder, keys) = keys();
        let database = server.database();
        let location = Location::parse(&server.url("writer", &database), &keys);
        Self { location, vandal: Vandal::Server(Arc::clone(server), database), _folder: folder }
    }

    pub fn server() -> Self {
        Self::on(&Server::shared())
    }

    /// A database with the tables of a ledger, made by their owner.
    pub fn on(server: &Arc<Server>) -> Self {
        let place = Self::bare(server);
        place.of("owner").prepare().unwrap();
        place.client("postgres").batch_execute("GRANT vantio_writer TO writer").unwrap();
        place
    }

    /// The same ledger for another role.
    pub fn of(&self, role: &str) -> Location {
        match (&self.location, &self.vandal) {
            (Location::Postgres { keys, .. }, Vandal::Server(server, database)) => {
                Location::parse(&server.url(role, database), keys)
            }
            (location, _) => location.clone(),
        }
    }

    /// A connection to the server.
    pub fn client(&self, role: &str) -> Client {
        let Vandal::Server(server, database) = &self.vandal else { panic!("a file has no roles") };
        let mut client = server.connect(role, database);
        client.batch_execute("SET search_path = vantio, pg_catalog").unwrap();
        client
    }

    pub fn open(&self) -> Ledger {
        Ledger::open_at(&self.location, Options::default()).unwrap()
    }

    pub fn reader(&self) -> Reader {
        Reader::open_at(&self.location).unwrap()
    }

    /// Appends `count` entries, every third a refusal, and closes the ledger.
    pub fn fill(&self, count: u32) {
        let ledger = self.open();
        for number in 0..count {
            let draft = if number % 3 == 2 { refusal(number) } else { open(number) };
            ledger.record(draft).unwrap();
        }
        ledger.flush().unwrap();
    }

    pub fn verify(&self) -> Result<Verified, VerifyError> {
        self.reader().verify(&Terms::default())
    }

    /// Does what no trigger allows, as the owner of the tables: disables them, and says nothing.
    pub fn tamper(&self, statements: &str) {
        match &self.vandal {
            Vandal::File(path) => {
                crate::common::vandal(path).execute_batch(statements).unwrap();
            }
            Vandal::Server(..) => {
                let mut client = self.client("owner");
                let mut each = |what: &str| {
                    for table in TABLES {
                        client.batch_execute(&format!("ALTER TABLE {table} {what}")).unwrap();
                    }
                };
                each("DISABLE TRIGGER USER");
                self.client("owner").batch_execute(statements).unwrap();
                each("ENABLE ALWAYS TRIGGER refuse");
                let inserts = "ALTER TABLE entries ENABLE ALWAYS TRIGGER next_entry; \
                               ALTER TABLE leaves ENABLE ALWAYS TRIGGER next_leaf";
                client.batch_execute(inserts).unwrap();
            }
        }
    }
}

/// A folder for the keys of logs.
pub fn keys() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}
