//! What a twin has open, and what it gets in its place when it goes on.
//!
//! While it is kept, the original reads and writes through the same open files. So files are opened anew, where they
//! were; what leads out of the run stays as it is, for what was read or printed is not taken back.

use std::{collections::BTreeSet, os::fd::OwnedFd};

use rustix::{
    fs::{FileType, OFlags, SeekFrom, seek},
    io::{self, Errno},
    process::Pid,
};

use super::room::Room;
use crate::{
    speculation::{
        descriptors::{Given, MAKING, is_shared, reopen},
        look::{Descriptor, Obstacle},
    },
    sys::process::is_same_file,
};

/// A descriptor that a twin gets anew.
pub(super) struct Carried {
    descriptor: Descriptor,
    way: Way,
    /// An earlier one that is the same open file.
    same_as: Option<i32>,
}

/// What is open for writing: by which number, and at which path.
pub(super) type Written = BTreeSet<(i32, Vec<u8>)>;

/// How.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By its path: a checkpoint keeps what is there.
    ByPath,
    /// The same object: nobody changes it by this.
    ByObject,
}

impl Room {
    /// What a twin of `pid` will get; `ancestors` wait for it.
    pub(super) fn carried(&self, pid: Pid, ancestors: &[Pid]) -> Result<Vec<Carried>, Obstacle> {
        let seen = Obstacle::at("see what the process has open");
        let listed = self.proc.mounts(self.shared.init).map_err(&seen)?;
        let run: BTreeSet<u64> = listed.iter().map(|mount| mount.id).collect();
        let all = self.proc.descriptors(pid).map_err(&seen)?;
        let mut carried: Vec<Carried> = Vec::new();
        for descriptor in &all {
            let Some(way) = self.way(pid, descriptor, &all, (ancestors, &run))? else { continue };
            let mut same_as = None;
            for earlier in &carried {
                let earlier = &earlier.descriptor;
                let is_alike = (earlier.inode, earlier.device) == (descriptor.inode, descriptor.device);
                if is_alike && is_same_file((pid, earlier.number), (pid, descriptor.number)).map_err(&seen)? {
                    same_as = Some(earlier.number);
                }
            }
            carried.push(Carried { descriptor: descriptor.clone(), way, same_as });
        }
        let memory = [self.proc.shares_memory(pid, &[]), self.proc.keeps_memory(pid)];
        for (has, what) in memory.into_iter().zip(["memory that it shares", "memory that no fork gets"]) {
            if has.map_err(&seen)? {
                return holds(what);
            }
        }
        // A filter of its own may forbid, or end, what it has to do for us.
        let filters = |pid| -> io::Result<u32> {
            self.proc.status(pid, "Seccomp_filters:")?.parse().map_err(|_| Errno::SRCH)
        };
        if filters(pid).map_err(&seen)? != filters(self.shared.init).map_err(&seen)? + FILTERS {
            return holds("a system call filter of its own");
        }
        if self.proc.has_timers(pid).map_err(&seen)? { holds("a timer") } else { Ok(carried) }
    }

    /// What a process has open for writing that checkpoints keep, where it is at its path.
    pub(super) fn written(&self, pid: Pid) -> Result<Written, Obstacle> {
        let all = self.proc.descriptors(pid).map_err(Obstacle::at("see what the process has open"))?;
        let is_wanted = |descriptor: &Descriptor| {
            descriptor.kind == FileType::RegularFile
                && descriptor.may_write()
                && self.plane.keeps(&descriptor.path)
                && descriptor.is_at_its_path()
        };
        let wanted = all.into_iter().filter(is_wanted);
        Ok(wanted.map(|descriptor| (descriptor.number, descriptor.path)).collect())
    }

    fn way(
        &self,
        pid: Pid,
        descriptor: &Descriptor,
        all: &[Descriptor],
        (ancestors, run): (&[Pid], &BTreeSet<u64>),
    ) -> Result<Option<Way>, Obstacle> {
        let seen = Obstacle::at("see what the process has open");
        if descriptor.is_locked {
            return holds("a lock on a file");
        }
        if descriptor.is_harmless_device() {
            return Ok(None);
        }
        let is_kept = run.contains(&descriptor.mount) && self.plane.keeps(&descriptor.path);
        if descriptor.flags.contains(OFlags::PATH) {
            return Ok(is_kept.then_some(Way::ByPath).filter(|_| descriptor.is_at_its_path()));
        }
        match descriptor.kind {
            FileType::Fifo if descriptor.path.starts_with(b"pipe:") => {
                if all.iter().any(|other| other.is_other_end_of(descriptor))
                    || descriptor.flags & OFlags::RWMODE == OFlags::RDWR
                {
                    return holds("both ends of a pipe");
                }
                for ancestor in ancestors {
                    let theirs = self.proc.descriptors(*ancestor).map_err(&seen)?;
                    if theirs.iter().any(|other| other.is_other_end_of(descriptor)) {
                        return holds("a pipe to a process of the run");
                    }
                }
                Ok(None)
            }
            FileType::RegularFile if descriptor.path.starts_with(b"/memfd:") => holds("memory in a file"),
            FileType::RegularFile => {
                let is_given = descriptor.number <= 2 && !run.contains(&descriptor.mount);
                if is_given && descriptor.flags & OFlags::RWMODE == OFlags::WRONLY {
                    return Ok(None);
                }
                if is_shared(&self.proc, (pid, descriptor), ancestors).map_err(&seen)? {
                    return holds("a file whose place another process shares");
                }
                if descriptor.may_write() && !is_kept {
                    return holds("a file open for writing that no checkpoint keeps");
                }
                if !is_kept {
                    return Ok(Some(Way::ByObject));
                }
                if descriptor.is_at_its_path() {
                    return Ok(Some(Way::ByPath));
                }
                holds("a file open that has lost its name")
            }
            FileType::Directory if descriptor.position != 0 => holds("a folder that it is reading"),
            FileType::Directory if is_kept && descriptor.is_at_its_path() => Ok(Some(Way::ByPath)),
            FileType::Directory if is_kept => holds("a folder open that has lost its name"),
            FileType::Directory => Ok(None),
            FileType::Socket => holds("a socket"),
            // It leads out of the run.
            FileType::Fifo if descriptor.number <= 2 && !run.contains(&descriptor.mount) => Ok(None),
            FileType::Fifo => holds("a named pipe"),
            FileType::CharacterDevice => holds("a terminal"),
            _ => {
                let name = String::from_utf8_lossy(&descriptor.path).replace("anon_inode:", "");
                Err(Obstacle::Holds(format!("a descriptor of the kind {name}")))
            }
        }
    }

    /// The working directory of a process, where a checkpoint keeps it.
    pub(super) fn directory(&self, pid: Pid) -> Result<Option<Vec<u8>>, Obstacle> {
        let seen = Obstacle::at("see the working directory of the process");
        let (path, is_there) = self.proc.directory(pid).map_err(&seen)?;
        if !self.plane.keeps(&path) {
            return Ok(None);
        }
        if !is_there {
            return holds("a working directory that has lost its name");
        }
        Ok(Some(path))
    }

    /// Opens anew what `twin` gets.
    pub(super) fn open_anew(&self, twin: Pid, carried: &[Carried]) -> io::Result<Vec<Given>> {
        let mut given: Vec<Given> = Vec::new();
        for one in carried {
            let descriptor = &one.descriptor;
            let same = given.iter().find(|given| Some(given.number) == one.same_as);
            let file = match same {
                Some(same) => same.file.try_clone().map_err(|_| Errno::MFILE)?,
                None => self.open_one(twin, one)?,
            };
            given.push(Given { number: descriptor.number, file });
        }
        Ok(given)
    }

    fn open_one(&self, twin: Pid, one: &Carried) -> io::Result<OwnedFd> {
        let descriptor = &one.descriptor;
        if one.way == Way::ByPath {
            if descriptor.may_write() {
                self.plane.before_reopening(&descriptor.path)?;
            }
            return reopen(descriptor);
        }
        let file = self.proc.open(twin, descriptor.number, descriptor.flags & !MAKING)?;
        seek(&file, SeekFrom::Start(descriptor.position))?;
        Ok(file)
    }
}

fn holds<T>(what: &str) -> Result<T, Obstacle> {
    Err(Obstacle::Holds(what.to_owned()))
}

/// Filters that every program of a run has.
const FILTERS: u32 = 1;
