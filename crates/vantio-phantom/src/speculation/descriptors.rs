//! What a fork gets in place of the descriptors that it was born with.
//!
//! Nothing it has may be an open file that another process has too: files are opened anew, and what it prints to or reads
//! from stands [`standin`](super::standin) for what it had.

use std::{
    collections::BTreeSet,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, SeekFrom, openat, seek},
    io::{self, Errno},
    process::Pid,
};

use super::{
    LARGEST_COPIED,
    look::{Descriptor, Obstacle, Proc, is_below},
    puppet::Puppet,
    standin::{self, Standin},
};
use crate::{
    supervisor::request::{Reply, Request},
    sys::process::is_same_file,
};

/// A descriptor for a fork.
pub(super) struct Given {
    pub(super) number: i32,
    pub(super) file: OwnedFd,
}

/// Where the run is covered, and by which mounts it was reached before.
pub(super) struct Covered {
    pub(super) roots: Vec<PathBuf>,
    pub(super) before: Vec<u64>,
}

impl Covered {
    /// Whether something that was reached by `mount` is covered now.
    pub(super) fn has(&self, path: &[u8], mount: u64) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.roots.iter().zip(&self.before).any(|(root, before)| path.starts_with(root) && *before == mount)
    }
}

/// Whether what a process has open can be given to a fork of it; `others` are its ancestors in the run.
pub(super) fn check(
    proc: &Proc,
    pid: Pid,
    others: &[Pid],
    (run, roots): (&BTreeSet<u64>, &[PathBuf]),
) -> Result<(), Obstacle> {
    let seen = Obstacle::at("see what the process has open");
    let all = proc.descriptors(pid).map_err(&seen)?;
    let holds = |what: &str| Err(Obstacle::Holds(what.to_owned()));
    let mut terminal = None;
    for descriptor in &all {
        if descriptor.is_locked {
            return holds("a lock on a file");
        }
        if descriptor.flags.contains(OFlags::PATH) || descriptor.is_harmless_device() {
            continue;
        }
        match descriptor.kind {
            FileType::Fifo if descriptor.path.starts_with(b"pipe:") => {
                if descriptor.flags & OFlags::RWMODE == OFlags::RDWR
                    || all.iter().any(|other| other.is_other_end_of(descriptor))
                {
                    return holds("both ends of a pipe");
                }
            }
            FileType::RegularFile if descriptor.may_write() => {
                let is_given = descriptor.number <= 2 && !run.contains(&descriptor.mount);
                let may_be_opened_again = run.contains(&descriptor.mount)
                    && descriptor.links > 0
                    && descriptor.size <= LARGEST_COPIED
                    && is_below(&descriptor.path, roots)
                    && !is_shared(proc, (pid, descriptor), others).map_err(&seen)?;
                let is_plain = is_given && descriptor.flags & OFlags::RWMODE == OFlags::WRONLY;
                if !is_plain && !may_be_opened_again {
                    return holds("a file open for writing");
                }
            }
            FileType::RegularFile if descriptor.path.starts_with(b"/memfd:") => {
                return holds("memory in a file");
            }
            FileType::RegularFile => {
                if is_shared(proc, (pid, descriptor), others).map_err(&seen)? {
                    return holds("a file whose place another process shares");
                }
            }
            FileType::Directory if descriptor.position != 0 => return holds("a folder that it is reading"),
            FileType::Directory => {}
            FileType::Socket => return holds("a socket"),
            FileType::Fifo => return holds("a named pipe"),
            FileType::CharacterDevice if descriptor.is_terminal() && run.contains(&descriptor.mount) => {
                let first = *terminal.get_or_insert(descriptor.number);
                if !is_same_file((pid, first), (pid, descriptor.number)).map_err(&seen)? {
                    return holds("a terminal open more than once");
                }
                if !standin::is_plain_terminal(pid, descriptor).map_err(&seen)? {
                    return holds("a terminal that changes what is printed");
                }
            }
            FileType::CharacterDevice => return holds("a terminal or device of its own"),
            _ => {
                let name = String::from_utf8_lossy(&descriptor.path).replace("anon_inode:", "");
                return Err(Obstacle::Holds(format!("a descriptor of the kind {name}")));
            }
        }
    }
    if proc.shares_memory(pid, roots).map_err(&seen)? {
        return holds("memory that it shares");
    }
    if proc.has_timers(pid).map_err(&seen)? { holds("a timer") } else { Ok(()) }
}

/// Whether a process has something of the run's folders that a fork cannot be given by its path: it has lost its name, or is
/// written and has others. Before anything is covered.
pub(super) fn has_lost_names(
    proc: &Proc,
    pid: Pid,
    (run, roots): (&BTreeSet<u64>, &[PathBuf]),
) -> io::Result<bool> {
    let (directory, is_there) = proc.directory(pid)?;
    if !is_there && is_below(&directory, roots) {
        return Ok(true);
    }
    Ok(proc.descriptors(pid)?.iter().any(|descriptor| {
        let is_file = descriptor.kind == FileType::RegularFile;
        run.contains(&descriptor.mount)
            && is_below(&descriptor.path, roots)
            // Without any name it is opened as it is.
            && !(is_file && descriptor.links == 0)
            && (!descriptor.is_at_its_path() || is_file && descriptor.may_write() && descriptor.links > 1)
    }))
}

/// Whether another process has the same open file, and so the same place in it.
pub(super) fn is_shared(
    proc: &Proc,
    (pid, descriptor): (Pid, &Descriptor),
    others: &[Pid],
) -> io::Result<bool> {
    for other in others {
        for found in proc.descriptors(*other)? {
            let is_alike = (found.inode, found.device) == (descriptor.inode, descriptor.device);
            if is_alike && is_same_file((pid, descriptor.number), (*other, found.number))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What a fork of `pid` gets for what that has. The shadows are up.
pub(super) fn give(
    proc: &Proc,
    pid: Pid,
    covered: &Covered,
    standins: &mut Vec<Standin>,
) -> io::Result<Vec<Given>> {
    let mut given: Vec<Given> = Vec::new();
    let all = proc.descriptors(pid)?;
    for descriptor in &all {
        let number = descriptor.number;
        let mut twin = None;
        for earlier in &given {
            let was = all.iter().find(|other| other.number == earlier.number);
            let is_alike =
                was.is_some_and(|was| (was.inode, was.device) == (descriptor.inode, descriptor.device));
            if is_alike && is_same_file((pid, earlier.number), (pid, number))? {
                twin = Some(earlier.file.try_clone().map_err(|_| Errno::MFILE)?);
            }
        }
        // Descriptors that were one open file stay one.
        let file = twin
            .map_or_else(|| replacement(proc, pid, descriptor, covered, standins), |twin| Ok(Some(twin)))?;
        given.extend(file.map(|file| Given { number, file }));
    }
    Ok(given)
}

fn replacement(
    proc: &Proc,
    pid: Pid,
    descriptor: &Descriptor,
    covered: &Covered,
    standins: &mut Vec<Standin>,
) -> io::Result<Option<OwnedFd>> {
    if descriptor.is_harmless_device() {
        return Ok(None);
    }
    let is_covered = covered.has(&descriptor.path, descriptor.mount) && descriptor.links > 0;
    let is_pipe = descriptor.kind == FileType::Fifo;
    if !descriptor.flags.contains(OFlags::PATH) && (is_pipe || descriptor.may_write() && !is_covered) {
        if let Some(standin) = standins.iter().find(|standin| standin.is_for(descriptor)) {
            return standin.end().map(Some);
        }
        let standin = Standin::new(pid, descriptor)?;
        let end = standin.end()?;
        standins.push(standin);
        return Ok(Some(end));
    }
    if is_covered {
        return reopen(descriptor).map(Some);
    }
    if descriptor.flags.contains(OFlags::PATH) {
        return Ok(None);
    }
    let file = proc.open(pid, descriptor.number, descriptor.flags & !MAKING)?;
    seek(&file, SeekFrom::Start(descriptor.position))?;
    Ok(Some(file))
}

/// Puts descriptors in place of those that a thread has, each closed by `execve(2)` where that was. The thread is sent to
/// make a call that is always told, and answered by nobody else; `met` waits for it.
pub(super) fn hand_over(
    puppet: &mut Puppet,
    given: &[Given],
    met: impl FnOnce() -> io::Result<Request>,
) -> io::Result<()> {
    let close_on_exec: Vec<_> =
        given.iter().map(|given| puppet.closes_on_exec(given.number)).collect::<io::Result<_>>()?;
    puppet.begin(libc::SYS_chroot, [0; 6])?;
    let request = met()?;
    let replaced = given
        .iter()
        .zip(close_on_exec)
        .try_for_each(|(given, closes)| request.replace(given.file.as_fd(), given.number, closes));
    request.answer(Reply::Value(0));
    puppet.end()?;
    replaced
}

/// The same file by its path, with the same place in it.
pub(super) fn reopen(descriptor: &Descriptor) -> io::Result<OwnedFd> {
    let flags = descriptor.flags & !MAKING | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, &*descriptor.path, flags, Mode::empty())?;
    if !flags.contains(OFlags::PATH) && descriptor.kind == FileType::RegularFile {
        seek(&file, SeekFrom::Start(descriptor.position))?;
    }
    Ok(file)
}

impl std::fmt::Debug for Given {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} -> {}", self.file.as_raw_fd(), self.number)
    }
}

/// What an open has done already.
pub(super) const MAKING: OFlags =
    OFlags::CREATE.union(OFlags::EXCL).union(OFlags::TRUNC).union(OFlags::NOCTTY);
