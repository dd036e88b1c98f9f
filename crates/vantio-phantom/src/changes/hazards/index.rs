//! Finds the rows of the table that are about a path.

use std::collections::HashMap;

use super::{
    super::{FileType, Node},
    names::Pattern,
    table::{ROWS, Row},
};

/// The patterns of the table, by a name that a path must have to match.
pub(super) struct Index {
    by_name: HashMap<String, Vec<(usize, Pattern)>>,
    /// Those that are wildcards only.
    loose: Vec<(usize, Pattern)>,
    except: Vec<Vec<Pattern>>,
}

impl Index {
    pub(super) fn new() -> Self {
        let mut index = Self { by_name: HashMap::new(), loose: Vec::new(), except: Vec::new() };
        for (number, row) in ROWS.iter().enumerate() {
            for pattern in row.paths.iter().map(|text| Pattern::new(text)) {
                let place = match pattern.key() {
                    Some(key) => index.by_name.entry(key.to_owned()).or_default(),
                    None => &mut index.loose,
                };
                place.push((number, pattern));
            }
            index.except.push(row.except.iter().map(|text| Pattern::new(text)).collect());
        }
        index
    }

    /// The rows about something of this type at these names, in their order.
    pub(super) fn rows(&self, names: &[String], node: &Node) -> impl Iterator<Item = &'static Row> + use<> {
        let mut is_about: Vec<bool> = ROWS.iter().map(|row| row.paths.is_empty()).collect();
        if !node.is_dir() {
            for (number, _) in self.candidates(names).filter(|(_, pattern)| pattern.matches(names)) {
                is_about[*number] = true;
            }
        }
        if node.file_type == FileType::Symlink {
            // Through a symlink, what is elsewhere stands here.
            for (number, _) in self.all().filter(|(_, pattern)| pattern.leads_to(names)) {
                is_about[*number] = true;
            }
        }
        for (is_about, except) in is_about.iter_mut().zip(&self.except) {
            *is_about &= !except.iter().any(|pattern| pattern.matches(names));
        }
        ROWS.iter().zip(is_about).filter(|(_, is_about)| *is_about).map(|(row, _)| row)
    }

    /// True when `row` is among them.
    pub(super) fn covers(&self, row: &Row, names: &[String], node: &Node) -> bool {
        self.rows(names, node).any(|other| std::ptr::eq(other, row))
    }

    /// True when a pattern is about something of this type at these names.
    pub(super) fn is_listed(&self, names: &[String], node: &Node) -> bool {
        self.rows(names, node).any(|row| !row.paths.is_empty())
    }

    /// True when a symlink at these names would be what a pattern says, or on the way to it.
    pub(super) fn is_about(&self, names: &[String]) -> bool {
        self.candidates(names).any(|(_, pattern)| pattern.matches(names))
            || self.all().any(|(_, pattern)| pattern.leads_to(names))
    }

    /// True when a folder at these names holds what a pattern says.
    pub(super) fn is_on_way(&self, names: &[String]) -> bool {
        self.all().any(|(_, pattern)| pattern.leads_to(names) || pattern.is_open() && pattern.matches(names))
    }

    /// The patterns that may match these names, each with its row.
    fn candidates(&self, names: &[String]) -> impl Iterator<Item = &(usize, Pattern)> {
        names.iter().filter_map(|name| self.by_name.get(name)).flatten().chain(&self.loose)
    }

    fn all(&self) -> impl Iterator<Item = &(usize, Pattern)> {
        self.by_name.values().flatten().chain(&self.loose)
    }
}
