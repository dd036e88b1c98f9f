//! Where the rules of a run's policy stand, as far as its documents are still what they were.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use vantio_core::{Hash, Section};
use vantio_phantom::changes::PathBytes;
use vantio_policy::SourceMap;

use crate::{
    run::policy::{load, load_preset},
    store::{LayerSource, PolicySource, Record},
};

/// The places of the rules of one run.
pub struct Places(Vec<SourceMap>);

impl Places {
    /// Reads the documents again that have not changed since.
    pub fn of(record: &Record) -> Self {
        let own = record.layers.is_empty().then(|| source_map(&record.policy, &[]));
        let layers =
            record.layers.iter().map(|LayerSource { source, includes, .. }| source_map(source, includes));
        Self(own.into_iter().chain(layers).flatten().collect())
    }

    /// `FILE:LINE:COLUMN` of a rule.
    pub fn of_rule(&self, section: Section, rule: &str) -> Option<String> {
        self.0.iter().find_map(|map| map.origin(section, rule)).map(|origin| origin.to_string())
    }
}

fn source_map(source: &PolicySource, includes: &[(PathBytes, String)]) -> Option<SourceMap> {
    let is_unchanged = |path: &PathBytes, digest: &str| {
        fs::read(OsStr::from_bytes(path.as_bytes())).is_ok_and(|bytes| Hash::of(&bytes).to_string() == digest)
    };
    let compiled = match source {
        PolicySource::Preset(name) => load_preset(name),
        PolicySource::File { path, digest } => {
            let are_unchanged = is_unchanged(path, digest)
                && includes.iter().all(|(path, digest)| is_unchanged(path, digest));
            if !are_unchanged {
                return None;
            }
            load(relative(&PathBuf::from(OsStr::from_bytes(path.as_bytes()))))
        }
    };
    Some(compiled.ok()?.0.source_map)
}

/// `path` from the current folder, where it lies beneath.
fn relative(path: &Path) -> &Path {
    let directory = std::env::current_dir().and_then(|path| path.canonicalize());
    directory.ok().and_then(|directory| path.strip_prefix(directory).ok()).unwrap_or(path)
}
