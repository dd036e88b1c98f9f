//! The ledger.

use std::{
    collections::VecDeque,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use vantio_ledger::{Ledger, Pending};

use super::{Way, draft};
use crate::{
    failure::Failure,
    stopwatch::{Spent, Stopwatch},
};

/// Threads of the way with many.
pub const THREADS: u64 = 64;
/// Entries of the way with many in flight.
pub const IN_FLIGHT: usize = 2_000;

/// Opens a ledger.
pub fn open(path: &Path) -> Result<Ledger, Failure> {
    Ok(Ledger::open(path)?)
}

/// The bytes of an entry: its line in an export.
pub fn line(path: &Path) -> Result<String, Failure> {
    let ledger = open(path)?;
    let receipt = ledger.append(draft(0))?;
    let entry = ledger.reader()?.entry(receipt.seq)?;
    entry.map(|entry| entry.to_line()).ok_or_else(|| Failure::Part("an entry is not there".to_owned()))
}

/// Threads that each wait for each of their entries.
pub struct Threads {
    pub ledger: Ledger,
    pub threads: u64,
}

impl Way for Threads {
    fn append(&mut self, time: Duration) -> Result<Spent, Failure> {
        let (watch, count) = (Stopwatch::start(), AtomicU64::new(0));
        thread::scope(|scope| {
            let work = || -> Result<(), Failure> {
                while watch.elapsed() < time {
                    self.ledger.append(draft(count.fetch_add(1, Ordering::Relaxed)))?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(Failure::Part("a thread panicked".to_owned())))
            })
        })?;
        Ok(watch.spent(count.into_inner()))
    }
}

/// One thread that lets many entries wait.
pub struct InFlight {
    pub ledger: Ledger,
}

impl Way for InFlight {
    fn append(&mut self, time: Duration) -> Result<Spent, Failure> {
        let watch = Stopwatch::start();
        let count = submit(&self.ledger, |_| watch.elapsed() < time)?;
        Ok(watch.spent(count))
    }
}

/// Appends, with [`IN_FLIGHT`] entries on their way, while `wants` the next.
pub fn submit(ledger: &Ledger, wants: impl Fn(u64) -> bool) -> Result<u64, Failure> {
    let (mut waiting, mut count) = (VecDeque::with_capacity(IN_FLIGHT), 0);
    while wants(count) {
        waiting.push_back(ledger.submit(draft(count))?);
        count += 1;
        if waiting.len() >= IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
    }
    waiting.into_iter().try_for_each(|pending: Pending| pending.wait().map(drop))?;
    Ok(count)
}
