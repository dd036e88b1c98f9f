//! Guards: what holds an intent back that the lists of patterns permit.
//!
//! Taint (`taint`), rules with time (`order`), thresholds, holds and the kill switch. They
//! are few, at most [`MAX_ENTRIES`] of a kind, and each is looked at in turn.

mod approval;
mod bound;
mod history;
pub(crate) mod model;
mod order;
pub(crate) mod scope;
mod settle;
#[cfg_attr(not(feature = "document"), allow(dead_code, reason = "only documents need some of the texts"))]
pub(crate) mod text;

#[cfg(all(test, feature = "document"))]
pub(crate) mod tests;

use vantio_core::{Cause, Decision, Intent, Section, Verdict};

pub use approval::{ApprovalError, ApprovedPattern, Held, decide_approved, holds};
pub use model::{Backend, Guards};
#[cfg(feature = "document")]
pub(crate) use model::{KillSwitch, Labelled};

pub(crate) use bound::{Bound, BoundEntry};

use crate::{PolicyProgram, State};
use model::Then;

/// Entries of one list of guards.
pub(crate) const MAX_ENTRIES: usize = 256;

/// What the guards make of an intent that the lists permit; `None` when nothing holds it back.
#[inline]
pub(crate) fn hold_back<'p>(
    program: &'p PolicyProgram,
    state: &'p State,
    intent: &Intent<'_>,
) -> Option<Verdict<'p>> {
    if state.guards().is_idle { None } else { look_at_each(program, state, intent) }
}

#[inline(never)]
fn look_at_each<'p>(
    program: &'p PolicyProgram,
    state: &'p State,
    intent: &Intent<'_>,
) -> Option<Verdict<'p>> {
    let rule = |section, text| Cause::Rule { section, text };
    tainted(program, state, intent)
        .or_else(|| out_of_order(state, intent).map(|text| rule(Section::Order, text)))
        .or_else(|| {
            too_much(program, state, intent, Then::Collapse).map(|text| rule(Section::Thresholds, text))
        })
        .map(|cause| Verdict { decision: Decision::Collapse, cause })
        .or_else(|| over_budget(program, state, intent))
        .or_else(|| {
            too_much(program, state, intent, Then::Hold)
                .map(|text| rule(Section::Thresholds, text))
                .or_else(|| held(state, intent).map(|text| rule(Section::Hold, text)))
                .map(|cause| Verdict { decision: Decision::Hold, cause })
        })
}

/// The refusal of an intent that would pass a budget.
pub(crate) fn over_budget<'p>(
    program: &PolicyProgram,
    state: &State,
    intent: &Intent<'_>,
) -> Option<Verdict<'p>> {
    let used = state.guards().history.used_with(intent);
    let name = program.budgets().exceeded_by(&used)?;
    Some(Verdict { decision: Decision::Collapse, cause: Cause::Budget(name) })
}

fn tainted<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Option<Cause<'p>> {
    let carried = intent.context.labels;
    if carried.is_empty() {
        return None;
    }
    let sinks = &state.guards().sinks;
    let sink = sinks
        .iter()
        .find(|sink| !sink.labels.intersection(carried).is_empty() && sink.scope.covers(state, intent))?;
    let number = sink.labels.intersection(carried).numbers().next()?;
    Some(Cause::Tainted { label: label_name(program, number), sink: &sink.text })
}

/// The name of a label; of a number that the policy does not know, a text that says so.
pub(crate) fn label_name(program: &PolicyProgram, number: u8) -> &str {
    program.labels().get(usize::from(number)).map_or("unknown", alloc::string::String::as_str)
}

fn out_of_order<'p>(state: &'p State, intent: &Intent<'_>) -> Option<&'p str> {
    let guards = state.guards();
    let mut rules = guards.order.iter().zip(&guards.history.order);
    rules
        .find(|(rule, progress)| !progress.is_satisfied && rule.refuse.covers(state, intent))
        .map(|(rule, _)| rule.text.as_str())
}

fn too_much<'p>(
    program: &PolicyProgram,
    state: &'p State,
    intent: &Intent<'_>,
    then: Then,
) -> Option<&'p str> {
    let guards = state.guards();
    let now = guards.history.now(intent);
    let thresholds = program.parts.guards.thresholds.iter().zip(&guards.thresholds);
    thresholds
        .zip(&guards.history.windows)
        .find(|((threshold, bound), window)| {
            threshold.then == then
                && bound.scope.covers(state, intent)
                && window.is_passed_by(threshold, now, intent)
        })
        .map(|((_, bound), _)| bound.text.as_str())
}

fn held<'p>(state: &'p State, intent: &Intent<'_>) -> Option<&'p str> {
    state.guards().hold.iter().find(|rule| rule.scope.covers(state, intent)).map(|rule| rule.text.as_str())
}
