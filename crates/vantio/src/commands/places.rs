//! Where the rules of a run's policies stand, as far as their documents are still what they were.

use vantio_core::Section;
use vantio_policy::SourceMap;

use crate::{
    run::policy::read_again,
    store::{LayerSource, Record},
};

/// The places of the rules of one run.
pub struct Places(Vec<SourceMap>);

impl Places {
    /// Reads the documents again that have not changed since.
    pub fn of(record: &Record) -> Self {
        let alone = [LayerSource::new(record.policy.clone())];
        let sources = if record.layers.is_empty() { &alone } else { record.layers.as_slice() };
        Self(sources.iter().filter_map(read_again).map(|compiled| compiled.source_map).collect())
    }

    /// `FILE:LINE:COLUMN` of a rule.
    pub fn of_rule(&self, section: Section, rule: &str) -> Option<String> {
        self.0.iter().find_map(|map| map.origin(section, rule)).map(|origin| origin.to_string())
    }
}
