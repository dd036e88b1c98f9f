//! Processes that share their memory or their descriptors, as channels: what one of them reads, the other has.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use vantio_core::{Channel, End, Process};

use super::{Census, ends::PROCESS, entry::Entry, lock};
use crate::sys::process::{Shared, are_same};

/// The channel of what is in a process's memory.
pub(super) fn memory(owner: Process) -> Channel {
    let mut hasher = DefaultHasher::new();
    owner.hash(&mut hasher);
    Channel::Memory(PROCESS | hasher.finish() >> 2)
}

/// Adds a channel for every two that share something. Two can only where one made the other so, or
/// both were made by a third.
pub(super) fn add(census: &Census, entries: &[Entry], ends: &mut BTreeSet<End>) {
    let sharers = lock(&census.sharers).clone();
    if sharers.is_empty() {
        return;
    }
    let is_orphan = |entry: &Entry| entry.parent <= 1 || lock(&census.reapers).contains(&entry.parent);
    for (index, one) in entries.iter().enumerate() {
        for other in &entries[..index] {
            let are_related =
                |child: &Entry, parent: &Entry| child.parent == parent.pid && sharers.contains(&parent.pid);
            let may_share = are_related(one, other)
                || are_related(other, one)
                || is_orphan(one) && is_orphan(other)
                || one.parent == other.parent && sharers.contains(&one.parent);
            if may_share && share(census, one, other) {
                for entry in [one, other] {
                    let channel = memory(other.process());
                    ends.insert(End { process: entry.process(), channel, reads: true, writes: true });
                }
            }
        }
    }
}

/// Whether two share something; true when that cannot be known.
fn share(census: &Census, one: &Entry, other: &Entry) -> bool {
    let numbers = (census.number_of(one.process()), census.number_of(other.process()));
    // One that made no call yet is not known to the host, and has executed nothing.
    let (Some(first), Some(second)) = numbers else { return one.is_fork || other.is_fork };
    [Shared::Memory, Shared::Descriptors]
        .into_iter()
        .any(|what| are_same(first, second, what).unwrap_or(true))
}
