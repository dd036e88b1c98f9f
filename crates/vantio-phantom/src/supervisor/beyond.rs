//! What `/proc` has of processes that are not in the caller's nested run.
//!
//! The kernel would not let a nested run look into them: they are outside of its Landlock domain. But it is the supervisor
//! that opens files here, and it is in no domain.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io,
};
use vantio_core::{Access, Effect};

use super::{
    Plane,
    request::Request,
    resolve::{OUTSIDE, Object, join},
};
use crate::nested::{Mark, mark_in};

impl Plane {
    /// Judges following the link `name` in `directory`, which is at `path`, where that is a process's.
    pub(super) fn permit_link(
        &self,
        request: &Request,
        directory: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
    ) -> io::Result<()> {
        let path = join(path, name);
        if is_of_init(&path) {
            request.note_refusal();
            return self.refuse_path(request, Effect::FsOpen, OUTSIDE, &path, Access::Read);
        }
        if Part::of(&path).is_none() {
            return Ok(());
        }
        // By the directory itself: its number may be another process's by now.
        let mark = || mark_in(directory, "limits").or_else(|_| mark_in(directory, "../limits"));
        self.permit_within(request, &path, Access::Read, mark)
    }

    /// Judges opening a file of `/proc`, where that is a process's.
    pub(super) fn permit_file(&self, request: &Request, file: &Object, access: Access) -> io::Result<()> {
        let Some(part) = Part::of(&file.path) else { return Ok(()) };
        if access == Access::Read && part.is_public() {
            return Ok(());
        }
        // Where its number is another process's by now, the file is nobody's, and cannot be opened.
        let mark = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            mark_in(openat(CWD, part.process, flags, Mode::empty())?, "limits")
        };
        self.permit_within(request, &file.path, access, mark)
    }

    /// Whether whoever sets limits of other processes is in no nested run.
    pub(super) fn is_outermost(&self, request: &Request) -> bool {
        self.governs(request, || Ok(Mark::NONE)).unwrap_or(false)
    }

    fn permit_within(
        &self,
        request: &Request,
        path: &[u8],
        access: Access,
        mark: impl FnOnce() -> io::Result<Mark>,
    ) -> io::Result<()> {
        if self.governs(request, mark)? {
            return Ok(());
        }
        request.note_refusal();
        self.refuse_path(request, Effect::FsOpen, "outside the nested run", path, access)
    }

    /// Whether every nested run that the caller is in has the process of this mark in it too.
    fn governs(&self, request: &Request, mark: impl FnOnce() -> io::Result<Mark>) -> io::Result<bool> {
        if !self.oracle.has_nested() {
            return Ok(true);
        }
        let (mark, tid) = (mark()?, request.tid().as_raw_pid().unsigned_abs());
        // Where the caller is gone, somebody else's limits may have been looked at for its own.
        Ok(self.oracle.nests_hold(tid, mark) && request.is_waiting())
    }
}

/// A file or folder of one process in `/proc`.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    /// The process's or thread's folder.
    process: &'a [u8],
    /// What it is called there, first name and all; empty for the folder itself.
    name: &'a [u8],
}

impl<'a> Part<'a> {
    /// `None` for what is of no process.
    fn of(path: &'a [u8]) -> Option<Self> {
        let rest = path.strip_prefix(b"/proc/")?;
        let (number, name) = first(rest);
        if !is_number(number) {
            return None;
        }
        let folder = |name: &[u8]| path[..path.len() - name.len()].strip_suffix(b"/");
        if let Some(threads) = name.strip_prefix(b"task/") {
            let (thread, name) = first(threads);
            if is_number(thread) {
                return Some(Self { process: folder(name).unwrap_or(path), name });
            }
        }
        Some(Self { process: folder(name).unwrap_or(path), name })
    }

    /// Whether the kernel tells it of any process to anybody.
    fn is_public(&self) -> bool {
        self.name.is_empty() || PUBLIC.contains(&first(self.name).0)
    }
}

/// Whether it is a file of init's, which is no business of the agent's.
pub(super) fn is_of_init(path: &[u8]) -> bool {
    path.starts_with(b"/proc/1/")
}

/// The first name of a path, and what comes after it.
fn first(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, b""),
    }
}

fn is_number(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

/// What is not guarded as tracing is (`proc(5)`): what `ps` and `top` read. What a kernel adds is not among it.
const PUBLIC: &[&[u8]] = &[
    b"attr",
    b"autogroup",
    b"cgroup",
    b"children",
    b"cmdline",
    b"comm",
    b"coredump_filter",
    b"cpuset",
    b"gid_map",
    b"limits",
    b"loginuid",
    b"mountinfo",
    b"mounts",
    b"mountstats",
    b"net",
    b"oom_adj",
    b"oom_score",
    b"oom_score_adj",
    b"projid_map",
    b"sched",
    b"schedstat",
    b"sessionid",
    b"setgroups",
    b"stat",
    b"statm",
    b"status",
    b"task",
    b"uid_map",
    b"wchan",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_processes_are_told_from_the_rest() {
        let part = |path: &'static str| {
            let part = Part::of(path.as_bytes())?;
            let text = |bytes| str::from_utf8(bytes).unwrap();
            Some((text(part.process), text(part.name), part.is_public()))
        };
        assert_eq!(part("/proc/7"), Some(("/proc/7", "", true)));
        assert_eq!(part("/proc/7/stat"), Some(("/proc/7", "stat", true)));
        assert_eq!(part("/proc/7/environ"), Some(("/proc/7", "environ", false)));
        assert_eq!(part("/proc/7/fd/3"), Some(("/proc/7", "fd/3", false)));
        assert_eq!(part("/proc/7/net/tcp"), Some(("/proc/7", "net/tcp", true)));
        assert_eq!(part("/proc/7/task"), Some(("/proc/7", "task", true)));
        assert_eq!(part("/proc/7/task/8"), Some(("/proc/7/task/8", "", true)));
        assert_eq!(part("/proc/7/task/8/mem"), Some(("/proc/7/task/8", "mem", false)));
        assert_eq!(part("/proc/7/task/8/fd/3"), Some(("/proc/7/task/8", "fd/3", false)));
        assert_eq!(part("/proc/7/new"), Some(("/proc/7", "new", false)));
        for path in ["/proc", "/proc/sys/kernel/pid_max", "/proc/meminfo", "/procs/7/mem"] {
            assert_eq!(part(path), None, "{path}");
        }
    }
}
