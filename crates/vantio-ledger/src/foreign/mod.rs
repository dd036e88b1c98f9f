//! Entries in the formats of others: OCSF events and OpenTelemetry log records.
//!
//! An entry with its detail is written as it was; one without, by its structure only: names are
//! then fingerprints such as `path(depth=4,length=28)`.

mod ocsf;
mod otlp;

use vantio_core::{Effect, json::Value};

use crate::Entry;

pub use ocsf::ocsf_event;
pub use otlp::otlp_logs;

/// Where entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the log, as its checkpoints have it.
    pub log: String,
    /// The version of the program that reads it.
    pub version: String,
}

/// What an entry is about, as far as it says.
struct Subject<'e> {
    /// The effect, also of one that was only counted.
    effect: Option<Effect>,
    /// The intent, or its structure.
    asked: &'e Value,
    /// Whether names are as they were.
    is_full: bool,
    /// How often more, where the entry counts.
    repeated: Option<i64>,
}

impl<'e> Subject<'e> {
    fn of(entry: &'e Entry) -> Self {
        let asked = entry.detail.as_ref().map_or(&entry.shape, |detail| &detail.request);
        let is_full = entry.detail.is_some();
        if let ("permit.repeated" | "refusal.repeated", Some(intent)) =
            (entry.op.as_str(), asked.member("intent"))
        {
            let effect = asked.text("effect").and_then(Effect::from_name);
            let repeated = entry.response().number("repeated");
            return Self { effect, asked: intent, is_full, repeated };
        }
        Self { effect: Effect::from_name(&entry.op), asked, is_full, repeated: None }
    }

    fn text(&self, key: &str) -> Option<&'e str> {
        self.asked.text(key)
    }

    /// Address and port of an endpoint: both as they were, or its fingerprint and its port.
    fn endpoint(&self) -> Option<(&'e str, Option<u16>)> {
        let address = self.text("address")?;
        let (host, port) = if self.is_full {
            let (host, port) = address.rsplit_once(':')?;
            (host.trim_start_matches('[').trim_end_matches(']'), port)
        } else {
            (address, address.split_once(",port=").map_or("", |(_, port)| port.trim_end_matches(')')))
        };
        Some((host, port.parse().ok()))
    }
}

/// The value for serde's writers.
pub fn to_serde(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_serde).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.0.clone(), to_serde(value))).collect()
        }
    }
}
