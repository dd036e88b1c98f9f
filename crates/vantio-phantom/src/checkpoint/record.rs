//! The journal of a checkpoint: `journal.jsonl` in its folder.
//!
//! A line is written before the change that it is about. It says what the run's upper layers had at that
//! moment, the first time after the checkpoint that a name or a file changes. A line that was torn says nothing, and
//! neither was anything changed after it: whoever could not write it refused the change.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Statx, StatxFlags};
use serde::{Deserialize, Serialize};

use crate::{
    changes::{Node, PathBytes},
    commit::meta::Meta,
};

/// Device and inode.
pub(super) type Id = (u64, u64);

/// When a file came into being, in seconds and nanoseconds, where the file system tells.
pub(super) type Born = Option<(i64, u32)>;

/// Which file it is, and since when.
pub(super) fn identity(stat: &Statx) -> (Id, Born) {
    let is_told = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let born = is_told.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
    (Node::of_stat(stat).id, born)
}

/// A name in an upper layer, relative to its root. The empty path is the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    /// Index of the layer.
    pub(super) layer: usize,
    /// The path.
    pub(super) path: PathBytes,
}

impl Place {
    pub(super) fn new(layer: usize, path: &[u8]) -> Self {
        Self { layer, path: path.into() }
    }
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// What was at a name.
    Was {
        /// The name.
        at: Place,
        /// What it was.
        state: State,
    },
    /// What a file with several names was, of which the one that changes is not the one that is known.
    Inode {
        /// Where the file can be found.
        of: Source,
        /// What it was besides its content, where that is not written down yet.
        meta: Option<Meta>,
        /// The slot of a copy of its content, where that is about to change.
        copy: Option<String>,
    },
    /// The overlay's own notes on a directory that is about to be removed.
    Gone {
        /// Where it was.
        at: Place,
        /// Its notes.
        notes: Notes,
    },
    /// A directory is about to get another name, with all below it. Lines after this one are about the
    /// names that there are then.
    Moved(Box<Move>),
    /// Whether the last move was carried out. Missing where a crash came between.
    Carried(bool),
}

impl Line {
    /// Whether it names only what can be in a layer, and slots.
    fn is_sound(&self) -> bool {
        match self {
            Self::Was { at, state } => at.is_sound() && state.slot().is_none_or(is_slot),
            Self::Inode { of, copy, .. } => {
                let is_known = match of {
                    Source::Name(place) => place.is_sound(),
                    Source::Slot(slot) => is_slot(slot),
                };
                is_known && copy.as_deref().is_none_or(is_slot)
            }
            Self::Gone { at, .. } => at.is_sound(),
            Self::Moved(by) => is_relative(by.from.as_bytes()) && is_relative(by.to.as_bytes()),
            Self::Carried(_) => true,
        }
    }
}

impl Place {
    fn is_sound(&self) -> bool {
        is_relative(self.path.as_bytes())
    }
}

impl State {
    fn slot(&self) -> Option<&str> {
        match self {
            Self::Kept { slot, .. } | Self::Copied { slot, .. } => Some(slot),
            Self::Absent | Self::Whiteout | Self::Directory(_) | Self::Same(_) => None,
        }
    }
}

/// Whether it stays below where it begins; the empty path does.
fn is_relative(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    path.is_empty() || path.split(|byte| *byte == b'/').all(is_name)
}

/// Whether it is a name that [`Epoch`](super::shelf::Epoch) gives.
fn is_slot(name: &str) -> bool {
    name.strip_prefix("slot-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What was at a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing; the name below may show the host's.
    Absent,
    /// The mark that hides the host's.
    Whiteout,
    /// A directory.
    Directory(Meta),
    /// Anything else, which has another name now: a slot.
    Kept {
        /// The slot.
        slot: String,
        /// What it was besides its content, where that is not written down yet.
        meta: Option<Meta>,
    },
    /// A regular file, whose content is in a slot.
    Copied {
        /// The slot.
        slot: String,
        /// What it was besides its content.
        meta: Meta,
        /// Whether it had other names, which must go on naming the same file.
        shared: bool,
        /// Which file the slot is, where that has everything that is said here and so can take the name as it is.
        #[serde(default)]
        whole: Option<Id>,
        /// When that file came into being: in a copy of the run's folder the number may be another file's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        born: Born,
    },
    /// Anything but a directory, of which only this changes.
    Same(Meta),
}

/// Where a file can be found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// It has this name, or had it when the lines begin.
    Name(Place),
    /// It is in this slot.
    Slot(String),
}

/// Attributes that an overlay keeps for itself.
pub(super) type Notes = Vec<(PathBytes, PathBytes)>;

/// A directory that got another name, or exchanged its own with something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Move {
    /// Index of the layer.
    pub(super) layer: usize,
    /// Its name before.
    pub(super) from: PathBytes,
    /// Its name after.
    pub(super) to: PathBytes,
    /// Which it is.
    pub(super) node: Id,
    /// Its notes before.
    pub(super) notes: Notes,
    /// Of an exchange: what was at `to`, if it is a directory of the layer.
    pub(super) other: Option<(Id, Notes)>,
    /// Whether the two exchanged their names.
    pub(super) exchanged: bool,
}

/// Lines between two moves: after `by`, if there was one.
#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) by: Option<Box<Move>>,
    /// Whether the move was carried out, where that is known.
    pub(super) was_carried: Option<bool>,
    pub(super) lines: Vec<Line>,
}

/// Reads the journal in the checkpoint's `folder`, as segments in the order of time; at least one.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Segment>> {
    match fs::read(path(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => parse(b""),
        other => parse(&other?),
    }
}

/// What the lines say. One that names what is in no layer, or no slot, was not written by a supervisor: the journal is damaged.
fn parse(text: &[u8]) -> io::Result<Vec<Segment>> {
    let mut segments = vec![Segment::default()];
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if !line.is_sound() => return Err(io::ErrorKind::InvalidData.into()),
            Ok(Line::Moved(by)) => segments.push(Segment { by: Some(by), ..Segment::default() }),
            Ok(Line::Carried(was_carried)) => {
                if let Some(segment) = segments.last_mut() {
                    segment.was_carried = Some(was_carried);
                }
            }
            Ok(line) => {
                if let Some(segment) = segments.last_mut() {
                    segment.lines.push(line);
                }
            }
            Err(_) => {}
        }
    }
    Ok(segments)
}

/// A journal as it is understood, written again; `None` where it is damaged.
pub(super) fn rewritten(text: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    let mut write = |line: &Line| {
        serde_json::to_writer(&mut written, line).ok()?;
        written.push(b'\n');
        Some(())
    };
    for segment in parse(text).ok()? {
        if let Some(by) = segment.by {
            write(&Line::Moved(by))?;
        }
        if let Some(was_carried) = segment.was_carried {
            write(&Line::Carried(was_carried))?;
        }
        segment.lines.iter().try_for_each(&mut write)?;
    }
    Some(written)
}

/// Where the journal is in the checkpoint's `folder`.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(JOURNAL_FILE)
}

pub(super) const JOURNAL_FILE: &str = "journal.jsonl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_journal_names_is_in_a_layer_or_a_slot() {
        let was = |path: &str, slot: &str| {
            let at = serde_json::json!({ "layer": 0, "path": path });
            let kept = serde_json::json!({ "kept": { "slot": slot, "meta": null } });
            format!("{}\n", serde_json::json!({ "was": { "at": at, "state": kept } })).into_bytes()
        };
        assert!(rewritten(&was("a/b", "slot-1")).is_some_and(|text| !text.is_empty()));
        assert_eq!(
            rewritten(b"{\"was\":{\"at\":{\"lay\n\n"),
            Some(Vec::new()),
            "a line that was torn says nothing"
        );
        for (path, slot) in
            [("../a", "slot-1"), ("a//b", "slot-1"), ("/a", "slot-1"), ("a", "../slot-1"), ("a", "x")]
        {
            assert_eq!(rewritten(&was(path, slot)), None, "{path} {slot}");
        }
    }
}
