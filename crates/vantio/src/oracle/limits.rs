//! What a run may have at one time, and what it used up: on record as other verdicts are.
//!
//! The kernel holds a run to its limits, so nothing is decided here.

use std::sync::{Arc, atomic::Ordering};

use vantio_core::{Decision, Syscall, json::Value};
use vantio_ledger::Anomaly;
use vantio_phantom::{
    Ruling,
    resources::{Holder, Resource},
};
use vantio_policy::Limits;

use super::{Template, Warden};

/// The operation of an entry that says who holds a run to its limits.
pub const RUN_LIMITS: &str = "run.limits";

/// The effect of using something up.
pub const RESOURCE_EXHAUST: &str = "resource.exhaust";

impl Warden {
    /// Records who holds the run to its limits.
    pub(super) fn record_holders(&self, holders: &[(Resource, Holder)]) {
        let held = holders.iter().map(|(resource, holder)| (resource.name(), Value::from(holder.name())));
        let held = Value::object(held.collect::<Vec<_>>());
        // Where the ledger fails, the first decision ends the run.
        drop(self.ledger.record(self.event(RUN_LIMITS, held)));
    }

    /// Records that something is used up.
    pub(super) fn record_exhausted(&self, resource: Resource) -> Ruling {
        let name = resource.name();
        let template = Template {
            pid: 0,
            op: RESOURCE_EXHAUST,
            request: Value::object([("named", Value::from(name))]),
            decision: Decision::Collapse,
        };
        let advice = [("action", Value::from("raise")), ("rule", name.into()), ("section", "limits".into())];
        let response = Value::object([
            ("advice", Value::object(advice)),
            ("decision", Decision::Collapse.name().into()),
            ("reason", reason(resource, self.program.limits()).into()),
            ("rule", name.into()),
            ("section", "limits".into()),
        ]);
        let anomaly = Anomaly {
            agent_svid: self.svid.clone(),
            syscall: Syscall::default(),
            seal: Arc::clone(&self.seal),
            proof: Vec::new(),
        };
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        match self.ledger.append(self.draft(&template, response, Some(anomaly))) {
            Ok(_) => Ruling::Refuse,
            Err(_) => Ruling::Kill,
        }
    }
}

fn reason(resource: Resource, limits: &Limits) -> String {
    let limit = Limits::NAMES.into_iter().zip(limits.values()).find(|(name, _)| *name == resource.name());
    let limit = limit.and_then(|(_, limit)| limit).unwrap_or_default();
    match resource {
        Resource::Memory => {
            format!("the run had all of its {limit} bytes of memory, and the kernel ended a process")
        }
        Resource::Processes => format!("the run had all of its {limit} processes, and another was refused"),
        Resource::Cpu => format!("the run had all of its {limit} percent of a processor"),
        Resource::Disk => format!("the run's changes take more than {limit} bytes on disk"),
        Resource::OpenFiles => format!("a process had all of its {limit} descriptors open"),
    }
}
