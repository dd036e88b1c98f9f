//! Canonical JSON (RFC 8785) for values whose numbers are integers.
//!
//! Objects are [`BTreeMap`]s; RFC 8785 section 3.2.3 sorts keys by UTF-16 code
//! units, which [`Key`] implements. Fractional numbers have no place in a record
//! that is hashed, so there is no variant for them.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{cmp::Ordering, fmt::Write as _};

/// A JSON value that has exactly one canonical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of at most 53 bits; larger ones are written as strings by
    /// whoever builds the value (RFC 8785, appendix D).
    Integer(i64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(BTreeMap<Key, Value>),
}

/// An object key, ordered by UTF-16 code units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub String);

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.encode_utf16().cmp(other.0.encode_utf16())
    }
}

impl Value {
    /// An object from key and value pairs; the last of equal keys stays.
    pub fn object<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Object(pairs.into_iter().map(|(key, value)| (Key(key.into()), value)).collect())
    }

    /// The canonical text.
    pub fn to_canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    /// Appends the canonical text to `text`.
    pub fn write_canonical(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(true) => text.push_str("true"),
            Self::Bool(false) => text.push_str("false"),
            // INVARIANT: writing to a String cannot fail.
            Self::Integer(number) => drop(write!(text, "{number}")),
            Self::String(string) => write_string(string, text),
            Self::Array(items) => write_sequence(items, ['[', ']'], text, Self::write_canonical),
            Self::Object(members) => write_sequence(members, ['{', '}'], text, |(key, value), text| {
                write_string(&key.0, text);
                text.push(':');
                value.write_canonical(text);
            }),
        }
    }
}

/// Largest integer that every reader of JSON keeps (RFC 8785, appendix D).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

impl Value {
    /// The member `key` of an object.
    pub fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(&Key(key.into())),
            _ => None,
        }
    }

    /// The member `key`, when it is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.member(key)?.as_text()
    }

    /// The member `key`, when it is an integer.
    pub fn number(&self, key: &str) -> Option<i64> {
        match self.member(key)? {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The member `key`, when it is an integer that counts something.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.number(key)?.try_into().ok()
    }

    /// A string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

fn write_sequence<T>(
    items: impl IntoIterator<Item = T>,
    [open, close]: [char; 2],
    text: &mut String,
    write_item: impl Fn(T, &mut String),
) {
    text.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_item(item, text);
    }
    text.push(close);
}

/// Appends `string` as a JSON string literal (RFC 8785, section 3.2.2.2).
pub fn write_string(string: &str, text: &mut String) {
    text.push('"');
    let mut rest = string;
    // What needs no escape, which is nearly everything, is copied as it is.
    while let Some(place) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        text.push_str(&rest[..place]);
        match rest.as_bytes()[place] {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x8 => text.push_str("\\b"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            0xc => text.push_str("\\f"),
            b'\r' => text.push_str("\\r"),
            // INVARIANT: writing to a String cannot fail.
            control => drop(write!(text, "\\u{control:04x}")),
        }
        rest = &rest[place + 1..];
    }
    text.push_str(rest);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn keys_sort_by_utf_16_as_in_rfc_8785_section_3_2_3() {
        let keys = ["\u{20ac}", "\r", "\u{fb33}", "1", "\u{1f600}", "\u{80}", "\u{f6}"];
        let value = Value::object(keys.map(|key| (key, Value::Null)));
        assert_eq!(
            value.to_canonical(),
            "{\"\\r\":null,\"1\":null,\"\u{80}\":null,\"\u{f6}\":null,\"\u{20ac}\":null,\"\u{1f600}\":null,\"\u{fb33}\":null}"
        );
    }

    #[test]
    fn strings_escape_only_what_must_be() {
        let value = Value::Array(vec!["\u{20ac}$\u{f}\nA'B\"\\/".into(), Value::Integer(-7), true.into()]);
        assert_eq!(value.to_canonical(), "[\"\u{20ac}$\\u000f\\nA'B\\\"\\\\/\",-7,true]");
    }
}
