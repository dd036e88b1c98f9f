//! The bounded queue between callers and the writer thread.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use vantio_core::{Hash, RunId};

use crate::{LedgerError, Options, Receipt, entry::Prepared};

/// What callers put in and the writer takes out.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something arrived, or the ledger closes.
    arrived: Condvar,
    /// The writer took a batch, or failed.
    taken: Condvar,
    options: Options,
}

#[derive(Default)]
struct State {
    batch: Batch,
    weight: usize,
    /// When the oldest entry that nobody waits for must be written.
    due: Option<Instant>,
    is_urgent: bool,
    is_closing: bool,
    /// The last batch was taken.
    is_closed: bool,
    failed: Option<Arc<LedgerError>>,
}

/// What one transaction writes.
#[derive(Default)]
pub(crate) struct Batch {
    pub entries: Vec<Queued>,
    pub flushes: Vec<SyncSender<Result<(), LedgerError>>>,
    /// Entries that found no room, by run and policy.
    pub dropped: BTreeMap<(RunId, Hash), u64>,
    /// A checkpoint belongs to what is waited for.
    pub wants_checkpoint: bool,
    /// Nothing comes after it.
    pub is_last: bool,
}

/// A draft in the queue.
pub(crate) struct Queued {
    pub prepared: Prepared,
    /// The wall clock when it was handed over.
    pub time: Timestamp,
    pub reply: Option<SyncSender<Result<Receipt, LedgerError>>>,
}

/// What became of an entry that nobody waits for.
pub(crate) enum Offer {
    Taken,
    NoRoom,
}

impl Queue {
    pub fn new(options: Options) -> Self {
        let (arrived, taken) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::default(), arrived, taken, options }
    }

    /// Queues an entry that `reply` waits for, however long it takes to find room.
    pub fn push_urgent(
        &self,
        prepared: Prepared,
        reply: SyncSender<Result<Receipt, LedgerError>>,
    ) -> Result<(), LedgerError> {
        let mut state = self.lock();
        while state.check()?.is_full(&self.options) {
            state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.push(prepared, Some(reply));
        state.is_urgent = true;
        self.arrived.notify_one();
        Ok(())
    }

    /// Queues an entry that nobody waits for. When there is no room within the
    /// time that the options allow, counts it as dropped.
    pub fn offer(&self, prepared: Prepared) -> Result<Offer, LedgerError> {
        let mut state = self.lock();
        if state.check()?.is_full(&self.options) {
            state = self.wait_for_room(state);
        }
        let is_first = state.due.is_none();
        let offer = if state.check()?.is_full(&self.options) {
            *state.batch.dropped.entry((prepared.run_id, prepared.policy_hash)).or_default() += 1;
            Offer::NoRoom
        } else {
            state.push(prepared, None);
            Offer::Taken
        };
        state.due.get_or_insert_with(|| Instant::now() + self.options.window);
        if is_first || state.is_full(&self.options) {
            self.arrived.notify_one();
        }
        Ok(offer)
    }

    /// Asks for everything queued so far to be written.
    pub fn flush(&self, reply: SyncSender<Result<(), LedgerError>>) -> Result<(), LedgerError> {
        let mut state = self.lock();
        state.check()?;
        state.batch.flushes.push(reply);
        state.is_urgent = true;
        self.arrived.notify_one();
        Ok(())
    }

    /// Asks for everything queued so far to be written, and for a checkpoint of it.
    pub fn checkpoint(&self, reply: SyncSender<Result<(), LedgerError>>) -> Result<(), LedgerError> {
        self.lock().batch.wants_checkpoint = true;
        self.flush(reply)
    }

    /// Lets the writer end once everything is written.
    pub fn close(&self) {
        self.lock().is_closing = true;
        self.arrived.notify_one();
    }

    /// Waits for work, but not beyond `until`; `None` when the queue is closed and its last batch
    /// was taken.
    pub fn take(&self, until: Option<Instant>) -> Option<Batch> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        loop {
            let next = [state.due, until].into_iter().flatten().min();
            let wait = match next {
                _ if state.is_urgent || state.is_closing || state.is_full(&self.options) => Duration::ZERO,
                Some(next) => next.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if wait.is_zero() {
                break;
            }
            state = wait_timeout(&self.arrived, state, wait);
        }
        let mut batch = state.take_batch();
        (batch.is_last, state.is_closed) = (state.is_closing, state.is_closing);
        self.taken.notify_all();
        Some(batch)
    }

    /// Refuses everything from now on, and whatever is still queued.
    pub fn fail(&self, cause: &LedgerError) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| Arc::new(cause.clone()));
        let batch = mem::take(&mut state.batch);
        drop(state);
        batch.refuse(cause);
        self.taken.notify_all();
    }

    /// The failure that stopped the ledger.
    pub fn check(&self) -> Result<(), LedgerError> {
        self.lock().check().map(drop)
    }

    fn wait_for_room<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + self.options.patience;
        while state.failed.is_none() && state.is_full(&self.options) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_timeout(&self.taken, state, left);
        }
        state
    }

    // No code that can panic runs under the lock in a way that breaks the state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_timeout<'a>(
    condition: &Condvar,
    state: MutexGuard<'a, State>,
    wait: Duration,
) -> MutexGuard<'a, State> {
    if wait == Duration::MAX {
        return condition.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    condition.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
}

impl State {
    fn check(&self) -> Result<&Self, LedgerError> {
        match &self.failed {
            Some(cause) => Err(LedgerError::Failed { cause: Arc::clone(cause) }),
            None => Ok(self),
        }
    }

    fn is_full(&self, options: &Options) -> bool {
        self.batch.entries.len() >= options.queue_entries || self.weight >= options.queue_bytes
    }

    fn take_batch(&mut self) -> Batch {
        (self.weight, self.due, self.is_urgent) = (0, None, false);
        mem::take(&mut self.batch)
    }

    fn push(&mut self, prepared: Prepared, reply: Option<SyncSender<Result<Receipt, LedgerError>>>) {
        self.weight += prepared.weight();
        self.batch.entries.push(Queued { prepared, time: Timestamp::now(), reply });
    }
}

impl Batch {
    /// Tells everybody who waits that nothing of this was written.
    pub fn refuse(self, cause: &LedgerError) {
        for reply in self.entries.into_iter().filter_map(|queued| queued.reply) {
            let _ = reply.send(Err(cause.clone()));
        }
        for reply in self.flushes {
            let _ = reply.send(Err(cause.clone()));
        }
    }
}
