//! Processes that share their memory or their descriptors, as channels: what one of them reads, the other has.

use std::collections::BTreeSet;

use rustix::io::Errno;
use vantio_core::{Channel, End, Process};

use super::{Census, entry::Entry, lock};
use crate::sys::process::{Shared, are_same};

/// The channel of what is in a process's memory.
pub(super) const fn memory(owner: Process) -> Channel {
    Channel::Inside(owner)
}

/// Adds a channel for every two that share something.
pub(super) fn add(census: &Census, entries: &[Entry], ends: &mut BTreeSet<End>) {
    let sharers = lock(&census.sharers).clone();
    if sharers.is_empty() {
        return;
    }
    let is_orphan = |entry: &Entry| entry.parent <= 1 || lock(&census.reapers).contains(&entry.parent);
    // Who neither shared with a child, nor was made by one who did, shares nothing; of an orphan that is not known.
    let may_share =
        |entry: &Entry| sharers.contains(&entry.pid) || sharers.contains(&entry.parent) || is_orphan(entry);
    let sharing: Vec<&Entry> = entries.iter().filter(|entry| may_share(entry)).collect();
    for (index, one) in sharing.iter().enumerate() {
        for other in &sharing[..index] {
            let is_near = one.parent == other.pid || other.parent == one.pid || one.parent == other.parent;
            let is_near = is_near || is_orphan(one) || is_orphan(other);
            if share(census, one, other, is_near) {
                for entry in [one, other] {
                    let channel = memory(other.process());
                    ends.insert(End { process: entry.process(), channel, reads: true, writes: true });
                }
            }
        }
    }
}

/// Whether two share something; true when that cannot be known.
fn share(census: &Census, one: &Entry, other: &Entry, is_near: bool) -> bool {
    let threads = (census.threads_of(one), census.threads_of(other));
    // One that made no call yet is not known to the host, and has executed nothing. What it shares it has from its
    // parent, which shares it too or has left it an orphan.
    let (Some(first), Some(second)) = threads else { return is_near && (one.is_fork || other.is_fork) };
    let mut pairs = first.iter().flat_map(|one| second.iter().map(move |other| (*one, *other)));
    pairs.any(|(one, other)| {
        [Shared::Memory, Shared::Descriptors].into_iter().any(|what| match are_same(one, other, what) {
            Err(Errno::SRCH) if first.len() + second.len() > 2 => false,
            result => result.unwrap_or(true),
        })
    })
}
