//! From a program back to a document that means the same.

use vantio_core::{Access, Reversibility, Section};

use super::{ApiModels, Compiled, Example, Llm, LocalModels, Value};
use crate::{
    Budgets, Checkpointing, Limits, PolicyProgram, Rule, Speculation, Viewing,
    guard::{
        Guards,
        model::{Event, HoldRule, KillSwitch, Labelled, Measure, OrderRule, Scope, Then, Threshold},
        text::{duration, target_texts},
    },
};

type Entries = Vec<(&'static str, Value)>;

/// The document of a compiled one: its program, and what stands beside that. Compiling it
/// gives the same.
pub fn render(compiled: &Compiled) -> Value {
    let mut entries = program_entries(&compiled.program);
    if !compiled.includes.is_empty() {
        let includes = compiled.includes.iter().map(|include| include.text.as_str());
        entries.push(("include", Value::texts(includes)));
    }
    if !compiled.tests.is_empty() {
        entries.push(("tests", compiled.tests.iter().map(example).collect()));
    }
    entries.extend(compiled.llm.as_ref().map(|models| ("llm", llm(models))));
    Value::map(entries)
}

/// The document of a program, with nothing left to a default, in the order of the
/// documentation. Compiling it gives the same program.
pub fn render_program(program: &PolicyProgram) -> Value {
    Value::map(program_entries(program))
}

fn program_entries(program: &PolicyProgram) -> Entries {
    let rules = |section| Value::texts(program.rules(section).iter().map(Rule::text));
    let env = program.env();
    let mut entries: Entries = vec![("version", Value::Integer(1))];
    entries.extend(program.name().map(|name| ("name", Value::text(name))));
    entries.push(("mode", Value::text(program.mode().name())));
    let lists: [(&str, &[(&str, Section)]); 4] = [
        ("fs", &[("read", Section::FsRead), ("write", Section::FsWrite), ("deny", Section::FsDeny)]),
        ("exec", &[("allow", Section::ExecAllow), ("deny", Section::ExecDeny)]),
        ("net", &[("allow", Section::NetAllow), ("deny", Section::NetDeny)]),
        ("tools", &[("allow", Section::ToolsAllow), ("deny", Section::ToolsDeny)]),
    ];
    for (key, lists) in lists {
        entries.push((key, Value::map(lists.iter().map(|(key, section)| (*key, rules(*section))))));
    }
    let mut infer = vec![("models", rules(Section::InferModels))];
    infer.extend(program.parts.max_tokens.map(|limit| ("max_tokens", Value::Integer(limit))));
    entries.push(("infer", Value::map(infer)));
    let set = env.set().map(|(name, value)| (name, Value::text(value)));
    let env =
        [("allow", Value::texts(env.allow())), ("deny", Value::texts(env.deny())), ("set", Value::map(set))];
    entries.push(("env", Value::map(env)));
    entries.push(("budgets", budgets(program.budgets())));
    if !program.limits().is_empty() {
        entries.push(("limits", limits(program.limits())));
    }
    entries.extend(guards(&program.parts.guards));
    let mut phantom = vec![("commit", Value::text(program.commit_mode().name()))];
    if program.viewing() != Viewing::default() {
        phantom.push(("view", Value::text(program.viewing().name())));
    }
    let checkpointing = program.checkpointing();
    if checkpointing != Checkpointing::default() {
        let mut checkpoint = vec![("exec", Value::Boolean(checkpointing.exec))];
        checkpoint.extend(checkpointing.writes.map(|writes| ("writes", Value::Integer(writes))));
        if checkpointing.approval {
            checkpoint.push(("approval", Value::Boolean(true)));
        }
        phantom.push(("checkpoint", Value::map(checkpoint)));
    }
    if program.speculation() != Speculation::default() {
        phantom.push(("speculate", Value::text(program.speculation().name())));
    }
    entries.push(("phantom", Value::map(phantom)));
    let (details, export) = (program.details(), program.export());
    if (details, export) != Default::default() {
        let ledger = [("details", Value::text(details.name())), ("export", Value::text(export.name()))];
        entries.push(("ledger", Value::map(ledger)));
    }
    entries
}

fn budgets(budgets: &Budgets) -> Value {
    let limits = Budgets::NAMES.into_iter().zip(budgets.values());
    Value::map(limits.filter_map(|(name, limit)| {
        let limit = limit?;
        if name == "cost_micro_usd" {
            let dollars = format!("{}.{:06}", limit / 1_000_000, limit % 1_000_000);
            return Some(("cost_usd", Value::Text(dollars)));
        }
        Some((name, Value::Integer(limit)))
    }))
}

fn limits(limits: &Limits) -> Value {
    let values = Limits::NAMES.into_iter().zip(limits.values());
    let value = |name, value: u64| match (name, value) {
        ("cpu", percent) => Value::Text(format!("{percent}%")),
        (_, other) => Value::Integer(other),
    };
    let mut entries: Entries =
        values.filter_map(|(name, limit)| limit.map(|limit| (name, value(name, limit)))).collect();
    if limits.best_effort {
        entries.push(("best_effort", Value::Boolean(true)));
    }
    Value::map(entries)
}

/// The guards that there are.
fn guards(guards: &Guards) -> Entries {
    let mut entries = Entries::new();
    let lists = [("sources", &guards.sources), ("sinks", &guards.sinks), ("sanitizers", &guards.sanitizers)];
    let labelled = |list: &Vec<Labelled>| list.iter().map(|entry| labelled(entry, &guards.labels)).collect();
    let lists: Entries = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(key, list)| (key, labelled(list)))
        .collect();
    if !lists.is_empty() {
        entries.push(("taint", Value::map(lists)));
    }
    if !guards.order.is_empty() {
        entries.push(("order", guards.order.iter().map(order_rule).collect()));
    }
    if !guards.thresholds.is_empty() {
        entries.push(("thresholds", guards.thresholds.iter().map(threshold).collect()));
    }
    if !guards.hold.is_empty() {
        entries.push(("hold", guards.hold.iter().map(hold_rule).collect()));
    }
    if guards.kill_switch != KillSwitch::default() {
        entries.push(("kill_switch", kill_switch(&guards.kill_switch)));
    }
    entries.extend(guards.require.map(|backend| ("require", Value::text(backend.name()))));
    if !guards.reversibility.is_empty() {
        let overrides = guards.reversibility.iter();
        let overrides = overrides.map(|(effect, value)| (effect.name(), Value::text(reversibility(*value))));
        entries.push(("reversibility", Value::map(overrides)));
    }
    entries
}

fn labelled(entry: &Labelled, labels: &[String]) -> Value {
    let label = entry.label.and_then(|number| labels.get(usize::from(number)));
    let mut entries: Entries = label.map(|label| ("label", Value::text(label))).into_iter().collect();
    entries.push((entry.scope.key(), Value::texts(target_texts(&entry.scope.targets))));
    Value::map(entries)
}

fn order_rule(rule: &OrderRule) -> Value {
    Value::map([
        ("refuse", Value::map(scope(&rule.refuse))),
        ("unless_after", event(&rule.unless_after)),
        ("since", Value::map(scope(&rule.since))),
    ])
}

fn event(event: &Event) -> Value {
    let mut entries = scope(&event.scope);
    entries.extend(event.exit.map(|status| ("exit", Value::Integer(status.into()))));
    Value::map(entries)
}

fn threshold(rule: &Threshold) -> Value {
    let mut entries = scope(&rule.scope);
    let measure = match rule.measure {
        Measure::Count => "count",
        Measure::Bytes => "bytes",
        Measure::Distinct => "distinct",
    };
    let then = match rule.then {
        Then::Collapse => "collapse",
        Then::Hold => "hold",
    };
    entries.push((measure, Value::Integer(rule.limit)));
    entries.push(("within", Value::Text(duration(rule.within_ms))));
    entries.push(("then", Value::text(then)));
    Value::map(entries)
}

fn hold_rule(rule: &HoldRule) -> Value {
    let mut entries = scope(&rule.scope);
    entries.push(("approvers", Value::texts(rule.approvers.as_slice())));
    entries.push(("timeout", Value::Text(duration(rule.timeout_ms))));
    Value::map(entries)
}

fn scope(scope: &Scope) -> Entries {
    let effects = scope.effects.iter().map(|effect| effect.name().to_owned()).collect();
    let mut entries = vec![("effect", Value::one_or_several(effects))];
    entries.extend(scope.access.map(|access| ("access", Value::text(access_name(access)))));
    if !scope.targets.is_empty() {
        entries.push(("target", Value::one_or_several(target_texts(&scope.targets))));
    }
    entries
}

fn kill_switch(kill_switch: &KillSwitch) -> Value {
    let mut entries = vec![
        ("active", Value::Boolean(kill_switch.is_active)),
        ("approvers", Value::texts(kill_switch.approvers.as_slice())),
    ];
    if kill_switch.quorum != 0 {
        entries.push(("quorum", Value::Integer(kill_switch.quorum)));
    }
    if kill_switch.window_ms != 0 {
        entries.push(("window", Value::Text(duration(kill_switch.window_ms))));
    }
    Value::map(entries)
}

fn example(example: &Example) -> Value {
    let mut entries = vec![("effect", Value::text(example.effect.name()))];
    entries.extend(example.access.map(|access| ("access", Value::text(access_name(access)))));
    entries.push(("target", Value::text(&example.target)));
    entries.push(("expect", Value::text(example.expect.name())));
    Value::map(entries)
}

fn llm(llm: &Llm) -> Value {
    let mut entries = vec![("mode", Value::text(llm.mode.name()))];
    if let Some(LocalModels { device, default_model, timeout_ms }) = &llm.local {
        let mut local = texts([("device_path", device), ("default_model", default_model)]);
        local.extend(timeout_ms.map(|limit| ("timeout_ms", Value::Integer(limit))));
        entries.push(("local", Value::map(local)));
    }
    if let Some(ApiModels { provider, endpoint, model, secret_name }) = &llm.api {
        let api =
            [("provider", provider), ("endpoint", endpoint), ("model", model), ("secret_name", secret_name)];
        entries.push(("api", Value::map(texts(api))));
    }
    Value::map(entries)
}

fn texts<const N: usize>(texts: [(&'static str, &Option<String>); N]) -> Entries {
    texts.into_iter().filter_map(|(key, text)| Some((key, Value::text(text.as_ref()?)))).collect()
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

/// The name of a class in a document.
pub(super) fn reversibility(value: Reversibility) -> &'static str {
    match value {
        Reversibility::None => "none",
        Reversibility::Reversible => "reversible",
        Reversibility::Compensatable => "compensatable",
        Reversibility::Irreversible => "irreversible",
        Reversibility::Unknown => "unknown",
    }
}
