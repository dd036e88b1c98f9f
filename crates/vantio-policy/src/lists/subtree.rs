//! What a directory's removal or rename would do to the denies below it.
//!
//! Where no alias is involved, one walk shows it: each rule is reached from one entry only.
//! With aliases, two entries can stand for the same rules, and a path is compared entry by
//! entry, so that what is denied by its one name is not taken for what is denied by the other.

use crate::{
    entries::{Entries, Lead},
    path::is_within,
    trie::{
        Nodes,
        walk::{Reached, Stray},
    },
};

/// The first rule of `fs.deny` that would hold for other names below `path` than below one
/// with a last component that no rule mentions. `reached` is what the path leads to.
pub(super) fn removal(
    nodes: &impl Nodes,
    entries: &Entries,
    path: &[u8],
    reached: &Reached,
) -> Result<u32, Stray> {
    let by_name = |reached: &Reached| {
        if path == b"/" { reached.depends_on_root(nodes) } else { reached.depends_on_name(nodes) }
    };
    let mut least = entries.denies_below(path);
    if !entries.shares() {
        return Ok(least.min(by_name(reached)));
    }
    for lead in entries.leads().iter().filter(|lead| holds(lead, path)) {
        least = least.min(by_name(&from(nodes, lead, path)?));
    }
    Ok(least)
}

/// The first rule of `fs.deny` that would hold for other names below the one path than below
/// the other. Each comes with what it leads to; they are two.
pub(super) fn rename(
    nodes: &impl Nodes,
    entries: &Entries,
    old: (&[u8], &Reached),
    new: (&[u8], &Reached),
) -> Result<u32, Stray> {
    let mut least = entries.denies_below(old.0).min(entries.denies_below(new.0));
    if !entries.shares() {
        return Ok(least.min(old.1.differs(new.1, nodes)));
    }
    for lead in entries.leads() {
        if holds(lead, old.0) || holds(lead, new.0) {
            least = least.min(from(nodes, lead, old.0)?.differs(&from(nodes, lead, new.0)?, nodes));
        }
    }
    Ok(least)
}

/// Whether the path is the entry's, or lies below it.
fn holds(lead: &Lead, path: &[u8]) -> bool {
    path == b"/" && lead.path.is_empty() || is_within(path, &lead.path)
}

/// What the path leads to from one entry; nothing where it does not lie below it.
fn from(nodes: &impl Nodes, lead: &Lead, path: &[u8]) -> Result<Reached, Stray> {
    let mut reached = Reached::nothing();
    reached.walk(nodes, lead, path)?;
    Ok(reached)
}
