//! Guards on one host, for one run.

use alloc::{string::String, vec::Vec};

use vantio_core::Labels;

use crate::{
    Bindings, PolicyProgram, State,
    guard::{
        history::History,
        model::{Guards, Labelled},
        scope::BoundScope,
    },
    path::Kind,
};

/// The guards of a program with its variables' values, their texts, and what the run has done.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Whether nothing is ever held back: there is no sink, rule or budget.
    pub(crate) is_idle: bool,
    pub(crate) sources: Vec<BoundEntry>,
    pub(crate) sinks: Vec<BoundEntry>,
    pub(crate) sanitizers: Vec<BoundEntry>,
    pub(crate) order: Vec<BoundOrder>,
    pub(crate) thresholds: Vec<BoundText>,
    pub(crate) hold: Vec<BoundText>,
    pub(crate) history: History,
}

/// An entry of `taint`.
#[derive(Clone, Debug)]
pub(crate) struct BoundEntry {
    /// Its label, or for a sink without one: all.
    pub(crate) labels: Labels,
    pub(crate) scope: BoundScope,
    pub(crate) text: String,
}

/// An order rule.
#[derive(Clone, Debug)]
pub(crate) struct BoundOrder {
    pub(crate) refuse: BoundScope,
    pub(crate) unless_after: BoundScope,
    pub(crate) since: BoundScope,
    pub(crate) text: String,
}

/// A threshold or a hold.
#[derive(Clone, Debug)]
pub(crate) struct BoundText {
    pub(crate) scope: BoundScope,
    pub(crate) text: String,
}

impl Bound {
    pub(crate) fn new(program: &PolicyProgram, bindings: &Bindings) -> Self {
        let guards = &program.parts.guards;
        let scope = |scope| BoundScope::new(scope, bindings, Kind::Deny);
        let has_rules = !guards.order.is_empty() || !guards.thresholds.is_empty() || !guards.hold.is_empty();
        let has_budgets = program.budgets().values().iter().any(Option::is_some);
        Self {
            is_idle: guards.sinks.is_empty() && !has_rules && !has_budgets,
            sources: entries(guards, &guards.sources, bindings, Kind::Deny),
            sinks: entries(guards, &guards.sinks, bindings, Kind::Deny),
            // What takes a label away reaches no further than an allow.
            sanitizers: entries(guards, &guards.sanitizers, bindings, Kind::Allow),
            order: guards
                .order
                .iter()
                .map(|rule| BoundOrder {
                    refuse: scope(&rule.refuse),
                    unless_after: scope(&rule.unless_after.scope),
                    since: scope(&rule.since),
                    text: rule.text(),
                })
                .collect(),
            thresholds: guards
                .thresholds
                .iter()
                .map(|rule| BoundText { scope: scope(&rule.scope), text: rule.text() })
                .collect(),
            hold: guards
                .hold
                .iter()
                .map(|rule| BoundText { scope: scope(&rule.scope), text: rule.text() })
                .collect(),
            history: History::new(guards),
        }
    }
}

fn entries(guards: &Guards, list: &[Labelled], bindings: &Bindings, kind: Kind) -> Vec<BoundEntry> {
    list.iter()
        .map(|entry| BoundEntry {
            labels: entry.label.map_or(Labels::from_bits(u64::MAX), Labels::single),
            scope: BoundScope::new(&entry.scope, bindings, kind).remembering(),
            text: entry.text(&guards.labels),
        })
        .collect()
}

impl State {
    /// The guards of the program that the state belongs to.
    pub(crate) const fn guards(&self) -> &Bound {
        &self.guards
    }

    pub(crate) const fn guards_mut(&mut self) -> &mut Bound {
        &mut self.guards
    }
}
