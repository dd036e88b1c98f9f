//! Guards with time and the kill switch: `order`, `thresholds`, `hold`, `kill_switch`,
//! and with them `require` and `reversibility`.

use vantio_core::{Effect, Reversibility, Section};

use super::{
    Compiler, Error, codes,
    keys::{self, MAX_GUARDS},
    read::find,
};
use crate::{
    Backend,
    document::{
        source::Span,
        tree::{Content, Node},
    },
    guard::model::{Event, HoldRule, KillSwitch, Measure, OrderRule, Then, Threshold},
};

/// Milliseconds that a hold waits, and that the approvals of a kill may take, unless the
/// policy says otherwise.
const FIVE_MINUTES: u64 = 5 * 60 * 1000;

impl Compiler<'_> {
    pub(super) fn order(&mut self, node: &Node) {
        let mut rules = Vec::new();
        for element in self.list(node, "order", MAX_GUARDS) {
            let Some(rule) = self.order_rule(element) else { continue };
            self.guard(Section::Order, &rule.text(), &element.span);
            rules.push(rule);
        }
        self.parts.guards.order = ascending(rules);
    }

    fn order_rule(&mut self, node: &Node) -> Option<OrderRule> {
        let entries = self.known_entries(node, &keys::ORDER)?;
        let refuse = find(&entries, "refuse").and_then(|node| self.whole_scope(node, &keys::SCOPE));
        let unless_after = find(&entries, "unless_after").and_then(|node| self.event(node));
        let since = find(&entries, "since").and_then(|node| self.whole_scope(node, &keys::SCOPE));
        Some(OrderRule { refuse: refuse?, unless_after: unless_after?, since: since? })
    }

    fn event(&mut self, node: &Node) -> Option<Event> {
        let entries = self.known_entries(node, &keys::EVENT)?;
        let scope = self.scope(&entries);
        let exit_node = find(&entries, "exit");
        let exit = exit_node.and_then(|node| {
            self.integer(node, "exit", 0..=255, (codes::NUMBER, "leave `exit` out for every status"))
        });
        if let (Some(scope), Some(node)) = (&scope, exit_node)
            && scope.effects != [Effect::ProcExec]
        {
            let error =
                Error::new(codes::CONFLICT, "`exit` is about `proc.exec`, and other effects are meant here");
            self.report(&node.span, error.help("remove it, or name `proc.exec` alone"));
        }
        Some(Event { scope: scope?, exit: exit.map(|exit| exit as u8) })
    }

    pub(super) fn thresholds(&mut self, node: &Node) {
        let mut rules = Vec::new();
        for element in self.list(node, "thresholds", MAX_GUARDS) {
            let Some(rule) = self.threshold(element) else { continue };
            self.guard(Section::Thresholds, &rule.text(), &element.span);
            rules.push(rule);
        }
        self.parts.guards.thresholds = ascending(rules);
    }

    fn threshold(&mut self, node: &Node) -> Option<Threshold> {
        let entries = self.known_entries(node, &keys::THRESHOLD)?;
        let scope = self.scope(&entries);
        let measures =
            [("count", Measure::Count), ("bytes", Measure::Bytes), ("distinct", Measure::Distinct)];
        let mut found = None;
        for (key, measure) in measures {
            let Some(node) = find(&entries, key) else { continue };
            let absent = "write how much is permitted; 0 permits none";
            let limit = self.integer(node, key, 0..=u64::MAX, (codes::NUMBER, absent));
            found = found.or(limit.map(|limit| (measure, limit)));
        }
        let within = find(&entries, "within").and_then(|node| self.duration(node, "within"));
        let thens = [("collapse", Then::Collapse), ("hold", Then::Hold)];
        let then = find(&entries, "then").and_then(|node| self.choice(node, "then", &thens));
        let (measure, limit) = found?;
        let then = then.unwrap_or(Then::Collapse);
        Some(Threshold { scope: scope?, measure, limit, within_ms: within?, then })
    }

    pub(super) fn hold(&mut self, node: &Node) {
        let mut rules = Vec::new();
        for element in self.list(node, "hold", MAX_GUARDS) {
            let Some(rule) = self.hold_rule(element) else { continue };
            self.guard(Section::Hold, &rule.text(), &element.span);
            rules.push(rule);
        }
        self.parts.guards.hold = ascending(rules);
    }

    fn hold_rule(&mut self, node: &Node) -> Option<HoldRule> {
        let entries = self.known_entries(node, &keys::HOLD)?;
        let scope = self.scope(&entries);
        let approvers = find(&entries, "approvers").map(|node| self.roles(node, "approvers"));
        let timeout_ms = match find(&entries, "timeout") {
            Some(node) => self.duration(node, "timeout"),
            None => Some(FIVE_MINUTES),
        };
        Some(HoldRule { scope: scope?, approvers: approvers.unwrap_or_default(), timeout_ms: timeout_ms? })
    }

    fn guard(&mut self, section: Section, text: &str, span: &Span) {
        let position = self.position(span);
        self.source_map.insert(section, text, position);
    }

    pub(super) fn kill_switch(&mut self, node: &Node) -> KillSwitch {
        let mut kill_switch = KillSwitch::default();
        if !matches!(&*node.content, Content::Map(_)) {
            kill_switch.is_active = self.boolean(node, "kill_switch").unwrap_or_default();
            return kill_switch;
        }
        for (key, _, node) in self.known_entries(node, &keys::KILL_SWITCH).unwrap_or_default() {
            match key {
                "active" => {
                    kill_switch.is_active = self.boolean(node, "kill_switch.active").unwrap_or_default();
                }
                "approvers" => kill_switch.approvers = self.roles(node, "kill_switch.approvers"),
                "quorum" => {
                    let absent = "leave `quorum` out for the default";
                    let quorum = self.integer(node, "quorum", 1..=64, (codes::NUMBER, absent));
                    kill_switch.quorum = quorum.unwrap_or_default();
                }
                _ => {
                    let window = self.duration(node, "window").unwrap_or_default();
                    kill_switch.window_ms = if window == FIVE_MINUTES { 0 } else { window };
                }
            }
        }
        kill_switch
    }

    pub(super) fn backend(&mut self, node: &Node) -> Option<Backend> {
        self.choice(node, "require", &Backend::ALL.map(|backend| (backend.name(), backend)))
    }

    pub(super) fn reversibility(&mut self, node: &Node) {
        const CHOICES: [Reversibility; 5] = [
            Reversibility::None,
            Reversibility::Reversible,
            Reversibility::Compensatable,
            Reversibility::Irreversible,
            Reversibility::Unknown,
        ];
        for (name, span, node) in self.entries(node, "`reversibility`").unwrap_or_default() {
            let choices = keys::REVERSIBILITY.iter().copied().zip(CHOICES).collect::<Vec<_>>();
            let chosen = self.choice(node, &format!("reversibility.{name}"), &choices);
            match (Effect::from_name(name), chosen) {
                (Some(effect), Some(chosen)) => {
                    self.parts.guards.reversibility.insert(effect, chosen);
                }
                (None, _) => self.report(span, super::scope::unknown_effect(name)),
                (Some(_), None) => {}
            }
        }
    }
}

fn ascending<T: Ord>(mut guards: Vec<T>) -> Vec<T> {
    guards.sort_unstable();
    guards.dedup();
    guards
}
