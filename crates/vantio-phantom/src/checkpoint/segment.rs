//! What is known already of a run's names since the last checkpoint, or since a directory moved.

use std::collections::{HashMap, HashSet};

use super::record::{Id, Source};

/// How much of a name is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// That a file was there, but for its content.
    Metadata,
    /// That a file was there, and its content.
    Content,
    /// That a directory was there; each name below speaks for itself.
    Directory,
    /// Everything, for all names below as well.
    Whole,
}

/// A file with several names, one of which is written down.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) source: Source,
    pub(super) has_meta: bool,
    pub(super) has_content: bool,
}

/// What is written down between two moves of directories.
#[derive(Debug, Default)]
pub(super) struct Names {
    levels: Vec<HashMap<Vec<u8>, Level>>,
    pub(super) inodes: HashMap<Id, Known>,
    pub(super) gone: HashSet<(usize, Vec<u8>)>,
}

impl Names {
    pub(super) fn level(&self, layer: usize, path: &[u8]) -> Option<Level> {
        self.levels.get(layer)?.get(path).copied()
    }

    pub(super) fn set(&mut self, layer: usize, path: &[u8], level: Level) {
        if self.levels.len() <= layer {
            self.levels.resize_with(layer + 1, HashMap::new);
        }
        self.levels[layer].insert(path.to_vec(), level);
    }

    /// Whether what is at `path` needs no further word: it, or what holds it, is put back as a whole.
    pub(super) fn covers(&self, layer: usize, path: &[u8]) -> bool {
        let Some(names) = self.levels.get(layer) else { return false };
        let is_whole = |path: &[u8]| names.get(path) == Some(&Level::Whole);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        is_whole(path) || ends.into_iter().any(|end| is_whole(&path[..end]))
    }

    /// Whether nothing is written down.
    pub(super) fn is_empty(&self) -> bool {
        self.levels.iter().all(HashMap::is_empty) && self.inodes.is_empty()
    }
}
