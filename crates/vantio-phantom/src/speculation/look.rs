//! What is read of processes before one of them is forked, in the host's `/proc`.

use std::{
    ffi::OsStr,
    fmt,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxFlags, openat, readlinkat, statx},
    io::{self, Errno},
    process::Pid,
};

use crate::{
    proc,
    sys::process::{Shared, are_same},
};

/// Why a call waits and nothing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A process of the run has threads.
    Threads(i32),
    /// Other processes of the run are at work beside the one that is held.
    Others,
    /// The process has children of its own.
    Children,
    /// An ancestor does something else than to wait.
    Busy(i32),
    /// An ancestor shares its memory with the process until that runs a program of its own (`vfork(2)`).
    Lends(i32),
    /// The process holds something that cannot be given to two.
    Holds(String),
    /// A call that sends something, or otherwise cannot be taken back.
    Effect,
    /// The labels or the order of what a run does are followed.
    Flows,
    /// The answer came before there was a fork.
    Answered,
    /// A signal came for it just then.
    Signal,
    /// The kernel refused a step.
    Refused(&'static str, Errno),
}

impl Obstacle {
    /// For `map_err`: names the step that failed.
    pub(super) fn at(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Refused(step, errno)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(pid) => write!(formatter, "process {pid} has several threads"),
            Self::Others => formatter.write_str("other processes of the run are at work beside it"),
            Self::Children => formatter.write_str("the process has children"),
            Self::Busy(pid) => write!(formatter, "process {pid}, which started it, does not wait for it"),
            Self::Lends(pid) => {
                write!(
                    formatter,
                    "process {pid} stands still until the process that it started runs a program"
                )
            }
            Self::Holds(what) => write!(formatter, "the process has {what}"),
            Self::Effect => formatter.write_str("what it would do cannot be taken back"),
            Self::Flows => formatter.write_str("the policy follows labels or an order"),
            Self::Answered => formatter.write_str("it was answered meanwhile"),
            Self::Signal => formatter.write_str("the process got a signal"),
            Self::Refused(step, errno) => write!(formatter, "could not {step}: {errno}"),
        }
    }
}

/// The host's `/proc`.
#[derive(Debug)]
pub(super) struct Proc(OwnedFd);

/// What a descriptor refers to, and whether that may be written.
pub(super) type Identity = (FileType, u64, (u32, u32), bool);

/// One descriptor of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) number: i32,
    /// As the kernel tells it.
    pub(super) path: Vec<u8>,
    pub(super) flags: OFlags,
    pub(super) position: u64,
    pub(super) mount: u64,
    pub(super) kind: FileType,
    pub(super) inode: u64,
    pub(super) device: (u32, u32),
    /// Of a device.
    pub(super) major: u32,
    pub(super) links: u32,
    pub(super) size: u64,
    /// Whether a lock is held through it.
    pub(super) is_locked: bool,
}

impl Descriptor {
    pub(super) fn may_write(&self) -> bool {
        self.flags & OFlags::RWMODE != OFlags::RDONLY && !self.flags.contains(OFlags::PATH)
    }

    /// What it refers to, and whether that may be written.
    pub(super) fn identity(&self) -> Identity {
        (self.kind, self.inode, self.device, self.may_write())
    }

    /// Whether it is the other end of the same pipe.
    pub(super) fn is_other_end_of(&self, other: &Self) -> bool {
        self.inode == other.inode && self.device == other.device && self.may_write() != other.may_write()
    }

    /// Whether what it refers to is what its path leads to: the path of a file that was removed is one too.
    pub(super) fn is_at_its_path(&self) -> bool {
        let there = statx(CWD, &*self.path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        there.is_ok_and(|there| identity(&there) == (self.inode, self.device))
    }

    /// A pseudoterminal that is read and written.
    pub(super) fn is_terminal(&self) -> bool {
        self.kind == FileType::CharacterDevice
            && PSEUDOTERMINALS.contains(&self.major)
            && self.flags & OFlags::RWMODE == OFlags::RDWR
            && !self.flags.contains(OFlags::PATH)
    }

    /// `null`, `zero`, `full`, `random`, `urandom`.
    pub(super) fn is_harmless_device(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.major == 1
    }
}

/// The inode and the device.
fn identity(data: &Statx) -> (u64, (u32, u32)) {
    (data.stx_ino, (data.stx_dev_major, data.stx_dev_minor))
}

/// Whether a path is one of `roots`, or below it.
pub(super) fn is_below(path: &[u8], roots: &[PathBuf]) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    roots.iter().any(|root| path.starts_with(root))
}

impl Proc {
    pub(super) const fn new(proc: OwnedFd) -> Self {
        Self(proc)
    }

    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        proc::bytes(&self.0, path)
    }

    fn text(&self, path: &str) -> io::Result<String> {
        proc::text(&self.0, path)
    }

    /// Opens what a descriptor of a process refers to: the same object, an open file of its own.
    pub(super) fn open(&self, pid: Pid, number: i32, flags: OFlags) -> io::Result<OwnedFd> {
        openat(&self.0, format!("{}/fd/{number}", pid.as_raw_pid()), flags | OFlags::CLOEXEC, Mode::empty())
    }

    pub(super) fn link(&self, path: &str) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, path, Vec::new())?.into_bytes())
    }

    /// The number of the mount that a link of a process leads to.
    pub(super) fn mount_of(&self, path: &str) -> io::Result<u64> {
        let fd = openat(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
    }

    /// The working directory of a process, and whether its path leads there.
    pub(super) fn directory(&self, pid: Pid) -> io::Result<(Vec<u8>, bool)> {
        let link = format!("{}/cwd", pid.as_raw_pid());
        let path = self.link(&link)?;
        let own = statx(&self.0, &link, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
        let there = statx(CWD, &*path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        Ok((path, there.is_ok_and(|there| identity(&there) == identity(&own))))
    }

    /// The line of a process's status that begins so, trimmed.
    pub(super) fn status(&self, pid: Pid, key: &str) -> io::Result<String> {
        let text = self.text(&format!("{}/status", pid.as_raw_pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)).ok_or(Errno::SRCH)?;
        Ok(line.trim().to_owned())
    }

    /// The number that a process has within the run.
    pub(super) fn own_number(&self, pid: Pid) -> io::Result<i32> {
        let numbers = self.status(pid, "NSpid:")?;
        numbers.split_whitespace().last().and_then(|text| text.parse().ok()).ok_or(Errno::SRCH)
    }

    /// The process that a thread is of.
    pub(super) fn process(&self, tid: Pid) -> io::Result<Pid> {
        self.status(tid, "Tgid:")?.parse().ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
    }

    /// Signals that the process has to handle, but for those of its forks' ends.
    pub(super) fn pending(&self, pid: Pid) -> io::Result<u64> {
        let status = self.text(&format!("{}/status", pid.as_raw_pid()))?;
        Ok(proc::signals_to_handle(&status) & !proc::mask(libc::SIGCHLD))
    }

    /// Whether a signal waits for the process.
    pub(super) fn awaits(&self, pid: Pid, signal: i32) -> io::Result<bool> {
        let status = self.text(&format!("{}/status", pid.as_raw_pid()))?;
        let waits = proc::signals(&status, "SigPnd:") | proc::signals(&status, "ShdPnd:");
        Ok(waits & proc::mask(signal) != 0)
    }

    /// Whether the process ignores a signal.
    pub(super) fn ignores(&self, pid: Pid, signal: i32) -> io::Result<bool> {
        let status = self.text(&format!("{}/status", pid.as_raw_pid()))?;
        Ok(proc::signals(&status, "SigIgn:") & proc::mask(signal) != 0)
    }

    pub(super) fn is_single_threaded(&self, pid: Pid) -> io::Result<bool> {
        Ok(self.status(pid, "Threads:")? == "1")
    }

    /// Whether nobody but its parent has anything to do with it any more. Of whom nothing can be learned, it is not.
    pub(super) fn is_ended(&self, pid: Pid) -> bool {
        match self.status(pid, "State:") {
            Ok(state) => state.starts_with(['Z', 'X']),
            Err(error) => matches!(error, Errno::NOENT | Errno::SRCH),
        }
    }

    /// Whether two processes are one in memory.
    pub(super) fn are_one_in_memory(one: Pid, other: Pid) -> io::Result<bool> {
        let [one, other] = [one, other].map(|pid| pid.as_raw_pid().unsigned_abs());
        are_same(one, other, Shared::Memory)
    }

    /// Children of a process with one thread, those that have ended included where `all`.
    pub(super) fn children(&self, pid: Pid, all: bool) -> io::Result<Vec<Pid>> {
        let number = pid.as_raw_pid();
        let text = self.text(&format!("{number}/task/{number}/children"))?;
        let children = text.split_whitespace().filter_map(|text| text.parse().ok().and_then(Pid::from_raw));
        Ok(children.filter(|child| all || !self.is_ended(*child)).collect())
    }

    /// Children of all threads of a process, those that have ended included.
    pub(super) fn children_of_threads(&self, pid: Pid) -> io::Result<Vec<Pid>> {
        let number = pid.as_raw_pid();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks = Dir::new(openat(&self.0, format!("{number}/task"), flags, Mode::empty())?)?;
        let mut found = Vec::new();
        for task in tasks {
            let task = task?;
            let name = task.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let text = match self.text(&format!("{number}/task/{name}/children")) {
                // A thread that is gone meanwhile has left its children to another.
                Err(Errno::NOENT | Errno::SRCH) => continue,
                other => other?,
            };
            found
                .extend(text.split_whitespace().filter_map(|text| text.parse().ok().and_then(Pid::from_raw)));
        }
        Ok(found)
    }

    /// The process group of a process, as the run numbers it.
    pub(super) fn group(&self, pid: Pid) -> io::Result<i32> {
        let numbers = self.status(pid, "NSpgid:")?;
        numbers.split_whitespace().last().and_then(|text| text.parse().ok()).ok_or(Errno::SRCH)
    }

    /// The processes from the run's first program to `held`, each the only child of the one before; or what else
    /// there is. Who has just left children to process 1 counts: they may not be seen.
    pub(super) fn line(&self, init: Pid, held: Pid) -> Result<Vec<Pid>, Obstacle> {
        let failed = Obstacle::at("see the processes of the run");
        let mut line = Vec::new();
        let mut last = init;
        while last != held {
            let children = self.children(last, last == init).map_err(&failed)?;
            let [child] = children[..] else { return Err(Obstacle::Others) };
            if !self.is_single_threaded(child).map_err(&failed)? {
                return Err(Obstacle::Threads(self.own_number(child).map_err(&failed)?));
            }
            line.push(child);
            last = child;
        }
        if self.children(held, true).map_err(&failed)?.is_empty() {
            Ok(line)
        } else {
            Err(Obstacle::Children)
        }
    }

    /// What a process has open.
    pub(super) fn descriptors(&self, pid: Pid) -> io::Result<Vec<Descriptor>> {
        let folder = format!("{}/fd", pid.as_raw_pid());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = Dir::new(openat(&self.0, folder, flags, Mode::empty())?)?;
        let mut found = Vec::new();
        for entry in listed {
            let entry = entry?;
            if let Ok(number) = String::from_utf8_lossy(entry.file_name().to_bytes()).parse() {
                found.push(self.descriptor(pid, number)?);
            }
        }
        Ok(found)
    }

    fn descriptor(&self, pid: Pid, number: i32) -> io::Result<Descriptor> {
        let process = pid.as_raw_pid();
        let info = self.text(&format!("{process}/fdinfo/{number}"))?;
        let field = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let flags = field("flags:").and_then(|text| u32::from_str_radix(text, 8).ok()).ok_or(Errno::SRCH)?;
        let path = self.link(&format!("{process}/fd/{number}"))?;
        let object = self.open(pid, number, OFlags::PATH)?;
        let data = statx(&object, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Descriptor {
            number,
            path,
            flags: OFlags::from_bits_retain(flags),
            position: field("pos:").and_then(|text| text.parse().ok()).unwrap_or(0),
            mount: field("mnt_id:").and_then(|text| text.parse().ok()).unwrap_or(0),
            kind: FileType::from_raw_mode(data.stx_mode.into()),
            inode: data.stx_ino,
            device: (data.stx_dev_major, data.stx_dev_minor),
            major: data.stx_rdev_major,
            links: data.stx_nlink,
            size: data.stx_size,
            is_locked: field("lock:").is_some(),
        })
    }

    /// Whether memory of the process is shared with others, so that writing to it shows; or [is mapped](Self::maps_files).
    pub(super) fn shares_memory(&self, pid: Pid, roots: &[PathBuf]) -> io::Result<bool> {
        self.has_memory(pid, roots, |has, is_below| has(b"sh") && has(b"mw") || is_below && has(b"ms"))
    }

    /// Whether memory of the process is that of a file below one of `roots`, so that it shows what is written there.
    pub(super) fn maps_files(&self, pid: Pid, roots: &[PathBuf]) -> io::Result<bool> {
        self.has_memory(pid, roots, |has, is_below| is_below && has(b"ms"))
    }

    /// The paths of files that the process has in memory.
    pub(super) fn mapped(&self, pid: Pid) -> io::Result<Vec<Vec<u8>>> {
        let text = self.read(&format!("{}/maps", pid.as_raw_pid()))?;
        let path = |line: &[u8]| Some(line[line.iter().position(|byte| *byte == b'/')?..].to_vec());
        Ok(text.split(|byte| *byte == b'\n').filter_map(path).collect())
    }

    /// Whether some memory of the process is wanted, by its flags (`proc(5)`, `VmFlags`) and whether it is of a file below
    /// one of `roots`.
    fn has_memory(
        &self,
        pid: Pid,
        roots: &[PathBuf],
        is_wanted: impl Fn(&dyn Fn(&[u8]) -> bool, bool) -> bool,
    ) -> io::Result<bool> {
        let text = self.read(&format!("{}/smaps", pid.as_raw_pid()))?;
        let mut is_of_root = false;
        for line in text.split(|byte| *byte == b'\n') {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                let has = |flag: &[u8]| flags.split(|byte| *byte == b' ').any(|found| found == flag);
                if is_wanted(&has, is_of_root) {
                    return Ok(true);
                }
            } else if line.first().is_some_and(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
            {
                let path = line.iter().position(|byte| *byte == b'/').map_or(&b""[..], |at| &line[at..]);
                is_of_root = is_below(path, roots);
            }
        }
        Ok(false)
    }

    /// Whether the process keeps memory from its forks (`madvise(2)`, `MADV_DONTFORK` and `MADV_WIPEONFORK`).
    pub(super) fn keeps_memory(&self, pid: Pid) -> io::Result<bool> {
        let text = self.read(&format!("{}/smaps", pid.as_raw_pid()))?;
        Ok(text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"VmFlags:")).any(|flags| {
            let has = |flag: &[u8]| flags.split(|byte| *byte == b' ').any(|found| found == flag);
            (has(b"dc") || has(b"wf")) && !has(b"io") && !has(b"pf")
        }))
    }

    /// The address of a `syscall` instruction in the process: the kernel's own page for programs has one.
    pub(super) fn instruction(&self, pid: Pid) -> io::Result<u64> {
        let maps = self.text(&format!("{}/maps", pid.as_raw_pid()))?;
        // A file that is called so has a path before that.
        let is_page = |line: &&str| line.split_whitespace().nth(5) == Some("[vdso]");
        let line = maps.lines().find(is_page).ok_or(Errno::NOEXEC)?;
        let (start, rest) = line.split_once('-').ok_or(Errno::NOEXEC)?;
        let end = rest.split(' ').next().unwrap_or_default();
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| Errno::NOEXEC);
        let (start, end) = (number(start)?, number(end)?);
        let mut code = vec![0; usize::try_from(end.saturating_sub(start)).map_err(|_| Errno::NOEXEC)?];
        let length = crate::sys::memory::read(pid, start, &mut code)?;
        let at = code[..length].windows(2).position(|pair| pair == SYSCALL).ok_or(Errno::NOEXEC)?;
        Ok(start + at as u64)
    }

    /// Timers of the process that are not set by `setitimer(2)`.
    pub(super) fn has_timers(&self, pid: Pid) -> io::Result<bool> {
        match self.read(&format!("{}/timers", pid.as_raw_pid())) {
            Ok(text) => Ok(!text.is_empty()),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The run's mounts.
    pub(super) fn mounts(&self, pid: Pid) -> io::Result<Vec<crate::world::mounts::Mount>> {
        Ok(crate::world::mounts::parse(&self.read(&format!("{}/mountinfo", pid.as_raw_pid()))?))
    }
}

const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// The numbers of their drivers (`UNIX98_PTY_SLAVE_MAJOR`).
const PSEUDOTERMINALS: std::ops::RangeInclusive<u32> = 136..=143;
