//! What waits for an answer: from a verdict to a question, and from an answer to a verdict.

use vantio_core::{Decision, Intent};
use vantio_phantom::Ruling;
use vantio_policy::{Held, State};

use super::{
    Refused, Template, Warden,
    answer::{Judged, names},
    describe,
};
use crate::approvals::{Answer, Asked, Asking, Place, intent_hash, with_answers};

/// A question that is asked when no lock is held, and the refusal where nobody can be asked.
pub struct Waiting {
    asked: Asked,
    refusal: Refused,
}

impl Warden {
    /// Decides, with what people have answered.
    pub(super) fn judge<'s>(&'s self, state: &'s State, intent: &Intent<'_>) -> Judged<'s> {
        let name = || {
            let names = names(state, intent);
            (intent_hash(intent.effect, &describe::request(intent), &names), names)
        };
        let denial = self.holds.denial_of(intent.pid, || name().0);
        let mut identity = None;
        Judged::new(&self.program, state, intent, denial, |held| {
            let (hash, names) = identity.get_or_insert_with(name);
            self.holds.answer_for(intent.pid, held, intent, *hash, names)
        })
    }

    /// The question about what is held, where there is one to ask.
    pub(super) fn waiting(&self, judged: &Judged<'_>, state: &State, intent: &Intent<'_>) -> Option<Waiting> {
        let Held { section, rule, approvers, timeout_ms } = judged.open(&self.program, state, intent)?;
        let (request, names) = (describe::request(intent), names(state, intent));
        let asked = Asked {
            effect: intent.effect,
            intent: intent_hash(intent.effect, &request, &names),
            request,
            names,
            section,
            rule: rule.to_owned(),
            approvers: approvers.to_vec(),
            timeout_ms,
            bytes: intent.context.bytes,
        };
        let held = Held { section, rule, approvers, timeout_ms };
        let nobody = Answer::too_many(&held, intent);
        let reason = format!("{}: {}", judged.reason(), nobody.in_words());
        let response = with_answers(self.response(judged, state, intent), &[nobody.into()]);
        let response = describe::because(response, &reason);
        let refusal = Refused { decision: Decision::Collapse, reason, response, waiting: None };
        Some(Waiting { asked, refusal })
    }

    /// Asks, while no lock is held. Called with what is written down of the intent that waits.
    pub(super) fn ask(&self, intent: &Intent<'_>, held: Refused) -> Result<Ruling, Refused> {
        let Refused { waiting: Some(waiting), response, .. } = held else { return Err(held) };
        let Waiting { asked, refusal } = *waiting;
        let asking = Asking { tid: intent.pid, has_call: intent.syscall.is_some() };
        let hash = asked.intent;
        let place = self.holds.ask(asking, asked, |id| {
            let response = describe::with_question(response, id, hash);
            self.draft(&Template::of(intent, Decision::Hold), response, None)
        });
        match place {
            Ok(Place::First(_) | Place::Alike) => Ok(Ruling::Wait),
            Ok(Place::None) => Err(refusal),
            Err(_) => Ok(Ruling::Kill),
        }
    }
}
