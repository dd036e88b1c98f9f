//! The rules that came nearest to permitting what was refused.

use serde_json::{Value, json};
use vantio_core::{Cause, Effect, Intent, Labels, Section};
use vantio_policy::{
    Bindings, PolicyProgram, State,
    explain::{Considered, Outcome, Subject, explain},
};

use super::places::Places;
use crate::{account::Refusal, present::shown};

/// The policy that a run had, and what its variables stood for.
pub struct Past {
    program: PolicyProgram,
    bindings: Bindings,
}

/// A rule that did not permit, and why.
pub struct Near {
    section: Section,
    rule: String,
    reason: String,
}

impl Past {
    /// The past of a run.
    pub const fn new(program: PolicyProgram, bindings: Bindings) -> Self {
        Self { program, bindings }
    }

    /// The rules that lost: those that a deny beat, else the nearest that did not match.
    pub fn near(&self, refusal: &Refusal) -> Vec<Near> {
        let (Some(effect), Some(subject)) = (Effect::from_name(&refusal.effect), &refusal.subject) else {
            return Vec::new();
        };
        let mut state = State::new(&self.program, self.bindings.clone());
        if let Subject::Endpoint { endpoint, .. } = subject {
            refusal.names.iter().for_each(|name| state.learn_name(name, endpoint.address.ip(), u64::MAX));
        }
        let mut intent = Intent::new(effect, subject.target());
        intent.context.labels = Labels::NONE;
        let explanation = explain(&self.program, &state, &intent);
        let is_unmatched = matches!(explanation.judged.cause, Cause::Unmatched(_));
        // A guard permits nothing, whatever is missing for it to act.
        let losers =
            explanation.considered.iter().filter(|it| !it.section.is_deny() && !it.section.is_guard());
        let nearest = losers.clone().map(nearness).max().unwrap_or(0);
        let losers = losers.filter(|it| match &it.outcome {
            Outcome::Missed(_) => is_unmatched && nearest > 0 && nearness(it) == nearest,
            Outcome::Outranked { section, .. } => section.is_deny(),
            _ => false,
        });
        let near = |it: &Considered<'_>| {
            let reason = match &it.outcome {
                // The deny itself is told above.
                Outcome::Outranked { .. } => "matches, but a deny beats it".to_owned(),
                _ => it.to_string(),
            };
            Near { section: it.section, rule: it.rule.to_owned(), reason }
        };
        losers.take(if is_unmatched { SHOWN } else { 1 }).map(near).collect()
    }
}

fn nearness(considered: &Considered<'_>) -> u32 {
    match &considered.outcome {
        Outcome::Missed(miss) => miss.nearness,
        _ => 0,
    }
}

impl Near {
    /// One line.
    pub fn line(&self, places: &Places) -> String {
        let place =
            places.of_rule(self.section, &self.rule).map_or_else(String::new, |place| format!("  ({place})"));
        format!("{} \"{}\": {}{place}", self.section, shown(&self.rule), shown(&self.reason))
    }

    /// For programs.
    pub fn to_json(&self, places: &Places) -> Value {
        json!({
            "section": self.section.name(),
            "rule": self.rule,
            "reason": self.reason,
            "place": places.of_rule(self.section, &self.rule),
        })
    }
}

/// Rules that are shown of one refusal.
const SHOWN: usize = 2;
