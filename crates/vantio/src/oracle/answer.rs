//! Verdicts as they are carried out and written down.

use std::sync::Arc;

use vantio_core::{Cause, Decision, Intent, Section, Target, Verdict, json::Value};
use vantio_policy::{Held, PolicyProgram, State, advise, decide_approved, judge};

use super::describe;
use crate::approvals::{Answer, with_answers};

/// A verdict, and the answers of people that it rests on.
pub struct Judged<'p> {
    verdict: Verdict<'p>,
    /// The approvals that settled rules that hold, and after them the answer that denied.
    answers: Vec<Arc<Answer>>,
}

impl<'p> Judged<'p> {
    /// Decides; `answer_for` tells what was answered about a rule that holds the intent, and `denial` that its call was
    /// denied.
    pub fn new(
        program: &'p PolicyProgram,
        state: &'p State,
        intent: &Intent<'_>,
        denial: Option<Arc<Answer>>,
        mut answer_for: impl FnMut(&Held<'p>) -> Option<Arc<Answer>>,
    ) -> Self {
        let mut answers = Vec::new();
        let verdict = decide_approved(program, state, intent, |held| {
            let answer = answer_for(held);
            let is_approved = answer.as_ref().is_some_and(|answer| answer.approves());
            answers.extend(answer);
            is_approved
        });
        Self { verdict, answers }.after(denial, program, state)
    }

    /// A call that was denied is refused, though the threshold that held it is not passed any more: time went by while it
    /// waited.
    fn after(self, denial: Option<Arc<Answer>>, program: &'p PolicyProgram, state: &'p State) -> Self {
        let is_undecided = matches!(self.verdict.decision, Decision::Permit | Decision::Hold);
        let Some(denial) = denial.filter(|_| is_undecided && self.denial().is_none()) else { return self };
        let unknown = Held { section: denial.section, rule: "", approvers: &[], timeout_ms: 0 };
        let held = Held::of(program, state, denial.section, &denial.rule).unwrap_or(unknown);
        let answers = self.answers.into_iter().chain([denial]).collect();
        Self { verdict: held.verdict(), answers }
    }

    /// The verdict of the policy.
    pub const fn verdict(&self) -> &Verdict<'p> {
        &self.verdict
    }

    /// Whether it would have come out otherwise without them.
    pub const fn is_answered(&self) -> bool {
        !self.answers.is_empty()
    }

    /// What is carried out: what a person has denied, or nobody has answered in time, is refused.
    pub fn decision(&self) -> Decision {
        match self.verdict.decision {
            Decision::Hold if self.denial().is_some() => Decision::Collapse,
            decision => decision,
        }
    }

    /// Why, in words.
    pub fn reason(&self) -> String {
        let cause = self.verdict.cause;
        self.denial().map_or_else(|| cause.to_string(), |denial| format!("{cause}: {}", denial.in_words()))
    }

    /// What the ledger has of it.
    pub fn response(&self, program: &PolicyProgram, state: &State, intent: &Intent<'_>) -> Value {
        let verdict = &self.verdict;
        let response = match (verdict.decision, verdict.cause) {
            (Decision::Permit, Cause::Observed(_)) => {
                describe::observed(explained(state, intent, &judge(program, state, intent)))
            }
            (Decision::Permit, cause) => match self.answers.last() {
                Some(approval) => describe::approved(approval, &names(state, intent)),
                None => describe::permit(&cause, &names(state, intent)),
            },
            (Decision::Collapse, _) => explained(state, intent, verdict),
            (Decision::Hold, _) => describe::because(explained(state, intent, verdict), &self.reason()),
            (Decision::KillSwitch, cause) => describe::cause(&cause),
        };
        with_answers(response, &self.answers)
    }

    /// The rule that holds it, and that nobody has answered about.
    pub fn open(
        &self,
        program: &'p PolicyProgram,
        state: &'p State,
        intent: &Intent<'_>,
    ) -> Option<Held<'p>> {
        let (Decision::Hold, Cause::Rule { section, text }) = (self.decision(), self.verdict.cause) else {
            return None;
        };
        vantio_policy::holds(program, state, intent).find(|held| is_it(held, section, text))
    }

    fn denial(&self) -> Option<&Arc<Answer>> {
        self.answers.last().filter(|answer| !answer.approves())
    }
}

fn is_it(held: &Held<'_>, section: Section, text: &str) -> bool {
    (held.section, held.rule) == (section, text)
}

/// The names that led to the address of an intent.
pub fn names(state: &State, intent: &Intent<'_>) -> Vec<String> {
    match intent.target {
        Target::Endpoint(endpoint) => state.names_of(endpoint.address.ip()).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// A refusal as the ledger has it.
fn explained(state: &State, intent: &Intent<'_>, verdict: &Verdict<'_>) -> Value {
    describe::refusal(verdict, advise(state, intent, verdict).as_ref(), &names(state, intent))
}
