//! What the run's `/proc` says about one process (`proc_pid(5)`).

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Dir, Mode, OFlags, openat, readlinkat},
    io::{self, Errno},
};
use vantio_core::Process;

use crate::proc;

/// A process, by its folder: what is read there is its own, also when its number is used again.
pub(super) struct Entry {
    folder: OwnedFd,
    pub(super) pid: u32,
    pub(super) started: u64,
    /// Whether its first thread has ended while others go on: what it has is found with those.
    pub(super) lost_first: bool,
    /// The number of its parent.
    pub(super) parent: u32,
    /// Whether it was forked and has executed nothing since.
    pub(super) is_fork: bool,
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: u32,
    flags: u64,
    pub(super) started: u64,
    /// A digest of where program, stack, arguments and environment lie, which an `execve(2)` sets anew.
    pub(super) image: Option<u64>,
}

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The second field, the name in parentheses, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and the first of these is its third.
        let field = |number: usize| fields.get(number - 3);
        let number = |index: usize| field(index).and_then(|text| text.parse::<u64>().ok());
        let places: Option<Vec<u64>> = [26, 27, 28, 48, 49, 50, 51].into_iter().map(number).collect();
        // Zeros and ones are what one is told that may not know.
        let places = places.filter(|places| places.iter().all(|place| *place > 1));
        let image = places.map(|places| {
            let mut hasher = DefaultHasher::new();
            places.hash(&mut hasher);
            hasher.finish()
        });
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: u32::try_from(number(4)?).ok()?,
            flags: number(9)?,
            started: number(22)?,
            image,
        })
    }
}

impl Entry {
    /// `None` when the process is no more.
    pub(super) fn read(proc: impl AsFd, pid: u32) -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(folder) = found(openat(proc, pid.to_string(), flags, Mode::empty()))? else {
            return Ok(None);
        };
        let Some(text) = found(proc::bytes(&folder, "stat"))? else { return Ok(None) };
        let stat = Stat::parse(&String::from_utf8_lossy(&text)).ok_or(Errno::IO)?;
        let lost_first = has_ended(stat.state);
        if lost_first && !has_threads(&folder)? {
            return Ok(None);
        }
        let is_fork = stat.flags & PF_FORKNOEXEC != 0;
        Ok(Some(Self { folder, pid, started: stat.started, lost_first, parent: stat.parent, is_fork }))
    }

    pub(super) fn process(&self) -> Process {
        Process { pid: self.pid, started: self.started }
    }

    pub(super) fn stat(&self) -> Option<Stat> {
        Stat::parse(&proc::text(&self.folder, "stat").ok()?)
    }

    pub(super) fn program(&self) -> Option<Vec<u8>> {
        readlinkat(&self.folder, "exe", Vec::with_capacity(256)).ok().map(std::ffi::CString::into_bytes)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        proc::bytes(&self.folder, name).ok()
    }

    /// The numbers in one of the folders `fd` and `task`; `None` when it cannot be read.
    pub(super) fn numbers(&self, name: &str) -> Option<Vec<u32>> {
        self.list(name).ok()
    }

    /// A folder below this one.
    pub(super) fn folder(&self, name: &str) -> Option<OwnedFd> {
        open_folder(&self.folder, name)
    }

    /// The numbers in one of the folders `fd` and `task`.
    pub(super) fn list(&self, name: &str) -> io::Result<Vec<u32>> {
        list(&self.folder, name)
    }

    /// What stands before the names of files that say what the process has: nothing, or where one thread does not
    /// speak for all, the folder of each.
    pub(super) fn places(&self, for_each: bool) -> Option<Vec<String>> {
        if !for_each && !self.lost_first {
            return Some(vec![String::new()]);
        }
        Some(self.numbers("task")?.into_iter().map(|thread| format!("task/{thread}/")).collect())
    }

    /// The root folder that the process sees.
    pub(super) fn root(&self) -> Option<OwnedFd> {
        self.places(false)?.iter().find_map(|place| self.folder(&format!("{place}root")))
    }

    /// A file that says what is in the memory of the process; empty when that has none any more.
    pub(super) fn memory(&self, name: &str) -> Option<Vec<u8>> {
        for place in self.places(false)? {
            match found(proc::bytes(&self.folder, &format!("{place}{name}"))) {
                Ok(Some(bytes)) if !bytes.is_empty() => return Some(bytes),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        Some(Vec::new())
    }

    /// Whether a descriptor of the process is a link with this text.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.places(false).unwrap_or_default().iter().any(|place| self.holds_at(&format!("{place}fd"), text))
    }

    fn holds_at(&self, name: &str, text: &str) -> bool {
        let Some(folder) = self.folder(name) else { return false };
        let numbers = self.numbers(name).unwrap_or_default();
        numbers.into_iter().any(|number| {
            readlinkat(&folder, number.to_string(), Vec::new())
                .is_ok_and(|link| link.as_bytes() == text.as_bytes())
        })
    }

    /// Whether the process may still exist.
    pub(super) fn is_alive(&self) -> bool {
        match found(proc::bytes(&self.folder, "stat")) {
            Ok(None) => false,
            Ok(Some(text)) => Stat::parse(&String::from_utf8_lossy(&text))
                .is_none_or(|stat| !has_ended(stat.state) || has_threads(&self.folder).unwrap_or(true)),
            Err(_) => true,
        }
    }
}

fn has_ended(state: u8) -> bool {
    matches!(state, b'Z' | b'X')
}

/// Whether any thread of a process lives. The first one stays as long as there are others (`pthread_exit(3)`).
fn has_threads(folder: &OwnedFd) -> io::Result<bool> {
    for thread in found(list(folder, "task"))?.unwrap_or_default() {
        let Some(text) = found(proc::bytes(folder, &format!("task/{thread}/stat")))? else { continue };
        if Stat::parse(&String::from_utf8_lossy(&text)).is_none_or(|stat| !has_ended(stat.state)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every process of the run but its init.
pub(super) fn all(proc: &OwnedFd) -> io::Result<Vec<Entry>> {
    let entries = list(proc, ".")?.into_iter().filter(|pid| *pid > 1).map(|pid| Entry::read(proc, pid));
    entries.filter_map(Result::transpose).collect()
}

/// What was there; `None` when it, or its process, is no more.
pub(super) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(Errno::NOENT | Errno::SRCH | Errno::BADF) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_folder(folder: impl AsFd, name: &str) -> Option<OwnedFd> {
    try_folder(folder, name).ok()
}

fn try_folder(folder: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The numbers that are names in a folder.
pub(super) fn list(folder: impl AsFd, name: &str) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in Dir::new(try_folder(folder, name)?)? {
        found.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

/// How many filters of system calls `/proc/PID/status` says that a process has.
pub(super) fn filters(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"))?.trim().parse().ok()
}

/// linux/sched.h: forked, but has not executed anything.
const PF_FORKNOEXEC: u64 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_behind_any_name() {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (number, rest) = text.split_once(" (").unwrap();
        let fields = rest.rsplit_once(')').unwrap().1;
        let stat = Stat::parse(&format!("{number} (a) R 1 (b){fields}")).unwrap();
        assert_eq!(stat, Stat::parse(&text).unwrap());
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(stat.image.is_some() && stat.started > 0);
        assert_eq!(Stat::parse("1 (a) S 2"), None);
    }

    #[test]
    fn a_process_finds_its_own_descriptors() {
        let proc = openat(rustix::fs::CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let own = Entry::read(&proc, std::process::id()).unwrap().unwrap();
        assert!(Entry::read(&proc, u32::MAX).unwrap().is_none());
        let (_one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let inode = rustix::fs::fstat(&other).unwrap().st_ino;
        assert!(own.holds(&format!("socket:[{inode}]")) && !own.holds("socket:[0]"));
        assert_eq!(own.program().unwrap(), std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
        assert!(own.is_alive());
    }
}
