//! The directories that a walk compares.

use std::{cell::RefCell, collections::HashMap, io};

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{CWD, Mode, OFlags, chmod, fstatfs, openat},
};

use super::{
    FileType, Layer, Node, RunFolder,
    beneath::{Pinned, below_root, magic},
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
    relaxed: RefCell<Relaxed>,
}

/// Files whose mode is changed for the while.
#[derive(Debug, Default)]
struct Relaxed {
    order: Vec<Vec<u8>>,
    modes: HashMap<Vec<u8>, u32>,
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
        Ok(Self { layer, upper, lower, relaxed: RefCell::default() })
    }

    /// Whether the host can rename every directory there. On an overlay, as the root of a container is, it cannot rename
    /// one that comes from a lower layer (`EXDEV`).
    pub(crate) fn moves_directories(&self) -> bool {
        !fstatfs(self.lower.as_fd()).is_ok_and(|found| found.f_type == OVERLAYFS)
    }

    /// Makes a file of the upper layer readable for its owner, until the
    /// layer is closed: a run may leave files without any permission.
    pub(crate) fn relax(&self, path: &[u8], node: &Node) -> io::Result<()> {
        let needed = if node.is_dir() { 0o700 } else { 0o400 };
        let is_exempt = rustix::process::geteuid().is_root()
            || node.mode & needed == needed
            || self.true_mode(path).is_some();
        let may = node.is_dir() || node.file_type == FileType::File;
        let (false, true, Some(upper)) = (is_exempt, may, &self.upper) else { return Ok(()) };
        let file = upper.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        chmod(magic(file.as_fd()), Mode::from_raw_mode(node.mode | needed))?;
        let mut relaxed = self.relaxed.borrow_mut();
        relaxed.order.push(path.to_vec());
        relaxed.modes.insert(path.to_vec(), node.mode);
        Ok(())
    }

    /// The mode that a file of the upper layer had before [`Self::relax`].
    pub(crate) fn true_mode(&self, path: &[u8]) -> Option<u32> {
        self.relaxed.borrow().modes.get(path).copied()
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
        let Some(upper) = &self.upper else { return };
        let relaxed = self.relaxed.borrow();
        for path in relaxed.order.iter().rev() {
            if let (Some(mode), Ok(file)) =
                (relaxed.modes.get(path), upper.at(path, OFlags::PATH | OFlags::NOFOLLOW))
            {
                // A failure leaves the run's copy more readable for its owner.
                let _ = chmod(magic(file.as_fd()), Mode::from_raw_mode(*mode));
            }
        }
    }
}

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
