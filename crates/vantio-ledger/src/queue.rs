//! The bounded queue between callers and the writer thread.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;
use vantio_core::{Hash, RunId, json::Value};

use crate::{
    Draft, LedgerError, Options, Receipt,
    chain::Chain,
    entry::{Prepared, Salts},
    link::{Context, Linker, Links},
};

/// What callers put in and the writer takes out.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something arrived, or the ledger closes.
    arrived: Condvar,
    /// The writer took a batch, or failed.
    taken: Condvar,
    options: Options,
}

struct State {
    batch: Batch,
    /// What links the entries that come; none while it is not known what they will follow.
    linker: Option<Linker>,
    context: Context,
    weight: usize,
    /// When the oldest entry that nobody waits for must be written.
    due: Option<Instant>,
    is_urgent: bool,
    /// The writer lingers until so many entries are there that somebody waits for.
    awaited: usize,
    is_closing: bool,
    /// The last batch was taken.
    is_closed: bool,
    failed: Option<Arc<LedgerError>>,
    /// Whoever has to know that at once.
    alarm: Option<Alarm>,
}

/// What one transaction writes.
pub(crate) struct Batch {
    pub links: Links,
    pub promise: Promise,
    /// How many of its entries somebody waits for.
    pub urgent: usize,
    /// Entries that found no room, by run and policy.
    dropped: BTreeMap<(RunId, Hash), u64>,
    /// A checkpoint belongs to what is waited for.
    pub wants_checkpoint: bool,
    /// Tidying up does.
    pub wants_tidying: bool,
    /// Nothing comes after it.
    pub is_last: bool,
}

/// What became of a batch: a receipt for each of its entries, once they are on disk.
pub(crate) type Outcome = OnceLock<Result<Box<[Receipt]>, LedgerError>>;

/// The outcome that all who wait for a batch share. Whoever drops it unkept tells them so.
pub(crate) struct Promise(Arc<Outcome>);

impl Promise {
    fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Tells everybody who waits.
    pub fn keep(self, outcome: Result<Box<[Receipt]>, LedgerError>) {
        let _ = self.0.set(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let _ = self.0.set(Err(LedgerError::Stopped));
    }
}

/// Called when nothing can be written any more.
pub type Alarm = Box<dyn FnOnce() + Send>;

fn sound(alarm: Option<Alarm>) {
    if let Some(alarm) = alarm {
        alarm();
    }
}

/// What became of an entry that nobody waits for.
pub(crate) enum Offer {
    Taken,
    NoRoom,
}

impl Queue {
    /// A queue of entries that will follow `chain`.
    pub fn new(options: Options, chain: Chain, writer: Option<Uuid>) -> Self {
        let context = Context { writer, clock_error: options.clock_error };
        let linker = Some(Linker::after(chain, context));
        let state = State {
            batch: Batch::new(context, linker.as_ref(), 0),
            linker,
            context,
            weight: 0,
            due: None,
            is_urgent: false,
            awaited: 0,
            is_closing: false,
            is_closed: false,
            failed: None,
            alarm: None,
        };
        let (arrived, taken) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), arrived, taken, options }
    }

    /// Queues an entry that somebody waits for, however long it takes to find room, perhaps with a checkpoint of
    /// its batch. Returns the outcome of its batch, and its place in it.
    pub fn push_urgent(
        &self,
        prepared: Prepared,
        wants_checkpoint: bool,
    ) -> Result<(Arc<Outcome>, usize), LedgerError> {
        let mut state = self.lock();
        while state.check()?.is_full(&self.options) {
            state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let place = state.push(prepared)?;
        state.batch.wants_checkpoint |= wants_checkpoint;
        state.batch.urgent += 1;
        if state.batch.urgent == state.awaited {
            self.arrived.notify_one();
        }
        Ok((self.hurry(&mut state), place))
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
            state.push(prepared)?;
            Offer::Taken
        };
        state.due.get_or_insert_with(|| Instant::now() + self.options.window);
        if is_first || state.is_full(&self.options) {
            self.arrived.notify_one();
        }
        Ok(offer)
    }

    /// Asks for everything queued so far to be written.
    pub fn flush(&self) -> Result<Arc<Outcome>, LedgerError> {
        let mut state = self.lock();
        state.check()?;
        Ok(self.hurry(&mut state))
    }

    /// Asks for everything queued so far to be written, and for a checkpoint of it.
    pub fn checkpoint(&self) -> Result<Arc<Outcome>, LedgerError> {
        let mut state = self.lock();
        state.check()?;
        state.batch.wants_checkpoint = true;
        Ok(self.hurry(&mut state))
    }

    /// Asks for everything queued so far to be written, and for the store to be tidied up.
    pub fn tidy(&self) -> Result<Arc<Outcome>, LedgerError> {
        let mut state = self.lock();
        state.check()?;
        state.batch.wants_tidying = true;
        Ok(self.hurry(&mut state))
    }

    /// Lets the writer end once everything is written.
    pub fn close(&self) {
        self.lock().is_closing = true;
        self.arrived.notify_one();
    }

    /// Waits for work, but not beyond `until`; `None` when the queue is closed and its last batch
    /// was taken. `linger` says for how many entries that somebody waits for to wait a little longer, and how long.
    pub fn take(
        &self,
        until: Option<Instant>,
        linger: (usize, Duration),
    ) -> Result<Option<Batch>, LedgerError> {
        let mut state = self.lock();
        if state.is_closed {
            return Ok(None);
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
        state = self.linger(state, linger);
        let mut batch = state.take_batch()?;
        (batch.is_last, state.is_closed) = (state.is_closing, state.is_closing);
        self.taken.notify_all();
        Ok(Some(batch))
    }

    /// Says where the chain ends now that a batch is written, which was `expected` to end it
    /// elsewhere, or nowhere, where others have written before it: what is queued was linked to that.
    pub fn settle(&self, expected: Option<Chain>, end: Option<Chain>) {
        let Some(end) = end.filter(|_| end != expected) else { return };
        let mut state = self.lock();
        if state.batch.links.is_empty() {
            let linker = Linker::after(end, state.context);
            state.batch.links = Links::new(state.context, Some(&linker), 0);
            state.linker = Some(linker);
        } else {
            state.batch.links.cut();
            state.linker = None;
        }
    }

    /// What has everything refused, where something has.
    pub fn failure(&self) -> Option<LedgerError> {
        self.lock().failed.as_deref().cloned()
    }

    /// Has `alarm` called once nothing can be written any more, unless that is because all is written and closed; at
    /// once where it is so already. None takes back what was asked for before.
    pub fn watch(&self, alarm: Option<Alarm>) {
        let mut state = self.lock();
        if state.failed.is_some() && !state.is_closing {
            drop(state);
            return sound(alarm);
        }
        state.alarm = alarm;
    }

    /// Refuses everything from now on, and whatever is still queued.
    pub fn fail(&self, cause: &LedgerError) {
        let mut state = self.lock();
        let alarm = state.alarm.take().filter(|_| !state.is_closing);
        state.failed.get_or_insert_with(|| Arc::new(cause.clone()));
        let empty = Batch::new(state.context, None, 0);
        let batch = mem::replace(&mut state.batch, empty);
        drop(state);
        batch.promise.keep(Err(cause.clone()));
        self.taken.notify_all();
        sound(alarm);
    }

    /// Has what is queued written now. The writer was told before where somebody waits already.
    fn hurry(&self, state: &mut State) -> Arc<Outcome> {
        if !mem::replace(&mut state.is_urgent, true) {
            self.arrived.notify_one();
        }
        Arc::clone(&state.batch.promise.0)
    }

    /// Waits until `count` entries are there that somebody waits for, but not for long: those who waited for a batch
    /// together come again together, and whoever is first should not have a sync of its own.
    fn linger<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        (count, time): (usize, Duration),
    ) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + time;
        state.awaited = count;
        while state.is_urgent && !state.is_closing && state.batch.urgent < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.failed.is_some() {
                break;
            }
            state = wait_timeout(&self.arrived, state, left);
        }
        state.awaited = 0;
        state
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
        self.batch.links.len() >= options.queue_entries || self.weight >= options.queue_bytes
    }

    fn take_batch(&mut self) -> Result<Batch, LedgerError> {
        for prepared in dropped_entries(&mem::take(&mut self.batch.dropped))? {
            self.push(prepared)?;
        }
        (self.weight, self.due, self.is_urgent) = (0, None, false);
        // The next one is likely to become as large.
        let next = Batch::new(self.context, self.linker.as_ref(), self.batch.links.len());
        Ok(mem::replace(&mut self.batch, next))
    }

    fn push(&mut self, prepared: Prepared) -> Result<usize, LedgerError> {
        self.weight += prepared.weight();
        self.batch.links.push(prepared, self.linker.as_mut())
    }
}

impl Batch {
    fn new(context: Context, linker: Option<&Linker>, capacity: usize) -> Self {
        Self {
            links: Links::new(context, linker, capacity),
            promise: Promise::new(),
            urgent: 0,
            dropped: BTreeMap::new(),
            wants_checkpoint: false,
            wants_tidying: false,
            is_last: false,
        }
    }
}

fn dropped_entries(dropped: &BTreeMap<(RunId, Hash), u64>) -> Result<Vec<Prepared>, LedgerError> {
    if dropped.is_empty() {
        return Ok(Vec::new());
    }
    let salts = Salts::new()?;
    let prepare = |((run_id, policy_hash), count): (&(RunId, Hash), &u64)| {
        Prepared::new(dropped_draft(*run_id, *policy_hash, *count), &salts)
    };
    dropped.iter().map(prepare).collect()
}

fn dropped_draft(run_id: RunId, policy_hash: Hash, count: u64) -> Draft {
    Draft {
        run_id,
        pid: 0,
        op: "ledger.dropped".into(),
        request: Value::object([("count", Value::Integer(count.cast_signed()))]),
        response: Value::Null,
        keeps_detail: true,
        policy_hash,
        decision: None,
        anomaly: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn prepared() -> Prepared {
        let draft = dropped_draft(RunId::new(0, [0; 10]), Hash::ZERO, 1);
        Prepared::new(draft, &Salts::new().unwrap()).unwrap()
    }

    #[test]
    fn what_nobody_waits_for_is_not_lingered_for() {
        let queue = Queue::new(Options::default(), Chain::GENESIS, None);
        for _ in 0..3 {
            assert!(matches!(queue.offer(prepared()).unwrap(), Offer::Taken));
        }
        let (_, place) = queue.push_urgent(prepared(), false).unwrap();
        let batch = queue.take(None, (0, Duration::ZERO)).unwrap().unwrap();
        assert_eq!((place, batch.links.len(), batch.urgent), (3, 4, 1));
    }
}
