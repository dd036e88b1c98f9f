//! Reading nodes as what is expected of them.

use std::collections::HashMap;

use super::{Compiler, Error, LATER_KEYS, MAX_PROBLEMS};
use crate::document::{
    error::Problem,
    source::Span,
    tree::{Content, Node},
    values::{Kind, nearest},
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
        self.report(
            &node.span,
            Error::new("E_POLICY_VALUE", format!("`{key}` cannot be `{text}`")).help(help),
        );
        None
    }

    pub(super) fn string<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let (kind, help) = match &*node.content {
            Content::Scalar { text, is_plain } => match Kind::of(text, *is_plain) {
                Kind::String => return Some(text),
                Kind::Null => ("nothing", "write a value, or remove the line".to_owned()),
                kind => (kind.name(), format!("write it in quotes: \"{text}\"")),
            },
            Content::List(_) => ("a list", "write one value".to_owned()),
            Content::Map(_) => ("a mapping", "write it in quotes if it contains `: ` or `{`".to_owned()),
        };
        self.report(
            &node.span,
            Error::new("E_POLICY_TYPE", format!("{what} is a string, not {kind}")).help(help),
        );
        None
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        let help = match &*node.content {
            Content::List(elements) => return elements,
            Content::Scalar { .. } if is_null(node) => format!("write `[]` for none, or remove `{key}`"),
            Content::Scalar { text, .. } => format!("write it in brackets: [\"{text}\"]"),
            Content::Map(_) => "begin each element with `- `".to_owned(),
        };
        self.report(&node.span, Error::new("E_POLICY_TYPE", format!("`{key}` is a list")).help(help));
        &[]
    }

    /// The entries under keys that are known; the others are reported.
    pub(super) fn known_entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&str],
    ) -> Option<Vec<Entry<'n>>> {
        let mut entries = self.entries(node, what)?;
        entries.retain(|(key, span, _)| {
            let is_known = keys.contains(key);
            if !is_known {
                self.report(span, unknown_key(what, key, keys));
            }
            is_known
        });
        Some(entries)
    }

    /// The entries of a mapping, each key once.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Entry<'n>>> {
        let Content::Map(pairs) = &*node.content else {
            let error = Error::new("E_POLICY_TYPE", format!("{what} is a mapping of keys to values"));
            self.report(&node.span, error.help("write `key: value` lines, indented"));
            return None;
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut entries = Vec::new();
        for (key, value) in pairs {
            let Content::Scalar { text, is_plain } = &*key.content else {
                self.report(
                    &key.span,
                    Error::new("E_POLICY_TYPE", "a key is a string").help("write it in quotes"),
                );
                continue;
            };
            if text == "<<" && *is_plain {
                let error = Error::new("E_POLICY_MERGE_KEY", "merge keys are not supported");
                self.report(
                    &key.span,
                    error.help("write the keys out; an anchor may stand for a whole list"),
                );
            } else if let Some(line) = seen.get(text.as_str()) {
                let error = Error::new("E_POLICY_DUPLICATE_KEY", format!("the key `{text}` stands twice"));
                self.report(&key.span, error.help(format!("the first is in line {line}; join the two")));
            } else {
                seen.insert(text, self.source.place(&key.span).line);
                entries.push((text.as_str(), &key.span, value));
            }
        }
        Some(entries)
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

fn unknown_key(what: &str, key: &str, keys: &[&str]) -> Error {
    if what == "a policy" && LATER_KEYS.contains(&key) {
        let error = Error::new("E_POLICY_UNSUPPORTED", format!("`{key}` is not supported by this version"));
        return error.help("remove it: a rule that nothing enforces would be a false promise");
    }
    let help = nearest(key, keys).map_or_else(
        || format!("its keys are {}", keys.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    Error::new("E_POLICY_UNKNOWN_KEY", format!("{what} has no key `{key}`")).help(help).label("unknown key")
}

pub(super) fn is_null(node: &Node) -> bool {
    matches!(&*node.content, Content::Scalar { text, is_plain } if Kind::of(text, *is_plain) == Kind::Null)
}
