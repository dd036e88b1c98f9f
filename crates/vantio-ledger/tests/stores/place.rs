//! Where a test's ledger is: in a file, or in a database of its own on the server.

use std::{path::PathBuf, sync::Arc};

use postgres::Client;
use postgres_server::Server;
use tempfile::TempDir;
use vantio_ledger::{Ledger, Location, Options, Reader, Terms, Verified, VerifyError};

use crate::common::{open, refusal};
#[cfg(feature = "spanner")]
use crate::emulator::Emulator;

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
    #[cfg(feature = "spanner")]
    Emulator(Arc<Emulator>, String),
}

/// How a value is written for a store.
pub struct Words {
    /// Thirty-two zero bytes,
    pub zeros: &'static str,
    /// and an identifier that no run has.
    pub identifier: &'static str,
    /// What comes before a quoted text in the column `detail`.
    pub detail: &'static str,
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
        if let Vandal::Server(server, database) = &place.vandal {
            server.admit_writer(database);
        }
        place
    }

    /// A database with the tables of a ledger, in Google's emulator.
    #[cfg(feature = "spanner")]
    pub fn emulator() -> Self {
        let place = Self::bare_in(&Emulator::shared());
        place.location.prepare().unwrap();
        place
    }

    /// An empty database, without the tables of a ledger.
    #[cfg(feature = "spanner")]
    pub fn bare_in(emulator: &Arc<Emulator>) -> Self {
        let (folder, keys) = keys();
        let database = emulator.database();
        let location = Location::parse(&emulator.address(&database), &keys);
        Self { location, vandal: Vandal::Emulator(Arc::clone(emulator), database), _folder: folder }
    }

    /// Another place of this kind.
    pub fn another(&self) -> Self {
        match &self.vandal {
            Vandal::File(_) => Self::file(),
            Vandal::Server(server, _) => Self::on(server),
            #[cfg(feature = "spanner")]
            Vandal::Emulator(..) => Self::emulator(),
        }
    }

    /// Another place of this kind, where there is no ledger.
    pub fn another_bare(&self) -> Self {
        match &self.vandal {
            Vandal::File(_) => Self::file(),
            Vandal::Server(server, _) => Self::bare(server),
            #[cfg(feature = "spanner")]
            Vandal::Emulator(emulator, _) => Self::bare_in(emulator),
        }
    }

    /// How values are written here.
    pub fn words(&self) -> Words {
        match &self.vandal {
            Vandal::File(_) => {
                Words { zeros: "zeroblob(32)", identifier: "x'00112233445566778899aabbccddeeff'", detail: "" }
            }
            Vandal::Server(..) => Words {
                zeros: "decode(repeat('00', 32), 'hex')",
                identifier: "'00112233445566778899aabbccddeeff'",
                detail: "",
            },
            #[cfg(feature = "spanner")]
            Vandal::Emulator(..) => Words {
                zeros: "FROM_HEX(REPEAT('00', 32))",
                identifier: "'00112233-4455-6677-8899-aabbccddeeff'",
                detail: "b",
            },
        }
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
            #[cfg(feature = "spanner")]
            Vandal::Emulator(emulator, database) => {
                let statements: Vec<&str> =
                    statements.split(';').filter(|each| !each.trim().is_empty()).collect();
                emulator.execute(database, &statements);
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
