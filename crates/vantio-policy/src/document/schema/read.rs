//! Reading nodes as what is expected of them.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{
    Compiler, Error, MAX_PROBLEMS, codes,
    keys::{Key, MAX_DURATION, MAX_GUARDS, Mapping, Needs},
};
use crate::document::{
    error::Problem,
    source::{FORMATS, Format, Span},
    tree::{Content, Node},
    values::{Kind, nearest, to_milliseconds, to_u64},
};

/// A key, its place, and what stands under it.
pub(super) type Entry<'n> = (&'n str, &'n Span, &'n Node);

impl Compiler<'_> {
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(node, &format!("`{key}`"))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let help = nearest(text, &names).map_or_else(
            || format!("it is one of {}", names.join(", ")),
            |name| format!("did you mean `{name}`?"),
        );
        self.report(&node.span, Error::new(codes::VALUE, format!("`{key}` cannot be `{text}`")).help(help));
        None
    }

    pub(super) fn string<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let (kind, help) = match &*node.content {
            Content::Scalar { text, kind } => match kind {
                Kind::String => return Some(text),
                Kind::Null if text == "~" => {
                    ("nothing", "`~` alone means nothing in YAML: write \"~/\"".to_owned())
                }
                Kind::Null => ("nothing", "write a value, or remove the line".to_owned()),
                kind => (kind.name(), format!("write it in quotes: \"{text}\"")),
            },
            Content::List(_) => ("a list", "write one value".to_owned()),
            Content::Map(_) => ("a mapping", self.one_value().to_owned()),
        };
        self.report(
            &node.span,
            Error::new(codes::TYPE, format!("{what} must be a string, not {kind}")).help(help),
        );
        None
    }

    /// The elements of a list of at most `limit`.
    pub(super) fn list<'n>(&mut self, node: &'n Node, key: &str, limit: usize) -> &'n [Node] {
        let help = match &*node.content {
            Content::List(elements) if elements.len() <= limit => return elements,
            Content::List(elements) => {
                let message = format!("`{key}` has {} elements; {limit} are supported", elements.len());
                let error = Error::new(codes::TOO_LARGE, message);
                self.report(&elements[limit].span, error.help("let a pattern stand for several of them"));
                return &[];
            }
            Content::Scalar { .. } if is_null(node) => format!("write `[]` for none, or remove `{key}`"),
            Content::Scalar { text, .. } => self.example_of(key).map_or_else(
                || format!("write it in brackets: [\"{text}\"]"),
                |example| format!("write a list of rules, such as `[{example}]`"),
            ),
            Content::Map(_) => match self.source.format {
                Format::Yaml => "begin each element with `- `".to_owned(),
                _ => "write the elements in brackets".to_owned(),
            },
        };
        self.report(&node.span, Error::new(codes::TYPE, format!("`{key}` must be a list")).help(help));
        &[]
    }

    /// One element, or a list of them.
    pub(super) fn one_or_several<'n>(&mut self, node: &'n Node, key: &str, limit: usize) -> &'n [Node] {
        match &*node.content {
            Content::Scalar { .. } if !is_null(node) => std::slice::from_ref(node),
            _ => self.list(node, key, limit),
        }
    }

    pub(super) fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        if let Content::Scalar { text, kind: Kind::Boolean } = &*node.content {
            return Some(text.eq_ignore_ascii_case("true"));
        }
        let error = Error::new(codes::TYPE, format!("`{key}` must be true or false"));
        self.report(&node.span, error.help("write `true` or `false`, without quotes"));
        None
    }

    /// A whole number of a range; `absent` says what leaving it out means.
    pub(super) fn integer(
        &mut self,
        node: &Node,
        key: &str,
        range: RangeInclusive<u64>,
        (code, absent): (&'static str, &str),
    ) -> Option<u64> {
        let (kind, number) = match &*node.content {
            Content::Scalar { text, kind } => (*kind, to_u64(text)),
            _ => (Kind::Null, None),
        };
        if kind == Kind::Integer
            && let Some(number) = number
            && range.contains(&number)
        {
            return Some(number);
        }
        let message = format!("`{key}` must be a whole number from {} to {}", range.start(), range.end());
        let milliseconds = match &*node.content {
            Content::Scalar { text, .. } if key.ends_with("_ms") => to_milliseconds(text),
            _ => None,
        };
        let help = match (kind, milliseconds) {
            (_, Some(milliseconds)) => format!("write milliseconds: {milliseconds}"),
            (Kind::String, _) if number.is_some() => "remove the quotes".to_owned(),
            _ => absent.to_owned(),
        };
        self.report(&node.span, Error::new(code, message).help(help));
        None
    }

    /// A duration in milliseconds, longer than none.
    pub(super) fn duration(&mut self, node: &Node, key: &str) -> Option<u64> {
        let what = format!("`{key}` must be a duration, such as `500ms`, `10s`, `5m`, `2h` or `7d`");
        let text = match &*node.content {
            Content::Scalar { text, .. } => text.as_str(),
            _ => "",
        };
        let help = match to_milliseconds(text) {
            Some(1..=MAX_DURATION) => return to_milliseconds(text),
            Some(0) => "a duration is longer than none".to_owned(),
            Some(_) => "the longest is `366d`".to_owned(),
            None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("write the unit: `{text}s` for seconds, `{text}ms` for milliseconds")
            }
            None => "write a whole number and one of the units ms, s, m, h, d".to_owned(),
        };
        self.report(&node.span, Error::new(codes::DURATION, what).help(help));
        None
    }

    /// A string that is not empty, not long, and can be shown.
    pub(super) fn plain(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.string(node, &format!("`{key}`"))?;
        if text.is_empty() || text.len() > 4096 || text.chars().any(char::is_control) {
            let message = format!("`{key}` has 1 to 4096 bytes and no control characters");
            let help = match text {
                "" => "write a value, or remove the key",
                _ => "write a shorter value, without control characters",
            };
            self.report(&node.span, Error::new(codes::VALUE, message).help(help));
            return None;
        }
        Some(text.to_owned())
    }

    /// The names of roles, ascending.
    pub(super) fn roles(&mut self, node: &Node, key: &str) -> Vec<String> {
        let mut roles = Vec::new();
        for element in self.list(node, key, MAX_GUARDS) {
            let Some(text) = self.string(element, "a role") else { continue };
            if is_identifier(text) {
                roles.push(text.to_owned());
            } else {
                let error = Error::new(codes::ROLE, format!("`{text}` is not the name of a role"));
                self.report(&element.span, error.help(IDENTIFIER));
            }
        }
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// The entries under keys that are known, the others and the missing are reported.
    pub(super) fn known_entries<'n>(&mut self, node: &'n Node, mapping: &Mapping) -> Option<Vec<Entry<'n>>> {
        let mut entries = self.entries(node, mapping.name)?;
        let names: Vec<&str> = mapping.keys.iter().map(|key| key.name).collect();
        let (mut meant, mut are_known) = (Vec::new(), true);
        entries.retain(|(key, span, _)| {
            let is_known = names.contains(key);
            if !is_known {
                let name = nearest(key, &names);
                self.report(span, unknown_key(mapping, key, &names, name));
                meant.extend(name);
                are_known = false;
            }
            is_known
        });
        // What was meant by another key is not missed as well.
        let missing = mapping
            .keys
            .iter()
            .find(|key| key.is_required && find(&entries, key.name).is_none() && !meant.contains(&key.name));
        if let Some(key) = missing {
            self.report(&(node.span.start..node.span.start), missing_key(mapping, key, self.source.format));
        }
        if are_known {
            self.needs(node, mapping, &entries);
        }
        Some(entries)
    }

    fn needs(&mut self, node: &Node, mapping: &Mapping, entries: &[Entry]) {
        let present = |names: &'static [&'static str]| {
            entries.iter().filter(move |(key, ..)| names.contains(key)).collect::<Vec<_>>()
        };
        let start = node.span.start..node.span.start;
        match mapping.needs {
            Needs::Some(names) if present(names).is_empty() => {
                let error = Error::new(codes::MISSING_KEY, format!("{} names nothing", mapping.name));
                self.report(&start, error.help(format!("add one of {}", names.join(", "))));
            }
            Needs::Nothing | Needs::Some(_) => {}
            Needs::One(names) => match present(names).as_slice() {
                [_] => {}
                [] => {
                    let error = Error::new(codes::MISSING_KEY, format!("{} has no limit", mapping.name));
                    self.report(&start, error.help(format!("add one of {}", names.join(", "))));
                }
                [(first, ..), (second, span, _), ..] => {
                    let message = format!("{} has both `{first}` and `{second}`", mapping.name);
                    let error = Error::new(codes::CONFLICT, message);
                    self.report(span, error.help("write one rule for each"));
                }
            },
        }
    }

    /// The entries of a mapping, each key once.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Entry<'n>>> {
        let Content::Map(pairs) = &*node.content else {
            let error = Error::new(codes::TYPE, format!("{what} must be a mapping of keys to values"));
            self.report(&node.span, error.help(self.mapping_help()));
            return None;
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut entries = Vec::new();
        for (key, value) in pairs {
            let Content::Scalar { text, .. } = &*key.content else {
                self.report(
                    &key.span,
                    Error::new(codes::TYPE, "a key must be a string").help("write it in quotes"),
                );
                continue;
            };
            if let Some(line) = seen.get(text.as_str()) {
                let error = Error::new(codes::DUPLICATE_KEY, format!("the key `{text}` stands twice"));
                self.report(&key.span, error.help(format!("the first is in line {line}; join the two")));
            } else {
                seen.insert(text, self.source.place(&key.span).line);
                entries.push((text.as_str(), &key.span, value));
            }
        }
        Some(entries)
    }

    fn one_value(&self) -> &'static str {
        match self.source.format {
            Format::Yaml => "write it in quotes if it contains `: ` or `{`",
            _ => "write one value",
        }
    }

    /// An element of a list of rules that are mappings.
    fn example_of(&self, key: &str) -> Option<&'static str> {
        let (yaml, toml) = match key {
            "thresholds" => (
                "{effect: fs.unlink, count: 100, within: 10s}",
                "{effect = 'fs.unlink', count = 100, within = '10s'}",
            ),
            "hold" => ("{effect: net.connect, timeout: 5m}", "{effect = 'net.connect', timeout = '5m'}"),
            "tests" => (
                "{effect: infer, target: gpt-4, expect: Collapse}",
                "{effect = 'infer', target = 'gpt-4', expect = 'Collapse'}",
            ),
            "order" => (
                "{refuse: {…}, unless_after: {…}, since: {…}}",
                "{refuse = {…}, unless_after = {…}, since = {…}}",
            ),
            _ => return None,
        };
        match self.source.format {
            Format::Yaml => Some(yaml),
            Format::Toml => Some(toml),
            Format::Json => None,
        }
    }

    fn mapping_help(&self) -> &'static str {
        match self.source.format {
            Format::Yaml if self.source.is_like_toml() => FORMATS,
            Format::Yaml => "write `key: value` lines, indented",
            Format::Json => "write `{\"key\": value}`",
            Format::Toml => "write `key = value` lines below `[its name]`",
        }
    }

    pub(super) fn report(&mut self, span: &Span, error: Error) {
        // One more than is shown is enough, and a document may have thousands.
        if self.problems.len() <= 4 * MAX_PROBLEMS {
            let Error { code, message, help, label } = error;
            let place = Some(self.source.place(span));
            self.problems.push(Problem { code, message, help, label, place });
        }
    }
}

/// What stands under a key.
pub(super) fn find<'n>(entries: &[Entry<'n>], name: &str) -> Option<&'n Node> {
    entries.iter().find(|(key, ..)| *key == name).map(|(_, _, node)| *node)
}

/// Whether a text can name a role or a label.
pub(super) fn is_identifier(text: &str) -> bool {
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(is_character)
}

pub(super) const IDENTIFIER: &str = "a name is 1 to 64 of the characters A-Z a-z 0-9 - _ .";

fn unknown_key(mapping: &Mapping, key: &str, names: &[&str], meant: Option<&str>) -> Error {
    let help = match (meant, names) {
        (Some(name), _) => format!("did you mean `{name}`?"),
        (None, [name]) => format!("its only key is `{name}`"),
        (None, names) => format!("its keys are {}", names.join(", ")),
    };
    let message = format!("{} has no key `{key}`", mapping.name);
    Error::new(codes::UNKNOWN_KEY, message).help(help).label("unknown key")
}

fn missing_key(mapping: &Mapping, key: &Key, format: Format) -> Error {
    if key.name == "version" {
        let error = Error::new(codes::VERSION, "a policy has no version");
        return error.help(match format {
            Format::Yaml => "add `version: 1` as the first line",
            Format::Json => "add `\"version\": 1,` after the first brace",
            Format::Toml => "add `version = 1` as the first line",
        });
    }
    let error = Error::new(codes::MISSING_KEY, format!("{} has no `{}`", mapping.name, key.name));
    error.help(format!("add `{}`: {}", key.name, lower_first(key.about.trim_end_matches('.'))))
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

pub(super) fn is_null(node: &Node) -> bool {
    matches!(&*node.content, Content::Scalar { kind: Kind::Null, .. })
}
