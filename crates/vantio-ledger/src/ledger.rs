//! Appending: the handle that callers share, and the writer thread behind it.

use std::{
    fmt,
    path::Path,
    process,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use uuid::Uuid;
use vantio_core::{ClockError, Hash};

use crate::{
    Draft, LedgerError, Location, Reader,
    entry::{Prepared, Salts},
    link::{Context, Links},
    note::{Signature, SignedNote, SigningKey},
    queue::{Alarm, Batch, Offer, Outcome, Queue},
    store::{Store, io_error, postgres, spanner, sqlite},
};

/// A ledger opened for appending. Clones share one writer; the last one to go
/// waits for what is queued.
///
/// Open it in the process that uses it: after a fork, the child's copy refuses
/// everything. Open it on a thread that sees the host's files by their names.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    queue: Arc<Queue>,
    salts: Salts,
    location: Location,
    busy: Duration,
    verify_proof: fn(&Draft) -> Result<(), &'static str>,
    owner: u32,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ledger").field("location", &self.0.location).finish_non_exhaustive()
    }
}

/// How a ledger batches and waits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long an entry given to [`Ledger::record`] may wait for others.
    pub window: Duration,
    /// How long [`Ledger::record`] waits for room in the queue before it drops.
    pub patience: Duration,
    /// How many entries may wait.
    pub queue_entries: usize,
    /// How many bytes of entries may wait.
    pub queue_bytes: usize,
    /// How long to wait for other processes' commits.
    pub busy: Duration,
    /// A checkpoint is made when so many entries have none,
    pub checkpoint_entries: u64,
    /// or when one has had none for so long; and when the ledger is closed.
    pub checkpoint_after: Duration,
    /// The domain that the name of a new ledger's key begins with.
    pub domain: &'static str,
    /// The wall clock's error now, for `truetime_commit`: whoever can ask
    /// adjtimex(2) gives a better one than [`ClockError::UNKNOWN`].
    pub clock_error: fn() -> ClockError,
    /// Says why the proof in a draft's anomaly does not prove its decision. By default nothing can
    /// verify proofs, so every one is refused.
    pub verify_proof: fn(&Draft) -> Result<(), &'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(50),
            patience: Duration::from_millis(100),
            queue_entries: 8192,
            queue_bytes: 32 << 20,
            busy: Duration::from_secs(10),
            checkpoint_entries: 1000,
            checkpoint_after: Duration::from_secs(10),
            domain: "vantio.local",
            clock_error: || ClockError::UNKNOWN,
            verify_proof: |_| Err("nothing here verifies proofs"),
        }
    }
}

/// Proof that an entry is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's place in its chain; in a file, among all entries.
    pub seq: u64,
    /// The entry's hash.
    pub this_hash: Hash,
    /// The anomaly record's identifier, when the entry is one.
    pub record_id: Option<Uuid>,
}

/// An entry on its way to the disk.
#[derive(Debug)]
pub struct Pending {
    outcome: Arc<Outcome>,
    place: usize,
}

impl Pending {
    /// Returns when the entry is on disk.
    pub fn wait(self) -> Result<Receipt, LedgerError> {
        let receipts = self.outcome.wait().as_ref().map_err(Clone::clone)?;
        receipts.get(self.place).copied().ok_or(LedgerError::Stopped)
    }
}

/// What became of an entry that was given to [`Ledger::record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It will be on disk within the window.
    Queued,
    /// There was no room; an entry `ledger.dropped` will count it.
    Dropped,
}

impl Ledger {
    /// Opens the ledger at `path`, creating it (mode 0600) and its folder (mode
    /// 0700) when they do not exist.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::open_with(path, Options::default())
    }

    /// Opens the ledger at `path` with other options.
    pub fn open_with(path: &Path, options: Options) -> Result<Self, LedgerError> {
        Self::open_at(&Location::File(path.into()), options)
    }

    /// Opens the ledger at `location`. On a server each opening begins a chain of its own, and the
    /// tables are made when the role may make them.
    pub fn open_at(location: &Location, options: Options) -> Result<Self, LedgerError> {
        let (store, key): (Box<dyn Store>, _) = match location {
            Location::File(path) => {
                let store = sqlite::Appender::open(path, options.busy)?;
                let key = store.key(options.domain)?;
                (Box::new(store), key)
            }
            Location::Postgres { url, keys } => {
                let mut store = postgres::Appender::open(url, options.busy)?;
                let key = store.key(keys, options.domain)?;
                (Box::new(store), key)
            }
            Location::Spanner { address, keys } => {
                spanner::open(address, keys, options.domain, options.busy)?
            }
        };
        let queue = Arc::new(Queue::new(options, store.end(), store.writer()));
        let writer = Writer { queue: Arc::clone(&queue), store, key, options };
        let thread = thread::Builder::new().name("ledger".into()).spawn(move || writer.run());
        let thread = thread.map_err(io_error("start the writer of", &location.name()))?;
        let (location, owner) = (location.clone(), process::id());
        let (salts, writer) = (Salts::new()?, Mutex::new(Some(thread)));
        let Options { busy, verify_proof, .. } = options;
        Ok(Self(Arc::new(Shared { queue, salts, location, busy, verify_proof, owner, writer })))
    }

    /// Appends an entry, and returns when it is on disk.
    pub fn append(&self, draft: Draft) -> Result<Receipt, LedgerError> {
        self.submit(draft)?.wait()
    }

    /// As [`Ledger::append`], with a signed checkpoint of it and of all before it: both are on disk, by one sync, or
    /// neither.
    pub fn append_with_checkpoint(&self, draft: Draft) -> Result<Receipt, LedgerError> {
        self.hand_over(draft, true)?.wait()
    }

    /// Hands an entry over to be written at once, without waiting for the disk.
    pub fn submit(&self, draft: Draft) -> Result<Pending, LedgerError> {
        self.hand_over(draft, false)
    }

    fn hand_over(&self, draft: Draft, wants_checkpoint: bool) -> Result<Pending, LedgerError> {
        self.check_owner()?;
        let (outcome, place) = self.0.queue.push_urgent(self.prepare(draft)?, wants_checkpoint)?;
        Ok(Pending { outcome, place })
    }

    /// Queues an entry that will be on disk within the window, together with
    /// others. A process that is killed meanwhile loses it.
    pub fn record(&self, draft: Draft) -> Result<Recorded, LedgerError> {
        self.check_owner()?;
        match self.0.queue.offer(self.prepare(draft)?)? {
            Offer::Taken => Ok(Recorded::Queued),
            Offer::NoRoom => Ok(Recorded::Dropped),
        }
    }

    /// What stopped it, where something did: it takes nothing any more.
    #[must_use]
    pub fn failure(&self) -> Option<LedgerError> {
        self.0.queue.failure()
    }

    /// Has `alarm` called, from whatever thread, once nothing can be written any more: what was queued until then is
    /// lost. None takes back what was asked for before.
    pub fn watch(&self, alarm: Option<Alarm>) {
        self.0.queue.watch(alarm);
    }

    /// Returns when everything queued so far is on disk.
    pub fn flush(&self) -> Result<(), LedgerError> {
        self.check_owner()?;
        self.0.queue.flush()?.wait().as_ref().map(drop).map_err(Clone::clone)
    }

    /// Has the store do now, for whoever opens it next, what would then be waited for. Returns when that is done.
    pub fn tidy(&self) -> Result<(), LedgerError> {
        self.check_owner()?;
        self.0.queue.tidy()?.wait().as_ref().map(drop).map_err(Clone::clone)
    }

    /// Opens the same store for reading.
    pub fn reader(&self) -> Result<Reader, LedgerError> {
        Reader::open_at(&self.0.location)
    }

    /// A signed checkpoint of everything queued so far; `None` when there is nothing.
    pub fn checkpoint(&self) -> Result<Option<SignedNote>, LedgerError> {
        self.check_owner()?;
        self.0.queue.checkpoint()?.wait().as_ref().map_err(Clone::clone)?;
        self.reader()?.newest_checkpoint()
    }

    /// Keeps what a witness has signed of the checkpoint of `size` entries. Who it is, and whether
    /// the signature holds, the caller has verified.
    pub fn cosign(&self, size: u64, signature: &Signature) -> Result<(), LedgerError> {
        self.check_owner()?;
        let line = signature.to_string();
        match &self.0.location {
            Location::File(path) => sqlite::Appender::open(path, self.0.busy)?.cosign(size, &line),
            Location::Postgres { url, .. } => postgres::Appender::open(url, self.0.busy)?.cosign(size, &line),
            Location::Spanner { address, .. } => {
                spanner::open_again(address, self.0.busy)?.cosign(size, &line)
            }
        }
    }

    /// Does the costly part on the caller's thread. A decision counts as proved only by a proof that
    /// verifies.
    fn prepare(&self, draft: Draft) -> Result<Prepared, LedgerError> {
        if draft.anomaly.as_ref().is_some_and(|anomaly| !anomaly.proof.is_empty()) {
            (self.0.verify_proof)(&draft).map_err(|reason| LedgerError::Unproved { reason })?;
        }
        Prepared::new(draft, &self.0.salts)
    }

    fn check_owner(&self) -> Result<(), LedgerError> {
        if process::id() == self.0.owner { Ok(()) } else { Err(LedgerError::Forked) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A forked child has a copy of the handle, but not the thread.
        if process::id() != self.owner {
            return;
        }
        self.queue.close();
        let writer = self.writer.get_mut().ok().and_then(Option::take);
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

struct Writer {
    queue: Arc<Queue>,
    store: Box<dyn Store>,
    key: SigningKey,
    options: Options,
}

impl Writer {
    fn run(mut self) {
        let _stop = StopOnExit(Arc::clone(&self.queue));
        if let Err(cause) = self.write_all() {
            self.queue.fail(&cause);
        }
    }

    fn write_all(&mut self) -> Result<(), LedgerError> {
        let (mut due, mut linger) = (None, (0, Duration::ZERO));
        while let Some(batch) = self.queue.take(due, linger)? {
            let Batch { mut links, promise, urgent, wants_checkpoint, wants_tidying, is_last, .. } = batch;
            let start = Instant::now();
            let uncovered = self.store.uncovered() + links.len() as u64;
            let is_time = is_last
                || due.is_some_and(|due| due <= Instant::now())
                || uncovered >= self.options.checkpoint_entries;
            let is_due = wants_checkpoint || is_time && uncovered > 0;
            if let Err(cause) = self.write(&mut links, is_due) {
                self.queue.fail(&cause);
                promise.keep(Err(cause.clone()));
                return Err(cause);
            }
            if wants_tidying {
                self.store.tidy();
            }
            promise.keep(Ok(links.receipts()));
            self.store.catch_up();
            linger = (urgent, (start.elapsed() / LINGER).min(MAX_LINGER));
            due = match (self.store.uncovered(), due) {
                (0, _) => None,
                (_, Some(due)) if !is_due => Some(due),
                _ => Some(Instant::now() + self.options.checkpoint_after),
            };
        }
        Ok(())
    }

    /// Writes what there is, in one transaction with a checkpoint of it where that is due.
    fn write(&mut self, links: &mut Links, is_due: bool) -> Result<(), LedgerError> {
        let key = if is_due { Some(&self.key) } else { None };
        if !links.is_empty() {
            let expected = links.end();
            self.store.append(links, key)?;
            self.queue.settle(expected, links.end());
        } else if let Some(key) = key {
            self.store.checkpoint(key)?;
        }
        Ok(())
    }
}

/// For as many entries as were waited for together before, the writer waits for this part of the time that they took,
const LINGER: u32 = 8;
/// and no longer than this.
const MAX_LINGER: Duration = Duration::from_millis(1);

/// Appends one entry to a store that nothing else writes to.
pub(crate) fn append_alone(
    store: &mut dyn Store,
    draft: Draft,
    options: &Options,
) -> Result<(), LedgerError> {
    let context = Context { writer: store.writer(), clock_error: options.clock_error };
    let mut links = Links::new(context, None, 1);
    links.push(Prepared::new(draft, &Salts::new()?)?, None)?;
    store.append(&mut links, None)
}

/// However the writer ends, nobody waits for it afterwards.
struct StopOnExit(Arc<Queue>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        self.0.fail(&LedgerError::Stopped);
    }
}
