//! The questions of one run and their answers, written down as they come.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use vantio_core::{Hash, Intent, RunId, json::Value};
use vantio_ledger::{Draft, Ledger, LedgerError, to_serde};
use vantio_phantom::checkpoint::{Cause, CheckpointError, Checkpoints};
use vantio_policy::{Bindings, Held};

use super::{
    Answer, Asked, HOLD_ANSWER, Reach, Said,
    forked::Forked,
    orphans::withdrawn,
    question::{how_to_answer, key},
    table::{Due, Open, Table},
    wire::{Question, Refused, Reply},
};
use crate::{
    account,
    oracle::event,
    present::{note, now_ms, shown, span},
};

pub use super::table::Place;

/// The questions of one run, and the answers that go on holding.
pub struct Holds {
    run_id: RunId,
    policy_hash: Hash,
    keeps_detail: bool,
    ledger: Ledger,
    bindings: Bindings,
    announcement: Announcement,
    /// Who takes a checkpoint before what somebody approves of happens, where the policy asks for one.
    checkpoints: OnceLock<Arc<dyn Checkpoints>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    table: Table,
    standing: Vec<Standing>,
    forked: Forked,
    /// What is told of a question besides: whether the run goes on meanwhile, or why not.
    told: Vec<(String, String)>,
}

/// An answer that holds for more than those who waited for it.
struct Standing {
    answer: Arc<Answer>,
    until: Option<Instant>,
}

impl Inner {
    /// The answers that hold for more than those who waited for them.
    fn standing(&mut self, now: Instant) -> impl Iterator<Item = &Arc<Answer>> {
        self.standing.retain(|standing| standing.until.is_none_or(|until| until > now));
        self.standing.iter().map(|standing| &standing.answer)
    }
}

/// Whether the terminal of whoever started the run is told of a question.
#[derive(Clone, Debug)]
pub enum Announcement {
    /// It is, of a run that is shown so.
    Of(String),
    Silent,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The thread, as the host numbers it.
    pub tid: u32,
    /// Whether its call can wait.
    pub has_call: bool,
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("no question `{0}` waits for an answer")]
    Unknown(String),
    #[error("question `{0}` is about another intent, or another policy, than was answered")]
    Changed(String),
    #[error("{0} may approve it, and nobody else")]
    Approver(String),
    #[error("`{text}` is no pattern for this question: {cause}")]
    Pattern { text: String, cause: String },
    #[error("a name or reason has control characters in it, or is too long")]
    Text,
    #[error("it is not approved, because what there is now could not be remembered: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the answer could not be written down, and is a denial now: {0}")]
    Ledger(#[from] LedgerError),
}

impl AnswerError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "E_APPROVAL_UNKNOWN",
            Self::Changed(_) => "E_APPROVAL_CHANGED",
            Self::Approver(_) => "E_APPROVER",
            Self::Pattern { .. } => "E_APPROVAL_PATTERN",
            Self::Text => "E_APPROVAL_TEXT",
            Self::Checkpoint(_) => "E_APPROVAL_CHECKPOINT",
            Self::Ledger(_) => "E_APPROVAL_LEDGER",
        }
    }

    const fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) | Self::Changed(_) => "`vantio approvals` lists what waits",
            Self::Approver(_) => "say who you are with --as",
            Self::Pattern { .. } => {
                "write it as a rule of the policy that would permit this target: `/srv/data/**`, `db.example:5432`"
            }
            Self::Text => "write one line of at most 1,000 characters",
            Self::Checkpoint(_) | Self::Ledger(_) => "the state folder must be writable and have room",
        }
    }
}

impl From<AnswerError> for Refused {
    fn from(error: AnswerError) -> Self {
        Self { code: error.code().into(), help: error.help().into(), message: error.to_string() }
    }
}

impl Holds {
    pub fn new(
        run_id: RunId,
        policy_hash: Hash,
        keeps_detail: bool,
        ledger: Ledger,
        bindings: Bindings,
        announcement: Announcement,
    ) -> Self {
        Self {
            run_id,
            policy_hash,
            keeps_detail,
            ledger,
            bindings,
            announcement,
            checkpoints: OnceLock::new(),
            inner: Mutex::default(),
        }
    }

    /// Has a checkpoint taken before what somebody approves of happens.
    pub fn remember_with(&self, checkpoints: Arc<dyn Checkpoints>) {
        // There is one supervisor.
        drop(self.checkpoints.set(checkpoints));
    }

    /// What was answered about a rule that holds an intent: to whoever asks, or for longer. A denial reaches further than an
    /// approval; what was denied to a fork, and to nobody else since, is denied to its original once.
    pub fn answer_for(
        &self,
        tid: u32,
        held: &Held<'_>,
        intent: &Intent<'_>,
        hash: Hash,
        names: &[String],
    ) -> Option<Arc<Answer>> {
        let (mut inner, key) = (self.lock(), key(hash, held.section, held.rule));
        if let Some(own) = inner.table.answer_of(tid, key) {
            return Some(own);
        }
        let settles = |answer: &&Arc<Answer>| answer.settles(held, intent, hash, names);
        let settling: Vec<_> = inner.standing(Instant::now()).filter(settles).collect();
        let denying = settling.iter().find(|answer| !answer.approves());
        if let Some(answer) = denying.or(settling.first()) {
            return Some(Arc::clone(answer));
        }
        let denial = inner.forked.meets(|answer| settles(&answer))?;
        inner.table.tell(tid, key, Arc::clone(&denial), Instant::now());
        Some(denial)
    }

    /// From here on whoever asks is of a fork of this thread.
    pub fn fork_begins(&self, original: u32) {
        self.lock().forked.begins(original);
    }

    /// The fork has become the run, or is gone.
    pub fn fork_ends(&self, is_run: bool) {
        self.lock().forked.ends(is_run);
    }

    /// That the call which the thread makes now was denied, where it is about the intent with this hash.
    pub fn denial_of(&self, tid: u32, hash: impl FnOnce() -> Hash) -> Option<Arc<Answer>> {
        let mut inner = self.lock();
        if inner.table.is_denied(tid) { inner.table.denial_of(tid, hash()) } else { None }
    }

    /// Has the call wait for an answer; the first question of its kind is on disk when this returns. `draft` makes its
    /// entry, which is given its name.
    pub fn ask(
        &self,
        asking: Asking,
        asked: Asked,
        draft: impl FnOnce(&str) -> Draft,
    ) -> Result<Place, LedgerError> {
        self.tick();
        let tid = asking.has_call.then_some(asking.tid);
        let notice = self.announced(&asked);
        let (mut inner, now) = (self.lock(), Instant::now());
        if inner.standing(now).any(|answer| answer.settles_all_of(&asked)) {
            // It was answered just now: there is nothing to wait for but to be judged again.
            return Ok(Place::Alike);
        }
        let place = inner.table.ask(tid, asked, now, now_ms());
        inner.forked.asks(asking.tid);
        drop(inner);
        if let Place::First(id) = &place {
            self.ledger.append(draft(id))?;
            self.lock().table.open(id);
            announce(notice, id);
        }
        Ok(place)
    }

    /// The answer that a fork of a thread goes on with, which waits to hear about this rule and intent: nobody has given it.
    pub fn assumed(&self, original: u32, held: &Held<'_>, hash: Hash) -> Option<Arc<Answer>> {
        let inner = self.lock();
        let open = inner.table.question_of(original, Some(key(hash, held.section, held.rule)))?;
        Some(Arc::new(Answer::new(&open.id, &open.asked, Said::Approve)))
    }

    /// The question that a thread waits to hear about.
    pub fn question_of(&self, tid: u32) -> Option<String> {
        self.lock().table.question_of(tid, None).map(|open| open.id.clone())
    }

    /// Whether all that the thread was told is that it may.
    pub fn is_approved(&self, tid: u32) -> bool {
        self.lock().table.is_approved(tid)
    }

    /// Tells of a question whether the run goes on meanwhile, or why not.
    pub fn tell(&self, question: &str, text: String) {
        let mut inner = self.lock();
        inner.told.retain(|(of, _)| of != question);
        inner.told.push((question.to_owned(), text));
        let forgotten = inner.told.len().saturating_sub(TOLD_MAX);
        inner.told.drain(..forgotten);
    }

    pub fn is_settled(&self, tid: u32) -> bool {
        self.tick();
        self.lock().table.is_settled(tid)
    }

    pub fn step_aside(&self, tid: u32) {
        self.lock().table.step_aside(tid, Instant::now());
    }

    /// A call of the thread is answered for good.
    pub fn use_up(&self, tid: u32) {
        let mut inner = self.lock();
        if inner.table.is_idle() {
            return;
        }
        inner.table.use_up(tid);
    }

    /// The thread is gone.
    pub fn leave(&self, tid: u32) {
        self.lock().table.leave(tid);
        self.tick();
    }

    /// The questions that are open, the oldest first.
    pub fn list(&self) -> Vec<Question> {
        self.tick();
        let now = Instant::now();
        let inner = self.lock();
        let told = |id: &str| inner.told.iter().find(|(of, _)| of == id).map(|(_, text)| text.clone());
        let found = inner.table.list().map(|(open, waiting, tids)| Question {
            meanwhile: told(&open.id),
            ..self.question(open, waiting, tids, now)
        });
        let found: Vec<_> = found.collect();
        drop(inner);
        found.into_iter().map(|question| Question { command: command(&question.pids), ..question }).collect()
    }

    fn question(&self, open: &Open, waiting: u64, pids: Vec<u32>, now: Instant) -> Question {
        let asked = &open.asked;
        let left = open.deadline.saturating_duration_since(now);
        Question {
            id: open.id.clone(),
            run: self.run_id.to_string(),
            effect: asked.effect.name().to_owned(),
            target: to_serde(&asked.request),
            subject: account::asked(&asked.request),
            names: asked.names.clone(),
            bytes: asked.bytes,
            section: asked.section.name().to_owned(),
            rule: asked.rule.clone(),
            approvers: asked.approvers.clone(),
            intent_hash: asked.intent.to_string(),
            policy_hash: self.policy_hash.to_string(),
            pids,
            command: None,
            meanwhile: None,
            waiting,
            asked: open.count,
            since_ms: open.since_ms,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Takes an answer by the user `uid`; it is on disk before anybody goes on. Returns how many waited for it.
    pub fn answer(&self, reply: Reply, uid: u32) -> Result<u64, AnswerError> {
        self.tick();
        let Reply { question: id, intent_hash, policy_hash, approves, reach, who, reason } = reply;
        if ![&who, &reason].into_iter().flatten().all(|text| is_plain(text)) {
            return Err(AnswerError::Text);
        }
        let asked = self.lock().table.asked(&id).ok_or_else(|| AnswerError::Unknown(shown(&id)))?;
        if asked.intent.to_string() != intent_hash || self.policy_hash.to_string() != policy_hash {
            return Err(AnswerError::Changed(id));
        }
        if approves
            && !asked.approvers.is_empty()
            && !who.as_ref().is_some_and(|who| asked.approvers.contains(who))
        {
            return Err(AnswerError::Approver(asked.approvers.join(" or ")));
        }
        let said = if approves { Said::Approve } else { Said::Deny };
        let answer = self.reaching(Answer::new(&id, &asked, said), reach, &asked)?;
        if let Some(checkpoints) = self.checkpoints.get().filter(|_| approves) {
            // Where the policy asks for a checkpoint, nothing goes on without it.
            checkpoints.take(None, Cause::Approval)?;
        }
        // Somebody else may be quicker.
        let open = self.lock().table.claim(&id).ok_or_else(|| AnswerError::Unknown(shown(&id)))?;
        let answer = Answer { who, reason, uid: Some(uid), ..answer };
        Ok(self.conclude(&open, answer.clone())? + self.conclude_covered(&answer)?)
    }

    /// Answers what waits already as an answer that stands says. Returns how many waited for it.
    fn conclude_covered(&self, standing: &Answer) -> Result<u64, LedgerError> {
        if standing.reach == Reach::Once {
            return Ok(0);
        }
        let is_covered = |open: &Open| standing.settles_all_of(&open.asked);
        let listed = |table: &Table| {
            table.list().filter(|(open, ..)| is_covered(open)).map(|(open, ..)| open.id.clone()).collect()
        };
        let covered: Vec<String> = listed(&self.lock().table);
        let mut waiting = 0;
        for id in covered {
            let Some(open) = self.lock().table.claim(&id) else { continue };
            let (who, reason, uid) = (standing.who.clone(), standing.reason.clone(), standing.uid);
            let own = Answer { who, uid, reason, ..Answer::new(&id, &open.asked, standing.said) };
            waiting += self.conclude(&open, own)?;
        }
        Ok(waiting)
    }

    fn reaching(&self, answer: Answer, reach: Reach, asked: &Asked) -> Result<Answer, AnswerError> {
        let text = if let Reach::Pattern(text) = &reach { text.clone() } else { String::new() };
        let wrong = |cause: String| AnswerError::Pattern { text: shown(&text), cause };
        let answer = answer.reaching(reach, &self.bindings).map_err(|error| wrong(error.to_string()))?;
        match &answer.pattern {
            Some(pattern) if !asked.is_covered_by(pattern) => {
                Err(wrong("it does not cover what is asked".to_owned()))
            }
            _ => Ok(answer),
        }
    }

    /// Writes an answer down and gives it to everybody who waits. Where it cannot be written down, it is a denial.
    fn conclude(&self, open: &Open, answer: Answer) -> Result<u64, LedgerError> {
        let waiting = self.lock().table.waiting(open);
        let answer = Answer { waiting, ..answer };
        let written = self.ledger.append(self.event(answer.to_value()));
        let answer = if written.is_ok() { answer } else { answer.denied() };
        let (answer, now) = (Arc::new(answer), Instant::now());
        let mut locked = self.lock();
        let inner = &mut *locked;
        if written.is_ok() {
            inner.forked.answered(inner.table.waiters_of(open), &answer);
        }
        let until = open.asked.is_of_datagrams().then(|| now + DATAGRAMS_FOR);
        if answer.reach != Reach::Once || until.is_some() {
            let until = until.filter(|_| answer.reach == Reach::Once);
            inner.standing.push(Standing { answer: Arc::clone(&answer), until });
        }
        inner.table.settle(&open.id, &answer, now);
        written.map(|_| waiting)
    }

    /// Ends what is over.
    fn tick(&self) {
        let due = self.lock().table.due(Instant::now());
        for due in due {
            match due {
                Due::TimedOut(open) => {
                    let said = Said::Nothing(open.asked.timeout_ms);
                    let answer = Answer::new(&open.id, &open.asked, said);
                    // Where the ledger fails, the next decision ends the run.
                    drop(self.conclude(&open, answer));
                }
                Due::Withdrawn(open) => self.withdraw(&open),
            }
        }
    }

    fn withdraw(&self, open: &Open) {
        let request = withdrawn(&open.id, &open.asked.intent.to_string());
        drop(self.ledger.record(self.event(request)));
    }

    /// The run is over: nobody waits any more.
    pub fn end(&self) {
        let left = self.lock().table.close();
        for open in left {
            self.withdraw(&open);
        }
    }

    fn event(&self, request: Value) -> Draft {
        Draft {
            keeps_detail: self.keeps_detail,
            ..event(self.run_id, self.policy_hash, HOLD_ANSWER, request)
        }
    }

    /// What is said to whoever started the run, and who may answer.
    fn announced(&self, asked: &Asked) -> Option<(String, Vec<String>)> {
        let Announcement::Of(run) = &self.announcement else { return None };
        let (what, rule, limit) = (asked.in_words(), shown(&asked.rule), span(asked.timeout_ms));
        let text = format!("run {run} waits for an answer, at most {limit}: {what}  ({rule})");
        Some((text, asked.approvers.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whoever started the run.
fn announce(notice: Option<(String, Vec<String>)>, id: &str) {
    let Some((text, approvers)) = notice else { return };
    // The program may have the terminal as it needs it.
    let end = if io::stderr().is_terminal() { "\r\n" } else { "\n" };
    let line = format!("{text}{end}  in another terminal: {}{end}", how_to_answer(id, &approvers));
    // A terminal that is stopped takes nothing, and stops whoever writes to it.
    drop(thread::Builder::new().name("vantio-announce".into()).spawn(move || note(line)));
}

/// What the first of the threads executes, where that can be seen. A process may say that its command line is as long as all
/// the memory it can name (`prctl(2)`, `PR_SET_MM`).
fn command(tids: &[u32]) -> Option<String> {
    let file = File::open(format!("/proc/{}/cmdline", tids.first()?)).ok()?;
    let mut bytes = Vec::new();
    file.take(COMMAND_READ).read_to_end(&mut bytes).ok()?;
    let words: Vec<_> = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
    let text = String::from_utf8_lossy(&words.join(&b' ')).chars().take(COMMAND_SHOWN).collect::<String>();
    (!text.is_empty()).then_some(text)
}

fn is_plain(text: &str) -> bool {
    text.chars().count() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// How long an answer about datagrams, or a name, holds: they come without a call that could wait.
const DATAGRAMS_FOR: Duration = Duration::from_mins(1);
/// Of how many questions is told whether the run goes on.
const TOLD_MAX: usize = 64;
const COMMAND_SHOWN: usize = 300;
/// In bytes: more than what is shown can have.
const COMMAND_READ: u64 = 4096;
const TEXT_MAX: usize = 1000;
