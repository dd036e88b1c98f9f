//! Where the rules of a program stand in its document.

use std::collections::BTreeMap;

use vantio_core::Section;

/// A place in a document, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// From rules to places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap(BTreeMap<(Section, String), Position>);

impl SourceMap {
    /// Where the rule of this list stands whose text is [`crate::Rule::text`]. A rule
    /// that `${credentials}` stands for is where that element is.
    pub fn position(&self, section: Section, text: &str) -> Option<Position> {
        self.0.get(&(section, text.to_owned())).copied()
    }

    /// Every rule, with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Section, &str, Position)> {
        self.0.iter().map(|((section, text), position)| (*section, text.as_str(), *position))
    }

    /// Remembers the first place of a rule.
    pub(super) fn insert(&mut self, section: Section, text: &str, position: Position) {
        self.0.entry((section, text.to_owned())).or_insert(position);
    }
}
