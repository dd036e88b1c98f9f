//! Taking a commit back, or a part of it.

mod meanwhile;
mod part;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::BorrowedFd,
    path::Path,
};

use rustix::fd::AsFd as _;
use serde::{Deserialize, Serialize};

use super::{
    CommitError, Held, Recovered, Remedy, Selector,
    away::{self, Lost},
    depot::{self, DepotPlace, undo_folder},
    dirs,
    discard::remove_tree,
    journal::{JOURNAL_FILE, Record, Steps, Undone, numbers, record_undone},
    recover::take_over_undo,
    rollback::{Ground, Reason, Scope, roll_back},
    since::{Staying, changed_since, written_since},
    steps::Id,
};
use crate::changes::{
    Committed, Node, RunFolder, Stamp,
    beneath::{self, Pinned},
    write_json,
};
pub(super) use meanwhile::Begun;
use part::Part;

/// What an undo did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoReport {
    /// The commit that was taken back.
    pub number: u64,
    /// How many of its steps were.
    pub taken: usize,
    /// Paths that stayed as they are, because the host changed them since or
    /// because what was there before is not kept.
    pub stayed: Vec<Vec<u8>>,
    /// Those of them that the host did not change: what was there before lay on another mount than the state folder, and
    /// there was no room to keep it.
    pub unkept: Vec<Vec<u8>>,
    /// Those of them that the host did not change, each with what it cannot go back without: its other name, or the
    /// folder that it was in.
    pub held: Vec<Held>,
    /// Where paths were named, those that went back with them.
    pub along: Vec<Vec<u8>>,
}

/// Takes back the last commit of `run` that was not taken back yet, but for one of which an undo has told that all
/// stays. Files return with the inodes they had. The changes are pending again, unless the
/// run was discarded.
pub fn undo(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<UndoReport, CommitError> {
    undo_paths(run, &[], host_root)
}

/// Takes back what `selection` names of the last commit that brought it; the
/// whole of the last commit where it is empty.
///
/// Where an undo of a whole commit was cut off and all is asked for, that is what is finished, and nothing more.
///
/// What cannot stay without it goes back too: both names of a renamed
/// directory, what was put into a new one, the other names of a file.
pub fn undo_paths(
    run: &RunFolder,
    selection: &[Selector],
    host_root: BorrowedFd<'_>,
) -> Result<UndoReport, CommitError> {
    let (_lock, resumed) = take_over_undo(run, host_root)?;
    if let Some(resumed) = resumed.filter(|_| selection.is_empty()) {
        return Ok(resumed);
    }
    let failed = |source| failed(run.path(), source);
    let (number, part) = find(run, selection, host_root)?;
    let record = Record::read(&undo_folder(run.path(), number).join(JOURNAL_FILE))?;
    let (mut along, mut unkept, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let begun = Some(Stamp::now());
    let mut undoing = Undoing { number, stays: BTreeSet::new(), part, begun, changed: BTreeSet::new() };
    if let Some(record) = &record {
        let grounds = grounds(run.path(), record, host_root).map_err(failed)?;
        let lost = lost(run.path(), record).map_err(failed)?;
        let staying = changed_since(&grounds, record, &lost.steps).map_err(failed)?;
        waiting = held(record, &grounds, &staying);
        unkept = Lost { steps: staying.lost, ..lost }.paths(record);
        undoing.stays = staying.steps;
        undoing.changed = written_since(&grounds, record).map_err(failed)?;
        along = undoing.part.as_ref().map_or(along, |part| part.along(record, &grounds, selection));
        undoing.part.get_or_insert_with(|| Part::whole(record, &grounds));
    }
    write_json(run.path(), UNDOING_FILE, &undoing).map_err(failed)?;
    let report = take_back(run.path(), &mut undoing, false, host_root)?;
    along.retain(|path| !report.stayed.contains(path));
    unkept.retain(|path| report.stayed.contains(path));
    waiting.retain(|held| report.stayed.contains(&held.path));
    Ok(UndoReport { unkept, held: waiting, along, ..report })
}

/// The paths that stay for others, but for those that stay for themselves too.
fn held(record: &Record, grounds: &[Ground], staying: &Staying) -> Vec<Held> {
    let list = record.steps.as_ref().map_or(&[][..], |steps| &steps.list);
    let absolute = |index: usize, path: &[u8]| Some(grounds.get(list.get(index)?.layer)?.absolute(path));
    let path = |index: &usize| absolute(*index, list.get(*index)?.path.as_bytes());
    let changed: BTreeSet<_> =
        staying.steps.iter().filter(|index| !staying.without.contains_key(index)).filter_map(path).collect();
    let held = staying.without.iter().filter_map(|(index, on)| {
        let held = Held { path: path(index)?, on: absolute(*index, on)? };
        (held.path != held.on && !changed.contains(&held.path)).then_some(held)
    });
    held.collect()
}

/// The commit of which [`undo_paths`] would take back what `selection` names.
pub fn undoable_paths(
    run: &RunFolder,
    selection: &[Selector],
    host_root: BorrowedFd<'_>,
) -> Result<u64, CommitError> {
    find(run, selection, host_root).map(|(number, _)| number)
}

/// The commit of `run` that [`undo`] would take back.
pub fn undoable(run: &RunFolder) -> Result<Option<u64>, CommitError> {
    Ok(all_undoable(run)?.last().copied())
}

/// Its commits that can be taken back, ascending.
fn all_undoable(run: &RunFolder) -> Result<Vec<u64>, CommitError> {
    let mut numbers = numbers(run.path()).map_err(|source| failed(run.path(), source))?;
    numbers.retain(|number| undo_folder(run.path(), *number).join(JOURNAL_FILE).exists());
    Ok(numbers)
}

/// An undo that has begun.
#[derive(Serialize, Deserialize)]
struct Undoing {
    number: u64,
    /// Steps that are not taken back because the host changed their outcome, by index.
    stays: BTreeSet<usize>,
    /// What is asked for, where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    /// When it began.
    #[serde(default)]
    begun: Option<Stamp>,
    /// Steps that are taken back, and of which the host changed what comes back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    changed: BTreeSet<usize>,
}

/// The commit to take back, and what of it.
fn find(
    run: &RunFolder,
    selection: &[Selector],
    host_root: BorrowedFd<'_>,
) -> Result<(u64, Option<Part>), CommitError> {
    let numbers = all_undoable(run)?;
    let last = *numbers.last().ok_or(CommitError::NothingToUndo)?;
    if selection.is_empty() {
        let is_free = |number: &&u64| has_something_to_take_back(run, **number, host_root).unwrap_or(true);
        return Ok((numbers.iter().rev().find(is_free).copied().unwrap_or(last), None));
    }
    let mut missing: Vec<&Selector> = selection.iter().collect();
    for number in numbers.into_iter().rev() {
        let Some(record) = Record::read(&undo_folder(run.path(), number).join(JOURNAL_FILE))? else {
            continue;
        };
        let grounds = grounds(run.path(), &record, host_root).map_err(|source| failed(run.path(), source))?;
        if let Some(part) = Part::of(&record, &grounds, selection)? {
            return Ok((number, (!part.is_all).then_some(part)));
        }
        let mut still = Vec::new();
        for selector in missing {
            if Part::of(&record, &grounds, std::slice::from_ref(selector))?.is_none() {
                still.push(selector);
            }
        }
        missing = still;
    }
    Err(match missing.first() {
        Some(selector) => CommitError::NotCommitted { path: selector.path().to_vec() },
        None => CommitError::SeveralCommits,
    })
}

/// Whether not all that is left of a commit would stay because the host changed it, as an undo has told already.
fn has_something_to_take_back(
    run: &RunFolder,
    number: u64,
    host_root: BorrowedFd<'_>,
) -> Result<bool, CommitError> {
    let Some(record) = Record::read(&undo_folder(run.path(), number).join(JOURNAL_FILE))? else {
        return Ok(true);
    };
    let failed = |source| failed(run.path(), source);
    let grounds = grounds(run.path(), &record, host_root).map_err(failed)?;
    let lost = lost(run.path(), &record).map_err(failed)?;
    let stays = changed_since(&grounds, &record, &lost.steps).map_err(failed)?.steps;
    if !record.was_tried {
        return Ok(true);
    }
    let count = record.steps.as_ref().map_or(0, |steps| steps.list.len());
    let is_free = |index: &usize| !stays.contains(index) && !record.undone.steps.contains(index);
    Ok(count == 0 || (0..count).any(|index| is_free(&index)))
}

fn lost(run: &Path, record: &Record) -> io::Result<Lost> {
    Lost::of(&undo_folder(run, record.begin.number), record)
}

fn grounds(run: &Path, record: &Record, host_root: BorrowedFd<'_>) -> io::Result<Vec<Ground>> {
    Ground::open_all(record, &undo_folder(run, record.begin.number), host_root)
}

/// Completes an undo that a crash cut off.
pub(super) fn resume(run: &Path, host_root: BorrowedFd<'_>) -> Result<Option<Recovered>, CommitError> {
    let Some(mut undoing) = cut_off(run)? else { return Ok(None) };
    let report = take_back(run, &mut undoing, true, host_root)?;
    let (remedy, stayed) = (Remedy::UndoFinished, report.stayed);
    Ok(Some(Recovered { run: run.to_path_buf(), remedy, stayed, unkept: Vec::new() }))
}

/// The same where that takes all that is left of a commit back.
pub(super) fn resume_whole(run: &Path, host_root: BorrowedFd<'_>) -> Result<Option<UndoReport>, CommitError> {
    let whole = cut_off(run)?.filter(|undoing| undoing.part.as_ref().is_none_or(|part| part.is_all));
    whole.map(|mut undoing| take_back(run, &mut undoing, true, host_root)).transpose()
}

fn cut_off(run: &Path) -> Result<Option<Undoing>, CommitError> {
    match fs::read(run.join(UNDOING_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.map_err(|error| failed(run, error))?;
            serde_json::from_slice(&text).map(Some).map_err(|error| failed(run, error.into()))
        }
    }
}

fn take_back(
    run: &Path,
    undoing: &mut Undoing,
    is_resumed: bool,
    host_root: BorrowedFd<'_>,
) -> Result<UndoReport, CommitError> {
    let number = undoing.number;
    let failed = |source| failed(run, source);
    let record = Record::read(&undo_folder(run, number).join(JOURNAL_FILE))?;
    let Some(record) = &record else {
        // Everything but the marker was cleared away before the crash.
        clear(run, number).map_err(failed)?;
        return Ok(UndoReport { number, ..UndoReport::default() });
    };
    let (folder, grounds) = (undo_folder(run, number), grounds(run, record, host_root).map_err(failed)?);
    if let Err(error) = away::bring_back(&folder, record, &grounds) {
        // Nothing was taken back yet.
        away::clear(&folder, record, &grounds, false).map_err(failed)?;
        forget_marker(run).map_err(failed)?;
        return Err(error);
    }
    let part = undoing.part.clone().unwrap_or_else(|| Part::whole(record, &grounds));
    if is_resumed {
        judge_again(run, record, &part, undoing, host_root).map_err(failed)?;
    }
    let lost = lost(run, record).map_err(failed)?.within;
    let (taken, mut stayed) = unwind(run, record, &part, undoing, host_root).map_err(failed)?;
    // A directory is back, and some of what was in it is not.
    let is_back = |step: &usize| {
        part.steps.contains(step) && !undoing.stays.contains(step) && !record.undone.steps.contains(step)
    };
    stayed.extend(lost.into_iter().filter(|(step, _)| is_back(step)).map(|(_, path)| path));
    stayed.sort();
    stayed.dedup();
    Ok(UndoReport { number, taken, stayed, ..UndoReport::default() })
}

/// What the host changed since the undo was cut off is not overwritten.
fn judge_again(
    run: &Path,
    record: &Record,
    part: &Part,
    undoing: &mut Undoing,
    host_root: BorrowedFd<'_>,
) -> io::Result<()> {
    // All that was to be taken back is.
    let is_done = part.steps.iter().any(|step| record.undone.steps.contains(step));
    let Some(begun) = undoing.begun.filter(|_| !is_done) else { return Ok(()) };
    let grounds = grounds(run, record, host_root)?;
    let meanwhile = meanwhile::judge(record, &grounds, &part.steps, &undoing.stays, begun)?;
    undoing.stays = meanwhile.stays;
    undoing.changed.extend(meanwhile.changed);
    write_json(run, UNDOING_FILE, undoing)
}

/// Takes a part back: how many steps of it, and what stays. What is left of the commit can still be taken back afterwards.
fn unwind(
    run: &Path,
    record: &Record,
    part: &Part,
    undoing: &Undoing,
    host_root: BorrowedFd<'_>,
) -> io::Result<(usize, Vec<Vec<u8>>)> {
    let stays = &undoing.stays;
    let (number, grounds) = (record.begin.number, grounds(run, record, host_root)?);
    let Some(steps) = &record.steps else { return clear(run, number).map(|()| (0, Vec::new())) };
    let all = 0..steps.list.len();
    let (mut stayed, undone) = (Vec::new(), &record.undone.steps);
    let mut done: BTreeSet<usize> = part.steps.intersection(undone).copied().collect();
    let is_left_out = |index: &usize| !part.steps.contains(index) && !undone.contains(index);
    let scope = Scope {
        stays: part.steps.intersection(stays).copied().collect(),
        undone: undone.difference(&part.steps).copied().collect(),
        left_out: all.clone().filter(is_left_out).collect(),
        freed: part.freed(steps, stays),
        changed: undoing.changed.clone(),
    };
    let reason = Reason::Undo(&scope);
    if done.is_empty() {
        let left = roll_back(&RunFolder::new(run, 0), host_root, &grounds, steps, reason)?;
        done = part.steps.difference(&left.steps).copied().collect();
        free(run, &part.freed(steps, &left.steps))?;
        let returned = left.returned.iter().filter_map(|path| changed_at(host_root, path)).collect();
        // Once a file is gone from a depot, nothing tells that its step was taken back.
        let undone = Undone { steps: done.clone(), returned };
        record_undone(&undo_folder(run, number).join(JOURNAL_FILE), undone)?;
        stayed = left.paths;
    }
    let is_over = part.is_all && all.clone().all(|index| done.contains(&index) || undone.contains(&index));
    if is_over {
        empty(&undo_folder(run, number), record, &grounds)?;
    } else {
        drop_garbage(&grounds, steps, &done)?;
    }
    away::clear(&undo_folder(run, number), record, &grounds, is_over)?;
    // Removing a hidden folder moved them, where a crash came before that was made good.
    dirs::restore(&grounds, steps, reason, &part.steps.difference(&done).copied().collect())?;
    if is_over {
        clear(run, number)?;
    } else {
        forget_marker(run)?;
    }
    Ok((done.len(), stayed))
}

/// Removes what was kept for an undo that is over.
fn empty(folder: &Path, record: &Record, grounds: &[Ground]) -> io::Result<()> {
    for (layer, ground) in record.begin.layers.iter().zip(grounds) {
        if let Some(place @ DepotPlace::Kept) = &layer.depot {
            depot::remove(place, folder, &ground.lower, None)?;
        }
    }
    Ok(())
}

/// Removes what the steps `done`, which are taken back, had brought.
fn drop_garbage(grounds: &[Ground], steps: &Steps, done: &BTreeSet<usize>) -> io::Result<()> {
    for (layer, slot, id) in part::garbage(steps, done) {
        if let Some(depot) = grounds.get(layer).and_then(|ground| ground.depot.as_ref()) {
            let found = Node::at(depot.as_fd(), slot.as_bytes())?;
            if found.is_some_and(|found| found.id == id) {
                remove_tree(depot.as_fd(), slot.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// What the host has at the absolute `path`, and when it was last changed.
pub(super) fn changed_at(host_root: BorrowedFd<'_>, path: &[u8]) -> Option<(Id, Stamp)> {
    let (parent, name) = beneath::split(beneath::below_root(path));
    let stat = beneath::stat_at(Pinned::open(host_root, parent).ok()?.as_fd(), name).ok()??;
    let node = Node::of_stat(&stat);
    Some((node.id, node.changed))
}

/// Has these paths wait again.
fn free(run: &Path, freed: &[Committed]) -> io::Result<()> {
    let run_folder = RunFolder::new(run, 0);
    if run_folder.is_discarded() {
        return Ok(());
    }
    let mut settled = run_folder.committed().map_err(io::Error::other)?;
    settled.retain(|entry| !freed.contains(entry));
    run_folder.write_committed(&settled)
}

/// Forgets the commit, last of all that it is being undone.
fn clear(run: &Path, number: u64) -> io::Result<()> {
    let folder = undo_folder(run, number);
    let run_folder = RunFolder::new(run, 0);
    let mut settled = run_folder.committed().map_err(io::Error::other)?;
    settled.retain(|entry| entry.by != number);
    if !run_folder.is_discarded() {
        run_folder.write_committed(&settled)?;
    }
    match fs::rename(folder.join(JOURNAL_FILE), folder.join(UNDONE_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    depot::forget(run, &folder)?;
    forget_marker(run)
}

/// Nothing is left to be done of the undo.
fn forget_marker(run: &Path) -> io::Result<()> {
    fs::remove_file(run.join(UNDOING_FILE))?;
    File::open(run)?.sync_all()
}

fn failed(run: &Path, source: io::Error) -> CommitError {
    CommitError::Undo { path: run.as_os_str().as_encoded_bytes().to_vec(), source }
}

pub(super) const UNDOING_FILE: &str = "undoing.json";
const UNDONE_FILE: &str = "undone.journal";
