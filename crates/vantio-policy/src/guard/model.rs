//! What guards are made of.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use vantio_core::{Access, Effect, Reversibility};

use crate::{net::NetPattern, path::PathPattern, rule::Pattern};

/// The guards of a policy, in canonical form: lists sorted, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// The names of the labels, ascending; a label's number is its index.
    pub(crate) labels: Vec<String>,
    /// What gives a label. Every entry has one.
    pub(crate) sources: Vec<Labelled>,
    /// What a label must not reach; without a label: what none may.
    pub(crate) sinks: Vec<Labelled>,
    /// What takes a label away. Every entry has one.
    pub(crate) sanitizers: Vec<Labelled>,
    pub(crate) order: Vec<OrderRule>,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) hold: Vec<HoldRule>,
    /// Overrides of [`Effect::reversibility`].
    pub(crate) reversibility: BTreeMap<Effect, Reversibility>,
    pub(crate) kill_switch: KillSwitch,
    /// The least backend that may run this policy.
    pub(crate) require: Option<Backend>,
}

impl Guards {
    /// Brings the lists into canonical order.
    pub(crate) fn sort(&mut self) {
        fn sort<T: Ord>(list: &mut Vec<T>) {
            list.sort();
            list.dedup();
        }
        for list in [&mut self.sources, &mut self.sinks, &mut self.sanitizers] {
            sort(list);
        }
        sort(&mut self.order);
        sort(&mut self.thresholds);
        sort(&mut self.hold);
    }

    /// The path patterns of every scope.
    pub(crate) fn path_patterns(&self) -> impl Iterator<Item = &PathPattern> {
        self.scopes().flat_map(|scope| &scope.targets).filter_map(|target| match target {
            Pattern::Path(pattern) | Pattern::Net(NetPattern::Unix(pattern)) => Some(pattern),
            _ => None,
        })
    }

    /// The bare programs of every scope.
    pub(crate) fn bare_programs(&self) -> impl Iterator<Item = &str> {
        self.scopes().flat_map(|scope| &scope.targets).filter_map(|target| match target {
            Pattern::Program(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let labelled = [&self.sources, &self.sinks, &self.sanitizers];
        let order = self.order.iter().flat_map(|rule| [&rule.refuse, &rule.unless_after.scope, &rule.since]);
        let thresholds = self.thresholds.iter().map(|rule| &rule.scope);
        let hold = self.hold.iter().map(|rule| &rule.scope);
        let labelled = labelled.into_iter().flatten().map(|entry| &entry.scope);
        labelled.chain(order).chain(thresholds).chain(hold)
    }
}

/// Which intents a guard is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    /// Ascending, at least one.
    pub(crate) effects: Vec<Effect>,
    /// For opens: only those for this access.
    pub(crate) access: Option<Access>,
    /// Ascending; empty for every target. Covered as in a deny.
    pub(crate) targets: Vec<Pattern>,
}

/// A scope with a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labelled {
    pub(crate) label: Option<u8>,
    pub(crate) scope: Scope,
}

/// An intent that happened, and for a program how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) scope: Scope,
    /// For `proc.exec`: the program must have ended with this status.
    pub(crate) exit: Option<u8>,
}

/// `refuse` is refused unless `unless_after` happened since `since` last did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderRule {
    pub(crate) refuse: Scope,
    pub(crate) unless_after: Event,
    pub(crate) since: Scope,
}

/// At most `limit` within `within_ms`; what passes it is held or refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold {
    pub(crate) scope: Scope,
    pub(crate) measure: Measure,
    pub(crate) limit: u64,
    pub(crate) within_ms: u64,
    pub(crate) then: Then,
}

/// What a threshold counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Intents.
    Count,
    /// Bytes that would be overwritten or sent ([`vantio_core::Context::bytes`]).
    Bytes,
    /// Different targets: hosts, paths, names.
    Distinct,
}

/// What happens beyond a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Then {
    /// It is refused.
    Collapse,
    /// It waits for an approver.
    Hold,
}

/// What waits for an approver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldRule {
    pub(crate) scope: Scope,
    /// Roles, ascending; empty for whoever started the run.
    pub(crate) approvers: Vec<String>,
    /// After this it is refused.
    pub(crate) timeout_ms: u64,
}

/// The kill switch of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KillSwitch {
    /// Whether it is set: every intent is answered with `KillSwitch`.
    pub(crate) is_active: bool,
    /// Roles that may set and clear it, ascending.
    pub(crate) approvers: Vec<String>,
    /// How many of them it takes; 0 for the default.
    pub(crate) quorum: u64,
    /// Within how long, in milliseconds; 0 for the default of five minutes.
    pub(crate) window_ms: u64,
}

/// An enforcement backend, from the least to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// Tracepoints only; never enforcement.
    Audit,
    /// Landlock and a static system call filter.
    Static,
    /// `static` and seccomp notification.
    Notify,
    /// `notify` and BPF LSM.
    Kernel,
}

impl Backend {
    /// Every backend, from the least to the strongest.
    pub const ALL: [Self; 4] = [Self::Audit, Self::Static, Self::Notify, Self::Kernel];

    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Static => "static",
            Self::Notify => "notify",
            Self::Kernel => "kernel",
        }
    }
}
