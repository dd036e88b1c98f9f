//! A run that goes on as a fork while an answer is outstanding: what is written down of it.

use vantio_core::{
    Intent,
    json::{Key, Value},
};
use vantio_ledger::Draft;
use vantio_phantom::{Ruling, Speculated};

use super::{
    Warden,
    answer::{Judged, names},
    describe, lock,
};
use crate::approvals::intent_hash;

/// The operation of an entry that says that a run goes on as a fork.
pub const FORK_BEGIN: &str = "fork.begin";
/// The operation of an entry that says what became of a fork.
pub const FORK_END: &str = "fork.end";
/// The operation of an entry that says why a run waits and does not go on as a fork.
pub const FORK_NONE: &str = "fork.none";
/// The operation of an entry that says what a fork did as if it were approved.
pub const FORK_ASSUME: &str = "fork.assume";

impl Warden {
    /// Judges an intent of a fork as if what its original waits for were approved.
    pub(super) fn assume_approved(&self, intent: &Intent<'_>, original: u32) -> Ruling {
        let mut intent = *intent;
        intent.context.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Ok(state) = self.state.read() else { return Ruling::Kill };
        let judged = Judged::new(&self.program, &state, &intent, None, |held| {
            let names = names(&state, &intent);
            let hash = intent_hash(intent.effect, &describe::request(&intent), &names);
            let assumed = self.holds.assumed(original, held, hash);
            assumed.or_else(|| self.holds.answer_for(intent.pid, held, &intent, hash, &names))
        });
        if !judged.verdict().is_permit() {
            return Ruling::Refuse;
        }
        let request = [
            ("effect", Value::from(intent.effect.name())),
            ("intent", describe::request(&intent)),
            ("question", self.assumption().map_or(Value::Null, Value::from)),
        ];
        let draft = Draft { pid: intent.pid, ..self.event(FORK_ASSUME, Value::object(request)) };
        match self.ledger.record(draft) {
            Ok(_) => Ruling::Permit,
            Err(_) => Ruling::Kill,
        }
    }

    pub(super) fn begin_fork(&self, original: u32, fork: u32) -> bool {
        let Some(question) = self.holds.question_of(original) else { return false };
        let request = [
            ("fork", Value::from(fork)),
            ("original", original.into()),
            ("question", question.as_str().into()),
        ];
        let draft = Draft { pid: fork, ..self.event(FORK_BEGIN, Value::object(request)) };
        self.holds.tell(&question, format!("goes on speculatively (pid {fork})"));
        self.count_all();
        self.set_assumption(Some(question));
        self.holds.fork_begins(original);
        self.ledger.record(draft).is_ok()
    }

    pub(super) fn end_fork(&self, original: u32, outcome: Speculated<'_>) -> bool {
        self.count_all();
        let question = self.assumption().or_else(|| self.holds.question_of(original));
        self.set_assumption(None);
        self.holds.fork_ends(matches!(outcome, Speculated::Adopted));
        let mut request = vec![("original", Value::from(original))];
        request.extend(question.as_deref().map(|question| ("question", question.into())));
        match outcome {
            Speculated::Adopted => request.push(("outcome", "adopted".into())),
            Speculated::Dropped(why) => {
                request.push(("outcome", "rolled back".into()));
                request.push(("why", why.into()));
                if let Some(question) = &question {
                    self.holds.tell(question, format!("waits: {why}"));
                }
            }
        }
        self.ledger.append(self.event(FORK_END, Value::object(request))).is_ok()
    }

    /// Writes down what was only counted: what is done from here on is of somebody else.
    fn count_all(&self) {
        let counted: Vec<_> = [&self.permits, &self.refusals]
            .into_iter()
            .flat_map(|repeats| lock(repeats).drain().collect::<Vec<_>>())
            .collect();
        for (template, more) in counted {
            // Where the ledger fails, the next decision ends the run.
            drop(self.count(&template, more));
        }
    }

    pub(super) fn tell_why_waiting(&self, tid: u32, why: &str) {
        let Some(question) = self.holds.question_of(tid) else { return };
        let request = [("question", Value::from(question.as_str())), ("why", why.into())];
        self.holds.tell(&question, format!("waits: {why}"));
        // Where the ledger fails, the next decision ends the run.
        drop(self.ledger.record(Draft { pid: tid, ..self.event(FORK_NONE, Value::object(request)) }));
    }

    /// A response with the question whose answer it does without.
    pub(super) fn with_assumption(&self, response: Value) -> Value {
        match (self.assumption(), response) {
            (Some(question), Value::Object(mut members)) => {
                members.insert(Key(MEMBER.into()), question.into());
                Value::Object(members)
            }
            (_, response) => response,
        }
    }

    fn assumption(&self) -> Option<String> {
        self.assumed.read().ok().and_then(|assumed| assumed.clone())
    }

    fn set_assumption(&self, question: Option<String>) {
        if let Ok(mut assumed) = self.assumed.write() {
            *assumed = question;
        }
    }
}

/// The member of a response that names the question.
const MEMBER: &str = "speculative";
