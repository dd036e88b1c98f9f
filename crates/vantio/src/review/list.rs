//! The changes in the order in which they are looked at, and what was decided about each.

use std::collections::BTreeSet;

use vantio_phantom::{
    changes::{Change, ChangeKind, ChangeSet, Escaped, Node},
    commit::{HunkChoice, Selector},
};

use crate::commands::{Pick, Settled};

/// What a person decided about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet: it stays pending, or comes along with what needs it.
    #[default]
    Open,
    /// It goes to the host.
    Accepted,
    /// It stays pending, and so does what cannot be without it.
    Rejected,
    /// These pieces of the text go to the host: of the hunks with this digest.
    Part(BTreeSet<usize>, [u8; 32]),
    /// What the host and the run changed goes to the host.
    Merged,
    /// The same, lines that both changed with markers.
    Marked,
    /// The run's goes over the host's.
    Theirs,
    /// The host's stays, and the run's change is dropped.
    Ours,
}

impl Decision {
    /// Whether a commit has something to do.
    pub fn is_taken(&self) -> bool {
        !matches!(self, Self::Open | Self::Rejected)
    }
}

/// Changes with decisions.
pub struct List<'a> {
    rows: Vec<(&'a Change, Decision)>,
    folder: Vec<u8>,
    widest: usize,
    /// The row that is looked at.
    pub selected: usize,
}

impl<'a> List<'a> {
    /// Deletions first, then hazards, then the rest, each by path.
    pub fn new(set: &'a ChangeSet) -> Self {
        let mut rows: Vec<&Change> = set.changes().iter().collect();
        rows.sort_by_key(|change| match (change.kind, change.hazards.is_empty()) {
            (ChangeKind::Deleted, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        });
        let folder = common_folder(set);
        let length = |change: &&Change| title(change, &Decision::Open, &folder).chars().count();
        let widest = rows.iter().map(length).max().unwrap_or(0);
        let rows = rows.into_iter().map(|change| (change, Decision::Open)).collect();
        Self { rows, folder, widest, selected: 0 }
    }

    /// The rows.
    pub fn rows(&self) -> &[(&'a Change, Decision)] {
        &self.rows
    }

    /// The folder that all of them are in, with a slash at its end.
    pub fn folder(&self) -> &[u8] {
        &self.folder
    }

    /// Columns of the row that takes the most.
    pub const fn widest(&self) -> usize {
        self.widest
    }

    /// The change that is looked at.
    pub fn current(&self) -> Option<&'a Change> {
        self.rows.get(self.selected).map(|(change, _)| *change)
    }

    /// What was decided about it.
    pub fn decision(&self) -> Decision {
        self.rows.get(self.selected).map(|(_, decision)| decision.clone()).unwrap_or_default()
    }

    /// Decides about it alone.
    pub fn set(&mut self, decision: Decision) {
        if let Some((_, decided)) = self.rows.get_mut(self.selected) {
            *decided = decision;
        }
    }

    /// Looks at another row, so many further on.
    pub fn step(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// Decides about the row that is looked at; a directory that is gone or new takes what is in it along,
    /// hazards excepted.
    pub fn decide(&mut self, decision: &Decision) {
        let Some(current) = self.current() else { return };
        let folder = [&current.path[..], b"/"].concat();
        for (change, decided) in &mut self.rows {
            let is_below = change.path.starts_with(&folder)
                && (change.hazards.is_empty() || *decision != Decision::Accepted);
            if change.path == current.path && change.kind == current.kind || is_below {
                *decided = decision.clone();
            }
        }
    }

    /// Accepts everything that is no hazard and was not rejected.
    pub fn accept_rest(&mut self) {
        for (change, decided) in &mut self.rows {
            if change.hazards.is_empty() && *decided == Decision::Open {
                *decided = Decision::Accepted;
            }
        }
    }

    /// How many were accepted.
    pub fn accepted(&self) -> usize {
        self.rows.iter().filter(|(_, decision)| decision.is_taken()).count()
    }

    /// What a commit takes: what was accepted, and what that needs unless it is a hazard or was rejected.
    pub fn pick(&self) -> (Pick, Settled) {
        let is = |wanted: Decision| self.rows.iter().filter(move |(_, decision)| *decision == wanted);
        let paths = |wanted: Decision| is(wanted).map(|(change, _)| Selector::new(change.path.clone()));
        let taken = || self.rows.iter().filter(|(_, decision)| decision.is_taken());
        let selection: Vec<_> = taken().map(|(change, _)| Selector::new(change.path.clone())).collect();
        // A selection reaches below its path.
        let stays = |change: &&Change| {
            !change.hazards.is_empty() || taken().any(|(accepted, _)| is_below(&change.path, &accepted.path))
        };
        let open = is(Decision::Open).map(|(change, _)| *change).filter(stays);
        let withheld = is(Decision::Rejected).map(|(change, _)| *change).chain(open);
        let risky = taken().map(|(change, _)| *change).filter(|change| !change.hazards.is_empty());
        let risky: Vec<_> = risky.map(|change| change.path.clone()).collect();
        let pick = Pick {
            withheld: withheld.map(|change| change.path.clone()).collect(),
            selection: (!selection.is_empty()).then_some(selection),
            hazards: Vec::new(),
            accepted: risky.len(),
            risky,
        };
        let hunks = self.rows.iter().filter_map(|(change, decision)| match decision {
            Decision::Part(pieces, of) => {
                Some(HunkChoice { path: change.path.clone(), pieces: pieces.clone(), of: *of })
            }
            _ => None,
        });
        let settled = Settled {
            theirs: paths(Decision::Theirs).collect(),
            ours: paths(Decision::Ours).collect(),
            merge: paths(Decision::Merged).chain(paths(Decision::Marked)).collect(),
            with_markers: is(Decision::Marked).next().is_some(),
            hunks: hunks.collect(),
        };
        (pick, settled)
    }
}

fn common_folder(set: &ChangeSet) -> Vec<u8> {
    let mut paths = set.changes().iter().map(|change| change.path.as_slice());
    let first = paths.next().unwrap_or_default();
    let shared = |length: usize, path: &[u8]| {
        first[..length].iter().zip(path).take_while(|(one, other)| one == other).count()
    };
    let length = paths.fold(first.len(), shared);
    let slash = first[..length].iter().rposition(|byte| *byte == b'/');
    first[..slash.map_or(0, |slash| slash + 1)].to_vec()
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

/// One line for a change; its path is told from `folder` down.
pub fn title(change: &Change, decision: &Decision, folder: &[u8]) -> String {
    let decided = match decision {
        Decision::Open => ' ',
        Decision::Accepted => '✓',
        Decision::Rejected | Decision::Ours => '✗',
        Decision::Part(..) => '±',
        Decision::Merged | Decision::Marked => 'm',
        Decision::Theirs => 't',
    };
    let hazard = if change.hazards.is_empty() { "" } else { "! " };
    let is_dir = change.after.as_ref().or(change.before.as_ref()).is_some_and(Node::is_dir);
    let slash = if is_dir { "/" } else { "" };
    let path = change.path.strip_prefix(folder).unwrap_or(&change.path);
    format!("{decided} {} {hazard}{}{slash}", change.kind.mark(), Escaped(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_a_folder_is_below_it() {
        assert!(is_below(b"/a/b", b"/a") && !is_below(b"/ab", b"/a") && !is_below(b"/a", b"/a"));
    }
}
