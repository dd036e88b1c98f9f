//! What a fork changed, carried over into the run once it is approved.
//!
//! The upper layer of a shadow says what changed: it is applied through the run's own mounts, by name below a
//! descriptor, while nothing in the run moves. Everything is looked through before anything is touched.

use std::{
    fs::File,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fgetxattr, flistxattr, fsetxattr, fstatvfs, mkdirat, openat, readlinkat, statat, symlinkat,
        unlinkat, utimensat,
    },
    io::{self, Errno},
};

use crate::{
    changes::copy_content,
    supervisor::{Plane, resolve::join},
};

/// Looks through what would be carried over to roots that are uncovered, and says what cannot be: nothing is changed.
pub(super) fn survey(layers: &[(PathBuf, OwnedFd)]) -> io::Result<()> {
    for (root, upper) in layers {
        let mut bytes = 0;
        let folder = openat(upper, ".", FOLDER, Mode::empty())?;
        let below = openat(CWD, root, FOLDER, Mode::empty())?;
        survey_folder(&folder, Some(&below), &mut bytes)?;
        let room = fstatvfs(&below)?;
        if bytes + MARGIN > room.f_bavail * room.f_frsize {
            return Err(Errno::NOSPC);
        }
    }
    Ok(())
}

fn survey_folder(folder: &OwnedFd, below: Option<&OwnedFd>, bytes: &mut u64) -> io::Result<()> {
    for name in names(folder)? {
        let data = statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        let there = below.and_then(|below| statat(below, &*name, AtFlags::SYMLINK_NOFOLLOW).ok());
        let is_folder = |data: &Stat| FileType::from_raw_mode(data.st_mode) == FileType::Directory;
        if there.is_some_and(|there| !is_folder(&there) && there.st_nlink > 1) {
            // Its other names would be those of another file then.
            return Err(Errno::OPNOTSUPP);
        }
        match FileType::from_raw_mode(data.st_mode) {
            FileType::Directory => {
                *bytes += 4096;
                let below = below.and_then(|below| openat(below, &*name, FOLDER, Mode::empty()).ok());
                survey_folder(&openat(folder, &*name, FOLDER, Mode::empty())?, below.as_ref(), bytes)?;
            }
            FileType::RegularFile if data.st_nlink == 1 => *bytes += data.st_size.unsigned_abs() + 4096,
            FileType::Symlink => *bytes += 4096,
            FileType::CharacterDevice if data.st_rdev == 0 => {}
            _ => return Err(Errno::OPNOTSUPP),
        }
    }
    Ok(())
}

/// Carries over what is in `upper` to `root`.
pub(super) fn carry_over(plane: &Plane, root: &Path, upper: BorrowedFd<'_>) -> io::Result<()> {
    let merge = Merge { plane };
    let from = openat(upper, ".", FOLDER, Mode::empty())?;
    let to = openat(CWD, root, FOLDER, Mode::empty())?;
    let path = root.as_os_str().as_bytes();
    merge.folder(&from, &to, path)?;
    plane.before_looks(path)
}

struct Merge<'a> {
    plane: &'a Plane,
}

impl Merge<'_> {
    fn folder(&self, from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> io::Result<()> {
        for name in names(from)? {
            let data = statat(from, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            let path = join(path, &name);
            match FileType::from_raw_mode(data.st_mode) {
                FileType::Directory => self.directory((from, to), &name, &data, &path)?,
                FileType::RegularFile => self.file((from, to), &name, &data, &path)?,
                FileType::Symlink => {
                    self.clear(to, &name, &path)?;
                    let target = readlinkat(from, &*name, Vec::new())?;
                    self.plane.before_carrying(&path, false)?;
                    symlinkat(target, to, &*name)?;
                    own(to, &name, (data.st_uid, data.st_gid))?;
                    times(to, &name, &data)?;
                }
                // What the fork removed.
                _ => self.clear(to, &name, &path)?,
            }
        }
        Ok(())
    }

    fn directory(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &[u8],
        data: &Stat,
        path: &[u8],
    ) -> io::Result<()> {
        let from = openat(from, name, FOLDER, Mode::empty())?;
        let present = statat(to, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_there =
            present.is_some_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Directory);
        let mut value = [0; 4];
        let is_new = fgetxattr(&from, "user.overlay.opaque", &mut value).is_ok();
        if is_new || !is_there {
            self.clear(to, name, path)?;
            self.plane.before_carrying(path, false)?;
            mkdirat(to, name, Mode::RWXU)?;
            own(to, name, (data.st_uid, data.st_gid))?;
        }
        let inner = openat(to, name, FOLDER, Mode::empty())?;
        self.folder(&from, &inner, path)?;
        attributes(&from, &inner)?;
        self.plane.before_looks(path)?;
        chmodat(to, name, Mode::from_raw_mode(data.st_mode & 0o7777), AtFlags::empty())?;
        times(to, name, data)
    }

    fn file(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &[u8],
        data: &Stat,
        path: &[u8],
    ) -> io::Result<()> {
        self.clear(to, name, path)?;
        self.plane.before_carrying(path, false)?;
        let old = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        let (from, new) = (File::from(old), File::from(new));
        copy_content(&from, &new).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let (old, new) = (OwnedFd::from(from), OwnedFd::from(new));
        own(to, name, (data.st_uid, data.st_gid))?;
        attributes(&old, &new)?;
        chmodat(to, name, Mode::from_raw_mode(data.st_mode & 0o7777), AtFlags::empty())?;
        times(to, name, data)
    }

    /// Removes what has a name, with everything below it.
    fn clear(&self, at: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<()> {
        let data = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(data.st_mode) != FileType::Directory {
            self.plane.before_carrying(path, false)?;
            return unlinkat(at, name, AtFlags::empty());
        }
        self.plane.before_carrying(path, true)?;
        let inner = openat(at, name, FOLDER, Mode::empty())?;
        for name in names(&inner)? {
            self.clear(&inner, &name, &join(path, &name))?;
        }
        unlinkat(at, name, AtFlags::REMOVEDIR)
    }
}

/// What is in a folder.
pub(super) fn names(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Gives a file to this user and group. A user owns what it makes, and can give nothing away.
pub(super) fn own(at: &OwnedFd, name: &[u8], owner: (u32, u32)) -> io::Result<()> {
    let now = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (now.st_uid, now.st_gid) == owner {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    chownat(at, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(at: &OwnedFd, name: &[u8], data: &Stat) -> io::Result<()> {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let last_access = time(data.st_atime, data.st_atime_nsec);
    let last_modification = time(data.st_mtime, data.st_mtime_nsec);
    utimensat(at, name, &Timestamps { last_access, last_modification }, AtFlags::SYMLINK_NOFOLLOW)
}

/// Attributes of the agent's own.
fn attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut list = vec![0; LARGEST];
    let length = flistxattr(from, &mut list)?;
    for name in list[..length].split(|byte| *byte == 0) {
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; LARGEST];
        let length = fgetxattr(from, name, &mut value)?;
        fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// What is left free on the disk beside what is carried over.
const MARGIN: u64 = 16 << 20;
/// `XATTR_SIZE_MAX` of Linux.
pub(super) const LARGEST: usize = 65_536;
/// How a folder is opened.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
