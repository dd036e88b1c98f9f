//! Deciding for the runs within a run: each of them has to permit it, and the run itself.

use vantio_core::{Decision, Intent, RunId, json::Value};
use vantio_ledger::Ledger;
use vantio_phantom::{Ruling, Ways};
use vantio_policy::{Details, PolicyProgram, State, decide_by_lists};

use super::{Refused, Warden, answer::Judged, describe, event};
use crate::nested::{Layer, Nests, Outer};

/// The operation of an entry about a run that begins within another.
const RUN_NEST: &str = "run.nest";

/// The runs within the run of `program`, of which there is none yet.
pub(super) fn nests(program: &PolicyProgram, ledger: &Ledger, run_id: RunId) -> Nests {
    let (ledger, policy_hash, details) = (ledger.clone(), program.hash(), program.details());
    let record = move |request| {
        let entry = event(run_id, policy_hash, RUN_NEST, request);
        ledger.append(vantio_ledger::Draft { keeps_detail: details == Details::Keep, ..entry }).map(drop)
    };
    let (export, commit) = (program.export(), program.commit_mode());
    Nests::new(Outer { details, commit, export, record: Box::new(record) })
}

impl Warden {
    /// Decides for whoever asks, wherever that is.
    pub(super) fn answer(&self, intent: &Intent<'_>, ways: Option<Ways>) -> Ruling {
        let Some(layers) = self.nests.of(intent.pid) else {
            return self.conclude(intent, Err(of_nobody()));
        };
        let mut states = Vec::with_capacity(layers.len());
        for layer in &layers {
            let Some(state) = layer.state() else { return Ruling::Kill };
            if let Some(refused) = refused_by(layer, &state, intent) {
                drop((state, states));
                return self.conclude(intent, Err(refused));
            }
            states.push(state);
        }
        let ruling = self.answer_alone(intent, ways);
        if ruling == Ruling::Permit {
            for (layer, mut state) in layers.iter().zip(states) {
                state.settle(&layer.program, intent);
            }
        }
        ruling
    }

    /// Whether the runs within that ask would permit what nobody does yet.
    pub(super) fn would_permit_within(&self, intent: &Intent<'_>) -> bool {
        self.nests.of(intent.pid).is_some_and(|layers| {
            layers.iter().all(|layer| {
                layer.state().is_some_and(|state| decide_by_lists(&layer.program, &state, intent).is_permit())
            })
        })
    }

    /// Has every run within remember something. No lock is held.
    pub(super) fn within(&self, remember: impl Fn(&mut State)) {
        for layer in self.nests.all() {
            if let Some(mut state) = layer.state() {
                remember(&mut state);
            }
        }
    }
}

/// The refusal of what whoever asks it cannot be known of: it is gone, or hidden.
fn of_nobody() -> Refused {
    let reason = "nobody knows in which nested run it would be".to_owned();
    let response = describe::nested(Value::object([("cause", Value::from("unknown"))]), 0, &reason);
    Refused { decision: Decision::Collapse, reason, response, waiting: None }
}

/// The refusal of a run within. Nobody is asked about what it holds, and its kill switch ends no other run.
fn refused_by(layer: &Layer, state: &State, intent: &Intent<'_>) -> Option<Refused> {
    let mut intent = *intent;
    intent.context.elapsed_ms = u64::try_from(layer.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let judged = Judged::new(&layer.program, state, &intent, None, |_| None);
    if judged.verdict().is_permit() {
        return None;
    }
    let reason = format!("nested run {} ({}): {}", layer.number, layer.name, judged.reason());
    let response = describe::nested(judged.response(&layer.program, state, &intent), layer.number, &reason);
    Some(Refused { decision: Decision::Collapse, reason, response, waiting: None })
}
