//! The two sides of a change, to read: what the run left, and what the host has.

use std::{fs::File, io};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::OFlags,
};

use super::{
    Change, Node, Readable,
    beneath::{self, Pinned},
    names_in,
    roots::LayerRoot,
};

/// Where the two sides are read.
pub(crate) struct Sides<'a> {
    layers: &'a [LayerRoot],
    host: Pinned,
}

impl<'a> Sides<'a> {
    pub(crate) fn new(layers: &'a [LayerRoot], host_root: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { layers, host: Pinned::open(host_root, b"")? })
    }

    /// Opens the host's regular file at the absolute `path`, which is `node`.
    pub(crate) fn host_file(&self, path: &[u8], node: &Node) -> io::Result<File> {
        let relative = beneath::below_root(path);
        let (parent, name) = beneath::split(relative);
        let dir = Pinned::open(self.host.as_fd(), parent)?;
        Readable { node, dir: dir.as_fd(), name }.open().map(File::from)
    }

    /// Opens the regular file that the run left, which is `node`.
    pub(crate) fn run_file(&self, change: &Change, node: &Node) -> io::Result<File> {
        let (upper, path) = self.upper(change)?;
        let open = || {
            let (dir, name) = upper.parent(path)?;
            Readable { node, dir: dir.as_fd(), name }.open().map(File::from)
        };
        match (open(), self.layer(change)) {
            (Err(error), Some(layer)) if error.kind() == io::ErrorKind::PermissionDenied => {
                layer.lend_way(path)?;
                open()
            }
            (opened, _) => opened,
        }
    }

    /// Opens the host's directory at the absolute `path`, and lists it.
    pub(crate) fn host_dir(&self, path: &[u8]) -> io::Result<(OwnedFd, Vec<Vec<u8>>)> {
        let pinned = Pinned::open(self.host.as_fd(), beneath::below_root(path))?;
        let dir = pinned.at(b"", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = names_in(&dir)?;
        Ok((dir, names))
    }

    /// True when the host has something at the absolute `path`.
    pub(crate) fn is_on_host(&self, path: &[u8]) -> bool {
        let (parent, name) = beneath::split(beneath::below_root(path));
        let dir = Pinned::open(self.host.as_fd(), parent);
        dir.is_ok_and(|dir| !matches!(beneath::stat_at(dir.as_fd(), name), Ok(None)))
    }

    /// The layer that a change is in.
    pub(crate) fn layer(&self, change: &Change) -> Option<&LayerRoot> {
        self.layers.get(change.origin.layer)
    }

    /// The upper directory of a change's layer, and the change's path in it.
    pub(crate) fn upper<'c>(&self, change: &'c Change) -> io::Result<(&Pinned, &'c [u8])> {
        let upper = self.layer(change).and_then(|layer| layer.upper.as_ref());
        upper.zip(change.origin.upper.as_deref()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
