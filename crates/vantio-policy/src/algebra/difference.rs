//! What one policy allows that another does not.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::{Effect, Section};

use super::{Cover, Element, Sense, covers, variable_covers};
use crate::{
    Bindings, Budgets, CommitMode, Details, Export, Limits, Mode, PolicyProgram, Rule, Speculation, Viewing,
    env::NamePattern,
    guard::{
        Guards, Labelled,
        model::{HoldRule, Scope, Then, Threshold},
    },
    path::Kind,
    rule::{self, SECTIONS},
};

/// What a difference does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The second policy allows what the first does not.
    Widens,
    /// The second policy refuses what the first allows.
    Narrows,
}

/// One thing that one policy says and the other does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it does.
    pub change: Change,
    /// The list, where it is an element of one.
    pub section: Option<Section>,
    /// The dotted key in a document.
    pub key: String,
    /// The rule; for a value, both: `5 → no limit`.
    pub text: String,
    /// Whether the rule stands in the second policy, not in the first.
    pub is_in_second: bool,
}

/// What `second` allows that `first` does not, then what it refuses.
///
/// It is told by rules, for every host: a rule of the one that no rule of the other covers as
/// a whole, a limit raised, a guard that is gone. A part of what is told may be allowed by
/// both. Nothing that only the second allows is left out, but for what symbolic links of a host
/// bring, and for moves of a directory out of a folder whose deny the second has everywhere.
pub fn differences(first: &PolicyProgram, second: &PolicyProgram) -> Vec<Difference> {
    let mut found = Vec::new();
    for (change, less, more) in [(Change::Widens, first, second), (Change::Narrows, second, first)] {
        let mut comparison = Comparison { change, less, more, found: &mut found };
        comparison.lists();
        comparison.env();
        comparison.limits();
        comparison.modes();
        comparison.guards();
    }
    found
}

/// What `more` allows beyond `less`.
struct Comparison<'a> {
    change: Change,
    less: &'a PolicyProgram,
    more: &'a PolicyProgram,
    found: &'a mut Vec<Difference>,
}

impl Comparison<'_> {
    fn lists(&mut self) {
        let nowhere = Bindings::default();
        for section in SECTIONS {
            let kind = rule::kind(section);
            // A deny of the one that the other lacks lets through what it would have refused.
            let (speaking, silent, sense) = match kind {
                Kind::Allow => (self.more, self.less, Sense::Allow),
                Kind::Deny => (self.less, self.more, Sense::Deny),
            };
            let sense = if section == Section::FsRead { Sense::Listing } else { sense };
            let lists: &[Section] = match section {
                Section::FsRead => &[Section::FsRead, Section::FsWrite, Section::ExecAllow],
                _ => &[section],
            };
            let elements = lists.iter().flat_map(|list| {
                let sense = if *list == Section::ExecAllow { Sense::Allow } else { sense };
                silent.rules(*list).iter().map(move |rule| (&rule.pattern, sense))
            });
            let cover = Cover::new(elements, &nowhere);
            let uncovered = |rule: &&Rule| {
                let element: Element = (&rule.pattern, sense);
                !cover.covers(element)
            };
            let texts = speaking.rules(section).iter().filter(uncovered).map(|rule| rule.text().to_owned());
            self.report(Some(section), section.name(), texts.collect(), kind == Kind::Allow);
        }
    }

    fn env(&mut self) {
        let (less, more) = (self.less.env(), self.more.env());
        let uncovered = |patterns: &[NamePattern], by: &[NamePattern]| -> Vec<String> {
            let is_covered = |pattern: &&NamePattern| by.iter().any(|outer| variable_covers(outer, pattern));
            patterns
                .iter()
                .filter(|pattern| !is_covered(pattern))
                .map(|pattern| pattern.text.clone())
                .collect()
        };
        let allowed = uncovered(&more.allow, &less.allow);
        let denied = uncovered(&less.deny, &more.deny);
        let set = more.set.iter().filter(|(name, value)| less.set.get(*name) != Some(value));
        let set = set.map(|(name, value)| format!("{name}={value}")).collect();
        self.report(None, "env.allow", allowed, true);
        self.report(None, "env.deny", denied, false);
        self.report(None, "env.set", set, true);
    }

    fn limits(&mut self) {
        let limits = Budgets::NAMES.into_iter().zip(self.less.budgets().values());
        let limits = limits.zip(self.more.budgets().values()).map(|((name, less), more)| {
            let name = if name == "cost_micro_usd" { "cost_usd" } else { name };
            (format!("budgets.{name}"), less, more)
        });
        let tokens = (self.less.parts.max_tokens, self.more.parts.max_tokens);
        let tokens = core::iter::once(("infer.max_tokens".to_owned(), tokens.0, tokens.1));
        let resources = Limits::NAMES.into_iter().zip(self.less.limits().values());
        let resources = resources.zip(self.more.limits().values());
        let resources = resources.map(|((name, less), more)| (format!("limits.{name}"), less, more));
        for (key, less, more) in limits.chain(resources).chain(tokens).collect::<Vec<_>>() {
            let is_raised = less.is_some_and(|less| more.is_none_or(|more| more > less));
            if is_raised {
                let shown = |limit: Option<u64>| {
                    let shown =
                        |limit| if key.ends_with("cost_usd") { dollars(limit) } else { limit.to_string() };
                    limit.map_or_else(|| "no limit".to_owned(), shown)
                };
                self.changed(&key, &shown(less), &shown(more));
            }
        }
        if self.more.limits().best_effort && !self.less.limits().best_effort {
            self.changed("limits.best_effort", "false", "true");
        }
    }

    fn modes(&mut self) {
        let (less, more) = (self.less, self.more);
        if strictness(more.mode()) < strictness(less.mode()) {
            self.changed("mode", less.mode().name(), more.mode().name());
        }
        if caution(more.commit_mode()) < caution(less.commit_mode()) {
            self.changed("phantom.commit", less.commit_mode().name(), more.commit_mode().name());
        }
        if less.viewing() == Viewing::Snapshot && more.viewing() == Viewing::Live {
            self.changed("phantom.view", less.viewing().name(), more.viewing().name());
        }
        let (fewer, taken) = (more.checkpointing(), less.checkpointing());
        if taken.exec && !fewer.exec {
            self.changed("phantom.checkpoint.exec", "true", "false");
        }
        if taken.approval && !fewer.approval {
            self.changed("phantom.checkpoint.approval", "true", "false");
        }
        if let Some(writes) = taken.writes.filter(|writes| fewer.writes.is_none_or(|fewer| fewer > *writes)) {
            let fewer = fewer.writes.map_or_else(|| "never".to_owned(), |fewer| fewer.to_string());
            self.changed("phantom.checkpoint.writes", &writes.to_string(), &fewer);
        }
        if less.speculation() == Speculation::Off && more.speculation() == Speculation::Auto {
            self.changed("phantom.speculate", "off", "auto");
        }
        if less.details() == Details::Drop && more.details() == Details::Keep {
            self.changed("ledger.details", less.details().name(), more.details().name());
        }
        if less.export() == Export::Shape && more.export() == Export::Full {
            self.changed("ledger.export", less.export().name(), more.export().name());
        }
    }

    fn guards(&mut self) {
        let (less, more) = (&self.less.parts.guards, &self.more.parts.guards);
        let labelled =
            |own: &Guards, list: &[Labelled], other: &Guards, others: &[Labelled]| -> Vec<String> {
                let gone = list
                    .iter()
                    .filter(|entry| !others.iter().any(|outer| labelled_covers(other, outer, own, entry)));
                gone.map(|entry| entry.text(&own.labels)).collect()
            };
        let sources = labelled(less, &less.sources, more, &more.sources);
        let sinks = labelled(less, &less.sinks, more, &more.sinks);
        let sanitizers = labelled(more, &more.sanitizers, less, &less.sanitizers);
        self.report(Some(Section::TaintSources), "taint.sources", sources, false);
        self.report(Some(Section::TaintSinks), "taint.sinks", sinks, false);
        self.report(Some(Section::TaintSanitizers), "taint.sanitizers", sanitizers, true);
        let gone = less.order.iter().filter(|rule| !more.order.contains(rule));
        self.report(
            Some(Section::Order),
            "order",
            gone.map(crate::guard::model::OrderRule::text).collect(),
            false,
        );
        self.thresholds(&less.thresholds, &more.thresholds);
        let gone = less.hold.iter().filter(|rule| !more.hold.iter().any(|outer| hold_covers(outer, rule)));
        self.report(Some(Section::Hold), "hold", gone.map(HoldRule::text).collect(), false);
        self.switches(less, more);
    }

    fn thresholds(&mut self, less: &[Threshold], more: &[Threshold]) {
        let mut gone = Vec::new();
        for rule in less.iter().filter(|rule| !more.iter().any(|outer| threshold_covers(outer, rule))) {
            let Some(other) = only_alike(more, rule).filter(|_| only_alike(less, rule).is_some()) else {
                gone.push(rule.text());
                continue;
            };
            let (from, to) = if self.change == Change::Widens { (rule, other) } else { (other, rule) };
            self.found.push(Difference {
                change: self.change,
                section: None,
                key: "thresholds".to_owned(),
                text: from.change_text(to),
                is_in_second: true,
            });
        }
        self.report(Some(Section::Thresholds), "thresholds", gone, false);
    }

    fn switches(&mut self, less: &Guards, more: &Guards) {
        let (was, is) = (&less.kill_switch, &more.kill_switch);
        if was.is_active && !is.is_active {
            self.changed("kill_switch", "set", "not set");
        }
        if is.quorum < was.quorum {
            self.changed("kill_switch.quorum", &was.quorum.to_string(), &is.quorum.to_string());
        }
        let strangers = is.approvers.iter().filter(|role| !was.approvers.contains(role));
        let strangers = if was.approvers.is_empty() { Vec::new() } else { strangers.cloned().collect() };
        self.report(None, "kill_switch.approvers", strangers, true);
        if more.require < less.require {
            let name = |backend: Option<crate::Backend>| backend.map_or("nothing", crate::Backend::name);
            self.changed("require", name(less.require), name(more.require));
        }
        let effective = |guards: &Guards, effect: Effect| {
            guards.reversibility.get(&effect).copied().unwrap_or(effect.reversibility())
        };
        let loosened =
            Effect::ALL.iter().filter(|effect| effective(more, **effect) < effective(less, **effect));
        let loosened = loosened.map(|effect| effect.name().to_owned()).collect();
        self.report(None, "reversibility", loosened, true);
    }

    /// Tells of rules; `allow` that they are of the one that allows more.
    fn report(&mut self, section: Option<Section>, key: &str, texts: Vec<String>, allow: bool) {
        let is_in_second = allow == (self.change == Change::Widens);
        let difference =
            |text| Difference { change: self.change, section, key: key.to_owned(), text, is_in_second };
        self.found.extend(texts.into_iter().map(difference));
    }

    /// Tells of a value, in the order of the policies.
    fn changed(&mut self, key: &str, less: &str, more: &str) {
        let (from, to) = if self.change == Change::Widens { (less, more) } else { (more, less) };
        self.found.push(Difference {
            change: self.change,
            section: None,
            key: key.to_owned(),
            text: format!("{from} → {to}"),
            is_in_second: true,
        });
    }
}

/// Whether a guard is about every intent that another is about.
fn scope_covers(outer: &Scope, inner: &Scope) -> bool {
    let covers_target =
        |inner| outer.targets.iter().any(|outer| covers(outer, Sense::Deny, inner, Sense::Deny));
    inner.effects.iter().all(|effect| outer.effects.contains(effect))
        && (outer.access.is_none() || outer.access == inner.access)
        && (outer.targets.is_empty() || !inner.targets.is_empty() && inner.targets.iter().all(covers_target))
}

fn labelled_covers(outer_guards: &Guards, outer: &Labelled, guards: &Guards, inner: &Labelled) -> bool {
    let name = |guards: &Guards, entry: &Labelled| {
        entry.label.and_then(|number| guards.labels.get(usize::from(number)).cloned())
    };
    let label = name(outer_guards, outer);
    (label.is_none() || label == name(guards, inner)) && scope_covers(&outer.scope, &inner.scope)
}

fn threshold_covers(outer: &Threshold, inner: &Threshold) -> bool {
    scope_covers(&outer.scope, &inner.scope)
        && outer.measure == inner.measure
        && outer.limit <= inner.limit
        && outer.within_ms >= inner.within_ms
        && (outer.then == inner.then || outer.then == Then::Collapse)
}

/// The one threshold that counts what another counts; `None` where there are several.
fn only_alike<'a>(thresholds: &'a [Threshold], rule: &Threshold) -> Option<&'a Threshold> {
    let mut alike =
        thresholds.iter().filter(|other| other.scope == rule.scope && other.measure == rule.measure);
    alike.next().filter(|_| alike.next().is_none())
}

fn hold_covers(outer: &HoldRule, inner: &HoldRule) -> bool {
    scope_covers(&outer.scope, &inner.scope) && outer.approvers == inner.approvers
}

/// How much of what a policy refuses is refused.
pub(crate) const fn strictness(mode: Mode) -> u8 {
    match mode {
        Mode::Monitor => 0,
        Mode::Learn => 1,
        Mode::Enforce => 2,
    }
}

/// How much stands between a run's changes and the host.
pub(crate) const fn caution(mode: CommitMode) -> u8 {
    match mode {
        CommitMode::Auto => 0,
        CommitMode::Review => 1,
        CommitMode::Never => 2,
    }
}

/// How little of what was asked and answered a policy lets be kept, or leave, by the key that says so.
pub(crate) fn reticence(program: &PolicyProgram, key: &str) -> u8 {
    match key {
        "ledger.details" => u8::from(program.details() == Details::Drop),
        _ => u8::from(program.export() == Export::Shape),
    }
}

fn dollars(millionths: u64) -> String {
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}
