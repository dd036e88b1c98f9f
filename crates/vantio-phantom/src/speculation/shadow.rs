//! The world of a fork: what it changes goes into memory, above what the run has.
//!
//! A shadow covers a folder of the run where the run sees it. Its upper layer is in a file system in memory that
//! nobody can reach by a path, so nothing of it outlives the shadow.

use std::{
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, StatxFlags, Uid, XattrFlags, chmodat, chownat, fgetxattr, fsetxattr,
        fstatfs, mkdirat, openat, statat, statx, utimensat,
    },
    io::{self, Errno},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
        unmount,
    },
    process::fchdir,
};

use super::merge::{attributes, own_attributes, times_of};
use crate::world::mounts::{self, Mount};

/// Folders of the run that are covered.
#[derive(Debug)]
pub(super) struct Shadows {
    pub(super) all: Vec<Shadow>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Shadow {
    /// Where the run sees it.
    pub(super) root: PathBuf,
    /// What the fork changed.
    pub(super) upper: OwnedFd,
    /// The mounts that are part of it.
    pub(super) mounts: Vec<u64>,
    /// How many mounts lie there, one above the other.
    layers: usize,
}

/// A shadow before it covers anything.
struct Prepared {
    root: PathBuf,
    lower: OwnedFd,
    /// What is mounted below, to be put there again.
    carried: Vec<(PathBuf, OwnedFd)>,
}

impl Shadows {
    /// Covers `roots`, of which none may be mounted anew meanwhile. `listed` are the run's mounts.
    pub(super) fn cover(roots: &[PathBuf], listed: &[Mount]) -> io::Result<Self> {
        let listed = mounts::reachable(listed);
        let mut roots = roots.to_vec();
        roots.sort();
        let prepared = roots.iter().map(|root| Prepared::new(root, &roots, &listed));
        let prepared = prepared.collect::<io::Result<Vec<_>>>()?;
        let mut shadows = Self { all: Vec::new() };
        for prepared in prepared {
            prepared.mount(&mut shadows)?;
        }
        Ok(shadows)
    }

    /// How many bytes the fork's changes take.
    pub(super) fn used(&self) -> io::Result<u64> {
        self.all.iter().try_fold(0, |sum, shadow| {
            let data = fstatfs(&shadow.upper)?;
            Ok(sum + data.f_blocks.saturating_sub(data.f_bfree) * data.f_bsize.unsigned_abs())
        })
    }

    /// Whether the fork has changed a file, or put another file or folder in its place.
    pub(super) fn has_changed(&self, path: &[u8]) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.all.iter().any(|shadow| {
            path.strip_prefix(&shadow.root).is_ok_and(|within| !is_as_below(&shadow.upper, within))
        })
    }

    /// Uncovers what was covered.
    pub(super) fn uncover(&mut self) -> io::Result<()> {
        fchdir(openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?;
        while let Some(shadow) = self.all.last_mut() {
            while shadow.layers > 0 {
                unmount(&shadow.root, UnmountFlags::DETACH)?;
                shadow.layers -= 1;
            }
            self.all.pop();
        }
        Ok(())
    }

    /// As [`Self::uncover`], and gives what the fork changed.
    pub(super) fn take(&mut self) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        let kept = self
            .all
            .iter()
            .map(|shadow| Ok((shadow.root.clone(), shadow.upper.try_clone().map_err(|_| Errno::MFILE)?)));
        let kept = kept.collect::<io::Result<Vec<_>>>()?;
        self.uncover()?;
        Ok(kept)
    }
}

impl Drop for Shadows {
    fn drop(&mut self) {
        // Where that fails, the run cannot go on: whoever has the shadows sees to it before.
        let _ = self.uncover();
    }
}

impl Prepared {
    fn new(root: &Path, roots: &[PathBuf], listed: &[Mount]) -> io::Result<Self> {
        let is_below = |point: &Path, root: &Path| point != root && point.starts_with(root);
        let mut points: Vec<&Path> = listed.iter().map(|mount| mount.point.as_path()).collect();
        points.retain(|point| {
            is_below(point, root) && !roots.iter().any(|other| other != root && point.starts_with(other))
        });
        points.sort_unstable();
        points.dedup_by(|later, earlier| later.starts_with(*earlier));
        let carried = points
            .into_iter()
            .map(|point| Ok((point.to_owned(), open_tree(CWD, point, CLONE | OpenTreeFlags::AT_RECURSIVE)?)));
        Ok(Self {
            root: root.to_owned(),
            carried: carried.collect::<io::Result<Vec<_>>>()?,
            lower: open_tree(CWD, root, CLONE)?,
        })
    }

    fn mount(self, shadows: &mut Shadows) -> io::Result<()> {
        let looks = statat(CWD, &self.root, AtFlags::empty())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let covered = own_attributes(&openat(CWD, &self.root, flags, Mode::empty())?)?;
        let memory = memory()?;
        attach(&memory, &self.root)?;
        let folder = openat(CWD, &self.root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for name in ["lower", "upper", "work"] {
            mkdirat(&folder, name, Mode::RWXU)?;
        }
        let upper = openat(&folder, "upper", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        shadows.all.push(Shadow { root: self.root.clone(), upper, mounts: Vec::new(), layers: 1 });
        let shadow = shadows.all.last_mut().ok_or(Errno::INVAL)?;
        // The folder looks as what it covers. Without attributes, a folder that is made anew would show what was there.
        fsetxattr(&shadow.upper, "user.vantio", b"", XattrFlags::empty())?;
        rustix::fs::fremovexattr(&shadow.upper, "user.vantio")?;
        let (user, group) = (Uid::from_raw(looks.st_uid), Gid::from_raw(looks.st_gid));
        chownat(&folder, "upper", Some(user), Some(group), AtFlags::empty()).or_else(|error| {
            // A user cannot give it away, and owns what is covered or can do nothing in it.
            if error == Errno::PERM || error == Errno::INVAL { Ok(()) } else { Err(error) }
        })?;
        attributes(&shadow.upper, &covered)?;
        chmodat(&folder, "upper", Mode::from_raw_mode(looks.st_mode & 0o7777), AtFlags::empty())?;
        utimensat(&folder, "upper", &times_of(&looks), AtFlags::empty())?;
        fchdir(&folder)?;
        move_mount(&self.lower, "", CWD, "lower", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        attach(&overlay()?, &self.root)?;
        shadow.layers = 2;
        for (point, tree) in &self.carried {
            attach(tree, point)?;
        }
        let points = self.carried.iter().map(|(point, _)| point.as_path()).chain([self.root.as_path()]);
        shadow.mounts = points.map(mount_of).collect::<io::Result<_>>()?;
        Ok(())
    }
}

/// Whether nothing in an upper layer hides what is at a path in the layer below.
fn is_as_below(upper: &OwnedFd, within: &Path) -> bool {
    let mut so_far = PathBuf::new();
    for name in within {
        so_far.push(name);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match openat(upper, &so_far, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(error) => return error == Errno::NOENT,
        };
        if fgetxattr(&folder, OPAQUE, &mut [0; 1][..]) != Err(Errno::NODATA) {
            return false;
        }
    }
    true
}

/// The number of the mount at a path.
pub(super) fn mount_of(path: &Path) -> io::Result<u64> {
    Ok(statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?.stx_mnt_id)
}

fn memory() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "mode", "0700")?;
    fsconfig_set_string(context.as_fd(), "size", SIZE)?;
    made(context.as_fd())
}

/// An overlay of the folders `lower`, `upper` and `work` of the working directory.
fn overlay() -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in
        [("source", "vantio"), ("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")]
    {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_set_flag(context.as_fd(), "userxattr")?;
    made(context.as_fd())
}

fn made(context: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(tree: &OwnedFd, at: &Path) -> io::Result<()> {
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Marks a folder of an upper layer that hides the one below.
const OPAQUE: &str = "user.overlay.opaque";
/// What a shadow may take at most, in bytes: far more than what a fork is given up for.
const SIZE: &str = "1073741824";
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);
