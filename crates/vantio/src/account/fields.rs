//! Fields of entries, as text that a terminal may show.

use vantio_core::{Decision, json::Value};
use vantio_ledger::Entry;
use vantio_phantom::changes::Escaped;
use vantio_policy::Limits;

use crate::{
    approvals::HOLD_ANSWER,
    oracle::{
        BECOMES, FORK_ASSUME, FORK_BEGIN, FORK_END, FORK_NONE, ORDER_PROGRESS, PERMIT_REPEATED,
        REFUSAL_REPEATED, RUN_LIMITS, read_bytes,
    },
};

/// The member `key`, when it is text or bytes, as a terminal may show it.
fn shown(value: &Value, key: &str) -> Option<String> {
    shown_value(value.member(key)?)
}

fn shown_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(Escaped(text.as_bytes()).to_string()),
        object @ Value::Object(_) => Some(Escaped(&read_bytes(object)?).to_string()),
        _ => None,
    }
}

/// The target of an intent, from the request of its entry.
pub fn target(request: &Value) -> String {
    let single = ["path", "unix", "name", "syscall", "named"];
    if let Some(target) = single.iter().find_map(|key| shown(request, key)) {
        return target;
    }
    if let (Some(from), Some(to)) = (shown(request, "from"), shown(request, "to")) {
        return format!("{from} → {to}");
    }
    if let Some(address) = shown(request, "address") {
        let is_udp = request.text("transport") == Some("udp");
        return if is_udp { format!("udp://{address}") } else { address };
    }
    request.number("process").map_or_else(String::new, |pid| format!("process {pid}"))
}

/// What an intent asks for, from the request of its entry: its target, and what that becomes.
pub fn asked(request: &Value) -> String {
    let becomes = request.member(BECOMES).and_then(becomes);
    target(request) + &becomes.map(|becomes| format!(" ({becomes})")).unwrap_or_default()
}

fn becomes(becomes: &Value) -> Option<String> {
    let part = |key| shown(becomes, key);
    let id = |key| Some(format!("{key} {}", becomes.count(key)?));
    if let Some(length) = becomes.count("length") {
        return Some(format!("length {length}"));
    }
    if let (Some(accessed), Some(modified)) = (part("accessed"), part("modified")) {
        return Some(format!("accessed {accessed}, modified {modified}"));
    }
    if let Some(name) = part("attribute") {
        let digest = part("sha256").map(|digest| format!("SHA-256 {digest}"));
        return Some(match part("value").or(digest) {
            Some(value) => format!("{name} = {value}"),
            None => format!("without {name}"),
        });
    }
    let owner = [id("user"), id("group")].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let link = part("link").map(|link| format!("leads to {link}"));
    let kind = part("kind").map(|kind| format!("{kind}, ")).unwrap_or_default();
    part("mode").map(|mode| format!("{kind}mode {mode}")).or(link).or((!owner.is_empty()).then_some(owner))
}

/// What an entry says, in one line.
pub fn detail(entry: &Entry) -> String {
    let (request, response) = (entry.request(), entry.response());
    match entry.op.as_str() {
        "run.start" => words(request, "command"),
        "run.nest" => {
            format!("{}: {}", shown(request, "name").unwrap_or_default(), words(request, "command"))
        }
        "run.end" => ending(request),
        RUN_LIMITS => holders(request),
        PERMIT_REPEATED | REFUSAL_REPEATED => {
            let intent = request.member("intent").map(asked).unwrap_or_default();
            let times = response.number("repeated").unwrap_or(0);
            let effect = shown(request, "effect").unwrap_or_default();
            format!("{effect} {intent}: {times} more within a second")
        }
        ORDER_PROGRESS => match request.member("satisfied") {
            Some(Value::Array(rules)) => format!("{} order rules are satisfied", rules.len()),
            _ => String::new(),
        },
        HOLD_ANSWER => answer(request),
        FORK_ASSUME => {
            let intent = request.member("intent").map(asked).unwrap_or_default();
            let part = |key| shown(request, key).unwrap_or_default();
            format!("{}: {} {intent}, as if it were approved", part("question"), part("effect"))
        }
        FORK_BEGIN => format!(
            "{}: goes on as a fork, process {}",
            shown(request, "question").unwrap_or_default(),
            counted(request, "fork")
        ),
        FORK_END | FORK_NONE => {
            let part = |key| shown(request, key).unwrap_or_default();
            let outcome = if entry.op == FORK_NONE { "waits".to_owned() } else { part("outcome") };
            let why = shown(request, "why").map(|why| format!(": {why}")).unwrap_or_default();
            format!("{}: {outcome}{why}", part("question"))
        }
        "phantom.commit" => {
            let selected = shown(request, "selected").unwrap_or_else(|| counted(request, "selected"));
            let markers = if request.member("markers").is_some() { ", markers" } else { "" };
            let besides = some(request, &["hazards", "theirs", "ours", "merge", "hunks"]);
            format!("selected: {selected}{besides}{markers}")
        }
        "phantom.commit.end" => {
            let parts = ["committed", "conflicts", "dropped", "hazards_left"];
            let parts = parts.map(|part| format!("{part} {}", counted(response, part))).join(", ");
            parts + &some(response, &["hazards", "merged", "overwritten", "partly", "unkept"])
        }
        "phantom.undo" => format!("commit {}", counted(request, "commit")),
        "phantom.undo.end" => format!("{} stayed", counted(response, "stayed")),
        "phantom.discard" => {
            let undone = match request.number("undoable") {
                Some(commit) => format!(", commit {commit} can be taken back no more"),
                None => String::new(),
            };
            format!("{} pending{undone}", counted(request, "pending"))
        }
        "ledger.dropped" => format!("{} entries had no room", request.number("count").unwrap_or(0)),
        _ => {
            let asked = asked(request);
            let is_no_permit = entry.decision.is_some_and(|decision| decision != Decision::Permit);
            match shown(response, "reason") {
                Some(reason) if is_no_permit || is_approved(response) => {
                    format!("{asked}  {reason}")
                }
                _ => asked,
            }
        }
    }
}

/// Whether a person let it pass.
fn is_approved(response: &Value) -> bool {
    response.text("cause") == Some("approved")
}

/// What a person, or nobody, answered.
fn answer(request: &Value) -> String {
    let part = |key| shown(request, key).unwrap_or_default();
    let optional =
        |before: &str, key| shown(request, key).map(|text| format!("{before}{text}")).unwrap_or_default();
    let by = optional(" by ", "as");
    let user = request.number("uid").map(|uid| format!(" (user {uid})")).unwrap_or_default();
    let reach = match request.text("reach") {
        Some("session") => " for the rest of the run".to_owned(),
        Some("pattern") => format!(" for {} for the rest of the run", part("pattern")),
        _ => String::new(),
    };
    let (question, why) = (part("question"), optional(": ", "why"));
    match request.text("answer") {
        Some("approve") => format!("{question} approved{by}{user}{reach}{why}"),
        Some("deny") => format!("{question} denied{by}{user}{reach}{why}"),
        Some("timeout") => format!("{question} not answered in time"),
        Some("withdrawn") => format!("{question} withdrawn: nobody waited any more"),
        _ => question,
    }
}

/// Those of the numbers that are there, each after a comma.
fn some(value: &Value, keys: &[&str]) -> String {
    keys.iter().filter_map(|key| Some(format!(", {key} {}", value.number(key)?))).collect()
}

fn counted(value: &Value, key: &str) -> String {
    value.number(key).map_or_else(|| "?".into(), |number| number.to_string())
}

/// Who holds a run to which limit.
fn holders(request: &Value) -> String {
    let holder = |name: &str| Some(format!("{name}: {}", shown(request, name)?));
    Limits::NAMES.into_iter().filter_map(holder).collect::<Vec<_>>().join(", ")
}

fn words(value: &Value, key: &str) -> String {
    match value.member(key) {
        Some(Value::Array(words)) => words.iter().filter_map(shown_value).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

fn ending(request: &Value) -> String {
    let number = request.number("number").unwrap_or(0);
    match request.text("ending") {
        Some("exited") => format!("exited with status {number}"),
        Some("signaled") => format!("ended by signal {number}"),
        Some("not_found") => "the program was not found".into(),
        Some("not_executable") => "the program may not be executed".into(),
        Some(other) => Escaped(other.as_bytes()).to_string(),
        None => String::new(),
    }
}
