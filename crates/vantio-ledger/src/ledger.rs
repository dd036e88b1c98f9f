//! Appending: the handle that callers share, and the writer thread behind it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use uuid::Uuid;
use vantio_core::{Decision, Hash, RunId, json::Value};

use crate::{
    Checkpoint, Draft, LedgerError, Reader,
    chain::Chain,
    draft::Prepared,
    encode::{self, Stamp},
    queue::{Batch, Offer, Queue},
    store::{Row, Store, io_error},
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
    path: PathBuf,
    owner: u32,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ledger").field("path", &self.0.path).finish_non_exhaustive()
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
    /// Bound of the wall clock's error, for `truetime_commit`. The default is
    /// the bound beyond which Linux calls its clock unsynchronised
    /// (`NTP_PHASE_LIMIT`, 16 s); a caller that can ask `adjtimex` gives a
    /// better one.
    pub clock_error: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(50),
            patience: Duration::from_millis(100),
            queue_entries: 8192,
            queue_bytes: 32 << 20,
            busy: Duration::from_secs(10),
            clock_error: Duration::from_secs(16),
        }
    }
}

/// Proof that an entry is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's place.
    pub seq: u64,
    /// The entry's hash.
    pub this_hash: Hash,
    /// The anomaly record's identifier, when the entry is one.
    pub record_id: Option<Uuid>,
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
        let store = Store::open(path, options.busy)?;
        let queue = Arc::new(Queue::new(options));
        let writer = Writer { queue: Arc::clone(&queue), store, options };
        let thread = thread::Builder::new().name("ledger".into()).spawn(move || writer.run());
        let thread = thread.map_err(io_error("start the writer of", path))?;
        let (path, owner) = (path.to_path_buf(), process::id());
        Ok(Self(Arc::new(Shared { queue, path, owner, writer: Mutex::new(Some(thread)) })))
    }

    /// Appends an entry, and returns when it is on disk.
    pub fn append(&self, draft: Draft) -> Result<Receipt, LedgerError> {
        self.check_owner()?;
        let (reply, receipt) = mpsc::sync_channel(1);
        self.0.queue.push_urgent(Prepared::new(draft)?, reply)?;
        receipt.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Queues an entry that will be on disk within the window, together with
    /// others. A process that is killed meanwhile loses it.
    pub fn record(&self, draft: Draft) -> Result<Recorded, LedgerError> {
        self.check_owner()?;
        match self.0.queue.offer(Prepared::new(draft)?)? {
            Offer::Taken => Ok(Recorded::Queued),
            Offer::NoRoom => Ok(Recorded::Dropped),
        }
    }

    /// Returns when everything queued so far is on disk.
    pub fn flush(&self) -> Result<(), LedgerError> {
        self.check_owner()?;
        let (reply, done) = mpsc::sync_channel(1);
        self.0.queue.flush(reply)?;
        done.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Opens the same file for reading.
    pub fn reader(&self) -> Result<Reader, LedgerError> {
        Reader::open(&self.0.path)
    }

    /// The chain's head, after everything queued so far is on disk.
    pub fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        self.flush()?;
        self.reader()?.checkpoint()
    }

    fn check_owner(&self) -> Result<(), LedgerError> {
        if process::id() == self.0.owner { Ok(()) } else { Err(LedgerError::Forked) }
    }

    fn stopped(&self) -> LedgerError {
        self.0.queue.check().err().unwrap_or(LedgerError::Stopped)
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
    store: Store,
    options: Options,
}

impl Writer {
    fn run(mut self) {
        let _stop = StopOnExit(Arc::clone(&self.queue));
        while let Some(mut batch) = self.queue.take() {
            match self.commit(&mut batch) {
                Ok(receipts) => acknowledge(batch, receipts),
                Err(cause) => {
                    self.queue.fail(&cause);
                    batch.refuse(&cause);
                    break;
                }
            }
        }
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<Vec<Receipt>, LedgerError> {
        let dropped = dropped_entries(batch)?;
        let clock_error = self.options.clock_error;
        let mut receipts = Vec::with_capacity(batch.entries.len());
        self.store.append(|chain| {
            let mut rows = Vec::with_capacity(batch.entries.len() + dropped.len());
            for queued in &batch.entries {
                let stamp = stamp(chain, queued.time, queued.record_id, clock_error);
                let row = link(chain, &queued.prepared, stamp);
                receipts.push(Receipt {
                    seq: row.seq,
                    this_hash: row.this_hash,
                    record_id: queued.record_id,
                });
                rows.push(row);
            }
            for prepared in &dropped {
                let stamp = stamp(chain, batch.time, None, clock_error);
                rows.push(link(chain, prepared, stamp));
            }
            Ok(rows)
        })?;
        Ok(receipts)
    }
}

fn stamp(chain: &Chain, time: jiff::Timestamp, record_id: Option<Uuid>, clock_error: Duration) -> Stamp {
    Stamp {
        seq: chain.next,
        prev_hash: chain.head,
        time,
        time_text: format!("{time:.9}"),
        record_id,
        clock_error,
    }
}

/// Makes the row that continues `chain`, and steps over it.
fn link<'a>(chain: &mut Chain, prepared: &'a Prepared, stamp: Stamp) -> Row<'a> {
    let body = encode::body(prepared, &stamp);
    let this_hash = Hash::of_parts(&[&stamp.prev_hash.0, body.as_bytes()]);
    *chain = Chain { next: stamp.seq + 1, head: this_hash };
    Row {
        seq: stamp.seq,
        time: stamp.time_text,
        run_id: prepared.run_id.to_string(),
        op: &prepared.op,
        decision: prepared.decision.map(Decision::name),
        record_id: stamp.record_id.map(|id| id.to_string()),
        this_hash,
        body,
    }
}

fn dropped_entries(batch: &Batch) -> Result<Vec<Prepared>, LedgerError> {
    let dropped = batch
        .dropped
        .iter()
        .map(|((run_id, policy_hash), count)| Prepared::new(dropped_draft(*run_id, *policy_hash, *count)));
    dropped.collect()
}

fn dropped_draft(run_id: RunId, policy_hash: Hash, count: u64) -> Draft {
    Draft {
        run_id,
        pid: 0,
        op: "ledger.dropped".into(),
        request: Value::object([("count", Value::Integer(count.cast_signed()))]),
        response: Value::Null,
        policy_hash,
        decision: None,
        anomaly: None,
    }
}

fn acknowledge(batch: Batch, receipts: Vec<Receipt>) {
    for (queued, receipt) in batch.entries.into_iter().zip(receipts) {
        if let Some(reply) = queued.reply {
            let _ = reply.send(Ok(receipt));
        }
    }
    for reply in batch.flushes {
        let _ = reply.send(Ok(()));
    }
}

/// However the writer ends, nobody waits for it afterwards.
struct StopOnExit(Arc<Queue>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        self.0.fail(&LedgerError::Stopped);
    }
}
