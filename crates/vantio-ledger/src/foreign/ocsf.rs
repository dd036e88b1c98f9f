//! Open Cybersecurity Schema Framework, version 1.5.0.

use serde_json::{Map, Value, json};
use vantio_core::{Decision, Effect};

use super::{Source, Subject, to_serde};
use crate::{AnomalyRecord, Entry};

/// The version of the schema.
const VERSION: &str = "1.5.0";

/// An entry as one event, in one line without its line feed.
///
/// A permit is an activity of its kind; an anomaly record is a detection finding with the
/// activity as its evidence; what a run itself does is a lifecycle of an application.
pub fn ocsf_event(entry: &Entry, source: &Source) -> String {
    let subject = Subject::of(entry);
    let activity = Activity::of(entry, &subject);
    let mut event = object(json!({
        "category_uid": activity.class.uid() / 1000,
        "category_name": activity.class.category(),
        "class_uid": activity.class.uid(),
        "class_name": activity.class.name(),
        "activity_id": activity.id,
        "activity_name": activity.name,
        "type_uid": activity.class.uid() * 100 + u32::from(activity.id),
        "type_name": format!("{}: {}", activity.class.name(), activity.name),
        "time": entry.time.as_millisecond(),
        "message": message(entry),
        "metadata": metadata(entry, source),
        "device": { "type_id": 0, "type": "Unknown", "uid": source.log },
        "actor": actor(entry),
        "unmapped": unmapped(entry),
    }));
    event.extend(standing(entry));
    event.extend(subject.repeated.map(|count| ("count".to_owned(), json!(count))));
    match (activity.class, &entry.anomaly) {
        (Class::Finding, Some(record)) => event.extend(finding(entry, record, &subject)),
        (class, _) => event.extend(about(class, entry, &subject)),
    }
    Value::Object(event).to_string()
}

/// Classes of events that entries become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    File,
    Process,
    Finding,
    Network,
    Dns,
    Lifecycle,
    Api,
}

impl Class {
    const fn uid(self) -> u32 {
        match self {
            Self::File => 1001,
            Self::Process => 1007,
            Self::Finding => 2004,
            Self::Network => 4001,
            Self::Dns => 4003,
            Self::Lifecycle => 6002,
            Self::Api => 6003,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::File => "File System Activity",
            Self::Process => "Process Activity",
            Self::Finding => "Detection Finding",
            Self::Network => "Network Activity",
            Self::Dns => "DNS Activity",
            Self::Lifecycle => "Application Lifecycle",
            Self::Api => "API Activity",
        }
    }

    const fn category(self) -> &'static str {
        match self {
            Self::File | Self::Process => "System Activity",
            Self::Finding => "Findings",
            Self::Network | Self::Dns => "Network Activity",
            Self::Lifecycle | Self::Api => "Application Activity",
        }
    }
}

struct Activity {
    class: Class,
    id: u8,
    name: &'static str,
}

/// `activity_id` of what the schema has no number for.
const OTHER: u8 = 99;

impl Activity {
    fn of(entry: &Entry, subject: &Subject<'_>) -> Self {
        if entry.anomaly.is_some() {
            return Self { class: Class::Finding, id: 1, name: "Create" };
        }
        let Some(effect) = subject.effect else { return Self::of_run(&entry.op) };
        let is_write = subject.text("access") == Some("write");
        let (class, id, name) = match effect {
            Effect::FsOpen if !is_write => (Class::File, 2, "Read"),
            Effect::FsOpen | Effect::FsTruncate => (Class::File, 3, "Update"),
            Effect::FsUnlink | Effect::FsRmdir => (Class::File, 4, "Delete"),
            Effect::FsMkdir | Effect::FsMknod | Effect::FsLink | Effect::FsSymlink => {
                (Class::File, 1, "Create")
            }
            Effect::FsRename => (Class::File, 5, "Rename"),
            Effect::FsChmod | Effect::FsChown => (Class::File, 7, "Set Security"),
            Effect::FsUtime | Effect::FsXattr => (Class::File, 6, "Set Attributes"),
            Effect::FsStat => (Class::File, 8, "Get Attributes"),
            Effect::ProcExec => (Class::Process, 1, "Launch"),
            Effect::ProcSignal => (Class::Process, OTHER, "Signal"),
            Effect::ProcSyscall => (Class::Process, OTHER, "System Call"),
            Effect::NetConnect => (Class::Network, 1, "Open"),
            Effect::NetBind => (Class::Network, OTHER, "Bind"),
            Effect::NetListen => (Class::Network, 7, "Listen"),
            Effect::NetDns => (Class::Dns, 1, "Query"),
            Effect::HeapRead => (Class::Api, 2, "Read"),
            Effect::HeapWrite => (Class::Api, 3, "Update"),
            Effect::ToolCall => (Class::Api, OTHER, "Call"),
            Effect::Infer => (Class::Api, OTHER, "Infer"),
            Effect::IpcSend => (Class::Api, OTHER, "Send"),
        };
        Self { class, id, name }
    }

    /// What is done with a run as a whole.
    fn of_run(op: &str) -> Self {
        let (id, name) = match op {
            "run.start" => (3, "Start"),
            "run.end" | "run.kill" => (4, "Stop"),
            _ => (OTHER, "Other"),
        };
        Self { class: Class::Lifecycle, id, name }
    }
}

/// Verdict, status and severity.
fn standing(entry: &Entry) -> Map<String, Value> {
    let (severity, name) = match (entry.decision, entry.op.as_str()) {
        (Some(Decision::KillSwitch), _) => (5, "Critical"),
        (Some(Decision::Collapse), _) | (_, "refusal.repeated" | "ledger.dropped") => (3, "Medium"),
        (Some(Decision::Hold), _) => (2, "Low"),
        _ => (1, "Informational"),
    };
    let mut standing = object(json!({ "severity_id": severity, "severity": name }));
    let verdict = match (entry.decision, entry.op.as_str()) {
        (Some(Decision::Permit), _) | (None, "permit.repeated") => json!({
            "action_id": 1, "action": "Allowed", "disposition_id": 1, "disposition": "Allowed",
            "status_id": 1, "status": "Success",
        }),
        (Some(Decision::Collapse | Decision::KillSwitch), _) | (None, "refusal.repeated") => json!({
            "action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked",
            "status_id": 2, "status": "Failure",
        }),
        (Some(Decision::Hold), _) => json!({
            "action_id": 99, "action": "Held", "disposition_id": 99, "disposition": "Held",
            "status_id": 99, "status": "Held",
        }),
        (None, _) => json!({ "status_id": 1, "status": "Success" }),
    };
    standing.extend(object(verdict));
    // A finding's status is that of whoever works on it.
    if entry.anomaly.is_some() {
        standing.insert("status_id".into(), json!(1));
        standing.insert("status".into(), json!("New"));
    }
    standing
}

fn message(entry: &Entry) -> String {
    entry.decision.map_or_else(|| entry.op.clone(), |decision| format!("{}: {decision}", entry.op))
}

fn metadata(entry: &Entry, source: &Source) -> Value {
    // The profile is what gives an event a place for its verdict.
    let has_verdict = entry.decision.is_some() || entry.op.ends_with(".repeated");
    let profiles = if has_verdict { json!(["security_control", "host"]) } else { json!(["host"]) };
    json!({
        "version": VERSION,
        "product": { "name": "Vantio", "vendor_name": "Vantio", "version": source.version },
        "profiles": profiles,
        "uid": entry.this_hash.to_string(),
        "sequence": entry.seq,
        "correlation_uid": entry.run_id.to_string(),
        "log_name": "ledger",
        "log_provider": source.log,
        "original_time": format!("{:.9}", entry.time),
    })
}

/// The run, and the process in it.
fn actor(entry: &Entry) -> Value {
    let mut actor = object(json!({ "app_name": "vantio run", "app_uid": entry.run_id.to_string() }));
    if entry.pid != 0 {
        actor.insert("process".into(), json!({ "pid": entry.pid }));
    }
    Value::Object(actor)
}

/// What the schema has no place for.
fn unmapped(entry: &Entry) -> Value {
    let mut unmapped = object(json!({
        "op": entry.op,
        "policy_hash": entry.policy_hash.to_string(),
        "prev_hash": entry.prev_hash.to_string(),
        "req_hash": entry.req_hash.to_string(),
        "res_hash": entry.res_hash.to_string(),
        "shape": to_serde(&entry.shape),
    }));
    if let Some(record) = &entry.anomaly {
        let numbers: Vec<String> = record.syscall_args.iter().map(ToString::to_string).collect();
        unmapped.extend(object(json!({
            "agent_svid": record.agent_svid.spiffe_id(),
            "proof_state": record.proof_state.name(),
            "syscall_nr": record.syscall_nr,
            "syscall_args": numbers,
        })));
    }
    if let Some(detail) = &entry.detail {
        unmapped.insert("request".into(), to_serde(&detail.request));
        unmapped.insert("response".into(), to_serde(&detail.response));
    }
    Value::Object(unmapped)
}

fn finding(entry: &Entry, record: &AnomalyRecord, subject: &Subject<'_>) -> Map<String, Value> {
    let title = format!("{} was refused", entry.op);
    let mut evidence = object(json!({ "actor": actor(entry), "uid": entry.this_hash.to_string() }));
    let parts = subject.effect.map(|effect| evidence_of(effect, entry, subject)).unwrap_or_default();
    evidence.extend(parts);
    object(json!({
        "finding_info": {
            "uid": record.record_id.to_string(), "title": title, "types": ["policy violation"],
            "created_time": entry.time.as_millisecond(),
        },
        "policy": { "uid": entry.policy_hash.to_string() },
        "is_alert": true,
        "evidences": [evidence],
    }))
}

/// The objects that evidence may have, of what an effect is about.
fn evidence_of(effect: Effect, entry: &Entry, subject: &Subject<'_>) -> Map<String, Value> {
    let class = match effect.name().split_once('.') {
        Some(("fs", _)) => Class::File,
        Some(("proc", _)) => Class::Process,
        Some(("net", "dns")) => Class::Dns,
        Some(("net", _)) => Class::Network,
        _ => Class::Api,
    };
    let mut parts = about(class, entry, subject);
    parts.retain(|key, _| {
        matches!(key.as_str(), "file" | "process" | "dst_endpoint" | "query" | "api" | "connection_info")
    });
    parts
}

/// What a class of activity is about.
fn about(class: Class, entry: &Entry, subject: &Subject<'_>) -> Map<String, Value> {
    let source = || json!({ "uid": entry.run_id.to_string(), "name": "vantio run" });
    match class {
        Class::File => files(subject),
        Class::Process => object(json!({ "process": process(entry, subject) })),
        Class::Network => {
            let mut about = network(subject);
            about.insert("src_endpoint".into(), source());
            about
        }
        Class::Dns => {
            let mut about = object(json!({ "src_endpoint": source() }));
            let name = subject.text("name").filter(|_| subject.is_full);
            about.extend(name.map(|name| ("query".to_owned(), json!({ "hostname": name }))));
            about
        }
        Class::Api => {
            let name = subject.text("named").or_else(|| subject.text("name")).unwrap_or(&entry.op);
            let operation: &str = match subject.effect {
                Some(effect) => effect.name(),
                None => &entry.op,
            };
            object(json!({
                "api": { "operation": operation, "service": { "name": name } }, "src_endpoint": source(),
            }))
        }
        Class::Lifecycle => object(json!({
            "app": { "name": "vantio run", "vendor_name": "Vantio", "uid": entry.run_id.to_string() },
        })),
        Class::Finding => Map::new(),
    }
}

fn files(subject: &Subject<'_>) -> Map<String, Value> {
    let first = ["path", "from", "unix"].iter().find_map(|key| subject.text(key));
    let mut files = object(json!({ "file": file(first.unwrap_or("unknown"), subject.is_full) }));
    files.extend(subject.text("to").map(|to| ("file_result".to_owned(), file(to, subject.is_full))));
    files
}

fn file(path: &str, is_full: bool) -> Value {
    if !is_full {
        return json!({ "name": path, "type_id": 0, "type": "Unknown" });
    }
    let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or("/");
    json!({ "name": name, "path": path, "type_id": 0, "type": "Unknown" })
}

/// A program is launched in the process that asks for it; a signal goes to another.
fn process(entry: &Entry, subject: &Subject<'_>) -> Value {
    let target = subject.asked.number("process");
    let mut process = object(json!({ "pid": target.unwrap_or_else(|| entry.pid.into()) }));
    if let Some(path) = subject.text("path") {
        process.insert("file".into(), file(path, subject.is_full));
    }
    Value::Object(process)
}

fn network(subject: &Subject<'_>) -> Map<String, Value> {
    let mut endpoint = Map::new();
    if let Some((host, port)) = subject.endpoint() {
        let key = if subject.is_full { "ip" } else { "name" };
        endpoint.insert(key.into(), json!(host));
        endpoint.extend(port.map(|port| ("port".to_owned(), json!(port))));
    } else {
        let name = ["unix", "name", "named"].iter().find_map(|key| subject.text(key));
        endpoint.insert("name".into(), json!(name.unwrap_or("unknown")));
    }
    let mut network = object(json!({ "dst_endpoint": endpoint }));
    let number = match subject.text("transport") {
        Some("tcp") => Some(("tcp", 6)),
        Some("udp") => Some(("udp", 17)),
        _ => None,
    };
    network.extend(number.map(|(name, number)| {
        let info = json!({
            "direction_id": 2, "direction": "Outbound", "protocol_name": name, "protocol_num": number,
        });
        ("connection_info".to_owned(), info)
    }));
    network
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
