//! What was permitted to a run, and what its policy's variables stood for.

use std::collections::{BTreeMap, HashMap};

use vantio_core::{Decision, Effect, RunId, json::Value};
use vantio_ledger::{Entry, Filter, LedgerError, Reader};
use vantio_policy::{Bindings, explain::Subject, suggest::Observation};

use crate::oracle::{PERMIT_REPEATED, Restated, read_bytes};

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
            "ledger.dropped" => learned.dropped += entry.request().count("count").unwrap_or(0),
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
        let intent = entry.request().member("intent")?;
        (entry.request().text("effect")?, intent, entry.response().count("repeated").unwrap_or(0))
    } else {
        (entry.op.as_str(), entry.request(), 1)
    };
    let (effect, subject) = (Effect::from_name(name)?, subject(request)?);
    if let (Effect::ProcExec, Subject::Path { path, .. }) = (effect, &subject) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        programs.insert(entry.pid, String::from_utf8_lossy(name).into_owned());
    }
    let names = names(entry.response()).unwrap_or_default();
    Some(Observation { effect, subject, names, who: programs.get(&entry.pid).cloned(), count: times })
}

/// The target of an intent, as the ledger has it.
pub fn subject(request: &Value) -> Option<Subject> {
    Some(match Restated::of(request)? {
        Restated::Path { path, access, subtree } => Subject::Path { path, access, subtree },
        Restated::Paths { from, to, subtree } => Subject::Paths { from, to, subtree },
        Restated::Endpoint(endpoint) => Subject::Endpoint { endpoint, name: None },
        Restated::Name(name) => Subject::Name(name),
        Restated::Named(name) => Subject::Named(name),
        Restated::Unix(path) => Subject::Unix(path),
        Restated::Process(_) | Restated::Syscall(_) => return None,
    })
}

/// The names that led to the address of an intent, from the response of its entry; `None` where they are not
/// written as names are.
pub fn names(response: &Value) -> Option<Vec<String>> {
    let names = response.member("names").or_else(|| response.member("would_refuse")?.member("names"));
    match names {
        Some(Value::Array(names)) => names.iter().map(|name| Some(name.as_text()?.to_owned())).collect(),
        Some(_) => None,
        None => Some(Vec::new()),
    }
}

/// The bindings that a run's first entry tells.
pub fn bindings(request: &Value) -> Bindings {
    let Some(told) = request.member("bindings") else { return Bindings::default() };
    let path = |key| told.member(key).and_then(read_bytes).unwrap_or_default();
    let list = |key| match told.member(key) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let pair = |value: &Value| match value {
        Value::Array(items) => match items.as_slice() {
            [from, to] => Some((read_bytes(from)?, read_bytes(to)?)),
            _ => None,
        },
        _ => None,
    };
    let programs = match told.member("programs") {
        Some(Value::Object(programs)) => programs
            .iter()
            .map(|(name, paths)| {
                let paths = if let Value::Array(paths) = paths { paths.as_slice() } else { &[] };
                (name.0.clone(), paths.iter().filter_map(read_bytes).collect())
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
            .filter_map(|value| value.as_text()?.parse().ok())
            .collect(),
    }
}
