//! Creating, removing and renaming, performed on the agent's behalf: by the descriptor of the directory
//! that was judged, so that nothing on the way can be exchanged.

use std::{
    ffi::OsStr,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, RenameFlags, ResolveFlags, linkat, mkdirat, mknodat, renameat_with, statat,
        symlinkat, unlinkat,
    },
    io::{self, Errno},
};
use vantio_core::{Access, Becomes, Effect, Intent, Target};

use super::{
    Plane,
    request::{Reply, Request},
    resolve::{Entry, Located, OUTSIDE, Object, Place},
};
use crate::{Ways, census::DELETED};

impl Plane {
    /// Answers a call that names files.
    pub(super) fn file_call(self: &Arc<Self>, request: &Request) -> io::Result<Reply> {
        const CWD: i32 = libc::AT_FDCWD;
        match request.number() {
            libc::SYS_open | libc::SYS_creat | libc::SYS_openat | SYS_OPENAT2 => return self.open(request),
            libc::SYS_unlink => self.unlink(request, CWD, 0, 0)?,
            libc::SYS_rmdir => self.unlink(request, CWD, 0, libc::AT_REMOVEDIR)?,
            libc::SYS_unlinkat => self.unlink(request, request.int(0), 1, request.int(2))?,
            libc::SYS_mkdir => self.mkdir(request, CWD, 0)?,
            libc::SYS_mkdirat => self.mkdir(request, request.int(0), 1)?,
            libc::SYS_mknod => self.mknod(request, CWD, 0)?,
            libc::SYS_mknodat => self.mknod(request, request.int(0), 1)?,
            libc::SYS_symlink => self.symlink(request, CWD, 1)?,
            libc::SYS_symlinkat => self.symlink(request, request.int(1), 2)?,
            libc::SYS_link => self.link(request, (CWD, 0), (CWD, 1), 0)?,
            libc::SYS_linkat => {
                self.link(request, (request.int(0), 1), (request.int(2), 3), request.int(4))?;
            }
            libc::SYS_rename => self.rename(request, (CWD, 0), (CWD, 1), 0)?,
            libc::SYS_renameat => self.rename(request, (request.int(0), 1), (request.int(2), 3), 0)?,
            libc::SYS_renameat2 => {
                let flags = request.argument(4) as u32;
                self.rename(request, (request.int(0), 1), (request.int(2), 3), flags)?;
            }
            _ => self.change_metadata(request)?,
        }
        Ok(Reply::Value(0))
    }

    fn unlink(&self, request: &Request, directory: i32, path: usize, flags: i32) -> io::Result<()> {
        if flags & !libc::AT_REMOVEDIR != 0 {
            return Err(Errno::INVAL);
        }
        let path = request.read_path(request.argument(path))?;
        let removes_directory = flags & libc::AT_REMOVEDIR != 0;
        let effect = if removes_directory { Effect::FsRmdir } else { Effect::FsUnlink };
        let entry = self.entry(request, effect, directory, &path)?;
        let data = self.present(request, effect, &entry)?;
        let is_directory = FileType::from_raw_mode(data.st_mode) == FileType::Directory;
        if path.ends_with(b"/") && !is_directory {
            return Err(Errno::NOTDIR);
        }
        match (&*entry.name, removes_directory) {
            (b"." | b"..", false) => return Err(Errno::ISDIR),
            (b".", true) => return Err(Errno::INVAL),
            (b"..", true) => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        let full = entry.path();
        self.permit_path(request, effect, &full, Access::Write, removes_directory)?;
        self.note_base(&full)?;
        let _passage = if removes_directory { self.removing(&entry)? } else { self.naming(&entry)? };
        let _identity = self.assume(request)?;
        let removed = unlinkat(&entry.parent.fd, &*entry.name, AtFlags::from_bits_retain(flags as u32));
        self.as_in_run(request, removed)?;
        self.tell_fork_gone(&full, false);
        self.tell_gone(&full);
        Ok(())
    }

    fn mkdir(&self, request: &Request, directory: i32, path: usize) -> io::Result<()> {
        let mode = Mode::from_raw_mode(request.argument(path + 1) as u32 & 0o7777);
        let path = request.read_path(request.argument(path))?;
        let entry = self.vacant(request, Effect::FsMkdir, directory, &path)?;
        let full = entry.path();
        self.permit_becoming(request, Effect::FsMkdir, &full, Becomes::Mode(mode.bits()))?;
        self.note_growth(&full)?;
        let _passage = self.naming(&entry)?;
        let (_identity, _mask) = (self.assume(request)?, self.with_mask(request)?);
        self.as_in_run(request, mkdirat(&entry.parent.fd, &*entry.name, mode))
    }

    fn mknod(&self, request: &Request, directory: i32, path: usize) -> io::Result<()> {
        let mode = request.argument(path + 1) as u32;
        let path = request.read_path(request.argument(path))?;
        let entry = self.vacant(request, Effect::FsMknod, directory, &path)?;
        let kind = match mode & libc::S_IFMT {
            0 | libc::S_IFREG => FileType::RegularFile,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            libc::S_IFCHR | libc::S_IFBLK => {
                self.refuse_call(request, "making a device");
                return Err(Errno::PERM);
            }
            libc::S_IFDIR => return Err(Errno::PERM),
            _ => return Err(Errno::INVAL),
        };
        let full = entry.path();
        let becomes = Becomes::Mode(kind.as_raw_mode() | mode & 0o7777);
        self.permit_becoming(request, Effect::FsMknod, &full, becomes)?;
        self.note_growth(&full)?;
        let _passage = self.naming(&entry)?;
        let (_identity, _mask) = (self.assume(request)?, self.with_mask(request)?);
        mknodat(&entry.parent.fd, &*entry.name, kind, Mode::from_raw_mode(mode & 0o7777), 0)
    }

    fn symlink(&self, request: &Request, directory: i32, path: usize) -> io::Result<()> {
        let target = request.read_path(request.argument(0))?;
        let path = request.read_path(request.argument(path))?;
        let entry = self.vacant(request, Effect::FsSymlink, directory, &path)?;
        let full = entry.path();
        self.permit_becoming(request, Effect::FsSymlink, &full, Becomes::Link(&target))?;
        self.note_growth(&full)?;
        let _passage = self.naming(&entry)?;
        let _identity = self.assume(request)?;
        self.as_in_run(request, symlinkat(&*target, &entry.parent.fd, &*entry.name))
    }

    fn link(&self, request: &Request, old: (i32, usize), new: (i32, usize), flags: i32) -> io::Result<()> {
        if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Errno::INVAL);
        }
        let source = self.linked(request, old, flags)?;
        let path = request.read_path(request.argument(new.1))?;
        let entry = self.vacant(request, Effect::FsLink, new.0, &path)?;
        let full = entry.path();
        if source.place != Place::Run {
            return Err(Errno::XDEV);
        }
        if source.data.stx_nlink == 0 {
            // A nameless file of the agent's own gets its first name, by whoever knows what is in it.
            self.join_beside(request, &source, Ways { reads: true, writes: true, is_new: false })?;
            let becomes = Becomes::Mode(u32::from(source.data.stx_mode) & 0o7777);
            self.permit_becoming(request, Effect::FsOpen, &full, becomes)?;
        } else {
            if source.path.ends_with(DELETED) {
                // What is known by its other names is not known by this one.
                self.join_beside(request, &source, Ways { reads: true, writes: false, is_new: false })?;
            }
            self.permit_paths(request, Effect::FsLink, &source.path, &full, false)?;
        }
        self.note_base(&full)?;
        let _passage = self.linking(&source, &entry)?;
        if let Some(census) = &self.census {
            census.link(&source.data, &source.path, &full);
        }
        let _identity = self.assume(request)?;
        let (own, number) = self.view.handle(source.fd.as_fd());
        linkat(own, number, &entry.parent.fd, &*entry.name, AtFlags::SYMLINK_FOLLOW)
    }

    /// The object that gets another name.
    fn linked(&self, request: &Request, (directory, path): (i32, usize), flags: i32) -> io::Result<Object> {
        let path = request.read_path(request.argument(path))?;
        if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            return self.view.locate_descriptor(request, directory);
        }
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        match self.locate(request, directory, &path, follow, ResolveFlags::empty())? {
            Located::Found(object) => Ok(object),
            Located::Missing(entry) => Err(self.absence(request, &entry, Effect::FsStat, Access::Read)),
        }
    }

    fn rename(&self, request: &Request, old: (i32, usize), new: (i32, usize), flags: u32) -> io::Result<()> {
        let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Errno::INVAL);
        }
        let path = |(directory, path)| -> io::Result<_> {
            Ok((directory, request.read_path(request.argument(path))?))
        };
        let ((from_directory, from_path), (to_directory, to_path)) = (path(old)?, path(new)?);
        let from = self.entry(request, Effect::FsRename, from_directory, &from_path)?;
        let to = self.entry(request, Effect::FsRename, to_directory, &to_path)?;
        if [&from, &to].iter().any(|entry| matches!(&*entry.name, b"." | b"..")) {
            return Err(Errno::BUSY);
        }
        let data = self.present(request, Effect::FsRename, &from)?;
        let is_directory = FileType::from_raw_mode(data.st_mode) == FileType::Directory;
        if (from_path.ends_with(b"/") || to_path.ends_with(b"/")) && !is_directory {
            return Err(Errno::NOTDIR);
        }
        let (from_full, to_full) = (from.path(), to.path());
        for path in [&from_full, &to_full] {
            self.keep_hidden(request, path)?;
        }
        self.permit_paths(request, Effect::FsRename, &from_full, &to_full, is_directory)?;
        if flags.contains(RenameFlags::EXCHANGE) {
            let other = self.present(request, Effect::FsRename, &to)?;
            let is_directory = FileType::from_raw_mode(other.st_mode) == FileType::Directory;
            self.permit_paths(request, Effect::FsRename, &to_full, &from_full, is_directory)?;
        }
        self.note_base(&from_full)?;
        self.note_base(&to_full)?;
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        self.copies(request, data.st_size.unsigned_abs())?;
        let passage = self.renaming((&from, &to), exchanges)?;
        if let Some(census) = &self.census {
            census.rename(&from_full, &to_full);
            if exchanges {
                census.rename(&to_full, &from_full);
            }
        }
        let renamed = self.assume(request).and_then(|_identity| {
            renameat_with(&from.parent.fd, &*from.name, &to.parent.fd, &*to.name, flags)
        });
        passage.renamed(renamed.is_ok())?;
        self.as_in_run(request, renamed)?;
        self.tell_fork_gone(&from_full, true);
        self.tell_fork_gone(&to_full, exchanges);
        if !exchanges {
            self.tell_gone(&from_full);
        }
        Ok(())
    }

    /// A commit would move the state folder with what holds it, or put another in its place.
    fn keep_hidden(&self, request: &Request, path: &[u8]) -> io::Result<()> {
        let path = Path::new(OsStr::from_bytes(path));
        if self.hidden.iter().any(|hidden| hidden.starts_with(path)) {
            self.refuse_call(request, "rename of what holds the state folder");
            return Err(Errno::ACCESS);
        }
        Ok(())
    }

    fn permit_paths(
        &self,
        request: &Request,
        effect: Effect,
        from: &[u8],
        to: &[u8],
        subtree: bool,
    ) -> io::Result<()> {
        self.permit(request, &Intent::new(effect, Target::Paths { from, to, subtree }), None)
    }

    /// A name in a directory of the run.
    fn entry(&self, request: &Request, effect: Effect, directory: i32, path: &[u8]) -> io::Result<Entry> {
        let entry = self.locate_entry(request, directory, path)?;
        self.permit_place(request, effect, &entry)?;
        Ok(entry)
    }

    /// Refuses a name in a directory that is none of the run's.
    pub(super) fn permit_place(&self, request: &Request, effect: Effect, entry: &Entry) -> io::Result<()> {
        if entry.parent.place == Place::Elsewhere {
            self.put_aside(request)?;
        }
        if entry.parent.place == Place::Run {
            return Ok(());
        }
        self.refuse_path(request, effect, OUTSIDE, &entry.path(), Access::Write)
    }

    /// The entry of `path`, at which nothing is.
    fn vacant(&self, request: &Request, effect: Effect, directory: i32, path: &[u8]) -> io::Result<Entry> {
        let entry = self.entry(request, effect, directory, path)?;
        match statat(&entry.parent.fd, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(entry),
            Err(error) => Err(error),
        }
    }

    /// What is at `entry`; a deny may hide whether anything is.
    fn present(&self, request: &Request, effect: Effect, entry: &Entry) -> io::Result<rustix::fs::Stat> {
        statat(&entry.parent.fd, &*entry.name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| match error {
            // A rename is told with both of its names, and what is missing has one.
            Errno::NOENT if effect == Effect::FsRename => {
                self.absence(request, entry, Effect::FsStat, Access::Read)
            }
            Errno::NOENT => self.absence(request, entry, effect, Access::Write),
            other => other,
        })
    }
}

const SYS_OPENAT2: i64 = 437;
