//! The upper layers of a run, and what is read of them to be put back.

use std::{fmt, io, path::Path};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, CWD, Mode, OFlags, XattrFlags, chmod, getxattr, linkat, listxattr, openat, removexattr,
        setxattr,
    },
    io::Errno,
};

use super::record::{Born, Id, Notes, identity};
use crate::{
    changes::{
        FileType, Layer, LayerKind, Node,
        beneath::{self, Pinned, magic, stat_fd},
        copy_content, node,
    },
    commit::meta::Meta,
};

/// An upper layer.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Where the run sees it.
    pub(super) mount_point: Vec<u8>,
    pub(super) kind: LayerKind,
    pub(super) root: Pinned,
}

impl Ground {
    /// Opens the layers of the run whose folder is `run`, in order.
    pub(crate) fn open_all(run: &Path, layers: &[Layer]) -> io::Result<Vec<Self>> {
        let open = |layer: &Layer| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let root = openat(CWD, run.join(&layer.upper), flags, Mode::empty())?;
            Ok(Self {
                mount_point: layer.mount_point.as_bytes().to_vec(),
                kind: layer.kind,
                root: Pinned::adopt(root)?,
            })
        };
        layers.iter().map(open).collect()
    }

    /// What is at `path`, without an overlay's own attributes.
    pub(super) fn node(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let file = match self.root.at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(error) if beneath::is_absent(&error) => return Ok(None),
            other => other?,
        };
        node_of(file.as_fd()).map(Some)
    }
}

/// Everything about an opened file (an `O_PATH` descriptor will do).
pub(super) fn node_of(fd: BorrowedFd<'_>) -> io::Result<Node> {
    let mut node = Node::of_stat(&stat_fd(fd)?);
    if node.file_type != FileType::Symlink {
        node.xattrs = node::xattrs_of(fd)?;
    }
    Ok(node)
}

/// Gives the entry `name` of `directory` a second name in `slots`.
pub(super) fn keep(
    directory: BorrowedFd<'_>,
    name: &[u8],
    slots: BorrowedFd<'_>,
    slot: &str,
) -> io::Result<()> {
    Ok(linkat(directory, name, slots, slot, AtFlags::empty())?)
}

/// Copies the content of the regular file `node` that `file` (an `O_PATH` descriptor) has pinned to a slot. Says
/// whether it changed meanwhile.
pub(super) fn copy(
    file: BorrowedFd<'_>,
    node: &Node,
    slots: BorrowedFd<'_>,
    slot: &[u8],
) -> io::Result<bool> {
    let from = std::fs::File::from(open_to_read(file, node)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = std::fs::File::from(openat(slots, slot, flags, Mode::from_raw_mode(node.mode & 0o777 | 0o600))?);
    copy_content(&from, &to)?;
    let after = Node::of_stat(&stat_fd(file)?);
    Ok((after.size, after.modified, after.changed) != (node.size, node.modified, node.changed))
}

/// Gives a copy in a slot all that the file had besides its content, and says which file it is; `None` where that
/// cannot be done here.
pub(super) fn dress(slots: BorrowedFd<'_>, slot: &str, meta: &Meta) -> Option<(Id, Born)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(slots, slot, flags, Mode::empty()).ok()?;
    meta.set(file.as_fd()).ok()?;
    Some(identity(&stat_fd(file.as_fd()).ok()?))
}

/// Opens for reading what an `O_PATH` descriptor has pinned, even where its owner may not.
pub(super) fn open_to_read(file: BorrowedFd<'_>, node: &Node) -> io::Result<OwnedFd> {
    let path = magic(file);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(CWD, &path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => {}
        Err(Errno::ACCESS) => {
            chmod(&path, Mode::from_raw_mode(node.mode | 0o400))?;
            let opened = openat(CWD, &path, flags, Mode::empty());
            chmod(&path, Mode::from_raw_mode(node.mode))?;
            return Ok(opened?);
        }
        other => return Ok(other?),
    }
    Ok(openat(CWD, &path, flags, Mode::empty())?)
}

/// Who reads the overlay's own notes on a directory.
pub(crate) enum NotesSource {
    /// This process: they are the user's own attributes, or it is root on the host.
    Here,
    /// Another process, which is root on the host.
    There(Box<Ask>),
}

/// Reads the notes on a directory of the layer with this index.
pub(crate) type Ask = dyn Fn(usize, &[u8]) -> io::Result<Notes> + Send + Sync;

impl fmt::Debug for NotesSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if matches!(self, Self::Here) { "Here" } else { "There" })
    }
}

impl NotesSource {
    pub(super) fn read(&self, grounds: &[Ground], layer: usize, path: &[u8]) -> io::Result<Notes> {
        match self {
            Self::Here => notes(grounds.get(layer).ok_or(Errno::NOENT)?, path),
            Self::There(ask) => ask(layer, path),
        }
    }
}

/// The overlay's own notes on a directory.
pub(crate) fn notes(ground: &Ground, path: &[u8]) -> io::Result<Notes> {
    let file = ground.root.at(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    let path = magic(file.as_fd());
    let mut list = vec![0; LARGEST];
    let length = listxattr(&path, &mut list)?;
    list.truncate(length);
    let mut notes = Notes::new();
    let prefix = ground.kind.prefix().as_bytes();
    for name in list.split(|byte| *byte == 0).filter(|name| name.starts_with(prefix)) {
        let mut value = vec![0; LARGEST];
        let length = getxattr(&path, name, &mut value)?;
        value.truncate(length);
        notes.push((name.into(), value.into()));
    }
    notes.sort();
    Ok(notes)
}

/// Gives a directory exactly these notes.
pub(super) fn set_notes(ground: &Ground, path: &[u8], wanted: &Notes) -> io::Result<()> {
    let present = notes(ground, path)?;
    let file = ground.root.at(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    let path = magic(file.as_fd());
    for (name, _) in present.iter().filter(|(name, _)| !wanted.iter().any(|(wanted, _)| wanted == name)) {
        removexattr(&path, name.as_bytes())?;
    }
    for (name, value) in wanted.iter().filter(|note| !present.contains(note)) {
        setxattr(&path, name.as_bytes(), value.as_bytes(), XattrFlags::empty())?;
    }
    Ok(())
}

/// `XATTR_SIZE_MAX` of Linux.
const LARGEST: usize = 65_536;
