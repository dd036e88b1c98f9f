//! The directories that a walk compares.

use std::io;

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{CWD, Mode, OFlags, fstatfs, openat},
};

use super::{
    Layer, Node, RunFolder,
    beneath::{Pinned, below_root},
    lent::Lent,
    names_in,
};

/// The two directories of a layer: what the run wrote, and the host's.
#[derive(Debug)]
pub(crate) struct LayerRoot {
    pub(crate) layer: Layer,
    /// `None` for a layer that was not kept.
    pub(crate) upper: Option<Pinned>,
    /// Where the host's is gone and the run wrote nothing there, the run's own: there is nothing to compare.
    pub(crate) lower: Pinned,
    lent: Option<Lent>,
}

impl LayerRoot {
    pub(crate) fn open(run: &RunFolder, layer: Layer, host_root: BorrowedFd<'_>) -> io::Result<Self> {
        let mount_point = layer.mount_point.as_bytes();
        let upper = open_upper(run, &layer)?;
        let lower = match Pinned::open(host_root, below_root(mount_point)) {
            // A mount that was there when the run began.
            Err(_) if is_empty(upper.as_ref()) => match &upper {
                Some(upper) => upper.try_clone()?,
                None => Pinned::adopt(openat(CWD, run.path(), FOLDER, Mode::empty())?)?,
            },
            other => other?,
        };
        let lent = match &upper {
            Some(upper) if !rustix::process::geteuid().is_root() => {
                Some(Lent::open(upper, &run.path().join(&layer.upper))?)
            }
            _ => None,
        };
        Ok(Self { layer, upper, lower, lent })
    }

    /// Whether the host can rename every directory there. On an overlay, as the root of a container is, it cannot rename
    /// one that comes from a lower layer (`EXDEV`).
    pub(crate) fn moves_directories(&self) -> bool {
        !fstatfs(self.lower.as_fd()).is_ok_and(|found| found.f_type == OVERLAYFS)
    }

    /// Makes what is at `path` of the upper layer, which is `node`, readable for its owner, until nobody looks any more.
    pub(crate) fn lend(&self, path: &[u8], node: &Node) -> io::Result<()> {
        let (Some(lent), Some(upper)) = (&self.lent, &self.upper) else { return Ok(()) };
        lent.lend(upper, path, node)
    }

    /// The same of every folder on the way to `path`, and of what is there.
    pub(crate) fn lend_way(&self, path: &[u8]) -> io::Result<()> {
        let (Some(_), Some(upper)) = (&self.lent, &self.upper) else { return Ok(()) };
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let Some(stat) = upper.stat(&path[..end])? else { return Ok(()) };
            self.lend(&path[..end], &Node::of_stat(&stat))?;
        }
        Ok(())
    }

    /// The mode that `node`, which is at `path` of the upper layer, has while it is lent no other.
    pub(crate) fn true_mode(&self, path: &[u8], node: &Node) -> io::Result<u32> {
        self.lent.as_ref().map_or(Ok(node.mode), |lent| lent.true_mode(path, node))
    }
}

fn open_upper(run: &RunFolder, layer: &Layer) -> io::Result<Option<Pinned>> {
    match openat(CWD, run.path().join(&layer.upper), FOLDER, Mode::empty()) {
        Ok(fd) => Pinned::adopt(fd).map(Some),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the run wrote nothing into a layer.
fn is_empty(upper: Option<&Pinned>) -> bool {
    let names = |upper: &Pinned| names_in(&upper.at(b"", OFlags::RDONLY | OFlags::DIRECTORY)?);
    upper.is_none_or(|upper| names(upper).is_ok_and(|names| names.is_empty()))
}

impl Drop for LayerRoot {
    fn drop(&mut self) {
        if let (Some(lent), Some(upper)) = (&self.lent, &self.upper) {
            // What cannot be given back now is given back by whoever looks next.
            let _ = lent.close(upper);
        }
    }
}

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
