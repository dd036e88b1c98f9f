//! Files that have several names on the host.

use std::collections::HashMap;

use super::{Change, ChangeKind, ChangeSet, FileType, same_metadata};

/// The changes of names that are not their file's only one.
pub(crate) struct Shared<'a> {
    set: &'a ChangeSet,
    /// By the file of the host.
    names: HashMap<(u64, u64), Vec<&'a Change>>,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(set: &'a ChangeSet) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for change in set.changes() {
            if let Some(before) = change.before.as_ref().filter(|before| !before.is_dir() && before.links > 1)
            {
                names.entry(before.id).or_default().push(change);
            }
        }
        Self { set, names }
    }

    /// True for a change that all names of the file on the host follow: of its metadata, or of a file with several names.
    pub(crate) fn is_in_place(&self, change: &Change) -> bool {
        let Some(before) = &change.before else { return false };
        let names = self.names.get(&before.id);
        let may_be = match change.kind {
            ChangeKind::Metadata => true,
            ChangeKind::Modified => before.file_type == FileType::File && names.is_some(),
            _ => false,
        };
        let is_alone = names.is_none();
        may_be
            && (is_alone
                // The run has it apart under another name, and goes on seeing that.
                || !self.set.kept_apart.contains(&before.id)
                    && names.is_some_and(|names| names.iter().all(|other| is_one(change, other))))
    }

    /// True for a change by which a name changes that the run left alone.
    pub(crate) fn changes_others(&self, change: &Change) -> bool {
        let names = change.before.as_ref().and_then(|before| Some((before, self.names.get(&before.id)?)));
        names.is_some_and(|(before, names)| before.links as usize > names.len()) && self.is_in_place(change)
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
