//! What a commit displaced on another mount than that of the state folder, kept for an undo.
//!
//! No rename leads from there to here. So what the hidden folder holds is copied to the run's folder when the commit is
//! complete, and back into a hidden folder before an undo.

use std::{
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
};
use crate::{
    changes::{
        Node,
        beneath::{self, Pinned},
    },
    snapshot::copy_tree,
};

/// Keeps what `depot`, which is about to be removed, holds of layer `layer`. May be repeated. What there is no room for
/// is not kept: an undo then leaves it, and says so.
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
    match copy_to(depot, &unfinished) {
        Ok(()) => fs::rename(&unfinished, &place),
        Err(_) => remove(),
    }
}

fn copy_to(depot: &Pinned, place: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(place)?;
    copy_tree(depot.try_clone()?, Pinned::adopt(open_dir(place)?)?)?;
    Ok(syncfs(fs::File::open(place)?)?)
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
        }
        depot::remove(place, folder, &ground.lower, None)?;
    }
    Ok(())
}

/// Whether what a layer had is kept.
pub(super) fn is_kept(folder: &Path, layer: usize) -> bool {
    place_of(folder, layer).exists()
}

/// Whether anything is kept in the folder of a commit.
pub(super) fn is_any(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes()))
}

fn place_of(folder: &Path, layer: usize) -> PathBuf {
    folder.join(format!("{NAME}{layer}"))
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_encoded_bytes()
}

/// In the folder of a commit, with the number of the layer.
const NAME: &str = "away-";
