//! What was refused to a run.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::json;
use vantio_core::{Decision, Effect, RunId, json::Value};
use vantio_ledger::{Entry, Filter, LedgerError, Reader, to_serde};
use vantio_policy::{Advice, Bindings, explain::Subject};

use super::{fields::target, lesson::subject};
use crate::oracle::REFUSAL_REPEATED as REPEATED;

/// Of what, and why, is not in the ledger.
pub const NO_DETAILS: &str = "not kept: the policy says `ledger: {details: drop}`";

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
    #[serde(serialize_with = "as_json")]
    pub advice: Option<Advice>,
    /// The run within that was refused it by its own policy, where that was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested: Option<u64>,
    /// Whether the policy only observed, so that it happened all the same.
    pub observed: bool,
    /// How often.
    pub count: u64,
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
        if let Some(advice) = self.advice.take() {
            self.advice = advice.written(effect, subject, bindings, is_directory);
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
        reason: owned("reason").unwrap_or_else(|| reason_of_none(entry)),
        trail: owned("trail"),
        advice: response.member("advice").and_then(advice),
        nested: response.count("nested"),
        observed: observed.is_some(),
        count: 1,
    })
}

/// Why there is no reason.
fn reason_of_none(entry: &Entry) -> String {
    if entry.detail.is_none() { NO_DETAILS.into() } else { String::new() }
}

fn names(response: &Value) -> Vec<String> {
    let Some(Value::Array(names)) = response.member("names") else { return Vec::new() };
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        _ => None,
    };
    names.iter().filter_map(name).collect()
}

fn advice(of: &Value) -> Option<Advice> {
    Advice::from_parts(of.text("action")?, of.text("section")?, of.text("rule")?)
}

/// An advice as documents have it.
pub fn advice_json(advice: &Advice) -> serde_json::Value {
    let (action, section, rule) = advice.parts();
    json!({ "action": action, "section": section, "rule": rule })
}

#[expect(clippy::ref_option, reason = "serde calls it with this")]
fn as_json<S: Serializer>(advice: &Option<Advice>, serializer: S) -> Result<S::Ok, S::Error> {
    advice.as_ref().map(advice_json).serialize(serializer)
}
