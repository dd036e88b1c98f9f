//! Verdicts as they are carried out and written down.

use vantio_core::{Cause, Decision, Intent, Target, Verdict, json::Value};
use vantio_policy::{PolicyProgram, State, advise, decide, judge};

use super::describe;

/// What is carried out for a verdict: there is no approver yet, so what waits for one is refused.
pub const fn carried_out(decision: Decision) -> Decision {
    match decision {
        Decision::Hold => Decision::Collapse,
        other => other,
    }
}

/// Why, in words.
pub fn reason(verdict: &Verdict<'_>) -> String {
    let cause = verdict.cause;
    match verdict.decision {
        Decision::Hold => format!("{cause}: it needs an approver, and this version has no way to ask one"),
        _ => cause.to_string(),
    }
}

/// What the ledger has of a verdict.
pub fn response(program: &PolicyProgram, state: &State, intent: &Intent<'_>, verdict: &Verdict<'_>) -> Value {
    match (verdict.decision, verdict.cause) {
        (Decision::Permit, Cause::Observed(_)) => {
            describe::observed(explained(state, intent, &judge(program, state, intent)))
        }
        (Decision::Permit, cause) => describe::permit(&cause, &names(state, intent)),
        (Decision::Collapse, _) => explained(state, intent, verdict),
        (Decision::Hold, _) => describe::because(explained(state, intent, verdict), &reason(verdict)),
        (Decision::KillSwitch, cause) => describe::cause(&cause),
    }
}

/// Decides, and says what would be carried out and written down.
pub fn answer(program: &PolicyProgram, state: &State, intent: &Intent<'_>) -> (Decision, Value) {
    let verdict = decide(program, state, intent);
    (carried_out(verdict.decision), response(program, state, intent, &verdict))
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
