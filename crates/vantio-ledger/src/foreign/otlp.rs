//! OpenTelemetry: the logs data of OTLP 1.x in JSON, as the file exporter writes it.

use serde_json::{Value, json};
use vantio_core::{Decision, Effect};

use super::{Source, Subject};
use crate::Entry;

/// The semantic conventions whose names are used.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Entries as one line of logs data, without its line feed. The trace of a record is its run.
pub fn otlp_logs(entries: &[Entry], source: &Source) -> String {
    let resource = [
        text("service.name", "vantio"),
        text("service.version", &source.version),
        text("service.instance.id", &source.log),
    ];
    json!({
        "resourceLogs": [{
            "resource": { "attributes": resource },
            "scopeLogs": [{
                "scope": { "name": "vantio.ledger", "version": source.version },
                "logRecords": entries.iter().map(record).collect::<Vec<_>>(),
                "schemaUrl": SCHEMA_URL,
            }],
            "schemaUrl": SCHEMA_URL,
        }],
    })
    .to_string()
}

fn record(entry: &Entry) -> Value {
    let (number, severity) = match (entry.decision, entry.op.as_str()) {
        (Some(Decision::KillSwitch), _) => (17, "ERROR"),
        (Some(Decision::Collapse | Decision::Hold), _) | (_, "refusal.repeated" | "ledger.dropped") => {
            (13, "WARN")
        }
        _ => (9, "INFO"),
    };
    let nanoseconds = entry.time.as_nanosecond().to_string();
    let said = entry.detail.as_ref().map_or(&entry.shape, |detail| &detail.request);
    json!({
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": number,
        "severityText": severity,
        "eventName": format!("vantio.{}", entry.op),
        "body": { "stringValue": said.to_canonical() },
        "attributes": attributes(entry),
        "traceId": entry.run_id.to_string().replace('-', ""),
    })
}

fn attributes(entry: &Entry) -> Vec<Value> {
    let subject = Subject::of(entry);
    let mut attributes = vec![
        text("log.record.uid", &entry.this_hash.to_string()),
        integer("vantio.ledger.seq", entry.seq.cast_signed()),
        text("vantio.run.id", &entry.run_id.to_string()),
        text("vantio.policy.hash", &entry.policy_hash.to_string()),
    ];
    if entry.pid != 0 {
        attributes.push(integer("process.pid", entry.pid.into()));
    }
    attributes.extend(entry.decision.map(|decision| text("vantio.decision", decision.name())));
    attributes.extend(subject.effect.map(|effect| text("vantio.effect", effect.name())));
    attributes.extend(subject.repeated.map(|count| integer("vantio.repeated", count)));
    if let Some(record) = &entry.anomaly {
        attributes.push(text("vantio.record.id", &record.record_id.to_string()));
        attributes.push(text("vantio.agent.id", record.agent_svid.spiffe_id()));
    }
    if subject.is_full {
        attributes.extend(named(&subject));
    }
    if let Some(transport) = subject.text("transport") {
        attributes.push(text("network.transport", transport));
    }
    attributes
}

/// What has a name of its own in the semantic conventions.
fn named(subject: &Subject<'_>) -> Vec<Value> {
    let key = match subject.effect {
        Some(Effect::ProcExec) => [("path", "process.executable.path")],
        Some(Effect::NetDns) => [("name", "dns.question.name")],
        Some(Effect::ToolCall) => [("named", "gen_ai.tool.name")],
        Some(Effect::Infer) => [("named", "gen_ai.request.model")],
        _ => [("path", "file.path")],
    };
    let mut named: Vec<Value> =
        key.iter().filter_map(|(key, name)| Some(text(name, subject.text(key)?))).collect();
    if let Some((host, port)) = subject.endpoint() {
        named.push(text("network.peer.address", host));
        named.extend(port.map(|port| integer("network.peer.port", port.into())));
    }
    named
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit integers are strings in the JSON of protocol buffers.
fn integer(key: &str, value: i64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
