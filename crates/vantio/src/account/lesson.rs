//! What was permitted to a run, and what its policy's variables stood for.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::{Access, Decision, Effect, Endpoint, RunId, Transport, json::Value};
use vantio_ledger::{Entry, Filter, LedgerError, Reader};
use vantio_policy::{Bindings, explain::Subject, suggest::Observation};

use super::fields::{member, number, text};
use crate::oracle::PERMIT_REPEATED;

/// What a run teaches.
#[derive(Debug, Default)]
pub struct Learned {
    /// What the policy's variables and names stood for.
    pub bindings: Bindings,
    /// What was permitted, each target once.
    pub observations: Vec<Observation>,
    /// Entries that the ledger had no room for.
    pub dropped: u64,
}

/// Everything that was permitted to a run.
pub fn of_run(reader: &Reader, run_id: RunId) -> Result<Learned, LedgerError> {
    let mut learned = Learned::default();
    let mut seen: BTreeMap<String, Observation> = BTreeMap::new();
    let mut programs: HashMap<u32, String> = HashMap::new();
    let filter = Filter { run_id: Some(run_id), ..Filter::default() };
    for entry in reader.entries(&filter) {
        let entry = entry?;
        match entry.op.as_str() {
            "run.start" => learned.bindings = bindings(entry.request()),
            "ledger.dropped" => learned.dropped += count(entry.request(), "count"),
            _ => {
                if let Some(observation) = observation(&entry, &mut programs) {
                    note(&mut seen, observation);
                }
            }
        }
    }
    learned.observations = seen.into_values().collect();
    Ok(learned)
}

fn note(seen: &mut BTreeMap<String, Observation>, observation: Observation) {
    let key = format!("{:?} {:?} {:?}", observation.effect, observation.subject, observation.who);
    match seen.get_mut(&key) {
        Some(known) => {
            known.count += observation.count;
            for name in observation.names {
                if !known.names.contains(&name) {
                    known.names.push(name);
                }
            }
        }
        None => {
            seen.insert(key, observation);
        }
    }
}

/// What a permit, or the count of its repetitions, tells.
fn observation(entry: &Entry, programs: &mut HashMap<u32, String>) -> Option<Observation> {
    let is_repeated = entry.op == PERMIT_REPEATED;
    if !is_repeated && entry.decision != Some(Decision::Permit) {
        return None;
    }
    let (name, request, times) = if is_repeated {
        let intent = member(entry.request(), "intent")?;
        (text(entry.request(), "effect")?, intent, count(entry.response(), "repeated"))
    } else {
        (entry.op.as_str(), entry.request(), 1)
    };
    let (effect, subject) = (Effect::from_name(name)?, subject(request)?);
    if let (Effect::ProcExec, Subject::Path { path, .. }) = (effect, &subject) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        programs.insert(entry.pid, String::from_utf8_lossy(name).into_owned());
    }
    let names = match member(entry.response(), "names")
        .or_else(|| member(entry.response(), "would_refuse").and_then(|refusal| member(refusal, "names")))
    {
        Some(Value::Array(names)) => names.iter().filter_map(as_text).collect(),
        _ => Vec::new(),
    };
    Some(Observation { effect, subject, names, who: programs.get(&entry.pid).cloned(), count: times })
}

/// The target of an intent, as the ledger has it.
pub fn subject(request: &Value) -> Option<Subject> {
    let subtree = matches!(member(request, "subtree"), Some(Value::Bool(true)));
    let path = |key| member(request, key).and_then(bytes);
    if let Some(path) = path("path") {
        let access = if text(request, "access") == Some("write") { Access::Write } else { Access::Read };
        return Some(Subject::Path { path, access, subtree });
    }
    if let (Some(from), Some(to)) = (path("from"), path("to")) {
        return Some(Subject::Paths { from, to, subtree });
    }
    if let Some(address) = text(request, "address") {
        let address: SocketAddr = address.parse().ok()?;
        let transport =
            if text(request, "transport") == Some("udp") { Transport::Udp } else { Transport::Tcp };
        let in_run = matches!(member(request, "in_run"), Some(Value::Bool(true)));
        return Some(Subject::Endpoint { endpoint: Endpoint { transport, address, in_run }, name: None });
    }
    if let Some(name) = text(request, "name") {
        return Some(Subject::Name(name.to_owned()));
    }
    if let Some(name) = text(request, "named") {
        return Some(Subject::Named(name.to_owned()));
    }
    path("unix").map(Subject::Unix)
}

/// The bindings that a run's first entry tells.
pub fn bindings(request: &Value) -> Bindings {
    let Some(told) = member(request, "bindings") else { return Bindings::default() };
    let path = |key| member(told, key).and_then(bytes).unwrap_or_default();
    let list = |key| match member(told, key) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let pair = |value: &Value| match value {
        Value::Array(items) => match items.as_slice() {
            [from, to] => Some((bytes(from)?, bytes(to)?)),
            _ => None,
        },
        _ => None,
    };
    let programs = match member(told, "programs") {
        Some(Value::Object(programs)) => programs
            .iter()
            .map(|(name, paths)| {
                let paths = if let Value::Array(paths) = paths { paths.as_slice() } else { &[] };
                (name.0.clone(), paths.iter().filter_map(bytes).collect())
            })
            .collect(),
        _ => Vec::new(),
    };
    Bindings {
        workspace: path("workspace"),
        home: path("home"),
        tmp: path("tmp"),
        aliases: list("aliases").iter().filter_map(pair).collect(),
        programs,
        host_addresses: list("host_addresses")
            .iter()
            .filter_map(|value| as_text(value)?.parse().ok())
            .collect(),
    }
}

fn count(value: &Value, key: &str) -> u64 {
    number(value, key).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Text, or bytes that are none.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        object @ Value::Object(_) => STANDARD.decode(text(object, "base64")?).ok(),
        _ => None,
    }
}
