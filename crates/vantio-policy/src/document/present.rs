//! Which keys a document has: a list that is absent is not one that is empty.

use std::{collections::BTreeMap, sync::Arc};

use vantio_core::Section;

use super::{
    Origin, Position,
    source::Source,
    tree::{Content, Node},
};

/// The keys of a document by their dotted paths, such as `fs.read` or `env.set.LANG`,
/// and where they stand. An element of a list under `env` is `env.allow[CI]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present(BTreeMap<String, Origin>);

impl Present {
    pub(super) fn of(source: &Source, root: Option<&Node>) -> Self {
        let mut present = Self::default();
        let file = Arc::from(source.file_name);
        if let Some(root) = root {
            present.read(source, &file, root, "", 0);
        }
        present
    }

    /// Whether the document has the key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether the document has the list, under any of its names.
    pub fn has_list(&self, section: Section) -> bool {
        let other = match section {
            Section::NetAllow => "domains.allow",
            Section::NetDeny => "domains.deny",
            // What a gateway is told to use may be used.
            Section::InferModels => "llm",
            _ => return self.has(section.name()),
        };
        self.has(section.name()) || self.has(other)
    }

    /// Where the key stands.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.0.get(key)
    }

    /// Adds the keys of another document that are not here.
    pub(crate) fn join(&mut self, other: &Self) {
        for (key, origin) in &other.0 {
            self.0.entry(key.clone()).or_insert_with(|| origin.clone());
        }
    }

    fn read(&mut self, source: &Source, file: &Arc<str>, node: &Node, path: &str, depth: usize) {
        let origin = |node: &Node| {
            let place = source.place(&node.span);
            Origin { file: Arc::clone(file), position: Position { line: place.line, column: place.column } }
        };
        match &*node.content {
            Content::Map(pairs) if depth < MAX_DEPTH => {
                for (key, value) in pairs {
                    let Content::Scalar { text, .. } = &*key.content else { continue };
                    let path = if depth == 0 { text.clone() } else { format!("{path}.{text}") };
                    self.0.entry(path.clone()).or_insert_with(|| origin(key));
                    self.read(source, file, value, &path, depth + 1);
                }
            }
            Content::List(elements) if path.starts_with("env.") => {
                for element in elements {
                    let Content::Scalar { text, .. } = &*element.content else { continue };
                    self.0.entry(format!("{path}[{text}]")).or_insert_with(|| origin(element));
                }
            }
            _ => {}
        }
    }
}

/// Levels of keys: `env.set.LANG`.
const MAX_DEPTH: usize = 3;
