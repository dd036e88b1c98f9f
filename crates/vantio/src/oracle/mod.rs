//! The oracle of a run: joins the policy, which decides, with the ledger, which remembers.

mod answer;
mod describe;
mod entries;
mod flow;
mod hold;
mod limits;
mod moment;
mod nested;
mod repeats;
mod restate;
mod speculate;
#[cfg(test)]
mod tests;
mod tracked;

use std::{
    cell::Cell,
    io,
    net::IpAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::Ordering},
    time::{Duration, Instant},
};

use vantio_core::{Cause, Channel, Decision, Intent, RunId, json::Value};
use vantio_ledger::{AgentSvid, Draft, Ledger, LedgerError, Pending, Seal};
use vantio_phantom::{
    Account, Ending, LaunchError, Oracle, Processes, Ruling, Speculated, Ways,
    checkpoint::{Checkpoint, Checkpoints},
    nested::{Mark, Marks},
    resources::{Holder, Resource},
};
use vantio_policy::{Details, PolicyProgram, State, decide_by_lists, flow::Flow};

use self::{
    entries::{Counts, Template},
    flow::Tracker,
    hold::Waiting,
    moment::Notes,
    repeats::Repeats,
};
use crate::{
    approvals::{Announcement, Holds},
    checkpoints,
    nested::Nests,
    present::now_ms,
    store::lay_ahead,
};

pub use answer::Judged;
#[cfg(test)]
pub use describe::target as target_value;
pub use describe::{BECOMES, bindings as bindings_value, bytes as bytes_value, ending_value};
pub use entries::{PERMIT_REPEATED, REFUSAL_REPEATED, event};
pub use limits::{RESOURCE_EXHAUST, RUN_LIMITS};
pub use moment::{Moment, integer};
pub use restate::{Restated, bytes as read_bytes};
pub use speculate::{FORK_ASSUME, FORK_BEGIN, FORK_END, FORK_NONE};

/// The operation of an entry that says which order rules are satisfied after a process has ended.
pub const ORDER_PROGRESS: &str = "order.progress";

/// Decides and remembers for one run.
pub struct Warden {
    program: PolicyProgram,
    state: RwLock<State>,
    ledger: Ledger,
    run_id: RunId,
    svid: AgentSvid,
    seal: Arc<dyn Seal>,
    permits: Mutex<Repeats<Template>>,
    refusals: Mutex<Repeats<Template>>,
    counts: Counts,
    /// What waits for an answer.
    holds: Arc<Holds>,
    /// The question whose answer a fork of the run goes on without.
    assumed: RwLock<Option<String>>,
    /// Labels and who carries them, where the policy has any.
    tracker: Option<Tracker>,
    /// Whether what happens changes what may happen: deciding is then done one by one.
    remembers: bool,
    /// What is written down with each verdict.
    notes: Notes,
    /// The runs within this one.
    nests: Arc<Nests>,
    home: Vec<u8>,
    folder: PathBuf,
    started: Instant,
    /// The run's first entry, on its way to the disk.
    first: Mutex<Option<Pending>>,
}

/// A refusal, ready to be written down; or what has to wait for an answer first.
struct Refused {
    decision: Decision,
    reason: String,
    response: Value,
    waiting: Option<Box<Waiting>>,
}

/// What a run is, for the oracle.
pub struct Charge {
    /// The run.
    pub run_id: RunId,
    /// Its policy.
    pub program: PolicyProgram,
    /// The policy on this host.
    pub state: State,
    /// Who the agent is.
    pub svid: AgentSvid,
    /// The key of that identity.
    pub seal: Arc<dyn Seal>,
    /// The home of whoever started it, for what people read.
    pub home: Vec<u8>,
    /// What the run's first entry says.
    pub start: Value,
    /// Whether whoever started it is told of questions.
    pub announcement: Announcement,
    /// The run's folder.
    pub folder: PathBuf,
}

impl Warden {
    /// Takes charge of a run: its first entry is on its way to the disk when this returns.
    pub fn start(ledger: Ledger, charge: Charge) -> Result<Self, LedgerError> {
        let Charge { run_id, program, state, svid, seal, home, start, announcement, folder } = charge;
        let keeps_detail = program.details() == Details::Keep;
        let bindings = state.bindings().clone();
        let holds = Holds::new(run_id, program.hash(), keeps_detail, ledger.clone(), bindings, announcement);
        let nests = nested::nests(&program, &ledger, run_id);
        let mut warden = Self {
            first: Mutex::default(),
            nests: Arc::new(nests),
            holds: Arc::new(holds),
            assumed: RwLock::default(),
            tracker: Flow::is_needed(&program).then(|| Tracker::new(&program)),
            remembers: program.remembers(),
            notes: Notes::new(&program),
            home,
            folder,
            started: Instant::now(),
            program,
            state: RwLock::new(state),
            ledger,
            run_id,
            svid,
            seal,
            permits: Mutex::default(),
            refusals: Mutex::default(),
            counts: Counts::default(),
        };
        let first = warden.ledger.submit(warden.event("run.start", start))?;
        warden.first = Mutex::new(Some(first));
        Ok(warden)
    }

    /// The folder that holds every run's.
    fn runs(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// What waits for an answer.
    pub fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    #[cfg(test)]
    pub fn set_killed(&self) {
        self.state.write().unwrap().set_killed(true);
    }
}

impl Warden {
    /// Decides for this run alone, not for those within it.
    fn answer_alone(&self, intent: &Intent<'_>, ways: Option<Ways>) -> Ruling {
        let mut intent = *intent;
        intent.context.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = match &self.tracker {
            Some(tracker) => self.answer_tracked(tracker, &intent, ways),
            None if self.remembers => self.answer_one_by_one(&intent),
            None => {
                // A writer that panicked may have left half a change behind.
                let Ok(state) = self.state.read() else { return Ruling::Kill };
                let judged = self.judge(&state, &intent);
                self.carry_out(&state, &intent, &judged)
            }
        };
        self.conclude(&intent, outcome)
    }

    fn answer_one_by_one(&self, intent: &Intent<'_>) -> Result<Ruling, Refused> {
        let Ok(mut state) = self.state.write() else { return Ok(Ruling::Kill) };
        let judged = self.judge(&state, intent);
        let ruling = self.carry_out(&state, intent, &judged)?;
        drop(judged);
        state.settle(&self.program, intent);
        Ok(ruling)
    }

    /// Records a permit; gives back what is refused, or has to wait, for when no lock is held.
    fn carry_out(&self, state: &State, intent: &Intent<'_>, judged: &Judged<'_>) -> Result<Ruling, Refused> {
        if !judged.verdict().is_permit() {
            return Err(Refused {
                decision: judged.decision(),
                reason: judged.reason(),
                response: self.response(judged, state, intent),
                waiting: self.waiting(judged, state, intent).map(Box::new),
            });
        }
        let alone = judged.is_answered() || self.counts_for_later(state, intent);
        let response = || self.response(judged, state, intent);
        Ok(match judged.verdict().cause {
            Cause::Observed(_) => self.permit_observed(intent, alone, response),
            _ => self.permit(intent, alone, response),
        })
    }

    fn response(&self, judged: &Judged<'_>, state: &State, intent: &Intent<'_>) -> Value {
        let response = judged.response(&self.program, state, intent);
        let notes = if state.is_killed() { self.notes.with_all() } else { self.notes };
        notes.add(&self.program, response, |notes| notes.moment(state, intent))
    }

    /// Whether the intent, once it is settled, may change a later decision.
    fn counts_for_later(&self, state: &State, intent: &Intent<'_>) -> bool {
        self.remembers && state.counts(&self.program, intent)
    }

    fn permit_observed(&self, intent: &Intent<'_>, alone: bool, response: impl FnOnce() -> Value) -> Ruling {
        self.counts.observed.fetch_add(1, Ordering::Relaxed);
        self.permit(intent, alone, response)
    }

    /// Records which order rules are satisfied, where `before` it were others.
    fn record_progress(&self, state: &mut State, before: &[u32]) {
        let satisfied = state.satisfied();
        if satisfied == before {
            return;
        }
        let numbers = satisfied.iter().map(|number| Value::from(*number)).collect();
        let request =
            Value::object([("changes", integer(state.changes())), ("satisfied", Value::Array(numbers))]);
        state.set_satisfied(&satisfied);
        // Where the ledger fails, the next decision ends the run.
        drop(self.ledger.record(self.event(ORDER_PROGRESS, request)));
    }

    /// Asks about what is held, and records a refusal.
    fn conclude(&self, intent: &Intent<'_>, outcome: Result<Ruling, Refused>) -> Ruling {
        match outcome.or_else(|refused| self.ask(intent, refused)) {
            Ok(ruling) => ruling,
            Err(Refused { decision, reason, response, .. }) => {
                let ruling = self.refuse(intent, decision, &reason, response);
                if decision == Decision::KillSwitch { Ruling::Kill } else { ruling }
            }
        }
    }
}

impl Oracle for Warden {
    fn decide(&self, intent: &Intent<'_>) -> Ruling {
        self.answer(intent, None)
    }

    fn decide_open(&self, intent: &Intent<'_>, ways: Ways) -> Ruling {
        self.answer(intent, Some(ways))
    }

    fn failure(&self) -> Option<LaunchError> {
        let cause = self.ledger.failure()?;
        Some(LaunchError {
            code: cause.code().into(),
            help: cause.help().into(),
            what: "what the run does could not be written down, and so it was ended".into(),
            cause: io::Error::other(cause),
        })
    }

    fn is_settled(&self, tid: u32) -> bool {
        self.holds.is_settled(tid)
    }

    fn steps_aside(&self, tid: u32) {
        self.holds.step_aside(tid);
    }

    fn answers(&self, tid: u32) {
        self.holds.use_up(tid);
    }

    fn leaves(&self, tid: u32) {
        self.holds.leave(tid);
    }

    fn assume(&self, intent: &Intent<'_>, original: u32) -> Ruling {
        self.assume_approved(intent, original)
    }

    fn is_approved(&self, tid: u32) -> bool {
        self.holds.is_approved(tid)
    }

    fn speculates(&self, original: u32, fork: u32) -> bool {
        self.begin_fork(original, fork)
    }

    fn speculated(&self, original: u32, outcome: Speculated<'_>) -> bool {
        self.end_fork(original, outcome)
    }

    fn waits_because(&self, tid: u32, why: &str) {
        self.tell_why_waiting(tid, why);
    }

    fn would_permit(&self, intent: &Intent<'_>) -> bool {
        let permits =
            self.state.read().is_ok_and(|state| decide_by_lists(&self.program, &state, intent).is_permit());
        permits && self.would_permit_within(intent)
    }

    fn attach(&self, processes: Arc<dyn Processes>) {
        if let Some(tracker) = &self.tracker {
            tracker.attach(processes);
        }
    }

    fn begin(&self, tid: u32) {
        if let Some(tracker) = &self.tracker {
            let process = tracker.process(tid);
            tracker.begins(&self.program, &self.state, process);
        }
    }

    fn join(&self, tid: u32, channel: Channel, ways: Ways) -> Ruling {
        self.answer_join(tid, channel, ways, false)
    }

    fn find(&self, tid: u32, channel: Channel, ways: Ways) -> Ruling {
        self.answer_join(tid, channel, ways, true)
    }

    fn astray(&self, tid: u32) {
        if let Some(tracker) = &self.tracker {
            tracker.goes_astray(tracker.process(tid));
        }
    }

    fn gone(&self, path: &[u8]) {
        if let Some(tracker) = &self.tracker {
            tracker.gone(path);
        }
    }

    fn exited(&self, tid: u32, status: u8) {
        let Some(tracker) = &self.tracker else { return };
        let ended = tracker.ends(tracker.process(tid), status);
        if let (Some(ended), Ok(mut state)) = (ended, self.state.write()) {
            let (is_blind, before) = (Cell::new(false), state.satisfied());
            state.ended(&self.program, &ended, &mut || tracker.census(&is_blind));
            if is_blind.get() {
                state.doubt();
            }
            self.record_progress(&mut state, &before);
        }
    }

    fn learn(&self, name: &str, addresses: &[IpAddr], ttl: Duration) {
        let expires = now_ms().saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if let Ok(mut state) = self.state.write() {
            for address in addresses {
                state.learn_name(name, *address, expires);
            }
        }
        self.within(|state| addresses.iter().for_each(|address| state.learn_name(name, *address, expires)));
    }

    fn stale_names(&self, address: IpAddr) -> Vec<String> {
        let state = self.state.read();
        state
            .map(|state| state.stale_names(address, now_ms()).map(str::to_owned).collect())
            .unwrap_or_default()
    }

    fn forget(&self, name: &str) {
        if let Ok(mut state) = self.state.write() {
            state.forget(name);
        }
        self.within(|state| state.forget(name));
    }

    fn attach_alarm(&self, alarm: Box<dyn FnOnce() + Send>) {
        self.ledger.watch(Some(alarm));
    }

    fn attach_marks(&self, marks: Arc<dyn Marks>) {
        self.nests.attach(marks);
    }

    fn has_nested(&self) -> bool {
        self.nests.is_any()
    }

    fn nests_hold(&self, tid: u32, mark: Mark) -> bool {
        self.nests.hold(tid, mark)
    }

    fn nests(&self, asking: UnixStream) -> bool {
        // Labels would not follow what is said there.
        let is_heard = self.tracker.is_none();
        if is_heard {
            self.nests.serve(asking);
        }
        is_heard
    }

    fn attach_checkpoints(&self, checkpoints: Arc<dyn Checkpoints>) {
        if self.program.checkpointing().approval {
            self.holds.remember_with(Arc::clone(&checkpoints));
        }
        // Without it the run cannot be asked, and says so.
        drop(checkpoints::serve(&self.folder, self.runs().to_owned(), checkpoints));
    }

    fn checkpointed(&self, checkpoint: &Checkpoint) {
        let entry = self.event("run.checkpoint", checkpoints::to_value(checkpoint));
        // Where the ledger fails, the next decision ends the run.
        drop(match checkpoint.cause {
            // Written at once; whoever asked waits for the checkpoint, and not for the disk.
            vantio_phantom::checkpoint::Cause::Asked => self.ledger.submit(entry).map(drop),
            // Nobody looks for it now.
            _ => self.ledger.record(entry).map(drop),
        });
    }

    fn limited(&self, holders: &[(Resource, Holder)]) {
        self.record_holders(holders);
    }

    fn ran_out(&self, resource: Resource) -> Ruling {
        self.record_exhausted(resource)
    }

    fn begins(&self) -> Result<(), LaunchError> {
        match lock(&self.first).take() {
            Some(first) => first.wait().map(drop).map_err(ledger_failed),
            None => Ok(()),
        }
    }

    fn end(&self, ending: Ending) -> Account {
        self.holds.end();
        // Nothing is left to be ended.
        self.ledger.watch(None);
        let waiting: Vec<_> = lock(&self.permits).drain().chain(lock(&self.refusals).drain()).collect();
        for (template, more) in waiting {
            // Without the ledger there is nobody to tell; the next command finds no end and says so.
            drop(self.count(&template, more));
        }
        let end = Draft { response: self.totals(), ..self.event("run.end", ending_value(ending)) };
        match self.ledger.append_with_checkpoint(end) {
            Ok(_) if self.counts.are_quiet() => Account::Quiet,
            Ok(_) => Account::Written,
            Err(_) => Account::Unwritten,
        }
    }

    fn leave(&self) {
        // Nothing depends on either.
        drop(self.ledger.tidy());
        lay_ahead(self.runs());
    }
}

/// Why a run cannot begin.
pub fn ledger_failed(error: LedgerError) -> LaunchError {
    LaunchError {
        code: error.code().into(),
        what: "no agent runs without its ledger".into(),
        help: error.help().into(),
        cause: io::Error::other(error),
    }
}

/// Counts hold whatever happened to the thread that had them.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
