//! Entries in the formats of others: OCSF events and OpenTelemetry log records.
//!
//! An entry with its detail is written as it was; one without, by its structure only: names are
//! then fingerprints such as `path(depth=4,length=28)`.

mod ocsf;
mod otlp;

use vantio_core::{
    Effect,
    json::{Key, Value},
};

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
            (entry.op.as_str(), member(asked, "intent"))
        {
            let effect = text(asked, "effect").and_then(Effect::from_name);
            let repeated = number(entry.response(), "repeated");
            return Self { effect, asked: intent, is_full, repeated };
        }
        Self { effect: Effect::from_name(&entry.op), asked, is_full, repeated: None }
    }

    fn text(&self, key: &str) -> Option<&'e str> {
        text(self.asked, key)
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

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(&Key(key.to_owned())),
        _ => None,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    match member(value, key)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn number(value: &Value, key: &str) -> Option<i64> {
    match member(value, key)? {
        Value::Integer(number) => Some(*number),
        _ => None,
    }
}

/// The value for serde's writers.
fn to_serde(value: &Value) -> serde_json::Value {
    serde_json::from_str(&value.to_canonical()).unwrap_or_default()
}
