//! What a replay came to.

use std::{collections::BTreeMap, fmt::Write as _};

use vantio_core::{Decision, Hash, RunId, json::Value};
use vantio_ledger::to_serde;

use crate::present::{Paint, entries, plural, shown};

/// What a replay came to.
pub struct Report {
    pub run_id: RunId,
    pub policy: Hash,
    /// Verdicts that were decided again.
    pub decided: u64,
    /// Those that came out otherwise.
    pub differences: Vec<Difference>,
    /// Those that could not be decided again: how many, and the first.
    undecided: BTreeMap<Undecided, (u64, u64)>,
    /// Repetitions that were only counted.
    pub repeated: u64,
    /// Entries that the ledger had no room for.
    pub dropped: u64,
    /// Entries between the run's that are not here: of other runs, or taken out.
    pub between: u64,
    /// Whether the last entry of the run is there.
    pub has_ended: bool,
}

/// A verdict that came out otherwise.
pub struct Difference {
    pub seq: u64,
    pub op: String,
    pub target: String,
    pub recorded: Value,
    pub decided: Value,
}

/// Why a verdict cannot be decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undecided {
    NoDetail,
    Unreadable,
    Gap,
    NoAnswer,
    Flow,
    Nested,
}

impl Undecided {
    const fn reason(self) -> &'static str {
        match self {
            Self::NoDetail => "the ledger does not have what was asked",
            Self::Unreadable => "what was asked is not written as this version writes it",
            Self::Gap => "something that happened before, and counts, is not in the ledger",
            Self::NoAnswer => "the answer that it rests on is not in the ledger",
            Self::Nested => "a run within the run refused it",
            Self::Flow => "it rests on what other processes had open at that moment",
        }
    }
}

/// What of a verdict must come out the same: the decision and its cause.
pub fn essence(decision: Decision, response: &Value) -> Value {
    let cause = |response: &Value| {
        let kept = ["cause", "reason", "rule", "section"];
        kept.into_iter().filter_map(|key| Some((key, response.member(key)?.clone()))).collect::<Vec<_>>()
    };
    let mut members = cause(response);
    members.push(("decision", decision.name().into()));
    let would = response.member("would_refuse").map(|refusal| Value::object(cause(refusal)));
    members.extend(would.map(|would| ("would_refuse", would)));
    Value::object(members)
}

impl Report {
    pub fn new(run_id: RunId, policy: Hash) -> Self {
        Self {
            run_id,
            policy,
            decided: 0,
            differences: Vec::new(),
            undecided: BTreeMap::new(),
            repeated: 0,
            dropped: 0,
            between: 0,
            has_ended: false,
        }
    }

    pub fn add_undecided(&mut self, why: Undecided, seq: u64) {
        let (count, first) = self.undecided.entry(why).or_insert((0, seq));
        *count += 1;
        *first = seq.min(*first);
    }

    /// Puts what differs in the order of the ledger.
    pub fn sort(&mut self) {
        self.differences.sort_by_key(|difference| difference.seq);
    }

    /// The exit status.
    pub fn exit_code(&self) -> u8 {
        if self.differences.is_empty() { 0 } else { 3 }
    }

    pub fn render(&self, paint: Paint) -> String {
        let mut text = String::new();
        for difference in &self.differences {
            let Difference { seq, op, target, recorded, decided } = difference;
            // Writing to a String cannot fail. The target comes escaped from the ledger's reader.
            let _ = writeln!(text, "{}  {target}", paint.bold(&format!("entry {seq}  {}", shown(op))));
            let _ = writeln!(text, "  recorded: {}", verdict(recorded));
            let _ = writeln!(text, "  decided:  {}\n", verdict(decided));
        }
        let agree = self.decided.saturating_sub(self.differences.len() as u64);
        let _ = writeln!(text, "policy:  {}", self.policy);
        let intents = counted(self.decided, "intent");
        let _ = writeln!(
            text,
            "decided: {intents} again; {agree} as recorded, {} otherwise",
            self.differences.len()
        );
        if self.repeated > 0 {
            let times = counted(self.repeated, "repetition");
            let _ = writeln!(text, "counted: {times} within a second, each decided as its first");
        }
        for (why, (count, first)) in &self.undecided {
            let _ =
                writeln!(text, "not decided again: {count}, the first in entry {first}: {}", why.reason());
        }
        if self.dropped > 0 {
            let _ =
                writeln!(text, "not recorded: {} for which the ledger had no room", entries(self.dropped));
        }
        if self.between > 0 {
            let between = entries(self.between);
            let _ =
                writeln!(text, "not here: {between} between the run's own, of other runs unless taken out");
        }
        if !self.has_ended {
            text.push_str("not ended: what the run did after its last entry here is not known\n");
        }
        text
    }

    pub fn to_json(&self) -> serde_json::Value {
        let differences = self.differences.iter().map(|difference| {
            serde_json::json!({
                "seq": difference.seq,
                "op": difference.op,
                "target": difference.target,
                "recorded": to_serde(&difference.recorded),
                "decided": to_serde(&difference.decided),
            })
        });
        let undecided = self.undecided.iter().map(|(why, (count, first))| {
            serde_json::json!({ "reason": why.reason(), "count": count, "first": first })
        });
        serde_json::json!({
            "run": self.run_id.to_string(),
            "policy_hash": self.policy.to_string(),
            "decided": self.decided,
            "differences": differences.collect::<Vec<_>>(),
            "undecided": undecided.collect::<Vec<_>>(),
            "repeated": self.repeated,
            "dropped": self.dropped,
            "between": self.between,
            "ended": self.has_ended,
        })
    }
}

fn counted(count: u64, word: &str) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), word)
}

/// A verdict in one line.
fn verdict(essence: &Value) -> String {
    let of = |value: &Value, key| value.text(key).map(shown).unwrap_or_default();
    match essence.member("would_refuse") {
        Some(would) => format!("{}, observed  {}", of(essence, "decision"), of(would, "reason")),
        None => format!("{}  {}", of(essence, "decision"), of(essence, "reason")),
    }
}
