//! Files that have several names on the host.

use std::collections::HashMap;

use super::{Change, ChangeKind, ChangeSet, FileType, same_metadata};

/// The changes of names that are not their file's only one.
pub(crate) struct Shared<'a> {
    set: &'a ChangeSet,
    /// Their indices, by the file of the host.
    names: HashMap<(u64, u64), Vec<usize>>,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(set: &'a ChangeSet) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for (index, change) in set.changes().iter().enumerate() {
            if let Some(before) = change.before.as_ref().filter(|before| !before.is_dir() && before.links > 1)
            {
                names.entry(before.id).or_default().push(index);
            }
        }
        Self { set, names }
    }

    /// True for a change that all names of the file on the host follow: of its metadata, or of a file with several names.
    pub(crate) fn is_in_place(&self, change: &Change) -> bool {
        let Some(before) = &change.before else { return false };
        let names = self.of(change);
        let may_be = match change.kind {
            ChangeKind::Metadata => true,
            ChangeKind::Modified => before.file_type == FileType::File && !names.is_empty(),
            _ => false,
        };
        // The run has it apart under another name, and goes on seeing that.
        let is_apart = !names.is_empty() && self.set.kept_apart.contains(&before.id);
        may_be && !is_apart && names.iter().all(|other| is_one(change, &self.set.changes()[*other]))
    }

    /// The changes of all names of the file, by index; none where it has one name.
    pub(crate) fn of(&self, change: &Change) -> &[usize] {
        let names = change.before.as_ref().and_then(|before| self.names.get(&before.id));
        names.map_or(&[], Vec::as_slice)
    }

    /// True for a file of which the run changed several names.
    pub(crate) fn has_several(&self, file: (u64, u64)) -> bool {
        self.names.get(&file).is_some_and(|names| names.len() > 1)
    }

    /// True for a change by which a name changes that the run left alone.
    pub(crate) fn changes_others(&self, change: &Change) -> bool {
        let names = self.of(change).len();
        let has_others = change.before.as_ref().is_some_and(|before| before.links as usize > names);
        names > 0 && has_others && self.is_in_place(change)
    }
}

/// True for two names of one file on the host that the run left with the same file, or with two that are alike; or of which it
/// left only the one.
fn is_one(one: &Change, other: &Change) -> bool {
    if !matches!(other.kind, ChangeKind::Modified | ChangeKind::Metadata) {
        return true;
    }
    let (Some(after), Some(other_after)) = (&one.after, &other.after) else { return false };
    let are_marked = one.kind == ChangeKind::Metadata && other.kind == one.kind;
    after.id == other_after.id || are_marked && same_metadata(after, other_after)
}
