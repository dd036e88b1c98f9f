//! Paths of the host, symlinks followed.

use std::collections::VecDeque;

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat},
};

use super::{
    super::{
        beneath::{Pinned, below_root, join, magic, split, stat_at},
        walk::typed_names_in,
    },
    MOST_SYMLINKS,
};

/// The host's root directory, below which paths are resolved.
pub(super) struct Root {
    host: Pinned,
    /// What the kernel calls it.
    path: Vec<u8>,
}

/// How the host comes to what is at a path.
pub(super) struct Way {
    /// Every place that it looks at, symlinks and folders, in its order.
    pub(super) passed: Vec<Vec<u8>>,
    /// The path as it is written, and what it becomes with each symlink that is followed.
    pub(super) names: Vec<Vec<u8>>,
}

impl Root {
    pub(super) fn of(fd: BorrowedFd<'_>) -> Option<Self> {
        let host = Pinned::open(fd, b"").ok()?;
        let path =
            readlinkat(CWD, magic(fd), Vec::new()).map(std::ffi::CString::into_bytes).unwrap_or_default();
        Some(Self { host, path: if path == b"/" { Vec::new() } else { path } })
    }

    /// Where a path of the host leads, symlinks followed; `None` when nowhere.
    pub(super) fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(&self.host, path, flags, Mode::empty(), resolve).ok()?;
        let real = readlinkat(CWD, magic(found.as_fd()), Vec::new()).ok()?.into_bytes();
        real.strip_prefix(self.path.as_slice()).filter(|real| real.starts_with(b"/")).map(<[u8]>::to_vec)
    }

    /// What the symlink at the absolute `path` says; no symlink on the way to it is followed.
    pub(super) fn symlink(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (parent, name) = split(below_root(path));
        let dir = Pinned::open(self.host.as_fd(), parent).ok()?;
        readlinkat(&dir, name, Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }

    /// Every step to the absolute `path`, whether or not anything is there.
    pub(super) fn way(&self, path: &[u8]) -> Way {
        let mut ahead: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        let mut way = Way { passed: Vec::new(), names: vec![joined(b"", &ahead)] };
        let mut place = Vec::new();
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                place.truncate(split(&place).0.len());
                continue;
            }
            let at = [&place, &b"/"[..], &name].concat();
            way.passed.push(at.clone());
            let target = self.symlink(&at).filter(|_| way.names.len() <= MOST_SYMLINKS as usize);
            let Some(target) = target else {
                place = at;
                continue;
            };
            if target.starts_with(b"/") {
                place.clear();
            }
            let before: Vec<_> = components(&target).map(<[u8]>::to_vec).collect();
            before.into_iter().rev().for_each(|name| ahead.push_front(name));
            way.names.push(joined(&place, &ahead));
        }
        way
    }

    /// The directory at an absolute path; no symlink is followed.
    pub(super) fn folder(&self, path: &[u8]) -> Option<Pinned> {
        Pinned::open(self.host.as_fd(), below_root(path)).ok()
    }

    /// True when there is something called `name` in the directory `folder`.
    pub(super) fn has(&self, folder: &[u8], name: &[u8]) -> bool {
        self.folder(folder).is_some_and(|folder| !matches!(stat_at(folder.as_fd(), name), Ok(None)))
    }

    /// Symlinks below `folder`, on its file system, those less deep first; what is below a folder called `skipped` and what
    /// comes after `most` entries is left out.
    pub(super) fn symlinks_below(&self, folder: &[u8], skipped: &[u8], mut most: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let Some(top) = self.folder(folder) else { return found };
        let mut waiting = VecDeque::from([Vec::new()]);
        while let Some(below) = waiting.pop_front() {
            let dir = top.at(&below, OFlags::RDONLY | OFlags::DIRECTORY);
            let Ok((dir, names)) = dir.and_then(|dir| typed_names_in(&dir).map(|names| (dir, names))) else {
                continue;
            };
            for (name, kind) in names {
                let Some(rest) = most.checked_sub(1) else { return found };
                most = rest;
                match known(kind, dir.as_fd(), &name) {
                    FileType::Directory if name != skipped => waiting.push_back(join(&below, &name)),
                    FileType::Symlink => found.push([folder, b"/", &join(&below, &name)].concat()),
                    _ => {}
                }
            }
        }
        found
    }
}

/// A type that the file system may not have told with the name.
fn known(kind: FileType, dir: BorrowedFd<'_>, name: &[u8]) -> FileType {
    match kind {
        FileType::Unknown => stat_at(dir, name)
            .ok()
            .flatten()
            .map_or(kind, |stat| FileType::from_raw_mode(u32::from(stat.stx_mode))),
        known => known,
    }
}

/// The names of a path, without what says nothing.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// The absolute path of `names` below `place`.
fn joined(place: &[u8], names: &VecDeque<Vec<u8>>) -> Vec<u8> {
    let mut path = place.to_vec();
    for name in names {
        if name == b".." {
            path.truncate(split(&path).0.len());
        } else {
            path = [&path, &b"/"[..], name].concat();
        }
    }
    path
}
