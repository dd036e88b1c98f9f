//! Opening files on the agent's behalf.

use std::{os::fd::AsFd as _, sync::Arc};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat},
    io::{self, Errno},
};
use vantio_core::{Access, Becomes, Effect, Intent, Target};

use super::{
    Plane,
    request::{Reply, Request},
    resolve::{Entry, Located, OUTSIDE, Object, Place},
};
use crate::{
    Ways,
    checkpoint::Change,
    net::{Fate, Outcome},
};

/// An `open` in any of its forms.
struct Open {
    directory: i32,
    path: Vec<u8>,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
}

impl Plane {
    pub(super) fn open(self: &Arc<Self>, request: &Request) -> io::Result<Reply> {
        let open = Open::read(request)?;
        if open.flags.contains(OFlags::PATH) {
            return self.open_path(request, &open);
        }
        for _ in 0..CREATIONS_MAX {
            match self.locate(request, open.directory, &open.path, open.follows(), open.resolve)? {
                Located::Found(object) => return self.open_object(request, &open, object),
                Located::Missing(entry) if open.creates() => match self.create(request, &open, &entry) {
                    // Something appeared meanwhile: it is judged as what it is.
                    Err(Errno::EXIST) if !open.flags.contains(OFlags::EXCL) => {}
                    other => return other,
                },
                Located::Missing(entry) => {
                    return Err(self.absence(request, &entry, Effect::FsOpen, open.access()));
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// `O_PATH` neither reads nor changes anything; what is done with it later is judged then.
    fn open_path(&self, request: &Request, open: &Open) -> io::Result<Reply> {
        if request.number() != SYS_OPENAT2 {
            // The flag is in a register: whatever the path becomes, nothing can be read through it.
            return Ok(Reply::Continue);
        }
        match self.locate(request, open.directory, &open.path, open.follows(), open.resolve)? {
            Located::Found(object) if object.place == Place::Elsewhere => Err(Errno::ACCESS),
            Located::Found(object) if open.wants_directory() && object.kind() != FileType::Directory => {
                Err(Errno::NOTDIR)
            }
            Located::Found(object) => Ok(open.inject(object.fd)),
            Located::Missing(entry) => Err(self.absence(request, &entry, Effect::FsStat, Access::Read)),
        }
    }

    fn open_object(self: &Arc<Self>, request: &Request, open: &Open, object: Object) -> io::Result<Reply> {
        let kind = object.kind();
        if open.creates() && open.flags.contains(OFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        if kind == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        if kind == FileType::Directory
            && (open.creates() || open.access() == Access::Write && !open.is_temporary())
        {
            return Err(Errno::ISDIR);
        }
        if kind != FileType::Directory && open.wants_directory() {
            return Err(Errno::NOTDIR);
        }
        match object.place {
            Place::Run => self.open_in_run(request, open, object),
            Place::Proc => {
                self.permit_file(request, &object, open.access())?;
                self.permit_open(request, open, &object.path, open.ways())?;
                self.join_memory(request, &object, open.ways())?;
                let _identity = self.assume(request)?;
                let _plain = Self::renounce_tracing()?;
                Ok(open.inject(self.view.reopen(object.fd.as_fd(), open.reopen_flags())?))
            }
            Place::Elsewhere => self.open_elsewhere(request, open, object),
        }
    }

    fn open_in_run(self: &Arc<Self>, request: &Request, open: &Open, object: Object) -> io::Result<Reply> {
        self.permit_object(request, open, &object)?;
        let mut passage = None;
        match object.kind() {
            FileType::CharacterDevice if is_own_terminal(&object) => {
                return self.open_terminal(request, open);
            }
            FileType::Fifo
                if !open.flags.contains(OFlags::NONBLOCK) && open.access_mode() != OFlags::RDWR =>
            {
                return self.open_fifo(request, open, object);
            }
            FileType::Fifo => self.put_aside(request)?,
            FileType::RegularFile if open.access() == Access::Write => {
                if !open.flags.contains(OFlags::TRUNC) {
                    self.copies(request, object.data.stx_size)?;
                }
                self.note_growth(&object.path)?;
                passage = Some(self.changing(&object, Change::Content)?);
            }
            _ => {}
        }
        let fd = {
            let _identity = self.assume(request)?;
            let _mask = open.is_temporary().then(|| self.with_mask(request)).transpose()?;
            let opened = self.view.reopen_as(object.fd.as_fd(), open.reopen_flags(), open.mode);
            if open.access() == Access::Write { self.as_in_run(request, opened)? } else { opened? }
        };
        drop(passage);
        // Writing may have put another file in place of the host's.
        self.join_opened(request, fd.as_fd(), open.ways())?;
        Ok(open.inject(fd))
    }

    fn create(&self, request: &Request, open: &Open, entry: &Entry) -> io::Result<Reply> {
        if open.path.ends_with(b"/") {
            return Err(Errno::ISDIR);
        }
        let path = entry.path();
        self.permit_place(request, Effect::FsOpen, entry)?;
        let reads = open.access_mode() == OFlags::RDWR;
        let becomes = Becomes::Mode(open.mode.bits());
        self.permit_write(request, &path, Ways { reads, writes: true, is_new: true }, becomes, 0)?;
        self.note_growth(&path)?;
        let passage = self.making(entry, open.access() == Access::Write)?;
        // What appeared meanwhile was not judged: a link may lead anywhere, and a fifo would hold this thread.
        let flags = open.flags | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = {
            let (_identity, _mask) = (self.assume(request)?, self.with_mask(request)?);
            self.as_in_run(request, openat(&entry.parent.fd, &*entry.name, flags, open.mode))?
        };
        drop(passage);
        self.join_opened(request, fd.as_fd(), Ways { reads, writes: true, is_new: true })?;
        Ok(open.inject(fd))
    }

    /// `ENOENT`, unless a deny hides whether anything is there: on record is then what was tried.
    pub(super) fn absence(&self, request: &Request, entry: &Entry, effect: Effect, access: Access) -> Errno {
        let path = entry.path();
        let looks = Target::Path { path: &path, access: Access::Read, subtree: false };
        let may_look = self.oracle.would_permit(&Intent::new(Effect::FsStat, looks));
        let (effect, access) = if may_look { (Effect::FsStat, Access::Read) } else { (effect, access) };
        match self.permit_path(request, effect, &path, access, false) {
            Ok(()) => Errno::NOENT,
            Err(error) => error,
        }
    }

    /// A descriptor of the agent's that leads to no mount of the run: a pipe, a memory file, or
    /// one of the three that the caller gave.
    fn open_elsewhere(self: &Arc<Self>, request: &Request, open: &Open, object: Object) -> io::Result<Reply> {
        if !is_harmless(&object) {
            self.put_aside(request)?;
        }
        let is_memory = object.data.stx_nlink == 0 && object.path.starts_with(b"/memfd:");
        let is_own = match object.kind() {
            FileType::Fifo if self.is_own_pipe(&object, open) => {
                self.join_elsewhere(request, &object, open.ways())?;
                return self.open_fifo(request, open, object);
            }
            FileType::Socket => return Err(Errno::NXIO),
            FileType::CharacterDevice => is_harmless(&object),
            FileType::RegularFile => is_memory || self.was_given(&object, open),
            _ => false,
        };
        if !is_own {
            return self.refuse_path(request, Effect::FsOpen, OUTSIDE, &object.path, open.access());
        }
        self.join_elsewhere(request, &object, open.ways())?;
        Ok(open.inject(self.view.reopen(object.fd.as_fd(), open.reopen_flags())?))
    }

    /// A pipe that the agent made, or one that it was given, in the direction in which it was given; never
    /// a named one of the host's.
    fn is_own_pipe(&self, object: &Object, open: &Open) -> bool {
        let is_inherited = self.inherited.iter().any(|given| given.is(object));
        object.path.starts_with(b"pipe:") && !is_inherited || self.was_given(object, open)
    }

    /// Judges an open of what is at the object's path.
    fn permit_object(&self, request: &Request, open: &Open, object: &Object) -> io::Result<()> {
        let ways = open.ways();
        let kind = object.kind();
        if kind == FileType::CharacterDevice {
            self.join_terminal(request, object, ways)?;
            // No device keeps what is written to it for others to read.
            return self.permit_open(request, open, &object.path, Ways::default());
        }
        if open.is_temporary() {
            // The directory carries nothing of the nameless file that is made in it.
            return self.permit_open(request, open, &object.path, Ways::default());
        }
        if kind == FileType::RegularFile && open.flags.contains(OFlags::TRUNC) {
            let becomes = Becomes::Length(0);
            self.permit_write(request, &object.path, ways, becomes, object.data.stx_size)?;
        } else {
            self.permit_open(request, open, &object.path, ways)?;
        }
        self.join_beside(request, object, ways)
    }

    fn permit_open(&self, request: &Request, open: &Open, path: &[u8], ways: Ways) -> io::Result<()> {
        let target = Target::Path { path, access: open.access(), subtree: false };
        self.permit_ways(request, &Intent::new(Effect::FsOpen, target), path, ways)
    }

    /// Judges an open for writing that overwrites `bytes`.
    fn permit_write(
        &self,
        request: &Request,
        path: &[u8],
        ways: Ways,
        becomes: Becomes<'_>,
        bytes: u64,
    ) -> io::Result<()> {
        let target = Target::Path { path, access: Access::Write, subtree: false };
        let mut intent = Intent { becomes: Some(becomes), ..Intent::new(Effect::FsOpen, target) };
        intent.context.bytes = bytes;
        self.permit_ways(request, &intent, path, ways)
    }

    fn permit_ways(&self, request: &Request, intent: &Intent<'_>, path: &[u8], ways: Ways) -> io::Result<()> {
        self.expects(request, path, ways)?;
        self.permit(request, intent, Some(ways))
    }

    fn was_given(&self, object: &Object, open: &Open) -> bool {
        let wants = (open.access_mode() != OFlags::WRONLY, open.access() == Access::Write);
        self.inherited
            .iter()
            .any(|given| given.is(object) && (given.may_read || !wants.0) && (given.may_write || !wants.1))
    }

    /// `/dev/tty`: the terminal of the session that the caller is in.
    fn open_terminal(&self, request: &Request, open: &Open) -> io::Result<Reply> {
        let number = request.terminal().ok_or(Errno::NXIO)?;
        self.join_slave(request, number, open.ways())?;
        let flags = open.reopen_flags() | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(open.inject(openat(CWD, format!("/dev/pts/{number}"), flags, Mode::empty())?))
    }

    /// Opening a fifo waits for its other end: on a thread of its own.
    fn open_fifo(self: &Arc<Self>, request: &Request, open: &Open, object: Object) -> io::Result<Reply> {
        self.put_aside(request)?;
        let (plane, caller) = (Arc::clone(self), request.clone());
        let flags = open.reopen_flags();
        let close_on_exec = open.flags.contains(OFlags::CLOEXEC);
        self.blocking.submit(move || {
            let (watched, probed) = (caller.clone(), caller.clone());
            let call = || {
                let _identity = plane.assume(&watched)?;
                plane.view.reopen(object.fd.as_fd(), flags)
            };
            match plane.watch.guard(Box::new(move || Fate::of(&probed)), call) {
                Outcome::Done(Ok(fd)) => {
                    caller.reply(Reply::Inject { fd, close_on_exec, is_read_only: false });
                }
                Outcome::Done(Err(error)) => caller.reply(Reply::Error(error)),
                Outcome::Interrupted => caller.reply(Reply::Error(Errno::INTR)),
                Outcome::Gone => {}
            }
        })?;
        Ok(Reply::Later)
    }
}

impl Open {
    fn read(request: &Request) -> io::Result<Self> {
        let flags = |value: u64| OFlags::from_bits_retain(value as u32);
        let mode = |value: u64| Mode::from_raw_mode(value as u32 & 0o7777);
        let argument = |index| request.argument(index);
        let resolve = ResolveFlags::empty();
        let open = match request.number() {
            libc::SYS_open => Self {
                directory: libc::AT_FDCWD,
                path: request.read_path(argument(0))?,
                flags: flags(argument(1)),
                mode: mode(argument(2)),
                resolve,
            },
            libc::SYS_creat => Self {
                directory: libc::AT_FDCWD,
                path: request.read_path(argument(0))?,
                flags: OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC,
                mode: mode(argument(1)),
                resolve,
            },
            libc::SYS_openat => Self {
                directory: request.int(0),
                path: request.read_path(argument(1))?,
                flags: flags(argument(2)),
                mode: mode(argument(3)),
                resolve,
            },
            _ => Self::read_how(request)?,
        };
        Ok(open.normalised())
    }

    /// `openat2(2)`: the flags are in memory, and unknown ones are errors.
    fn read_how(request: &Request) -> io::Result<Self> {
        let size = request.argument(3) as usize;
        if !(24..=4096).contains(&size) {
            return Err(if size < 24 { Errno::INVAL } else { Errno::TOOBIG });
        }
        let mut how = vec![0; size];
        request.read(request.argument(2), &mut how)?;
        if how[24..].iter().any(|byte| *byte != 0) {
            return Err(Errno::TOOBIG);
        }
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&how[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        let (flags, mode, resolve) = (word(0), word(8), word(16));
        let makes = flags as u32 & (OFlags::CREATE | OFlags::TMPFILE).bits() != 0;
        if flags >> 32 != 0 || flags as u32 & !KNOWN_FLAGS != 0 || mode & !0o7777 != 0 || mode != 0 && !makes
        {
            return Err(Errno::INVAL);
        }
        if resolve & !ResolveFlags::all().bits() != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            directory: request.int(0),
            path: request.read_path(request.argument(1))?,
            flags: OFlags::from_bits_retain(flags as u32),
            mode: Mode::from_raw_mode(mode as u32),
            resolve: ResolveFlags::from_bits_retain(resolve),
        })
    }

    /// As the kernel reads the flags of the older calls.
    fn normalised(mut self) -> Self {
        self.flags &= OFlags::from_bits_retain(KNOWN_FLAGS);
        if self.is_temporary() {
            self.flags -= OFlags::CREATE;
        }
        self
    }

    fn follows(&self) -> bool {
        !self.flags.contains(OFlags::NOFOLLOW) && !self.flags.contains(OFlags::CREATE | OFlags::EXCL)
    }

    fn creates(&self) -> bool {
        self.flags.contains(OFlags::CREATE)
    }

    fn wants_directory(&self) -> bool {
        self.path.ends_with(b"/") || self.flags.contains(OFlags::DIRECTORY) && !self.is_temporary()
    }

    /// What remains to be said once the object is held.
    fn reopen_flags(&self) -> OFlags {
        let exclusive = if self.is_temporary() { OFlags::empty() } else { OFlags::EXCL };
        self.flags & !(OFlags::CREATE | exclusive)
    }

    fn is_temporary(&self) -> bool {
        self.flags.contains(OFlags::TMPFILE)
    }

    fn access_mode(&self) -> OFlags {
        self.flags & OFlags::RWMODE
    }

    /// Which way data can go through what is opened.
    fn ways(&self) -> Ways {
        let reads = self.access_mode() != OFlags::WRONLY;
        Ways { reads, writes: self.access() == Access::Write, is_new: false }
    }

    fn access(&self) -> Access {
        let writes = self.access_mode() != OFlags::RDONLY || self.flags.contains(OFlags::TRUNC);
        if writes { Access::Write } else { Access::Read }
    }

    fn inject(&self, fd: std::os::fd::OwnedFd) -> Reply {
        let is_read_only = self.access() == Access::Read;
        Reply::Inject { fd, close_on_exec: self.flags.contains(OFlags::CLOEXEC), is_read_only }
    }
}

/// `/dev/tty`, which means another terminal to every session.
fn is_own_terminal(object: &Object) -> bool {
    (object.data.stx_rdev_major, object.data.stx_rdev_minor) == (5, 0)
}

/// `null`, `zero`, `full`, `random`, `urandom`.
fn is_harmless(object: &Object) -> bool {
    object.data.stx_rdev_major == 1 && matches!(object.data.stx_rdev_minor, 3 | 5 | 7 | 8 | 9)
}

const SYS_OPENAT2: i64 = 437;
/// How often a name may appear and vanish while it is being created.
const CREATIONS_MAX: usize = 16;
/// Every `O_*` bit of linux/fcntl.h.
const KNOWN_FLAGS: u32 = 0o37_777_777 & !0o34;
