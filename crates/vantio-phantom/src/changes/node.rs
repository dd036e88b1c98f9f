//! What stands at a path.

use std::{
    collections::BTreeMap,
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fd::BorrowedFd,
    fs::{
        Statx, StatxFlags, StatxTimestamp, fgetxattr, flistxattr, getxattr, lgetxattr, listxattr, llistxattr,
        readlinkat,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{LayerKind, OVERLAY_PREFIXES, beneath};

/// A point in time as file systems keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Seconds since the Unix epoch.
    pub sec: i64,
    /// Nanoseconds within the second.
    pub nsec: u32,
}

impl Stamp {
    /// The point `ns` nanoseconds after the Unix epoch.
    pub fn from_ns(ns: i64) -> Self {
        Self { sec: ns.div_euclid(1_000_000_000), nsec: ns.rem_euclid(1_000_000_000) as u32 }
    }

    /// This moment.
    pub(crate) fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { sec: now.as_secs() as i64, nsec: now.subsec_nanos() }
    }
}

impl From<StatxTimestamp> for Stamp {
    fn from(time: StatxTimestamp) -> Self {
        Self { sec: time.tv_sec, nsec: time.tv_nsec }
    }
}

/// A type of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl FileType {
    fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o020_000 => Self::Character,
            0o060_000 => Self::Block,
            _ => Self::File,
        }
    }
}

/// A file as `statx` and the attribute calls describe it; content excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its type.
    pub file_type: FileType,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that are allocated; less than `size` where there are holes.
    pub allocated: u64,
    /// Number of names.
    pub links: u32,
    /// Time of the last change of content.
    pub modified: Stamp,
    /// Time of the last access.
    pub accessed: Stamp,
    /// Time of the last change of anything.
    pub changed: Stamp,
    /// Device and inode.
    pub id: (u64, u64),
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Extended attributes, ACLs among them, without an overlay's own.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Device number of a device.
    pub rdev: (u32, u32),
}

impl Node {
    /// Describes the entry `name` of `dir`, or `None` where there is none.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Self>> {
        match beneath::stat_at(dir, name)? {
            Some(stat) => Self::complete(&stat, dir, name).map(Some),
            None => Ok(None),
        }
    }

    /// Describes an entry whose `stat` is known already.
    pub(crate) fn complete(stat: &Statx, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        let mut node = Self::of_stat(stat);
        if node.file_type == FileType::Symlink {
            node.target = Some(readlinkat(dir, name, Vec::new())?.into_bytes());
        }
        node.xattrs = xattrs(dir, name)?;
        Ok(node)
    }

    /// Describes what is in `stat` alone.
    pub(crate) fn of_stat(stat: &Statx) -> Self {
        Self {
            file_type: FileType::of_mode(u32::from(stat.stx_mode)),
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            allocated: stat.stx_blocks * 512,
            links: stat.stx_nlink,
            modified: stat.stx_mtime.into(),
            accessed: stat.stx_atime.into(),
            changed: stat.stx_ctime.into(),
            id: (u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor), stat.stx_ino),
            target: None,
            xattrs: BTreeMap::new(),
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
        }
    }

    /// When what is in `stat` was made, where the file system tells.
    pub(crate) fn born(stat: &Statx) -> Option<Stamp> {
        let is_told = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        is_told.then(|| stat.stx_btime.into())
    }

    /// Gives it a mode, of which an access list has the owner's part too (`posix_acl_xattr_entry` of Linux).
    pub(crate) fn set_mode(&mut self, mode: u32) {
        self.mode = mode;
        let list = self.xattrs.get_mut(&b"system.posix_acl_access"[..]);
        let Some(entries) = list.and_then(|list| list.get_mut(ACL_HEADER..)) else { return };
        for entry in entries.chunks_exact_mut(ACL_ENTRY) {
            if let [1, 0, permissions, ..] = entry {
                *permissions = u8::try_from(mode >> 6 & 7).unwrap_or_default();
            }
        }
    }

    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// True for a file with holes.
    pub fn is_sparse(&self) -> bool {
        self.file_type == FileType::File && self.allocated < self.size / 512 * 512
    }

    /// True for the mark that an overlay leaves where a name was removed.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.file_type == FileType::Character && self.rdev == (0, 0)
    }

    /// True when nothing that can be told without reading content differs,
    /// change time included.
    pub(crate) fn is_untouched_since(&self, earlier: &Self) -> bool {
        self.is_still(earlier) && self.changed == earlier.changed
    }

    /// The same, for a file that was moved meanwhile: its change time moved.
    pub(crate) fn is_still(&self, earlier: &Self) -> bool {
        let directory = self.is_dir();
        self.id == earlier.id
            && self.file_type == earlier.file_type
            && self.mode == earlier.mode
            && (self.uid, self.gid) == (earlier.uid, earlier.gid)
            && (directory || self.size == earlier.size)
            && (directory || self.modified == earlier.modified)
    }
}

/// The attributes of an entry that belong to it and not to an overlay or a
/// security module.
pub(crate) fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let path = entry_path(dir, name);
    collect(|buffer| llistxattr(&path[..], buffer), |name, buffer| lgetxattr(&path[..], name, buffer))
}

/// The same, of an opened file (an `O_PATH` descriptor will do).
pub(crate) fn xattrs_of(fd: BorrowedFd<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let path = beneath::magic(fd);
    collect(|buffer| listxattr(&path, buffer), |name, buffer| getxattr(&path, name, buffer))
}

/// The same, of a file that was opened to be read: no path in `/proc` is asked for them.
pub(crate) fn xattrs_of_opened(fd: BorrowedFd<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    collect(|buffer| flistxattr(fd, buffer), |name, buffer| fgetxattr(fd, name, buffer))
}

/// One attribute, by its full name.
pub(crate) fn xattr(dir: BorrowedFd<'_>, name: &[u8], attribute: &str) -> io::Result<Option<Vec<u8>>> {
    let path = entry_path(dir, name);
    grow(|buffer| lgetxattr(&path[..], attribute, buffer))
}

/// True when an entry has attributes of an overlay that are not the marks of
/// the overlay it was written through: a program of the run set them.
pub(crate) fn foreign_overlay_attributes(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: LayerKind,
) -> io::Result<bool> {
    let path = entry_path(dir, name);
    let names = grow(|buffer| llistxattr(&path[..], buffer))?.unwrap_or_default();
    let is_foreign = |name: &[u8]| {
        OVERLAY_PREFIXES.iter().any(|prefix| {
            // An overlay keeps a program's `overlay.x` as `overlay.overlay.x`.
            name.strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| *prefix != kind.prefix() || rest.starts_with(b"overlay."))
        })
    };
    Ok(names.split(|byte| *byte == 0).any(is_foreign))
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let names = grow(list)?.unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| is_own(name)) {
        if let Some(value) = grow(|buffer| get(name, buffer))? {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// Reads into a small buffer and, if that does not do, into the largest.
fn grow(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) if buffer.len() < LARGEST_XATTR => buffer.resize(LARGEST_XATTR, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn entry_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [beneath::magic(dir).as_bytes(), b"/", name].concat()
}

fn is_own(name: &[u8]) -> bool {
    !name.is_empty()
        && !OVERLAY_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        && !SECURITY_MODULES.contains(&name)
}

/// Labels that the host's security modules set by themselves.
const SECURITY_MODULES: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// Bytes of an access list before its entries, and of each.
const ACL_HEADER: usize = 4;
const ACL_ENTRY: usize = 8;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of Linux.
const LARGEST_XATTR: usize = 65_536;
