//! Intents and verdicts as the ledger has them.

use std::net::SocketAddr;

use rustix::fs::FileType;
use vantio_core::{
    Access, Becomes, Cause, Hash, Intent, Section, Target, Time, Transport, Verdict, json::Value,
};
use vantio_phantom::{Ending, changes::PathBytes};
use vantio_policy::{Advice, Bindings};

use super::integer;
use crate::approvals::Answer;

/// What an intent asks for: its target, and what that becomes where it is known.
pub fn request(intent: &Intent<'_>) -> Value {
    let Value::Object(mut members) = target(&intent.target) else { return Value::Null };
    let becomes = intent.becomes.as_ref().map(becomes);
    members.extend(becomes.map(|becomes| (vantio_core::json::Key(BECOMES.into()), becomes)));
    Value::Object(members)
}

/// The member of a request that says what its target becomes.
pub const BECOMES: &str = "becomes";

fn becomes(becomes: &Becomes<'_>) -> Value {
    let time = |time: &Time| match time {
        Time::Kept => "kept".to_owned(),
        Time::Now => "now".to_owned(),
        Time::At { seconds, nanoseconds } => format!("{seconds}.{nanoseconds:09}"),
    };
    match becomes {
        Becomes::Length(length) => Value::object([("length", integer(*length))]),
        Becomes::Mode(mode) => {
            let kind = match FileType::from_raw_mode(*mode) {
                FileType::RegularFile => Some("file"),
                FileType::Fifo => Some("fifo"),
                FileType::Socket => Some("socket"),
                _ => None,
            };
            let permissions = ("mode", Value::from(format!("{:04o}", mode & 0o7777)));
            Value::object(kind.map(|kind| ("kind", kind.into())).into_iter().chain([permissions]))
        }
        Becomes::Owner { user, group } => {
            let user = user.map(|user| ("user", Value::from(user)));
            Value::object(user.into_iter().chain(group.map(|group| ("group", group.into()))))
        }
        Becomes::Times { accessed, modified } => {
            Value::object([("accessed", Value::from(time(accessed))), ("modified", time(modified).into())])
        }
        Becomes::Attribute { name, value } => {
            let value = value.map(|value| match value.len() {
                0..=VALUE_SHOWN_MAX => ("value", bytes(value)),
                _ => ("sha256", Hash::of(value).to_string().into()),
            });
            Value::object([("attribute", bytes(name))].into_iter().chain(value))
        }
        Becomes::Link(path) => Value::object([("link", bytes(path))]),
    }
}

/// A longer value of an attribute is written down as its digest.
const VALUE_SHOWN_MAX: usize = 4_096;

/// The target of an intent.
pub fn target(target: &Target<'_>) -> Value {
    match target {
        Target::Path { path, access, subtree } => Value::object([
            ("access", Value::from(access_name(*access))),
            ("path", bytes(path)),
            ("subtree", (*subtree).into()),
        ]),
        Target::Paths { from, to, subtree } => {
            Value::object([("from", bytes(from)), ("subtree", (*subtree).into()), ("to", bytes(to))])
        }
        Target::Endpoint(endpoint) => Value::object([
            ("address", Value::from(endpoint.address.to_string())),
            ("in_run", endpoint.in_run.into()),
            ("transport", transport_name(endpoint.transport).into()),
        ]),
        Target::Name(name) => Value::object([("name", Value::from(*name))]),
        Target::Unix(path) => Value::object([("unix", bytes(path))]),
        Target::Process(pid) => Value::object([("process", Value::from(*pid))]),
        Target::Syscall(name) => Value::object([("syscall", Value::from(*name))]),
        Target::Named(name) => Value::object([("named", Value::from(*name))]),
    }
}

/// What tells one intent from another that has the same effect.
pub fn key<'a>(intent: &Intent<'a>) -> impl std::hash::Hash + use<'a> {
    (target_key(&intent.target), intent.becomes)
}

#[derive(Hash)]
enum Key<'a> {
    Path(&'a [u8], Access, bool),
    Paths(&'a [u8], &'a [u8], bool),
    Endpoint(Transport, SocketAddr, bool),
    Text(&'a str, u8),
    Unix(&'a [u8]),
    Process(u32),
}

const fn target_key<'a>(target: &Target<'a>) -> Key<'a> {
    match *target {
        Target::Path { path, access, subtree } => Key::Path(path, access, subtree),
        Target::Paths { from, to, subtree } => Key::Paths(from, to, subtree),
        Target::Endpoint(endpoint) => Key::Endpoint(endpoint.transport, endpoint.address, endpoint.in_run),
        Target::Name(name) => Key::Text(name, 0),
        Target::Syscall(name) => Key::Text(name, 1),
        Target::Named(name) => Key::Text(name, 2),
        Target::Unix(path) => Key::Unix(path),
        Target::Process(pid) => Key::Process(pid),
    }
}

/// Why a verdict is what it is.
pub fn cause(cause: &Cause<'_>) -> Value {
    let (kind, section, text) = match cause {
        Cause::Rule { section, text } => ("rule", Some(*section), Some(*text)),
        Cause::Unmatched(section) => ("unmatched", Some(*section), None),
        Cause::Always(text) => ("always", None, Some(*text)),
        Cause::Observed(section) => ("observed", Some(*section), None),
        Cause::KillSwitch => ("kill_switch", None, None),
        Cause::Budget(name) => ("budget", None, Some(*name)),
        Cause::Tainted { sink, .. } => ("tainted", Some(Section::TaintSinks), Some(*sink)),
    };
    let mut members = vec![("cause", Value::from(kind)), ("reason", cause.to_string().into())];
    members.extend(section.map(|section: Section| ("section", section.name().into())));
    members.extend(text.map(|text| ("rule", text.into())));
    Value::object(members)
}

/// A permit, with the names that led to an address.
pub fn permit(cause: &Cause<'_>, names: &[String]) -> Value {
    let Value::Object(mut members) = self::cause(cause) else { return Value::Null };
    if !names.is_empty() {
        let names = names.iter().map(|name| name.as_str().into()).collect();
        members.insert(vantio_core::json::Key("names".into()), Value::Array(names));
    }
    Value::Object(members)
}

/// A permit of what was held, and of which a person approved.
pub fn approved(approval: &Answer, names: &[String]) -> Value {
    let cause = Cause::Rule { section: approval.section, text: &approval.rule };
    let response = permit(&cause, names);
    let reason = format!("{cause}: {}", approval.in_words());
    with(with(response, "cause", "approved"), "reason", &reason)
}

/// What is held, with the question that is asked about it.
pub fn with_question(response: Value, id: &str, intent: Hash) -> Value {
    with(with(response, "intent_hash", &intent.to_string()), "question", id)
}

/// A refusal, with the change that would permit it and the names that led to it.
pub fn refusal(verdict: &Verdict<'_>, advice: Option<&Advice>, names: &[String]) -> Value {
    let Value::Object(mut members) = cause(&verdict.cause) else { return Value::Null };
    let mut insert = |key: &str, value| members.insert(vantio_core::json::Key(key.into()), value);
    if let Some(advice) = advice {
        let (action, section, rule) = advice.parts();
        insert(
            "advice",
            Value::object([
                ("action", Value::from(action)),
                ("rule", rule.into()),
                ("section", section.into()),
            ]),
        );
    }
    if !names.is_empty() {
        insert("names", Value::Array(names.iter().map(|name| name.as_str().into()).collect()));
    }
    Value::Object(members)
}

/// The refusal with a reason in other words.
pub fn because(refusal: Value, reason: &str) -> Value {
    with(refusal, "reason", reason)
}

/// The refusal of a run within: what would permit it is no change of this run's policy.
pub fn nested(refusal: Value, number: u64, reason: &str) -> Value {
    let Value::Object(mut members) = with(refusal, "reason", reason) else { return Value::Null };
    members.remove(&vantio_core::json::Key("advice".into()));
    let number = Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    members.insert(vantio_core::json::Key("nested".into()), number);
    Value::Object(members)
}

/// The refusal with how a label came to where it was refused.
pub fn with_trail(refusal: Value, trail: &str) -> Value {
    if trail.is_empty() { refusal } else { with(refusal, "trail", trail) }
}

fn with(value: Value, key: &str, text: &str) -> Value {
    let Value::Object(mut members) = value else { return value };
    members.insert(vantio_core::json::Key(key.into()), text.into());
    Value::Object(members)
}

/// What would have been refused, had the policy been enforced.
pub fn observed(refusal: Value) -> Value {
    Value::object([("cause", Value::from("observed")), ("would_refuse", refusal)])
}

/// What a policy's variables and names stood for.
pub fn bindings(bindings: &Bindings) -> Value {
    let list = |values: &mut dyn Iterator<Item = Value>| Value::Array(values.collect());
    let pair = |(from, to): &(Vec<u8>, Vec<u8>)| Value::Array(vec![bytes(from), bytes(to)]);
    let found = |(name, paths): &(String, Vec<Vec<u8>>)| {
        (name.clone(), list(&mut paths.iter().map(|path| bytes(path))))
    };
    let addresses = &mut bindings.host_addresses.iter().map(|address| address.to_string().into());
    Value::object([
        ("aliases", list(&mut bindings.aliases.iter().map(pair))),
        ("home", bytes(&bindings.home)),
        ("host_addresses", list(addresses)),
        ("programs", Value::object(bindings.programs.iter().map(found))),
        ("tmp", bytes(&bindings.tmp)),
        ("workspace", bytes(&bindings.workspace)),
    ])
}

/// How a run ended.
pub fn ending_value(ending: Ending) -> Value {
    let (kind, number) = match ending {
        Ending::Exited(status) => ("exited", Some(status)),
        Ending::Signaled(signal) => ("signaled", Some(signal)),
        Ending::NotFound => ("not_found", None),
        Ending::NotExecutable => ("not_executable", None),
    };
    let mut members = vec![("ending", Value::from(kind))];
    members.extend(number.map(|number| ("number", Value::Integer(number.into()))));
    Value::object(members)
}

/// Bytes that are mostly text; as [`PathBytes`] has them in JSON.
pub fn bytes(bytes: &[u8]) -> Value {
    match (str::from_utf8(bytes), serde_json::to_value(PathBytes::from(bytes))) {
        (Ok(text), _) => text.into(),
        (Err(_), Ok(object)) => {
            Value::object([("base64", Value::from(object["base64"].as_str().unwrap_or_default()))])
        }
        (Err(_), Err(_)) => Value::Null,
    }
}

pub const fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

pub const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}
