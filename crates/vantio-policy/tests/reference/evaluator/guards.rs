//! What holds an intent back that the lists permit: labels, order, thresholds, budgets
//! and approvals, worked out from everything that happened.

use std::collections::BTreeSet;

use vantio_core::{Access, Decision, Effect, Endpoint, Intent, Section, Target, Transport};

use super::{
    Evaluator, Reason, Reply, World, named, network,
    paths::{self, Name, Part},
};
use crate::question::Question;

/// The guards of a policy as its document has them.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Labels that some source gives.
    pub sources: Vec<&'static str>,
    pub sinks: Vec<Sink>,
    pub order: Vec<Order>,
    pub thresholds: Vec<Threshold>,
    pub hold: Vec<Scope>,
    /// Names of limits, and what they are.
    pub budgets: Vec<(&'static str, u64)>,
    pub kill_switch: bool,
    /// Effects, and how far the policy says that they can be taken back.
    pub reversibility: Vec<(Effect, &'static str)>,
}

/// What a label must not reach; without one: what none may.
#[derive(Clone, Debug)]
pub struct Sink {
    pub label: Option<&'static str>,
    /// `fs`, `net`, `exec`, `tools`, `infer` or `heap`.
    pub key: &'static str,
    pub targets: Vec<String>,
}

/// Which intents a guard is about.
#[derive(Clone, Debug)]
pub struct Scope {
    pub effects: Vec<Effect>,
    pub access: Option<Access>,
    /// None of them stand for every target.
    pub targets: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub refuse: Scope,
    pub unless_after: Scope,
    /// How a program has to have ended.
    pub exit: Option<u8>,
    pub since: Scope,
}

#[derive(Clone, Debug)]
pub struct Threshold {
    pub scope: Scope,
    /// `count`, `bytes` or `distinct`.
    pub measure: &'static str,
    pub limit: u64,
    pub within_ms: u64,
    pub holds: bool,
}

/// An intent that was permitted and carried out.
#[derive(Clone, Debug)]
pub struct Event {
    pub question: Question,
    pub at_ms: u64,
}

impl Guards {
    /// The names of the labels, as the policy numbers them.
    fn labels(&self) -> BTreeSet<&'static str> {
        self.sources.iter().copied().chain(self.sinks.iter().filter_map(|sink| sink.label)).collect()
    }
}

impl Sink {
    /// What the key stands for.
    fn scope(&self) -> Scope {
        let changes = |effect: &&Effect| effect.name().starts_with("fs.") && effect.name() != "fs.stat";
        let effects = match self.key {
            "fs" => Effect::ALL.iter().filter(changes).copied().collect(),
            "net" => vec![Effect::NetConnect, Effect::NetDns],
            "exec" => vec![Effect::ProcExec],
            "tools" => vec![Effect::ToolCall],
            "infer" => vec![Effect::Infer],
            _ => vec![Effect::HeapWrite],
        };
        Scope { effects, access: Some(Access::Write), targets: self.targets.clone() }
    }
}

impl Evaluator<'_> {
    /// What the guards make of an intent that the lists permit.
    pub(super) fn held_back(&self, intent: &Intent<'_>) -> Option<Reply> {
        let guards = &self.policy.guards;
        if let Some(labels) = self.tainted(intent) {
            return Some(Reply::refused(Reason::Tainted(labels)));
        }
        if guards.order.iter().any(|rule| self.is_out_of_order(rule, intent)) {
            return Some(Reply::refused(Reason::Guard(Section::Order)));
        }
        let passes = |holds: bool| {
            guards.thresholds.iter().any(|rule| rule.holds == holds && self.is_too_much(rule, intent))
        };
        if passes(false) {
            return Some(Reply::refused(Reason::Guard(Section::Thresholds)));
        }
        if let Some(reply) = self.over_budget(intent) {
            return Some(reply);
        }
        let waits = |section| Reply { decision: Decision::Hold, reason: Reason::Guard(section) };
        if passes(true) {
            return Some(waits(Section::Thresholds));
        }
        guards.hold.iter().any(|scope| scope.covers(intent, self.world)).then(|| waits(Section::Hold))
    }

    /// The labels of the process that a sink keeps from the target.
    fn tainted(&self, intent: &Intent<'_>) -> Option<Vec<String>> {
        let labels: Vec<&str> = self.policy.guards.labels().into_iter().collect();
        let mut kept = Vec::new();
        for number in 0..64 {
            let is_carried = intent.context.labels.bits() >> number & 1 == 1;
            let name = labels.get(number).copied();
            let is_kept = self.policy.guards.sinks.iter().any(|sink| {
                (sink.label.is_none() || sink.label == name) && sink.scope().covers(intent, self.world)
            });
            if is_carried && is_kept {
                kept.push(name.unwrap_or("unknown").to_owned());
            }
        }
        (!kept.is_empty()).then_some(kept)
    }

    fn is_out_of_order(&self, rule: &Order, intent: &Intent<'_>) -> bool {
        if !rule.refuse.covers(intent, self.world) {
            return false;
        }
        let (mut is_satisfied, mut names) = (false, BTreeSet::new());
        for event in &self.history {
            let intent = event.question.intent();
            // That a program was started says nothing of how it ended.
            is_satisfied |= rule.exit.is_none() && rule.unless_after.covers(&intent, self.world);
            if rule.since.covers(&intent, self.world) || rule.is_by_another_name(&names, &intent) {
                is_satisfied = false;
            }
            names.extend(rule.new_names(&names, &intent, self.world));
        }
        !is_satisfied
    }

    fn is_too_much(&self, rule: &Threshold, intent: &Intent<'_>) -> bool {
        if !rule.scope.covers(intent, self.world) {
            return false;
        }
        let now = self.now(intent);
        let recent: Vec<&Event> = self
            .history
            .iter()
            .filter(|event| event.at_ms + rule.within_ms >= now)
            .filter(|event| rule.scope.covers(&event.question.intent(), self.world))
            .collect();
        let bytes = |question: &Question| question.context.bytes;
        let own = intent.context.bytes;
        let (before, with) = match rule.measure {
            "count" => (recent.len() as u64, recent.len() as u64 + 1),
            "bytes" => {
                let before: u64 = recent.iter().map(|event| bytes(&event.question)).sum();
                (before, before + own)
            }
            _ => {
                let mut targets: BTreeSet<String> =
                    recent.iter().map(|event| what(&event.question.intent())).collect();
                let before = targets.len() as u64;
                targets.insert(what(intent));
                (before, targets.len() as u64)
            }
        };
        with > before && with > rule.limit
    }

    pub(super) fn over_budget(&self, intent: &Intent<'_>) -> Option<Reply> {
        let budgets = &self.policy.guards.budgets;
        let over = BUDGETS.iter().find(|name| {
            let limit = budgets.iter().find(|(own, _)| own == *name);
            limit.is_some_and(|(_, limit)| self.used_with(name, intent) > *limit)
        })?;
        Some(Reply::refused(Reason::Budget(over)))
    }

    fn used_with(&self, budget: &str, intent: &Intent<'_>) -> u64 {
        let cost = |intent: &Intent<'_>| {
            let effect = intent.effect.name();
            match budget {
                "calls" => u64::from(["tool.call", "infer"].contains(&effect)),
                "file_bytes" if effect.starts_with("fs.") => intent.context.bytes,
                "network_bytes" if effect == "net.connect" => intent.context.bytes,
                _ => 0,
            }
        };
        if budget == "wall_ms" {
            return self.now(intent);
        }
        self.history.iter().map(|event| cost(&event.question.intent())).sum::<u64>() + cost(intent)
    }

    /// No clock goes back.
    pub fn now(&self, intent: &Intent<'_>) -> u64 {
        let before = self.history.iter().map(|event| event.at_ms).max().unwrap_or(0);
        before.max(intent.context.elapsed_ms)
    }
}

/// The limits that are looked at, the first that is passed being named.
const BUDGETS: [&str; 4] = ["calls", "file_bytes", "network_bytes", "wall_ms"];

/// What makes two targets the same: a host without its port, a path, a name.
fn what(intent: &Intent<'_>) -> String {
    match intent.target {
        Target::Path { path, .. } => format!("path {path:?}"),
        Target::Paths { from, to, .. } => format!("paths {from:?} {to:?}"),
        Target::Endpoint(endpoint) => format!("host {}", network::forms(endpoint.address.ip())[0]),
        other => format!("{other:?}"),
    }
}

impl Order {
    fn is_by_another_name(&self, names: &BTreeSet<Vec<u8>>, intent: &Intent<'_>) -> bool {
        let is_named =
            matches!(intent.target, Target::Path { path, access: Access::Write, .. } if names.contains(path));
        is_named && self.since.effects.contains(&intent.effect)
    }

    /// The names that a link gives to what `since` is about, and where a rename, which may be an
    /// exchange, takes such names.
    fn new_names(&self, names: &BTreeSet<Vec<u8>>, intent: &Intent<'_>, world: &World) -> Vec<Vec<u8>> {
        let Target::Paths { from, to, .. } = intent.target else { return Vec::new() };
        let is_meant = |path: &[u8]| {
            let target = Target::Path { path, access: Access::Write, subtree: false };
            names.contains(path) || self.since.covers(&Intent::new(Effect::FsOpen, target), world)
        };
        let mut new = Vec::new();
        for (one, other) in [(from, to), (to, from)] {
            if intent.effect.name() == "fs.link" && is_meant(one) && !is_meant(other) {
                new.push(other.to_vec());
            }
            if intent.effect.name() == "fs.rename" {
                let below = names.iter().filter_map(|name| name.strip_prefix(one));
                let below = below.filter(|rest| rest.is_empty() || rest[0] == b'/');
                new.extend(below.map(|rest| [other, rest].concat()));
            }
        }
        new
    }
}

impl Scope {
    pub fn covers(&self, intent: &Intent<'_>, world: &World) -> bool {
        if !self.effects.contains(&intent.effect) {
            return false;
        }
        if intent.effect.name() == "fs.open"
            && self.access == Some(Access::Write)
            && matches!(intent.target, Target::Path { access: Access::Read, .. })
        {
            return false;
        }
        self.targets.is_empty() || self.targets.iter().any(|text| covers_target(text, intent, world))
    }
}

fn covers_target(text: &str, intent: &Intent<'_>, world: &World) -> bool {
    let bindings = &world.bindings;
    let any = |text: &str, test: &dyn Fn(&[Part]) -> bool| {
        let is_bare = intent.effect == Effect::ProcExec && !text.contains('/') && !text.starts_with("${");
        let readings =
            if is_bare { paths::programs(text, bindings) } else { paths::readings(text, bindings) };
        readings.iter().any(|pattern| test(&pattern.parts))
    };
    let covers = |pattern: &[Part], path: &[Name<'_>]| paths::covers(pattern, path, true);
    match intent.target {
        Target::Path { path, subtree, .. } => paths::names(path).is_some_and(|path| {
            let is_tree = subtree || intent.effect.name() == "fs.rmdir";
            any(text, &|pattern| {
                covers(pattern, &path) || is_tree && paths::depends_on_last_name(pattern, &path)
            })
        }),
        Target::Paths { from, to, subtree } => {
            let (Some(from), Some(to)) = (paths::names(from), paths::names(to)) else { return false };
            any(text, &|pattern| {
                covers(pattern, &from)
                    || covers(pattern, &to)
                    || subtree && paths::remains(pattern, &from) != paths::remains(pattern, &to)
            })
        }
        Target::Endpoint(endpoint) => !text.starts_with("unix:") && covers_endpoint(text, &endpoint, world),
        Target::Name(_) if text.starts_with("unix:") => false,
        Target::Name(name) => {
            let rule = network::Rule::new(text, &[]);
            !rule.is_udp && rule.has_every_port(true) && rule.has_name(name, true)
        }
        Target::Unix(path) if text.starts_with("unix:") => paths::names(path)
            .is_some_and(|path| any(&text["unix:".len()..], &|pattern| covers(pattern, &path))),
        Target::Unix(_) => {
            let rule = network::Rule::new(text, &[]);
            rule.host == "*" && !rule.is_udp && rule.has_every_port(true)
        }
        Target::Named(name) => named::matches(text, name),
        Target::Process(_) | Target::Syscall(_) => false,
    }
}

fn covers_endpoint(text: &str, endpoint: &Endpoint, world: &World) -> bool {
    let rule = network::Rule::new(text, &[]);
    let forms = network::forms(endpoint.address.ip());
    let mut answers = world.answers.iter().filter(|(_, address)| network::forms(*address)[0] == forms[0]);
    !endpoint.in_run
        && (!rule.is_udp || endpoint.transport == Transport::Udp)
        && rule.has_port(endpoint.address.port(), true)
        && if rule.is_for_addresses() {
            forms.iter().any(|form| rule.has_address(*form))
        } else {
            rule.host == "*" || answers.any(|(name, _)| rule.has_name(name, true))
        }
}
