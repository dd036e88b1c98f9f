//! Ways to append, in interleaved rounds, so that noise on the disk meets all alike.

mod ledger;
mod postgres;
mod raw;
mod slow;
mod sqlite;

use std::time::Duration;

use postgres_server::Server;

use crate::{draft::draft, failure::Failure, place::Place, stopwatch::Spent};

pub use ledger::submit;
use ledger::{IN_FLIGHT, THREADS};
use slow::SlowDisk;
pub use slow::serve;

/// Rounds that give a steady median within a minute.
pub const ROUNDS: usize = 7;
/// A round of one way goes on for so long.
const ROUND: Duration = Duration::from_millis(700);

/// A way to append.
pub trait Way {
    /// Appends for about so long.
    fn append(&mut self, time: Duration) -> Result<Spent, Failure>;
}

/// A way's name and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The stable name.
    pub name: &'static str,
    /// What it does.
    pub note: &'static str,
}

const fn kind(name: &'static str, note: &'static str) -> Kind {
    Kind { name, note }
}

/// The bytes of an entry, written and synced one after another.
pub const RAW: Kind = kind("raw", "write and fdatasync of an entry's bytes, one after another");
/// One thread that waits for every entry.
pub const ONE: Kind = kind("one", "one thread that waits for each of its entries");
/// Many threads that do.
pub const MANY: Kind = kind("threads", "64 threads that each wait for each of their entries");
/// Entries that wait together.
pub const FLIGHT: Kind = kind("in-flight", "2,000 entries on their way to the disk at any moment");
/// One thread where syncing is slow.
pub const SLOW_ONE: Kind = kind("slow-one", "`one`, where every sync takes 3 ms longer");
/// Many threads where syncing is slow.
pub const SLOW_MANY: Kind = kind("slow-threads", "`threads`, where every sync takes 3 ms longer");
const SQLITE: Kind = kind("sqlite", "the same bytes in SQLite, WAL and synchronous=FULL, a transaction each");
const SQLITE_BATCH: Kind = kind("sqlite-batch", "the same, 2,000 in a transaction");
const POSTGRES: Kind =
    kind("postgres", "the same bytes in PostgreSQL over a Unix socket, a transaction each");
const POSTGRES_BATCH: Kind = kind("postgres-batch", "the same, 2,000 in a statement and transaction");

/// What was measured of one way.
pub struct Reading {
    /// Which.
    pub kind: Kind,
    /// One a round, or why there is none.
    pub rounds: Result<Vec<Spent>, String>,
}

impl Reading {
    /// The median over the rounds of what `of` makes of one.
    pub fn median(&self, of: impl Fn(&Spent) -> f64) -> Option<f64> {
        median(self.rounds.as_ref().ok()?.iter().map(of).collect())
    }
}

/// How many times the entries a second of `other` a way makes: the median of the rounds.
pub fn times(readings: &[Reading], kind: Kind, other: Kind) -> Option<f64> {
    let rounds = |kind| {
        let reading = readings.iter().find(|reading: &&Reading| reading.kind == kind)?;
        reading.rounds.as_ref().ok()
    };
    let pairs = rounds(kind)?.iter().zip(rounds(other)?);
    median(pairs.map(|(one, other)| one.rate() / other.rate()).collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Measures every way.
pub fn measure(place: &Place, rounds: usize) -> Result<Vec<Reading>, Failure> {
    let line = ledger::line(&place.file("line.db"))?;
    let server = postgres::server()?;
    let slow = slow::SlowDisk::mount(place)?;
    let mut ways = ways(place, &line, slow.as_ref(), server.as_ref())?;
    let mut readings: Vec<_> = ways
        .iter()
        .map(|(kind, way)| Reading {
            kind: *kind,
            rounds: way.as_ref().map(|_| Vec::new()).map_err(Clone::clone),
        })
        .collect();
    for round in 0..=rounds.max(1) {
        for ((_, way), reading) in ways.iter_mut().zip(&mut readings) {
            if let (Ok(way), Ok(rounds)) = (way, &mut reading.rounds) {
                let spent = way.append(ROUND)?;
                // The first round makes files and fills caches.
                if round > 0 {
                    rounds.push(spent);
                }
            }
        }
    }
    Ok(readings)
}

type Ways = Vec<(Kind, Result<Box<dyn Way>, String>)>;

fn ways(
    place: &Place,
    line: &str,
    slow: Result<&SlowDisk, &String>,
    server: Result<&Server, &String>,
) -> Result<Ways, Failure> {
    let open = |name| ledger::open(&place.file(name));
    let batch = IN_FLIGHT as u64;
    let mut ways: Ways = vec![
        (RAW, Ok(Box::new(raw::Raw::new(&place.file("raw"), line)?))),
        (ONE, Ok(Box::new(ledger::Threads { ledger: open("one.db")?, threads: 1 }))),
        (MANY, Ok(Box::new(ledger::Threads { ledger: open("threads.db")?, threads: THREADS }))),
        (FLIGHT, Ok(Box::new(ledger::InFlight { ledger: open("flight.db")? }))),
        (SQLITE, Ok(Box::new(sqlite::Sqlite::new(&place.file("each.db"), line, 1)?))),
        (SQLITE_BATCH, Ok(Box::new(sqlite::Sqlite::new(&place.file("batch.db"), line, batch)?))),
    ];
    for (kind, threads) in [(SLOW_ONE, 1), (SLOW_MANY, THREADS)] {
        let way: Result<Box<dyn Way>, String> = match slow {
            Ok(disk) => {
                let ledger = ledger::open(&disk.file(&format!("{threads}.db")))?;
                Ok(Box::new(ledger::Threads { ledger, threads }))
            }
            Err(reason) => Err(reason.clone()),
        };
        ways.push((kind, way));
    }
    for (kind, batch) in [(POSTGRES, 1), (POSTGRES_BATCH, batch)] {
        let way: Result<Box<dyn Way>, String> = match server {
            Ok(server) => Ok(Box::new(postgres::Postgres::new(server, kind.name, line, batch)?)),
            Err(reason) => Err(reason.clone()),
        };
        ways.push((kind, way));
    }
    Ok(ways)
}
