//! The first change of a name, or of a file, since the last checkpoint.

use std::io;

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{Mode, OFlags, openat},
};

use super::{
    keeper::{Change, Saver},
    record::{Line, Place, Source, State},
    segment::{Known, Level},
    upper::{copy, dress, keep, node_of},
};
use crate::{
    changes::{FileType, Node, beneath},
    commit::meta::Meta,
};

/// A file of an upper layer, and the name by which it was found.
struct Found<'p> {
    layer: usize,
    path: &'p [u8],
    directory: OwnedFd,
    name: &'p [u8],
    file: OwnedFd,
    node: Node,
}

impl Saver<'_> {
    /// Saves what is at a name before it changes.
    pub(super) fn touch(&mut self, layer: usize, path: &[u8], change: Change) -> io::Result<()> {
        if self.epoch.names.covers(layer, path) {
            return if change == Change::Name { Ok(()) } else { self.touch_known(layer, path, change) };
        }
        let level = self.epoch.names.level(layer, path);
        match (level, change) {
            (Some(Level::Directory), Change::Name)
            | (Some(Level::Content), Change::Content | Change::Metadata)
            | (Some(Level::Metadata), Change::Metadata) => return Ok(()),
            // A file may have taken its place.
            (Some(Level::Directory), _) => return self.touch_known(layer, path, change),
            _ => {}
        }
        if path.is_empty() {
            let node = self.ground(layer)?.node(path)?.ok_or(io::ErrorKind::NotFound)?;
            return self.write(layer, path, State::Directory(Meta::of(&node)), Level::Directory);
        }
        let (directory, name) = match self.ground(layer)?.root.parent(path) {
            Err(error) if beneath::is_absent(&error) => return self.touch_above(layer, path),
            other => other?,
        };
        self.touch_parent(layer, path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&directory, name, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return self.write(layer, path, State::Absent, Level::Whole),
            other => other?,
        };
        let node = node_of(file.as_fd())?;
        if node.is_whiteout() {
            return self.write(layer, path, State::Whiteout, Level::Whole);
        }
        if node.is_dir() {
            return self.write(layer, path, State::Directory(Meta::of(&node)), Level::Directory);
        }
        self.touch_file(&Found { layer, path, directory, name, file, node }, change, level)
    }

    /// Notes that what is at a name gets another one: by that it may change too.
    pub(super) fn link(&mut self, layer: usize, path: &[u8]) -> io::Result<()> {
        if self.epoch.names.covers(layer, path) {
            return Ok(());
        }
        let Some(node) = self.ground(layer)?.node(path)? else {
            // The host's is copied into the layer first.
            return self.touch(layer, path, Change::Name);
        };
        let level = self.epoch.names.level(layer, path);
        if node.is_dir() || level == Some(Level::Directory) {
            // The kernel refuses it. What took the place of a directory was elsewhere then, or nowhere.
            return Ok(());
        }
        self.epoch.names.inodes.entry(node.id).or_insert_with(|| Known {
            source: Source::Name(Place::new(layer, path)),
            has_meta: level.is_some(),
            has_content: level == Some(Level::Content),
        });
        Ok(())
    }

    /// The layer lacks a directory on the way: all below it will be new.
    fn touch_above(&mut self, layer: usize, path: &[u8]) -> io::Result<()> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends {
            if !self.ground(layer)?.node(&path[..end])?.is_some_and(|node| node.is_dir()) {
                return self.touch(layer, &path[..end], Change::Name);
            }
        }
        // It came into being meanwhile.
        Err(io::ErrorKind::Interrupted.into())
    }

    /// What is at a name that needs no further word may be a file that had another name before.
    fn touch_known(&mut self, layer: usize, path: &[u8], change: Change) -> io::Result<()> {
        if self.epoch.names.inodes.is_empty() {
            return Ok(());
        }
        let file = match self.ground(layer)?.root.at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(error) if beneath::is_absent(&error) => return Ok(()),
            other => other?,
        };
        let node = node_of(file.as_fd())?;
        if node.is_dir() || node.links < 2 {
            return Ok(());
        }
        self.touch_inode(&file, &node, change).map(drop)
    }

    fn touch_file(&mut self, found: &Found<'_>, change: Change, level: Option<Level>) -> io::Result<()> {
        let Found { layer, path, node, .. } = found;
        let is_shared = node.links > 1;
        if change == Change::Name {
            return self.keep_file(found, level);
        }
        if is_shared && self.touch_inode(&found.file, node, change)? {
            return Ok(());
        }
        let meta = Meta::of(node);
        let (state, level) = if change == Change::Content && node.file_type == FileType::File {
            let slot = self.copy(&found.file, node)?;
            let dressed = if is_shared { None } else { dress(self.epoch.slots(), &slot, &meta) };
            let (whole, born) = dressed.map_or((None, None), |(id, born)| (Some(id), born));
            (State::Copied { slot, meta, shared: is_shared, whole, born }, Level::Content)
        } else {
            (State::Same(meta), Level::Metadata)
        };
        if is_shared {
            let known = Known {
                source: Source::Name(Place::new(*layer, path)),
                has_meta: true,
                has_content: level == Level::Content,
            };
            self.epoch.names.inodes.insert(node.id, known);
        }
        self.write(*layer, path, state, level)
    }

    /// The name is about to be taken from the file: it gets another one.
    fn keep_file(&mut self, found: &Found<'_>, level: Option<Level>) -> io::Result<()> {
        let Found { layer, path, node, .. } = found;
        if level == Some(Level::Content) && !self.epoch.names.inodes.contains_key(&node.id) {
            // What it was is a copy already.
            self.epoch.names.set(*layer, path, Level::Whole);
            return Ok(());
        }
        let slot = self.epoch.slot();
        keep(found.directory.as_fd(), found.name, self.epoch.slots(), &slot)?;
        let is_known = self.epoch.names.inodes.get(&node.id).is_some_and(|known| known.has_meta);
        let meta = (level.is_none() && !is_known).then(|| Meta::of(node));
        if node.file_type == FileType::File {
            let known = Known {
                source: Source::Slot(slot.clone()),
                has_meta: level.is_some(),
                has_content: level == Some(Level::Content),
            };
            self.epoch.names.inodes.entry(node.id).or_insert(known);
        }
        self.write(*layer, path, State::Kept { slot, meta }, Level::Whole)
    }

    /// Saves a file that is known by another name, once; false where it is not.
    fn touch_inode(&mut self, file: &OwnedFd, node: &Node, change: Change) -> io::Result<bool> {
        let Some(known) = self.epoch.names.inodes.get(&node.id).cloned() else { return Ok(false) };
        let changes_content = change == Change::Content && node.file_type == FileType::File;
        let is_saved = if changes_content { known.has_content } else { known.has_meta };
        if is_saved {
            return Ok(true);
        }
        let copy = if changes_content { Some(self.copy(file, node)?) } else { None };
        let has_content = known.has_content || copy.is_some();
        let meta = (!known.has_meta).then(|| Meta::of(node));
        self.epoch.write(&Line::Inode { of: known.source.clone(), meta, copy })?;
        let known = Known { has_meta: true, has_content, ..known };
        self.epoch.names.inodes.insert(node.id, known);
        Ok(true)
    }

    fn copy(&mut self, file: &OwnedFd, node: &Node) -> io::Result<String> {
        let slot = self.epoch.slot();
        if copy(file.as_fd(), node, self.epoch.slots(), slot.as_bytes())? {
            self.epoch.moving += 1;
        }
        Ok(slot)
    }

    fn write(&mut self, layer: usize, path: &[u8], state: State, level: Level) -> io::Result<()> {
        self.epoch.write(&Line::Was { at: Place::new(layer, path), state })?;
        self.epoch.names.set(layer, path, level);
        Ok(())
    }
}
