//! Opening paths beneath a pinned directory, following no symlink.

use std::io;

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx},
    io::Errno,
};

/// A pinned directory. Paths given to its methods are relative, without `.`,
/// `..` or empty components; the empty path is the directory itself.
#[derive(Debug)]
pub(crate) struct Pinned {
    fd: OwnedFd,
    mount: u64,
}

impl Pinned {
    /// Pins the directory `path` beneath `root`.
    pub(crate) fn open(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Self> {
        let fd = open_beneath(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())?;
        Self::adopt(fd)
    }

    /// Pins an opened directory.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let mount = mount_of(fd.as_fd())?;
        Ok(Self { fd, mount })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, mount: self.mount })
    }

    /// The mount that the directory is on.
    pub(crate) fn mount(&self) -> u64 {
        self.mount
    }

    /// Opens `path`, which must be on the same mount.
    pub(crate) fn at(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        open_beneath(self.fd.as_fd(), path, flags, ResolveFlags::NO_XDEV)
    }

    /// Opens the directory `path` to look names up in it.
    pub(crate) fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.at(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Opens the directory that holds `path`, and names the entry.
    pub(crate) fn parent<'p>(&self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let (parent, name) = split(path);
        Ok((self.dir(parent)?, name))
    }

    /// What `path` is, or `None` where there is nothing on this mount.
    pub(crate) fn stat(&self, path: &[u8]) -> io::Result<Option<Statx>> {
        match self.at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => stat_fd(fd.as_fd()).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Pinned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// True when an error of a lookup means that no such path exists.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
    )
}

/// An absolute path as one that is relative to the root.
pub(crate) fn below_root(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

/// Splits a relative path into its parent and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// `parent/name`, where an empty parent is the pinned directory.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    [parent, b"/", name].concat()
}

/// True when `path` is `ancestor` or below it; both absolute or both relative.
pub(crate) fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    if ancestor.is_empty() || ancestor == b"/" {
        return true;
    }
    path.strip_prefix(ancestor).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Everything about an opened file that this crate compares.
pub(crate) fn stat_fd(fd: BorrowedFd<'_>) -> io::Result<Statx> {
    Ok(statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, STAT_MASK)?)
}

/// The entry `name` of an opened directory, or `None`.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Statx>> {
    match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, STAT_MASK) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A path, for calls that know no descriptors, to what `fd` has open.
pub(crate) fn magic(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens once more the file that an `O_PATH` descriptor has pinned.
pub(crate) fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(CWD, magic(fd), flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn mount_of(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(stat_fd(fd)?.stx_mnt_id)
}

fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, more: ResolveFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | more;
    let path = if path.is_empty() { &b"."[..] } else { path };
    let flags = flags | OFlags::CLOEXEC;
    // EAGAIN: something was renamed meanwhile and the kernel could not be sure.
    for _ in 0..RETRIES {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

const STAT_MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID).union(StatxFlags::BTIME);
const RETRIES: usize = 128;
