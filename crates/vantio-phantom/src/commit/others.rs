//! What the other commits of a state folder learn of files that came back.
//!
//! A commit that changes what an earlier one brought, and is taken back, leaves every file as it was, but with another
//! change time. By that time the earlier one would take it for changed by the host.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::fd::BorrowedFd,
    path::Path,
};

use super::{
    depot::undo_folder,
    journal::{JOURNAL_FILE, Record, Steps, Undone, numbers, record_undone},
    steps::Id,
    undo::changed_at,
};
use crate::changes::{Stamp, beneath::is_within};

/// A file that came back.
struct Returned<'a> {
    path: &'a [u8],
    id: Id,
    /// The folders that it is in.
    above: Vec<Id>,
    /// Its change time before the commit, and now.
    then: Stamp,
    now: Stamp,
}

/// Tells the other commits of the runs in `runs` that `paths` came back when these steps were taken back.
pub(super) fn tell(
    runs: &Path,
    host_root: BorrowedFd<'_>,
    steps: &Steps,
    paths: &[Vec<u8>],
) -> io::Result<()> {
    let before: HashMap<Id, Stamp> = steps.was.iter().copied().collect();
    let mut folders = HashMap::new();
    let returned = |path| {
        let (id, now) = changed_at(host_root, path)?;
        let then = *before.get(&id)?;
        Some(Returned { path, id, above: above(host_root, path, &mut folders), then, now })
    };
    let returned: Vec<_> = paths.iter().map(|path| &path[..]).filter_map(returned).collect();
    if returned.is_empty() {
        return Ok(());
    }
    for run in fs::read_dir(runs)? {
        let run = run?.path();
        for number in numbers(&run).unwrap_or_default() {
            let journal = undo_folder(&run, number).join(JOURNAL_FILE);
            // What cannot be read can neither be taken back.
            if let Ok(Some(record)) = Record::read(&journal) {
                let returned = known_by(&record, &returned);
                if !returned.returned.is_empty() {
                    record_undone(&journal, returned)?;
                }
            }
        }
    }
    Ok(())
}

/// The folders that `path` is in; `known` are those that were looked at.
fn above<'a>(
    host_root: BorrowedFd<'_>,
    path: &'a [u8],
    known: &mut HashMap<&'a [u8], Option<Id>>,
) -> Vec<Id> {
    let ends = path.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/').map(|(at, _)| at);
    let mut id = |folder| *known.entry(folder).or_insert_with(|| Some(changed_at(host_root, folder)?.0));
    ends.filter_map(|end| id(&path[..end])).collect()
}

/// Of what came back, that which was as `record` left it.
fn known_by(record: &Record, returned: &[Returned<'_>]) -> Undone {
    let mut undone = Undone::default();
    let (Some(steps), Some(done)) = (&record.steps, record.applied) else { return undone };
    let places: Vec<_> = steps.list.iter().filter_map(|step| record.absolute(step)).collect();
    let own: HashSet<Id> = steps.list.iter().flat_map(|step| step.action.ids()).collect();
    for file in returned {
        let was_known = file.then <= done || record.undone.returned.contains(&(file.id, file.then));
        // It may have come back under another of its names, or before the renames that took it, or its folder, elsewhere.
        let is_its = own.contains(&file.id)
            || file.above.iter().any(|folder| own.contains(folder))
            || places.iter().any(|place| is_within(file.path, place));
        if was_known && is_its {
            undone.returned.insert((file.id, file.now));
        }
    }
    undone
}
