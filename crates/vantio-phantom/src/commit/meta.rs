//! Copying content and metadata.

use std::{fs::File, io};

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{
        AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, ftruncate,
        removexattr, setxattr, utimensat,
    },
};
use serde::{Deserialize, Serialize};

use crate::changes::{
    FileType, Node, PathBytes, Stamp,
    beneath::{magic, stat_fd},
    copy_content,
};

/// What a file has besides its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) file_type: FileType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) xattrs: Vec<(PathBytes, PathBytes)>,
    pub(crate) accessed: Stamp,
    pub(crate) modified: Stamp,
}

impl Meta {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            file_type: node.file_type,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            xattrs: node
                .xattrs
                .iter()
                .map(|(name, value)| (name.clone().into(), value.clone().into()))
                .collect(),
            accessed: node.accessed,
            modified: node.modified,
        }
    }

    /// Whether nothing but times differs.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let all = |meta: &Self| (meta.file_type, meta.mode, meta.uid, meta.gid);
        all(self) == all(other) && self.xattrs == other.xattrs
    }

    /// Whether an opened file has these attributes, and no others.
    pub(crate) fn has_attributes_of(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let found = crate::changes::node::xattrs_of(fd)?;
        let wanted = self.xattrs.iter().map(|(name, value)| (&name.0, &value.0));
        Ok(found.iter().eq(wanted))
    }

    /// Gives everything to the file that `fd` (which may be an `O_PATH`
    /// descriptor) has open.
    pub(crate) fn set(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.set_but_times(fd)?;
        self.set_times(fd)
    }

    /// Gives it all but the times.
    pub(crate) fn set_but_times(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let path = magic(fd);
        let now = Node::of_stat(&stat_fd(fd)?);
        if (now.uid, now.gid) != (self.uid, self.gid) {
            let owner = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            chownat(CWD, &path, Some(owner.0), Some(owner.1), AtFlags::empty())?;
        }
        // An owner that changes, or an access list, changes the mode too.
        let is_else = self.set_xattrs(fd, &now)? || (now.uid, now.gid) != (self.uid, self.gid);
        if self.file_type != FileType::Symlink && (is_else || now.mode != self.mode) {
            chmod(&path, Mode::from_raw_mode(self.mode))?;
        }
        Ok(())
    }

    /// Sets access and modification time.
    pub(crate) fn set_times(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        set_times(fd, self.accessed, self.modified)
    }

    /// Whether there was anything to set, or the mode is not what it was. An ordinary user must be permitted to read and
    /// write a file to see and change its attributes.
    fn set_xattrs(&self, fd: BorrowedFd<'_>, now: &Node) -> io::Result<bool> {
        match self.try_xattrs(fd) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && now.mode & LENT != LENT => {}
            other => return other,
        }
        chmod(magic(fd), Mode::from_raw_mode(now.mode | LENT))?;
        self.try_xattrs(fd).map(|_| true)
    }

    fn try_xattrs(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let mut is_changed = false;
        let path = magic(fd);
        let present = crate::changes::node::xattrs_of(fd)?;
        for name in present.keys().filter(|name| !self.xattrs.iter().any(|(wanted, _)| wanted.0 == **name)) {
            removexattr(&path, &name[..])?;
            is_changed = true;
        }
        for (name, value) in &self.xattrs {
            if present.get(name.as_bytes()) != Some(&value.0) {
                setxattr(&path, name.as_bytes(), value.as_bytes(), XattrFlags::empty())?;
                is_changed = true;
            }
        }
        Ok(is_changed)
    }
}

/// Sets access and modification time of an opened file of any type.
pub(crate) fn set_times(fd: BorrowedFd<'_>, accessed: Stamp, modified: Stamp) -> io::Result<()> {
    let time = |stamp: Stamp| Timespec { tv_sec: stamp.sec, tv_nsec: i64::from(stamp.nsec) };
    let times = Timestamps { last_access: time(accessed), last_modification: time(modified) };
    Ok(utimensat(CWD, magic(fd), &times, AtFlags::empty())?)
}

/// Replaces content and metadata of the opened file `to` by those of `from`.
pub(crate) fn overwrite(from: &File, to: &File, meta: &Meta) -> io::Result<()> {
    ftruncate(to, 0)?;
    copy_content(from, to)?;
    meta.set(to.as_fd())?;
    to.sync_all()
}

/// What an ordinary user needs of their own file to change its attributes.
pub(super) const LENT: u32 = 0o600;
