//! What a request looks like, without what it says.
//!
//! Of a path its depth and length stay, of an address its class and port, of
//! any other text its length. Words from lists that every reader of the manual
//! knows (how a file is opened, which transport, which system call) stay.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use vantio_core::json::{self, Key, Value};

/// Members whose values are words of this project or of Linux.
const OPEN_MEMBERS: [&str; 6] = ["access", "effect", "ending", "number", "syscall", "transport"];
/// The member of a request that is a request itself: one that was repeated.
const INTENT: &str = "intent";
/// A request has no more members than this; of another only their number is told.
const MAX_MEMBERS: usize = 16;

/// Appends the canonical text of the shape of `request`.
pub(crate) fn write(request: &Value, text: &mut String) {
    match request {
        Value::Object(members) if members.len() <= MAX_MEMBERS => {
            write_members(members, text, |key, value, text| match value {
                Value::Object(members) if key == INTENT && members.len() <= MAX_MEMBERS => {
                    write_members(members, text, write_member);
                }
                value => write_member(key, value, text),
            });
        }
        value => write_value(value, text),
    }
}

fn write_members(
    members: &BTreeMap<Key, Value>,
    text: &mut String,
    write: impl Fn(&str, &Value, &mut String),
) {
    text.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json::write_string(&key.0, text);
        text.push(':');
        write(&key.0, value, text);
    }
    text.push('}');
}

fn write_member(key: &str, value: &Value, text: &mut String) {
    match value {
        Value::String(word) if OPEN_MEMBERS.contains(&key) => json::write_string(word, text),
        value => write_value(value, text),
    }
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => write_string(string, text),
        Value::Array(items) => push(format_args!("\"array(length={})\"", items.len()), text),
        Value::Object(members) => push(format_args!("\"object(members={})\"", members.len()), text),
        plain => plain.write_canonical(text),
    }
}

fn write_string(string: &str, text: &mut String) {
    let length = string.len();
    if string.starts_with('/') {
        let names = || string.split('/').filter(|name| !name.is_empty());
        let hidden = if names().any(|name| name.starts_with('.')) { ",hidden" } else { "" };
        return push(format_args!("\"path(depth={},length={length}{hidden})\"", names().count()), text);
    }
    let starts_as_address =
        string.starts_with(|first: char| first.is_ascii_hexdigit() || first == '[' || first == ':');
    let address = if starts_as_address { string.parse::<SocketAddr>().ok() } else { None };
    match address {
        Some(address) => {
            push(format_args!("\"address({},port={})\"", class(address.ip()), address.port()), text);
        }
        None => push(format_args!("\"text(length={length})\""), text),
    }
}

/// The kind of network that an address belongs to (IANA's special-purpose registries).
fn class(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or_else(|| class_v6(address), class_v4),
    }
}

fn class_v4(address: Ipv4Addr) -> &'static str {
    match address.octets() {
        [0, ..] => "unspecified",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => "private",
        [224..=239, ..] => "multicast",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [240..=255, ..] => "reserved",
        _ => "global",
    }
}

fn class_v6(address: Ipv6Addr) -> &'static str {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfc00..=0xfdff, ..] => "private",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2001, 0xdb8, ..] => "documentation",
        _ => "global",
    }
}

fn push(arguments: std::fmt::Arguments<'_>, text: &mut String) {
    // INVARIANT: writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(request: &Value) -> String {
        let mut text = String::new();
        write(request, &mut text);
        text
    }

    fn of_text(string: &str) -> String {
        shape(&Value::from(string))
    }

    #[test]
    fn paths_addresses_and_texts_are_told_by_their_structure() {
        assert_eq!(of_text("/home/alice/.aws/credentials"), "\"path(depth=4,length=28,hidden)\"");
        assert_eq!(of_text("/"), "\"path(depth=0,length=1)\"");
        assert_eq!(of_text("//a/"), "\"path(depth=1,length=4)\"");
        assert_eq!(of_text("10.1.2.3:443"), "\"address(private,port=443)\"");
        assert_eq!(of_text("[::ffff:127.0.0.1]:80"), "\"address(loopback,port=80)\"");
        assert_eq!(of_text("[2001:db8::1]:1"), "\"address(documentation,port=1)\"");
        assert_eq!(of_text("8.8.8.8:53"), "\"address(global,port=53)\"");
        assert_eq!(of_text("secret.example"), "\"text(length=14)\"");
        assert_eq!(of_text("ключ"), "\"text(length=8)\"");
    }

    #[test]
    fn words_numbers_and_one_inner_object_stay() {
        let intent = Value::object([("access", Value::from("write")), ("path", "/a/b".into())]);
        let request = Value::object([
            ("effect", Value::from("fs.open")),
            ("intent", intent),
            ("subtree", false.into()),
            ("words", Value::Array(vec!["a".into(), "b".into()])),
        ]);
        assert_eq!(
            shape(&request),
            "{\"effect\":\"fs.open\",\"intent\":{\"access\":\"write\",\"path\":\"path(depth=2,length=4)\"},\
             \"subtree\":false,\"words\":\"array(length=2)\"}"
        );
    }

    #[test]
    fn what_is_inside_other_values_is_only_counted() {
        let inner = Value::object([("secret", Value::from("/home/alice"))]);
        let outer = |key: &str, value: &Value| shape(&Value::object([(key, value.clone())]));
        assert_eq!(outer("env", &inner), "{\"env\":\"object(members=1)\"}");
        let twice = Value::object([(INTENT, inner)]);
        assert_eq!(outer(INTENT, &twice), "{\"intent\":{\"intent\":\"object(members=1)\"}}");
        let wide = Value::object((0..17).map(|number| (format!("{number}"), Value::Null)));
        assert_eq!(shape(&wide), "\"object(members=17)\"");
    }
}
