//! What a commit displaced on another mount than that of the state folder, kept for an undo.
//!
//! No rename leads from there to here. So what the hidden folder holds is copied to the run's folder when the commit is
//! complete, and back into a hidden folder before an undo.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::AsFd as _,
    fs::{OFlags, RenameFlags, renameat_with, syncfs},
    io::Errno,
};

use super::{
    CommitError,
    depot::{self, DepotPlace, is_ours, keeping_times, make_ours, open_dir},
    discard::remove_tree,
    journal::Record,
    rollback::Ground,
    steps::{Action, Step},
};
use crate::{
    changes::{
        Node, PathBytes,
        beneath::{self, Pinned},
        write_json,
    },
    snapshot::{copy_tree, copy_what_can_be},
};

/// Keeps what `depot`, which is about to be removed, holds of layer `layer`. May be repeated. What there is no room for,
/// or what cannot be read, is not kept: [`Lost`] tells of it, and an undo leaves it.
pub(super) fn keep(folder: &Path, layer: usize, depot: &Pinned) -> io::Result<()> {
    let place = place_of(folder, layer);
    let unfinished = place.with_extension("new");
    let remove = || {
        open_dir(folder)
            .map_err(io::Error::from)
            .and_then(|dir| remove_tree(dir.as_fd(), name_of(&unfinished)))
    };
    if place.exists() {
        return Ok(());
    }
    remove()?;
    // What is lost is written before the copy has its name, and says nothing without it.
    let kept = copy_to(depot, &unfinished).and_then(|lost| {
        let lost: Vec<PathBytes> = lost.into_iter().map(PathBytes).collect();
        if lost.is_empty() {
            forget_lost(folder, layer)
        } else {
            write_json(folder, &lost_file(layer), &lost)
        }
    });
    match kept {
        Ok(()) => fs::rename(&unfinished, &place),
        Err(_) => remove(),
    }
}

fn copy_to(depot: &Pinned, place: &Path) -> io::Result<Vec<Vec<u8>>> {
    DirBuilder::new().mode(0o700).create(place)?;
    let lost = copy_what_can_be(depot.try_clone()?, Pinned::adopt(open_dir(place)?)?)?;
    syncfs(fs::File::open(place)?)?;
    Ok(lost)
}

/// What was there before a commit, and is not kept.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The steps, by index, that cannot be taken back for that.
    pub(super) steps: BTreeSet<usize>,
    /// What is lost of a directory that comes back without it: its step, and its absolute path.
    pub(super) within: Vec<(usize, Vec<u8>)>,
}

impl Lost {
    /// Of a commit that was completed, or of which the depots were kept away at least.
    pub(super) fn of(folder: &Path, record: &Record) -> io::Result<Self> {
        let (mut lost, steps) = (Self::default(), record.steps.iter().flat_map(|steps| &steps.list));
        let mut by_slot = HashMap::new();
        for (index, step) in steps.enumerate() {
            if let Some(slot) = slot_of_old(&step.action, &step.slot) {
                by_slot.entry((step.layer, slot.as_bytes())).or_insert_with(Vec::new).push((index, step));
            }
        }
        for (index, layer) in record.begin.layers.iter().enumerate() {
            let Some(DepotPlace::Hidden { .. }) = &layer.depot else { continue };
            if !place_of(folder, index).exists() {
                lost.steps.extend(record.steps.iter().flat_map(|steps| of_depot(&steps.list, index)));
                continue;
            }
            for path in read_lost(folder, index)? {
                let (slot, within) = match path.as_bytes().iter().position(|byte| *byte == b'/') {
                    Some(slash) => path.as_bytes().split_at(slash),
                    None => (path.as_bytes(), &b""[..]),
                };
                for (step, found) in by_slot.get(&(index, slot)).into_iter().flatten() {
                    if within.is_empty() {
                        lost.steps.insert(*step);
                    } else if let Some(place) = record.absolute(found) {
                        lost.within.push((*step, [&place[..], within].concat()));
                    }
                }
            }
        }
        Ok(lost)
    }

    /// The paths, ordered.
    pub(super) fn paths(&self, record: &Record) -> Vec<Vec<u8>> {
        let list = record.steps.as_ref().map_or(&[][..], |steps| &steps.list);
        let whole = self.steps.iter().filter_map(|index| record.absolute(list.get(*index)?));
        let paths: BTreeSet<_> = whole.chain(self.within.iter().map(|(_, path)| path.clone())).collect();
        paths.into_iter().collect()
    }
}

/// The slot that has what was there before a step.
fn slot_of_old<'a>(action: &'a Action, slot: &'a str) -> Option<&'a str> {
    match action {
        Action::Take { .. } | Action::Swap { .. } => Some(slot),
        Action::Rewrite { backup, .. } => Some(backup),
        _ => None,
    }
}

/// The steps that cannot be taken back without a depot.
fn of_depot(list: &[Step], layer: usize) -> impl Iterator<Item = usize> {
    let needs =
        |action: &Action| !matches!(action, Action::Make { .. } | Action::Meta { .. } | Action::Link { .. });
    let steps = list.iter().enumerate().filter(move |(_, step)| step.layer == layer && needs(&step.action));
    steps.map(|(index, _)| index)
}

/// Where in the depot that is which is not kept of a layer of which the rest is. Earlier versions kept all or nothing.
fn read_lost(folder: &Path, layer: usize) -> io::Result<Vec<PathBytes>> {
    match fs::read(folder.join(lost_file(layer))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => Ok(serde_json::from_slice(&text?)?),
    }
}

fn forget_lost(folder: &Path, layer: usize) -> io::Result<()> {
    match fs::remove_file(folder.join(lost_file(layer))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the hidden folders anew that an undo works with. May be repeated.
pub(super) fn bring_back(folder: &Path, record: &Record, grounds: &[Ground]) -> Result<(), CommitError> {
    for (index, (layer, ground)) in record.begin.layers.iter().zip(grounds).enumerate() {
        let Some(DepotPlace::Hidden { parent, name, .. }) = &layer.depot else { continue };
        let (parent, kept) = (parent.as_bytes(), place_of(folder, index));
        bring_back_to(ground, parent, name.as_bytes(), &kept).map_err(|source| {
            let path = if parent.is_empty() { layer.mount_point.0.clone() } else { ground.absolute(parent) };
            CommitError::NotUndone { path, source }
        })?;
    }
    Ok(())
}

fn bring_back_to(ground: &Ground, parent: &[u8], name: &[u8], kept: &Path) -> io::Result<()> {
    let kept = match open_dir(kept) {
        Err(Errno::NOENT) => return Ok(()),
        other => Pinned::adopt(other?)?,
    };
    match ground.lower.dir(parent) {
        // What came from there has nowhere to go.
        Err(error) if beneath::is_absent(&error) => Ok(()),
        parent => fill(&Pinned::adopt(parent?)?, name, kept),
    }
}

/// A folder that is there was filled before: an undo that was cut off has begun to take from it.
fn fill(parent: &Pinned, name: &[u8], kept: Pinned) -> io::Result<()> {
    let unfinished = [name, b".new"].concat();
    if Node::at(parent.as_fd(), name)?.is_some() {
        return if is_ours(parent, name)? { Ok(()) } else { Err(Errno::EXIST.into()) };
    }
    keeping_times(parent.as_fd(), || {
        if is_ours(parent, &unfinished)? {
            remove_tree(parent.as_fd(), &unfinished)?;
        }
        let filled = || -> io::Result<()> {
            make_ours(parent, &unfinished)?;
            copy_tree(kept, Pinned::adopt(parent.dir(&unfinished)?)?)?;
            syncfs(parent.at(&unfinished, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
            Ok(renameat_with(parent, &unfinished[..], parent, name, RenameFlags::NOREPLACE)?)
        };
        filled().inspect_err(|_| drop(remove_tree(parent.as_fd(), &unfinished)))
    })
}

/// Removes the hidden folders of an undo that has come to its end, and, where `all` went back, what was kept for it.
pub(super) fn clear(folder: &Path, record: &Record, grounds: &[Ground], all: bool) -> io::Result<()> {
    for (index, (layer, ground)) in record.begin.layers.iter().zip(grounds).enumerate() {
        let Some(place @ DepotPlace::Hidden { .. }) = &layer.depot else { continue };
        if all {
            let dir = open_dir(folder)?;
            remove_tree(dir.as_fd(), name_of(&place_of(folder, index)))?;
            forget_lost(folder, index)?;
        }
        depot::remove(place, folder, &ground.lower, None)?;
    }
    Ok(())
}

/// Whether anything is kept in the folder of a commit.
pub(super) fn is_any(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes()))
}

fn place_of(folder: &Path, layer: usize) -> PathBuf {
    folder.join(format!("{NAME}{layer}"))
}

fn lost_file(layer: usize) -> String {
    format!("lost-{layer}.json")
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_encoded_bytes()
}

/// In the folder of a commit, with the number of the layer.
const NAME: &str = "away-";
