//! Documents that are written: a value, and its text in JSON or YAML.

use std::fmt::Write as _;

/// A value of a document. Maps keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`
    Boolean(bool),
    /// A whole number.
    Integer(u64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Keys and what stands under them.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A map of these entries.
    pub(super) fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A list of these strings.
    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        texts.into_iter().map(Self::text).collect()
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// One element as itself, several as a list.
    pub(super) fn one_or_several(mut texts: Vec<String>) -> Self {
        match texts.pop() {
            Some(text) if texts.is_empty() => Self::Text(text),
            last => Self::texts(texts.into_iter().chain(last)),
        }
    }

    /// JSON in one line.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write_json(None, &mut text);
        text
    }

    /// JSON in lines that are indented by two spaces, with a line break at the end.
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        self.write_json(Some(0), &mut text);
        text.push('\n');
        text
    }

    /// YAML in block style, strings in double quotes.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Map(entries) if !entries.is_empty() => write_entries(entries, 0, &mut text),
            Self::List(elements) if !elements.is_empty() => write_elements(elements, 0, &mut text),
            other => {
                other.write_json(None, &mut text);
                text.push('\n');
            }
        }
        text
    }

    /// `indent` is the levels of the line, `None` for one line.
    fn write_json(&self, indent: Option<usize>, text: &mut String) {
        match self {
            // INVARIANT: writing to a String cannot fail.
            Self::Boolean(value) => drop(write!(text, "{value}")),
            Self::Integer(number) => drop(write!(text, "{number}")),
            Self::Text(string) => write_string(string, text),
            Self::List(elements) => write_sequence(elements, ['[', ']'], indent, text, Self::write_json),
            Self::Map(entries) => {
                write_sequence(entries, ['{', '}'], indent, text, |(key, value), indent, text| {
                    write_string(key, text);
                    text.push_str(if indent.is_some() { ": " } else { ":" });
                    value.write_json(indent, text);
                });
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::List(elements) => elements.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            _ => true,
        }
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(elements: I) -> Self {
        Self::List(elements.into_iter().collect())
    }
}

fn write_sequence<T>(
    items: &[T],
    [open, close]: [char; 2],
    indent: Option<usize>,
    text: &mut String,
    write: impl Fn(&T, Option<usize>, &mut String),
) {
    let inner = indent.map(|levels| levels + 1);
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        break_line(inner, text);
        write(item, inner, text);
    }
    if !items.is_empty() {
        break_line(indent, text);
    }
    text.push(close);
}

fn break_line(indent: Option<usize>, text: &mut String) {
    if let Some(levels) = indent {
        text.push('\n');
        text.push_str(&"  ".repeat(levels));
    }
}

/// A string that is the same in JSON and in YAML's double quotes.
fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => drop(write!(text, "\\u{:04x}", u32::from(character))),
            _ if character.is_control() => drop(write!(text, "\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// The entries of a map in block style; the first line is indented already where it
/// follows a dash.
fn write_entries(entries: &[(String, Value)], levels: usize, text: &mut String) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || !text.ends_with("- ") {
            text.push_str(&"  ".repeat(levels));
        }
        let is_plain = !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'));
        if is_plain {
            text.push_str(key);
        } else {
            write_string(key, text);
        }
        text.push(':');
        write_block(value, levels, text);
    }
}

fn write_elements(elements: &[Value], levels: usize, text: &mut String) {
    for element in elements {
        text.push_str(&"  ".repeat(levels));
        text.push('-');
        match element {
            Value::Map(entries) if !entries.is_empty() => {
                text.push(' ');
                write_entries(entries, levels + 1, text);
            }
            other => write_block(other, levels, text),
        }
    }
}

/// What follows a colon or a dash.
fn write_block(value: &Value, levels: usize, text: &mut String) {
    if value.is_empty() {
        text.push(' ');
        value.write_json(None, text);
        text.push('\n');
        return;
    }
    text.push('\n');
    match value {
        Value::Map(entries) => write_entries(entries, levels + 1, text),
        Value::List(elements) => write_elements(elements, levels + 1, text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_text_in_each_format() {
        let rule =
            Value::map([("effect", Value::text("infer")), ("target", Value::texts(["a", "b: \"c\""]))]);
        let value = Value::map([
            ("version", Value::Integer(1)),
            ("none", Value::List(Vec::new())),
            ("A-B", Value::Boolean(true)),
            ("rules", Value::List(vec![rule, Value::text("x\u{7f}")])),
        ]);
        let yaml = "version: 1\nnone: []\n\"A-B\": true\nrules:\n  - effect: \"infer\"\n    target:\n      - \"a\"\n      - \"b: \\\"c\\\"\"\n  - \"x\\u007f\"\n";
        assert_eq!(value.to_yaml(), yaml);
        let json = r#"{"version":1,"none":[],"A-B":true,"rules":[{"effect":"infer","target":["a","b: \"c\""]},"x\u007f"]}"#;
        assert_eq!(value.to_json(), json);
        let lines = Value::map([("a", Value::texts(["b"])), ("c", Value::Map(Vec::new()))]).to_json_lines();
        assert_eq!(lines, "{\n  \"a\": [\n    \"b\"\n  ],\n  \"c\": {}\n}\n");
    }
}
