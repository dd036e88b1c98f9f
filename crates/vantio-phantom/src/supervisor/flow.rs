//! What is asked only where the flows of a run are tracked: births and deaths of processes, and ends of channels for
//! which no intent is asked.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{AtFlags, FileType, ResolveFlags, Statx, StatxFlags, statx},
    io::{self, Errno},
};
use vantio_core::Channel;

use super::{
    Plane,
    end::UNRULED,
    request::{Reply, Request},
    resolve::{Located, Object},
};
use crate::{
    Processes as _, Ruling, Ways,
    census::{Census, inode_channel, process_of},
    filter,
};

impl Plane {
    /// Answers a call that is only asked for the flows' sake; `None` for every other.
    pub(super) fn flow_call(&self, request: &Request) -> Option<Reply> {
        let census = self.census.as_deref()?;
        let (number, thread) = (request.number(), thread(request));
        self.oracle.begin(thread);
        match number {
            _ if filter::is_birth(number) => Some(self.birth(request, census)),
            libc::SYS_unshare if request.argument(0) & !SEPARABLE == 0 => {
                census.separate_tables();
                Some(Reply::Continue)
            }
            libc::SYS_close_range => {
                census.separate_tables();
                Some(Reply::Continue)
            }
            libc::SYS_prctl if request.int(0) == libc::PR_SET_CHILD_SUBREAPER => {
                census.reaps(thread);
                Some(Reply::Continue)
            }
            // Where the image of a process lies tells whether it started a program.
            libc::SYS_prctl => Some(self.refuse_call(request, filter::name(number))),
            libc::SYS_exit_group => {
                self.oracle.exited(thread, request.argument(0) as u8);
                Some(Reply::Continue)
            }
            libc::SYS_sendmsg | libc::SYS_sendmmsg => {
                // Descriptors may come with it.
                drop(census.moves());
                None
            }
            _ if filter::is_system_v(number) => Some(match self.join(request, Channel::SystemV, BOTH_WAYS) {
                Ok(()) => Reply::Continue,
                Err(error) => Reply::Error(error),
            }),
            _ => None,
        }
    }

    /// A new process, or a thread that does not share all that a thread shares.
    fn birth(&self, request: &Request, census: &Census) -> Reply {
        let flags = match request.number() {
            libc::SYS_clone => request.argument(0),
            libc::SYS_vfork => (libc::CLONE_VM | libc::CLONE_VFORK) as u64,
            _ => 0,
        };
        let has = |flag: i32| flags & flag as u64 != 0;
        if filter::makes_namespace(flags) {
            return self.refuse_call(request, filter::name(libc::SYS_clone));
        }
        if has(libc::CLONE_THREAD) {
            if !has(libc::CLONE_FILES) {
                census.separate_tables();
            }
            return Reply::Continue;
        }
        if has(libc::CLONE_PARENT) {
            // Whose child it is would not be known.
            return self.refuse_call(request, "clone that gives its child another parent");
        }
        census.gives_birth(thread(request), has(libc::CLONE_VM) || has(libc::CLONE_FILES));
        drop(census.moves());
        Reply::Continue
    }

    /// Until the call is answered the caller counts as holding an end of what is at `path`.
    pub(super) fn expects(&self, request: &Request, path: &[u8], ways: Ways) -> io::Result<()> {
        match &self.census {
            Some(census) if ways.reads || ways.writes => {
                census.expect(request, Channel::Path(path.to_vec()), ways)
            }
            _ => Ok(()),
        }
    }

    /// A file is a channel by itself, whatever name it has or had.
    pub(super) fn join_beside(&self, request: &Request, object: &Object, ways: Ways) -> io::Result<()> {
        self.join_file(request, &object.data, ways)
    }

    /// What was just opened, before the caller has it: by itself, as [`Plane::join_beside`].
    pub(super) fn join_opened(&self, request: &Request, file: BorrowedFd<'_>, ways: Ways) -> io::Result<()> {
        if self.census.is_none() {
            return Ok(());
        }
        let fields = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        self.join_file(request, &statx(file, "", AtFlags::EMPTY_PATH, fields)?, ways)
    }

    fn join_file(&self, request: &Request, data: &Statx, ways: Ways) -> io::Result<()> {
        let kind = FileType::from_raw_mode(data.stx_mode.into());
        let is_file = matches!(kind, FileType::RegularFile | FileType::Fifo);
        let census = self.census.as_ref().filter(|_| is_file && (ways.reads || ways.writes));
        match census.and_then(|census| census.beside_path(data, ways.writes)) {
            Some(channel) => self.join(request, channel, ways),
            None => Ok(()),
        }
    }

    /// What no mount of the run holds: a pipe or a memory file. What the caller gave is nobody's channel.
    pub(super) fn join_elsewhere(&self, request: &Request, object: &Object, ways: Ways) -> io::Result<()> {
        if self.inherited.iter().any(|given| given.is(object)) {
            return Ok(());
        }
        match object.kind() {
            FileType::Fifo => self.find(request, Channel::Pipe(object.data.stx_ino), ways),
            FileType::RegularFile => self.find(request, inode_channel(&object.data), ways),
            _ => Ok(()),
        }
    }

    fn find(&self, request: &Request, channel: Channel, ways: Ways) -> io::Result<()> {
        let Some(census) = &self.census else { return Ok(()) };
        census.expect(request, channel.clone(), ways)?;
        self.obey(self.oracle.find(thread(request), channel, ways))
    }

    pub(super) const fn tracks_flows(&self) -> bool {
        self.census.is_some()
    }

    /// A script is started. Its interpreter opens the path once more, and where symbolic links lead may have changed
    /// by then.
    pub(super) fn tell_way(&self, request: &Request) -> io::Result<()> {
        let is_straight = request.number() == libc::SYS_execve && {
            let path = request.read_path(request.argument(0))?;
            let located = self.locate(request, libc::AT_FDCWD, &path, true, ResolveFlags::NO_SYMLINKS);
            matches!(located, Ok(Located::Found(_)))
        };
        if !is_straight {
            self.oracle.astray(thread(request));
        }
        Ok(())
    }

    /// Pseudo-terminals are one channel, but for the one that the caller's terminal is behind.
    pub(super) fn join_terminal(&self, request: &Request, object: &Object, ways: Ways) -> io::Result<()> {
        match (object.data.stx_rdev_major, object.data.stx_rdev_minor) {
            (136, slave) => self.join_slave(request, slave, ways),
            (5, 2) | (137..=143, _) => self.join(request, Channel::Terminals, ways),
            _ => Ok(()),
        }
    }

    /// The terminal of this number below `/dev/pts`.
    pub(super) fn join_slave(&self, request: &Request, number: u32, ways: Ways) -> io::Result<()> {
        let is_callers = number == 0 && self.census.as_ref().is_some_and(|census| census.has_terminal());
        if is_callers { Ok(()) } else { self.join(request, Channel::Terminals, ways) }
    }

    /// What is read of another process's memory comes from there.
    pub(super) fn join_memory(&self, request: &Request, object: &Object, ways: Ways) -> io::Result<()> {
        let Some(census) = &self.census else { return Ok(()) };
        let Some(number) = process_of(&object.path) else { return Ok(()) };
        if ways.writes {
            // As little as by a call: what a process has been judged to be it would be no more.
            self.refuse_call(request, "writing to the memory of a process");
            return Err(Errno::ACCESS);
        }
        let memory = census.memory_of(number, census.of_thread(thread(request)));
        let Some((owner, channel)) = memory.map_err(|_| Errno::ACCESS)? else { return Ok(()) };
        // One that made no call yet is not known to the host: it may be tried again.
        let owner = census.number_of(owner).ok_or(Errno::ACCESS)?;
        self.join_as(owner, channel.clone(), Ways { reads: false, writes: true, is_new: false })?;
        self.join(request, channel, ways)
    }

    fn join(&self, request: &Request, channel: Channel, ways: Ways) -> io::Result<()> {
        let Some(census) = &self.census else { return Ok(()) };
        census.expect(request, channel.clone(), ways)?;
        self.join_as(thread(request), channel, ways)
    }

    fn join_as(&self, thread: u32, channel: Channel, ways: Ways) -> io::Result<()> {
        self.obey(self.oracle.join(thread, channel, ways))
    }

    fn obey(&self, ruling: Ruling) -> io::Result<()> {
        match ruling {
            Ruling::Permit => Ok(()),
            // Nobody is asked about an end of a channel.
            Ruling::Refuse | Ruling::Wait => Err(Errno::ACCESS),
            Ruling::Kill => {
                self.end_run(UNRULED);
                Err(Errno::ACCESS)
            }
        }
    }

    /// Nothing has this name any more.
    pub(super) fn tell_gone(&self, path: &[u8]) {
        if let Some(census) = &self.census {
            census.gone(path);
            self.oracle.gone(path);
        }
    }
}

fn thread(request: &Request) -> u32 {
    request.tid().as_raw_pid().unsigned_abs()
}

const BOTH_WAYS: Ways = Ways { reads: true, writes: true, is_new: false };
/// What `unshare(2)` may do where flows are tracked: everything but namespaces.
const SEPARABLE: u64 = (libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_SYSVSEM) as u64;
