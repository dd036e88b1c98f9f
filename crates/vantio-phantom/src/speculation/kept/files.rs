//! Files become what they were, through the run's own mounts, while nobody is there who could see it.

use std::{
    fs::File,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, chmodat, fchmod, ftruncate,
        linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
    },
    io::{self, Errno},
    process::geteuid,
};

use crate::{
    changes::beneath::{join, split},
    changes::copy_content,
    checkpoint::{Change, Former, Step, read_steps},
    commit::meta::Meta,
    speculation::merge::{FOLDER, attributes, errno, names, own, permit},
    supervisor::Plane,
};

/// Does the steps that `list` tells of; contents are in `folder`.
pub(super) fn put_back(plane: &Plane, list: File, folder: &OwnedFd) -> io::Result<()> {
    let steps = read_steps(list).map_err(|error| errno(&error))?;
    let mut restoring = Restoring { plane, folder: folder.as_fd(), opened: Vec::new() };
    let done = restoring.all(&steps);
    done.and(restoring.close())
}

struct Restoring<'a> {
    plane: &'a Plane,
    folder: BorrowedFd<'a>,
    /// Folders that their owner had closed, and their modes.
    opened: Vec<(Vec<u8>, u32)>,
}

impl Restoring<'_> {
    fn all(&mut self, steps: &[Step]) -> io::Result<()> {
        // From below: a folder is empty by the time it is removed.
        for step in steps.iter().rev().filter(|step| matches!(step.former, Former::Nothing)) {
            let (parent, name) = self.place(step.path.as_bytes())?;
            self.clear(&parent, &name, step.path.as_bytes())?;
        }
        for step in steps {
            self.make(step)?;
        }
        // What is closed last lets nobody in, and what is made in a folder changes its time.
        for step in steps.iter().rev() {
            let path = step.path.as_bytes();
            match &step.former {
                Former::Directory(meta) => self.looks(path, meta)?,
                Former::Looks(meta) => {
                    self.plane.before_going_back(path, Change::Metadata)?;
                    self.looks(path, meta)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn make(&mut self, step: &Step) -> io::Result<()> {
        let path = step.path.as_bytes();
        match &step.former {
            Former::Nothing | Former::Looks(_) => Ok(()),
            Former::Directory(_) => {
                let (parent, name) = self.place(path)?;
                self.clear(&parent, &name, path)?;
                self.plane.before_going_back(path, Change::Name)?;
                mkdirat(&parent, &*name, Mode::RWXU)
            }
            Former::File { slot, meta, in_place, same_as } => {
                let (parent, name) = self.place(path)?;
                if *in_place && self.rewrite(path, (&parent, &name), (slot, meta))? {
                    return Ok(());
                }
                self.clear(&parent, &name, path)?;
                self.plane.before_going_back(path, Change::Name)?;
                if let Some(other) = same_as {
                    let (other, old) = self.place(other.as_bytes())?;
                    return linkat(other, &*old, parent, &*name, AtFlags::empty());
                }
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&parent, &*name, flags, Mode::RUSR | Mode::WUSR)?;
                self.fill(file, slot)?;
                self.looks(path, meta)
            }
            Former::Symlink { target, meta } => {
                let (parent, name) = self.place(path)?;
                self.clear(&parent, &name, path)?;
                self.plane.before_going_back(path, Change::Name)?;
                symlinkat(target.as_bytes(), &parent, &*name)?;
                own(&parent, &name, (meta.uid, meta.gid))?;
                times(&parent, &name, meta)
            }
            Former::Fifo(meta) => {
                let (parent, name) = self.place(path)?;
                self.clear(&parent, &name, path)?;
                self.plane.before_going_back(path, Change::Name)?;
                mknodat(&parent, &*name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
                own(&parent, &name, (meta.uid, meta.gid))?;
                chmodat(&parent, &*name, Mode::from_raw_mode(meta.mode & 0o7777), AtFlags::empty())?;
                times(&parent, &name, meta)
            }
        }
    }

    /// Writes a file anew where it is; false where it is a program that somebody runs.
    fn rewrite(
        &mut self,
        path: &[u8],
        (parent, name): (&OwnedFd, &[u8]),
        (slot, meta): (&str, &Meta),
    ) -> io::Result<bool> {
        self.plane.before_going_back(path, Change::Content)?;
        permit(parent, name, 0o600)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::TXTBSY) => return Ok(false),
            other => other?,
        };
        ftruncate(&file, 0)?;
        self.fill(file, slot)?;
        self.looks(path, meta)?;
        Ok(true)
    }

    fn fill(&self, to: OwnedFd, slot: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = openat(self.folder, slot, flags, Mode::empty())?;
        copy_content(&File::from(from), &File::from(to)).map_err(|error| errno(&error))
    }

    /// Gives what is at a path everything besides its content.
    fn looks(&mut self, path: &[u8], meta: &Meta) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        let now = statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        own(&parent, &name, (meta.uid, meta.gid))?;
        let kind = FileType::from_raw_mode(now.st_mode);
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            permit(&parent, &name, if kind == FileType::Directory { 0o700 } else { 0o600 })?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(&parent, &*name, flags, Mode::empty())?;
            let wanted = meta.xattrs.iter().map(|(name, value)| (name.0.clone(), value.0.clone()));
            attributes(&file, &wanted.collect())?;
            fchmod(&file, Mode::from_raw_mode(meta.mode & 0o7777))?;
            self.opened.retain(|(opened, _)| opened != path);
        } else if kind != FileType::Symlink {
            chmodat(&parent, &*name, Mode::from_raw_mode(meta.mode & 0o7777), AtFlags::empty())?;
        }
        times(&parent, &name, meta)
    }

    /// Removes what has a name, with everything below it.
    fn clear(&mut self, at: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<()> {
        let data = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(data.st_mode) != FileType::Directory {
            self.plane.before_going_back(path, Change::Name)?;
            return unlinkat(at, name, AtFlags::empty());
        }
        self.plane.before_going_back_without(path)?;
        permit(at, name, 0o700)?;
        let inner = openat(at, name, FOLDER, Mode::empty())?;
        for name in names(&inner)? {
            self.clear(&inner, &name, &join(path, &name))?;
        }
        unlinkat(at, name, AtFlags::REMOVEDIR)
    }

    /// The folder of a path, and its name there.
    fn place(&mut self, path: &[u8]) -> io::Result<(OwnedFd, Vec<u8>)> {
        let (parent, name) = split(path);
        let parent = if parent.is_empty() { b"/" } else { parent };
        let opened = match walk(parent) {
            Err(Errno::ACCESS) if !geteuid().is_root() => {
                self.open_up(parent)?;
                walk(parent)
            }
            other => other,
        };
        let folder = opened?;
        if !geteuid().is_root() {
            self.open_folder(parent)?;
        }
        Ok((folder, name.to_vec()))
    }

    /// Lets a user do everything in its own folders on the way, until [`Self::close`].
    fn open_up(&mut self, path: &[u8]) -> io::Result<()> {
        let ends: Vec<usize> =
            path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(end, _)| end).collect();
        for end in ends.into_iter().chain([path.len()]) {
            self.open_folder(&path[..end])?;
        }
        Ok(())
    }

    fn open_folder(&mut self, path: &[u8]) -> io::Result<()> {
        let data = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_own = data.st_uid == geteuid().as_raw();
        if is_own
            && FileType::from_raw_mode(data.st_mode) == FileType::Directory
            && data.st_mode & 0o700 != 0o700
        {
            let mode = data.st_mode & 0o7777;
            self.plane.before_going_back(path, Change::Metadata)?;
            chmodat(CWD, path, Mode::from_raw_mode(mode | 0o700), AtFlags::empty())?;
            self.opened.push((path.to_vec(), mode));
        }
        Ok(())
    }

    /// Closes what was opened, the lowest first.
    fn close(&mut self) -> io::Result<()> {
        while let Some((path, mode)) = self.opened.pop() {
            match chmodat(CWD, &*path, Mode::from_raw_mode(mode), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn walk(path: &[u8]) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn times(at: &OwnedFd, name: &[u8], meta: &Meta) -> io::Result<()> {
    let time = |stamp: crate::changes::Stamp| Timespec { tv_sec: stamp.sec, tv_nsec: stamp.nsec.into() };
    let times = Timestamps { last_access: time(meta.accessed), last_modification: time(meta.modified) };
    utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
