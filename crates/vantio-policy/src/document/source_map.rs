//! Where the rules of a program stand in its document.

use std::{collections::BTreeMap, fmt, sync::Arc};

use vantio_core::Section;

/// A place in a document, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// A place in a document that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The document, as it was named when it was compiled.
    pub file: Arc<str>,
    /// The place in it.
    pub position: Position,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.position.line, self.position.column)
    }
}

/// From rules to places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    places: BTreeMap<(Section, String), Position>,
    /// The documents that rules are from which are not from the map's own.
    files: BTreeMap<(Section, String), Arc<str>>,
    own: Option<Arc<str>>,
}

impl SourceMap {
    /// Where the rule of this list stands whose text is [`crate::Rule::text`]. A rule
    /// that `${credentials}` stands for is where that element is.
    pub fn position(&self, section: Section, text: &str) -> Option<Position> {
        self.places.get(&(section, text.to_owned())).copied()
    }

    /// As [`SourceMap::position`], with the document: a rule may come from one that is
    /// included, or from another layer.
    pub fn origin(&self, section: Section, text: &str) -> Option<Origin> {
        let key = (section, text.to_owned());
        let position = *self.places.get(&key)?;
        let file = self.files.get(&key).or(self.own.as_ref())?;
        Some(Origin { file: Arc::clone(file), position })
    }

    /// Every rule, with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Section, &str, Position)> {
        self.places.iter().map(|((section, text), position)| (*section, text.as_str(), *position))
    }

    /// Remembers the first place of a rule.
    pub(super) fn insert(&mut self, section: Section, text: &str, position: Position) {
        self.places.entry((section, text.to_owned())).or_insert(position);
    }

    /// Names the document that every rule so far is from.
    pub(crate) fn set_file(&mut self, name: &Arc<str>) {
        self.own = Some(Arc::clone(name));
    }

    /// Remembers a rule of another document, if it has none of that text yet.
    pub(crate) fn adopt(&mut self, section: Section, text: &str, origin: Origin) {
        let key = (section, text.to_owned());
        if !self.places.contains_key(&key) {
            self.places.insert(key.clone(), origin.position);
            self.files.insert(key, origin.file);
        }
    }
}
