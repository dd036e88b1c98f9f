//! What a fork changed, carried over into the run once it is approved.
//!
//! The upper layer of a shadow says what changed: it is applied through the run's own mounts, by name below a
//! descriptor, while nothing in the run moves. Everything is looked through before anything is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fchmod, fgetxattr, fremovexattr, fsetxattr, fstat, fstatvfs, futimens, mkdirat, openat,
        readlinkat, statat, symlinkat, unlinkat, utimensat,
    },
    io::{self, Errno},
    process::geteuid,
};

use crate::{
    changes::{copy_content, node::xattrs_of_opened},
    checkpoint::Change,
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

/// Carries over what is in `upper` to `root`. Names that are `gone` are no longer of the files that the run has there.
pub(super) fn carry_over(
    plane: &Plane,
    gone: &BTreeSet<Vec<u8>>,
    root: &Path,
    upper: BorrowedFd<'_>,
) -> io::Result<()> {
    let merge = Merge { plane, gone };
    let from = openat(upper, ".", FOLDER, Mode::empty())?;
    let to = openat(CWD, root, FOLDER, Mode::empty())?;
    let path = root.as_os_str().as_bytes();
    let (wanted, present) = (fstat(&from)?, fstat(&to)?);
    // Whoever cannot give the shadow away cannot change what another's folder looks like either.
    if wanted.st_uid == present.st_uid && !looks_alike((&from, &wanted), (&to, &present))? {
        return merge.inside(&from, &to, path);
    }
    merge.folder(&from, &to, path)
}

struct Merge<'a> {
    plane: &'a Plane,
    gone: &'a BTreeSet<Vec<u8>>,
}

impl Merge<'_> {
    /// What is in a folder, and what that looks like.
    fn inside(&self, from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> io::Result<()> {
        let (wanted, present) = (fstat(from)?, fstat(to)?);
        self.plane.before_looks(path)?;
        let mode = present.st_mode & 0o7777;
        if lacks(mode, 0o700) {
            fchmod(to, Mode::from_raw_mode(mode | 0o700))?;
        }
        self.folder(from, to, path)?;
        attributes(to, &own_attributes(from)?)?;
        fchmod(to, Mode::from_raw_mode(wanted.st_mode & 0o7777))?;
        futimens(to, &times_of(&wanted))
    }

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
                    self.plane.before_carrying(&path, Change::Name)?;
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
            self.plane.before_carrying(path, Change::Name)?;
            mkdirat(to, name, Mode::RWXU)?;
            own(to, name, (data.st_uid, data.st_gid))?;
        }
        self.plane.before_looks(path)?;
        permit(to, name, 0o700)?;
        self.inside(&from, &openat(to, name, FOLDER, Mode::empty())?, path)
    }

    fn file(
        &self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &[u8],
        data: &Stat,
        path: &[u8],
    ) -> io::Result<()> {
        let old = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let new = match self.emptied(to, name, path)? {
            Some(new) => new,
            None => self.made_anew(to, name, path)?,
        };
        let (from, new) = (File::from(old), File::from(new));
        copy_content(&from, &new).map_err(|error| errno(&error))?;
        let (old, new) = (OwnedFd::from(from), OwnedFd::from(new));
        own(to, name, (data.st_uid, data.st_gid))?;
        attributes(&new, &own_attributes(&old)?)?;
        fchmod(&new, Mode::from_raw_mode(data.st_mode & 0o7777))?;
        futimens(&new, &times_of(data))
    }

    /// The file that the run has, to be written anew: whoever has it open goes on having it open. Not where the fork's is
    /// another, and not a program that somebody runs.
    fn emptied(&self, to: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<Option<OwnedFd>> {
        let is_file = |data: Stat| FileType::from_raw_mode(data.st_mode) == FileType::RegularFile;
        let is_there = statat(to, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_file);
        if !is_there || self.gone.contains(path) {
            return Ok(None);
        }
        self.plane.before_carrying(path, Change::Content)?;
        permit(to, name, 0o600)?;
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(to, name, flags, Mode::empty()) {
            Err(Errno::TXTBSY) => Ok(None),
            other => other.map(Some),
        }
    }

    fn made_anew(&self, to: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<OwnedFd> {
        self.clear(to, name, path)?;
        self.plane.before_carrying(path, Change::Name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(to, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Removes what has a name, with everything below it.
    fn clear(&self, at: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<()> {
        let data = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(data.st_mode) != FileType::Directory {
            self.plane.before_carrying(path, Change::Name)?;
            return unlinkat(at, name, AtFlags::empty());
        }
        self.plane.before_carrying_without(path)?;
        permit(at, name, 0o700)?;
        let inner = openat(at, name, FOLDER, Mode::empty())?;
        for name in names(&inner)? {
            self.clear(&inner, &name, &join(path, &name))?;
        }
        unlinkat(at, name, AtFlags::REMOVEDIR)
    }
}

/// Whether two folders have the same mode, times and attributes.
fn looks_alike(one: (&OwnedFd, &Stat), other: (&OwnedFd, &Stat)) -> io::Result<bool> {
    let looks = |data: &Stat| {
        let times = times_of(data);
        (data.st_mode, times.last_access, times.last_modification)
    };
    Ok(looks(one.1) == looks(other.1) && own_attributes(one.0)? == own_attributes(other.0)?)
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

/// Lets a user do with its own file or folder what it takes.
pub(super) fn permit(at: &OwnedFd, name: &[u8], needed: u32) -> io::Result<()> {
    let mode = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode & 0o7777;
    if lacks(mode, needed) {
        chmodat(at, name, Mode::from_raw_mode(mode | needed), AtFlags::empty())?;
    }
    Ok(())
}

fn lacks(mode: u32, needed: u32) -> bool {
    !geteuid().is_root() && mode & needed != needed
}

fn times(at: &OwnedFd, name: &[u8], data: &Stat) -> io::Result<()> {
    utimensat(at, name, &times_of(data), AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn times_of(data: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(data.st_atime, data.st_atime_nsec),
        last_modification: time(data.st_mtime, data.st_mtime_nsec),
    }
}

/// The attributes of what is opened, access lists included, but for those of overlays and security modules.
pub(super) fn own_attributes(file: &OwnedFd) -> io::Result<Attributes> {
    xattrs_of_opened(file.as_fd()).map_err(|error| errno(&error))
}

/// Gives a file these attributes, and no others.
pub(super) fn attributes(file: &OwnedFd, wanted: &Attributes) -> io::Result<()> {
    let present = own_attributes(file)?;
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        fremovexattr(file, &**name)?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(*name) != Some(value)) {
        fsetxattr(file, &**name, value, XattrFlags::empty())?;
    }
    Ok(())
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// By name.
pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;
/// What is left free on the disk beside what is carried over.
const MARGIN: u64 = 16 << 20;
/// How a folder is opened.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
