//! What was refused to a run.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use vantio_core::{Decision, Effect, RunId, json::Value};
use vantio_ledger::{Entry, Filter, LedgerError, Reader, to_serde};
use vantio_policy::{Advice, Bindings, explain::Subject};

use super::{fields::target, lesson::subject};
use crate::oracle::REFUSAL_REPEATED as REPEATED;

/// One refusal, with how often it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The first of its entries.
    pub seq: u64,
    /// When that was, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The process that asked first, as numbered inside the run.
    pub pid: u32,
    /// The effect that was refused.
    pub effect: String,
    /// What for: `read` or `write`, where that matters.
    pub access: Option<String>,
    /// What it would have acted on, as a terminal may show it.
    pub target: String,
    /// The target as the ledger has it.
    pub intent: serde_json::Value,
    /// The same, to be judged again.
    #[serde(skip)]
    pub subject: Option<Subject>,
    /// Names that had led to an address.
    pub names: Vec<String>,
    /// The list of the policy that decided.
    pub section: Option<String>,
    /// The rule of that list; `None` when nothing in it matched.
    pub rule: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// How the label that is why came to the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trail: Option<String>,
    /// What would permit it.
    pub advice: Option<Suggestion>,
    /// The run within that was refused it by its own policy, where that was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested: Option<u64>,
    /// Whether the policy only observed, so that it happened all the same.
    pub observed: bool,
    /// How often.
    pub count: u64,
}

/// A change of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// What to do with the rule.
    pub action: Action,
    /// The list.
    pub section: String,
    /// The rule.
    pub rule: String,
}

/// What to do with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Write it in the list.
    Add,
    /// Take it out of the list.
    Remove,
    /// Raise its limit.
    Raise,
}

/// Everything that was refused to a run, or observed, by its first time.
///
/// What only observes permits, so its entries stand among the permitted ones: they are
/// read only where `observes`.
pub fn of_run(reader: &Reader, run_id: RunId, observes: bool) -> Result<Vec<Refusal>, LedgerError> {
    let mut found: BTreeMap<Key, Refusal> = BTreeMap::new();
    let decisions =
        [Some(Decision::Collapse), Some(Decision::KillSwitch), observes.then_some(Decision::Permit)];
    for decision in decisions.into_iter().flatten() {
        let filter = Filter { run_id: Some(run_id), decision: Some(decision), ..Filter::default() };
        for entry in reader.entries(&filter) {
            if let Some(refusal) = refusal(&entry?) {
                found.entry(key(&refusal)).and_modify(|known| known.count += 1).or_insert(refusal);
            }
        }
    }
    let filter = Filter { run_id: Some(run_id), op: Some(REPEATED.into()), ..Filter::default() };
    for entry in reader.entries(&filter) {
        count(&mut found, &entry?);
    }
    let mut refusals: Vec<Refusal> = found.into_values().collect();
    refusals.sort_by_key(|refusal| refusal.seq);
    Ok(refusals)
}

impl Refusal {
    /// Says what would permit it as a policy would, with what its variables stood for.
    pub fn write_advice(&mut self, bindings: &Bindings, is_directory: impl Fn(&[u8]) -> bool) {
        let (Some(effect), Some(subject)) = (Effect::from_name(&self.effect), &self.subject) else { return };
        if let Some(advice) = self.advice.as_ref().and_then(Suggestion::advice) {
            let written = advice.written(effect, subject, bindings, is_directory);
            self.advice = written.as_ref().map(Suggestion::of);
        }
    }
}

/// What makes two refusals the same to a reader.
type Key = (String, Option<String>, String, String);

fn key(refusal: &Refusal) -> Key {
    (refusal.effect.clone(), refusal.access.clone(), refusal.target.clone(), refusal.reason.clone())
}

/// Adds the repetitions that an entry tells of.
fn count(found: &mut BTreeMap<Key, Refusal>, entry: &Entry) {
    let (Some(intent), Some(effect)) = (entry.request().member("intent"), entry.request().text("effect"))
    else {
        return;
    };
    let target = target(intent);
    let more = entry.response().count("repeated").unwrap_or(0);
    let same = found.values_mut().find(|refusal| refusal.effect == effect && refusal.target == target);
    if let Some(refusal) = same {
        refusal.count += more;
    }
}

fn refusal(entry: &Entry) -> Option<Refusal> {
    let observed = match entry.decision? {
        Decision::Collapse | Decision::KillSwitch => None,
        Decision::Permit | Decision::Hold => Some(entry.response().member("would_refuse")?),
    };
    let response = observed.unwrap_or(entry.response());
    let owned = |key| response.text(key).map(str::to_owned);
    Some(Refusal {
        seq: entry.index,
        time_ms: u64::try_from(entry.time.as_millisecond()).unwrap_or(0),
        pid: entry.pid,
        effect: entry.op.clone(),
        access: entry.request().text("access").map(str::to_owned),
        target: target(entry.request()),
        intent: to_serde(entry.request()),
        subject: subject(entry.request()),
        names: names(response),
        section: owned("section"),
        rule: owned("rule"),
        reason: owned("reason").unwrap_or_default(),
        trail: owned("trail"),
        advice: response.member("advice").and_then(suggestion),
        nested: response.count("nested"),
        observed: observed.is_some(),
        count: 1,
    })
}

fn names(response: &Value) -> Vec<String> {
    let Some(Value::Array(names)) = response.member("names") else { return Vec::new() };
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        _ => None,
    };
    names.iter().filter_map(name).collect()
}

fn suggestion(advice: &Value) -> Option<Suggestion> {
    let action = match advice.text("action")? {
        "add" => Action::Add,
        "remove" => Action::Remove,
        "raise" => Action::Raise,
        _ => return None,
    };
    Some(Suggestion {
        action,
        section: advice.text("section")?.to_owned(),
        rule: advice.text("rule")?.to_owned(),
    })
}

impl Suggestion {
    fn of(advice: &Advice) -> Self {
        let (_, section, rule) = advice.parts();
        let action = match advice {
            Advice::Add { .. } => Action::Add,
            Advice::Remove { .. } => Action::Remove,
            Advice::Raise { .. } => Action::Raise,
        };
        Self { action, section: section.to_owned(), rule: rule.to_owned() }
    }

    fn advice(&self) -> Option<Advice> {
        Advice::from_parts(self.action.name(), &self.section, &self.rule)
    }
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Raise => "raise",
        }
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.advice() {
            Some(advice) => advice.fmt(formatter),
            None => write!(formatter, "{} in {}: {}", self.action.name(), self.section, self.rule),
        }
    }
}
