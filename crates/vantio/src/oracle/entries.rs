//! What the run writes into its ledger: permits, refusals, how often they were repeated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use vantio_core::{Decision, Hash, Intent, RunId, json::Value};
use vantio_ledger::{Anomaly, Draft, LedgerError};
use vantio_phantom::Ruling;
use vantio_policy::Details;

use super::{Warden, describe, lock};

/// The operation of an entry that counts repetitions of a permit.
pub const PERMIT_REPEATED: &str = "permit.repeated";
/// The operation of an entry that counts repetitions of a refusal.
pub const REFUSAL_REPEATED: &str = "refusal.repeated";

/// How often what happened; repetitions count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    permitted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) observed: AtomicU64,
}

impl Counts {
    /// Whether nothing was refused, nor would have been.
    pub(super) fn are_quiet(&self) -> bool {
        [&self.refused, &self.observed].iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }
}

/// An entry that may have to be written again, as a count.
pub(super) struct Template {
    pub(super) pid: u32,
    pub(super) op: &'static str,
    pub(super) request: Value,
    pub(super) decision: Decision,
}

impl Template {
    pub(super) fn of(intent: &Intent<'_>, decision: Decision) -> Self {
        let request = describe::request(intent);
        Self { pid: intent.pid, op: intent.effect.name(), request, decision }
    }
}

impl Warden {
    /// Records a permit; what was already permitted within the second is only counted, unless it is
    /// `alone`.
    pub(super) fn permit(
        &self,
        intent: &Intent<'_>,
        alone: bool,
        response: impl FnOnce() -> Value,
    ) -> Ruling {
        self.counts.permitted.fetch_add(1, Ordering::Relaxed);
        if alone {
            return self.write_permit(&Template::of(intent, Decision::Permit), response());
        }
        let key = (intent.effect, describe::key(intent));
        let now = Instant::now();
        if lock(&self.permits).is_repeat(now, &key) {
            return Ruling::Permit;
        }
        let template = Template::of(intent, Decision::Permit);
        let ruling = self.write_permit(&template, response());
        let previous = lock(&self.permits).remember(now, &key, template);
        match previous.into_iter().try_for_each(|(template, more)| self.count(&template, more)) {
            Ok(()) => ruling,
            Err(_) => Ruling::Kill,
        }
    }

    fn write_permit(&self, template: &Template, response: Value) -> Ruling {
        match self.ledger.record(self.draft(template, response, None)) {
            // The ledger counts what it had no room for, in an entry of its own.
            Ok(_) => Ruling::Permit,
            Err(_) => Ruling::Kill,
        }
    }

    pub(super) fn refuse(
        &self,
        intent: &Intent<'_>,
        decision: Decision,
        reason: &str,
        response: Value,
    ) -> Ruling {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        let key = (intent.pid, intent.effect, describe::key(intent), reason);
        if lock(&self.refusals).is_repeat(Instant::now(), &key) {
            return Ruling::Refuse;
        }
        let template = Template::of(intent, decision);
        let anomaly = Anomaly {
            agent_svid: self.svid.clone(),
            syscall: intent.syscall.unwrap_or_default(),
            seal: Arc::clone(&self.seal),
            proof: Vec::new(),
        };
        // Durable before the agent hears of it.
        if self.ledger.append(self.draft(&template, response, Some(anomaly))).is_err() {
            return Ruling::Kill;
        }
        let previous = lock(&self.refusals).remember(Instant::now(), &key, template);
        match previous.into_iter().try_for_each(|(template, more)| self.count(&template, more)) {
            Ok(()) => Ruling::Refuse,
            Err(_) => Ruling::Kill,
        }
    }

    /// Writes how often an entry was repeated within its second.
    pub(super) fn count(&self, template: &Template, more: u32) -> Result<(), LedgerError> {
        let request = Value::object([("effect", template.op.into()), ("intent", template.request.clone())]);
        let response =
            Value::object([("decision", Value::from(template.decision.name())), ("repeated", more.into())]);
        let draft = Draft {
            run_id: self.run_id,
            pid: template.pid,
            op: if template.decision == Decision::Permit { PERMIT_REPEATED } else { REFUSAL_REPEATED }.into(),
            request,
            response: self.with_assumption(response),
            keeps_detail: self.keeps_details(),
            policy_hash: self.policy_hash(),
            decision: None,
            anomaly: None,
        };
        self.ledger.record(draft).map(drop)
    }

    pub(super) fn draft(&self, template: &Template, response: Value, anomaly: Option<Anomaly>) -> Draft {
        Draft {
            run_id: self.run_id,
            pid: template.pid,
            op: template.op.into(),
            request: template.request.clone(),
            response: self.with_assumption(response),
            keeps_detail: self.keeps_details(),
            policy_hash: self.policy_hash(),
            decision: Some(template.decision),
            anomaly,
        }
    }

    pub(super) fn event(&self, op: &str, request: Value) -> Draft {
        Draft { keeps_detail: self.keeps_details(), ..event(self.run_id, self.policy_hash(), op, request) }
    }

    fn keeps_details(&self) -> bool {
        self.program.details() == Details::Keep
    }

    fn policy_hash(&self) -> Hash {
        self.program.hash()
    }

    pub(super) fn totals(&self) -> Value {
        let count = |counter: &AtomicU64| {
            Value::Integer(i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
        };
        Value::object([
            ("observed", count(&self.counts.observed)),
            ("permitted", count(&self.counts.permitted)),
            ("refused", count(&self.counts.refused)),
        ])
    }
}

/// An entry about a run as a whole.
pub fn event(run_id: RunId, policy_hash: Hash, op: &str, request: Value) -> Draft {
    Draft {
        run_id,
        pid: 0,
        op: op.into(),
        request,
        response: Value::Null,
        keeps_detail: true,
        policy_hash,
        decision: None,
        anomaly: None,
    }
}
