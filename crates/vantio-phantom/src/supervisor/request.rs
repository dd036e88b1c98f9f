//! One system call of the agent that waits for its answer.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::{self, Errno},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use vantio_core::Syscall;

use super::{turn::Turn, wait::WaitingRoom};
use crate::{
    Ruling,
    census::Census,
    proc,
    resources::Meters,
    sys::{
        memory,
        process::{Shared, are_same},
        seccomp::{Listener, Notification},
    },
};

/// The longest path a system call takes, with its terminating NUL.
pub(crate) const PATH_MAX: usize = 4096;

/// The way to the agent's processes: their notifications and their files in the
/// host's `/proc`, which the run's own `/proc` hides.
pub(crate) struct Link {
    listener: Listener,
    proc: OwnedFd,
    census: Option<Arc<Census>>,
    room: Arc<WaitingRoom>,
    meters: Option<Arc<Meters>>,
    turn: Turn,
}

impl Link {
    /// Joins the two. Called by a thread that still sees the host's `/proc`.
    pub(crate) fn new(
        listener: Listener,
        census: Option<Arc<Census>>,
        meters: Option<Arc<Meters>>,
        room: Arc<WaitingRoom>,
    ) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, "/proc", flags, Mode::empty())?;
        Ok(Self { listener, census, meters, room, proc, turn: Turn::default() })
    }

    /// The host's `/proc`.
    pub(crate) fn proc(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// Who of the workers receives.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The next system call that waits; `None` when its caller died meanwhile, `EPIPE` when nobody is
    /// left who could call.
    pub(crate) fn next(self: &Arc<Self>) -> io::Result<Option<Request>> {
        match self.listener.receive() {
            Err(Errno::NOENT) if self.is_over() => Err(Errno::PIPE),
            // A caller outside our PID namespace has number 0; there is none in a run.
            Ok(notification) => Ok(Pid::from_raw(notification.tid).map(|tid| Request {
                notification,
                tid,
                link: Arc::clone(self),
                must_wait: AtomicBool::new(false),
                is_deferred: AtomicBool::new(false),
                has_refusal: AtomicBool::new(false),
                rehearsal: None,
                stays: false,
            })),
            Err(Errno::NOENT | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Link {
    /// Whether another system call waits already.
    pub(super) fn has_more(&self) -> bool {
        self.polled(PollFlags::IN)
    }

    fn is_over(&self) -> bool {
        self.polled(PollFlags::HUP)
    }

    fn polled(&self, flag: PollFlags) -> bool {
        let mut listener = [PollFd::new(&self.listener, flag)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut listener, Some(&now)).is_ok() && listener[0].revents().contains(flag)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// A system call that waits. Every method that reads the caller's state may be
/// answered by a process that reuses its number: ask [`Request::is_waiting`] before
/// acting on what was read.
pub(crate) struct Request {
    notification: Notification,
    tid: Pid,
    link: Arc<Link>,
    /// Whether it is put aside instead of answered.
    must_wait: AtomicBool,
    /// Whether it is put aside until a fork that makes it is approved.
    is_deferred: AtomicBool,
    /// Whether a refusal of it is on record, and nothing more is to be said of why it fails.
    has_refusal: AtomicBool,
    /// Whether it is only judged, and then what came of it.
    rehearsal: Option<AtomicBool>,
    /// Whether the caller shall go on where it is answered.
    stays: bool,
}

impl Clone for Request {
    fn clone(&self) -> Self {
        let copy = |flag: &AtomicBool| AtomicBool::new(flag.load(Ordering::Relaxed));
        Self {
            notification: self.notification,
            tid: self.tid,
            link: Arc::clone(&self.link),
            must_wait: copy(&self.must_wait),
            is_deferred: copy(&self.is_deferred),
            has_refusal: copy(&self.has_refusal),
            rehearsal: self.rehearsal.as_ref().map(copy),
            stays: self.stays,
        }
    }
}

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The call returns this.
    Value(i64),
    /// The call fails.
    Error(Errno),
    /// The kernel carries it out. INVARIANT: only where a pointer or descriptor
    /// that changes meanwhile gains nothing, because Landlock or the namespaces
    /// hold by themselves; never for a call that can open a file.
    Continue,
    /// The call returns a new descriptor.
    Inject {
        /// What the descriptor refers to.
        fd: OwnedFd,
        /// Whether it is closed on exec.
        close_on_exec: bool,
        /// Whether it may be read and nothing else: nobody notices then that we have it a moment longer.
        is_read_only: bool,
    },
    /// Another thread answers.
    Later,
}

impl From<Errno> for Reply {
    fn from(error: Errno) -> Self {
        Self::Error(error)
    }
}

impl Request {
    /// The calling thread, as numbered on the host.
    pub(crate) fn tid(&self) -> Pid {
        self.tid
    }

    /// What names the call while it waits.
    pub(crate) fn id(&self) -> u64 {
        self.notification.id
    }

    /// Whether the caller goes on where it is answered, as it should where it is alone: no other processor is woken.
    pub(super) fn stay(&mut self, stays: bool) {
        self.stays = stays;
    }

    /// The number and architecture of the call.
    pub(crate) fn number(&self) -> i64 {
        self.notification.number.into()
    }

    /// The `AUDIT_ARCH_*` value of the calling convention.
    pub(crate) fn architecture(&self) -> u32 {
        self.notification.architecture
    }

    /// Whether it is soon answered: an open that changes nothing.
    pub(super) fn is_quick(&self) -> bool {
        let flags = match self.number() {
            libc::SYS_open => self.int(1),
            libc::SYS_openat => self.int(2),
            _ => return false,
        };
        flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) == libc::O_RDONLY
    }

    /// Argument `index` as the raw register.
    pub(crate) fn argument(&self, index: usize) -> u64 {
        self.notification.arguments[index]
    }

    /// Argument `index` as the kernel reads an `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.argument(index) as i32
    }

    /// The raw call, for the record.
    pub(crate) fn syscall(&self) -> Syscall {
        Syscall { number: self.notification.number as u32, arguments: self.notification.arguments }
    }

    /// Fills `buffer` from the caller's memory; `EFAULT` when not all of it is readable.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        match memory::read(self.tid, address, buffer) {
            Ok(count) if count == buffer.len() => Ok(()),
            Err(error) if error != Errno::FAULT => Err(error),
            _ => Err(Errno::FAULT),
        }
    }

    /// The NUL-terminated string at `address`, without the NUL; `ENAMETOOLONG`
    /// beyond [`PATH_MAX`].
    pub(crate) fn read_path(&self, address: u64) -> io::Result<Vec<u8>> {
        let mut path = Vec::new();
        let mut chunk = [0; 512];
        while path.len() < PATH_MAX {
            let start = address.checked_add(path.len() as u64).ok_or(Errno::FAULT)?;
            // Never cross a page in one read: the next one may not be mapped.
            let room = (PAGE - start % PAGE).min(chunk.len() as u64) as usize;
            let count = memory::read(self.tid, start, &mut chunk[..room])?;
            if count == 0 {
                return Err(Errno::FAULT);
            }
            if let Some(end) = chunk[..count].iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&chunk[..end]);
                return if path.len() < PATH_MAX { Ok(path) } else { Err(Errno::NAMETOOLONG) };
            }
            path.extend_from_slice(&chunk[..count]);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// The caller's open file behind descriptor `fd`: the same open file, not a copy.
    pub(crate) fn fetch(&self, fd: i32) -> io::Result<OwnedFd> {
        let process = match pidfd_open(self.tid, PIDFD_THREAD) {
            // Before 6.9 only the leader of a thread group has a pidfd.
            Err(Errno::INVAL) => pidfd_open(self.process()?, PidfdFlags::empty())?,
            other => other?,
        };
        pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
    }

    /// The caller's thread group, as numbered on the host.
    pub(crate) fn process(&self) -> io::Result<Pid> {
        self.status_field("Tgid:")
            .and_then(|text| text.parse().ok())
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)
    }

    /// `/proc/TID/status` of the caller.
    pub(super) fn status(&self) -> Option<String> {
        self.read_proc("status")
    }

    /// The rest of the line of `/proc/TID/status` that starts with `key`, trimmed.
    pub(crate) fn status_field(&self, key: &str) -> Option<String> {
        self.status_field_of(&self.tid.as_raw_pid().to_string(), key)
    }

    /// The caller's number inside the run: the last of those that this line of its status lists.
    pub(super) fn own_number(&self, key: &str) -> io::Result<String> {
        let numbers = self.status_field(key).ok_or(Errno::SRCH)?;
        numbers.split_whitespace().last().map(str::to_owned).ok_or(Errno::SRCH)
    }

    /// The same of another process, by the host's number.
    pub(crate) fn status_field_of(&self, number: &str, key: &str) -> Option<String> {
        let text = self.read_proc_of(number, "status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    /// A file of the caller's in the host's `/proc`.
    fn read_proc(&self, name: &str) -> Option<String> {
        self.read_proc_of(&self.tid.as_raw_pid().to_string(), name)
    }

    fn read_proc_of(&self, number: &str, name: &str) -> Option<String> {
        proc::text(&self.link.proc, &format!("{number}/{name}")).ok()
    }

    /// The number, below `/dev/pts`, of the terminal of the caller's session.
    pub(crate) fn terminal(&self) -> Option<u32> {
        let text = self.read_proc("stat")?;
        // The second field, the name in parentheses, may hold anything.
        let device: u32 = text.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()?;
        let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
        (136..=143).contains(&major).then(|| (major - 136) * 256 + minor)
    }

    /// Whether a signal waits that the caller neither blocks nor ignores, so that a
    /// call which the kernel would interrupt has to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_interrupted_but_by(0)
    }

    /// As [`Self::is_interrupted`], without the signals of a mask.
    pub(super) fn is_interrupted_but_by(&self, but: u64) -> bool {
        proc::signals_to_handle(&self.read_proc("status").unwrap_or_default()) & !but != 0
    }

    /// The host's `/proc`.
    pub(crate) fn proc(&self) -> BorrowedFd<'_> {
        self.link.proc()
    }

    /// Whether the caller's parent stands still until the caller runs a program (`vfork(2)`), and should end meanwhile:
    /// whoever makes a process so blocks signals until then, and it does not take long where nothing is held.
    pub(super) fn keeps_parent(&self) -> bool {
        let Some(parent) = self.status_field("PPid:") else { return false };
        let status = self.read_proc_of(&parent, "status").unwrap_or_default();
        let stands_still = status.lines().any(|line| line.starts_with("State:\tD"));
        stands_still && proc::signals_to_end(&status) != 0 && self.shares_memory_with(&parent)
    }

    fn shares_memory_with(&self, number: &str) -> bool {
        let own = self.tid.as_raw_pid().unsigned_abs();
        number.parse().is_ok_and(|other| are_same(own, other, Shared::Memory) == Ok(true))
    }

    /// Whether the call still waits for its answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.link.listener.is_waiting(self.notification.id)
    }

    /// Puts `fd` in place of the caller's descriptor `at`, before the answer.
    pub(crate) fn replace(&self, fd: BorrowedFd<'_>, at: i32, close_on_exec: bool) -> io::Result<()> {
        self.link.listener.replace(self.notification.id, fd, at as u32, close_on_exec)
    }

    /// Whatever it is answered with, it is put aside instead: somebody is asked about it.
    pub(crate) fn wait(&self) {
        self.must_wait.store(true, Ordering::Relaxed);
    }

    /// Whatever it is answered with, it is put aside instead, until the fork that makes it is approved.
    pub(crate) fn defer(&self) {
        self.is_deferred.store(true, Ordering::Relaxed);
    }

    /// A refusal of it is on record.
    pub(super) fn note_refusal(&self) {
        self.has_refusal.store(true, Ordering::Relaxed);
    }

    /// Whether a refusal of it is on record, by [`Self::note_refusal`].
    pub(super) fn has_refusal(&self) -> bool {
        self.has_refusal.load(Ordering::Relaxed)
    }

    /// The same call, to be answered once more.
    pub(super) fn again(&self) -> Self {
        let again = self.clone();
        Self {
            must_wait: AtomicBool::new(false),
            is_deferred: AtomicBool::new(false),
            has_refusal: AtomicBool::new(false),
            ..again
        }
    }

    /// The same call, to be judged and not carried out.
    pub(super) fn rehearsal(&self) -> Self {
        Self { rehearsal: Some(AtomicBool::new(false)), ..self.again() }
    }

    /// Whether it is only judged, and stops at this ruling. A program is judged with all that it starts, and nothing
    /// else happens to start it.
    pub(super) fn rehearses(&self, ruling: Ruling) -> bool {
        let Some(permitted) = &self.rehearsal else { return false };
        permitted.store(ruling == Ruling::Permit, Ordering::Relaxed);
        ruling != Ruling::Permit || !matches!(self.number(), libc::SYS_execve | libc::SYS_execveat)
    }

    /// What came of a rehearsal.
    pub(super) fn was_permitted(&self) -> bool {
        self.rehearsal.as_ref().is_some_and(|permitted| permitted.load(Ordering::Relaxed))
    }

    /// Answers, or puts the call aside where somebody is asked about it. A caller that died meanwhile needs no answer.
    pub(crate) fn reply(&self, reply: Reply) {
        if self.is_deferred.load(Ordering::Relaxed) {
            return self.link.room.defer(self.again());
        }
        if matches!(reply, Reply::Later) {
            return;
        }
        if self.must_wait.load(Ordering::Relaxed) {
            // It holds nothing while it waits.
            if let Some(census) = &self.link.census {
                census.answered(self.notification.id);
            }
            return self.link.room.enter(self.clone());
        }
        // Before the caller can make another call.
        self.link.room.pass(self);
        self.answer(reply);
    }

    /// Answers, whatever the oracle said of waiting.
    pub(crate) fn answer(&self, reply: Reply) {
        if matches!(reply, Reply::Later) {
            return;
        }
        match self.send(reply) {
            Ok(()) | Err(Errno::NOENT) => {}
            // The descriptor table is full, or the kernel refused the answer: say so to the caller.
            Err(error) => {
                if let (Errno::MFILE, Some(meters)) = (error, &self.link.meters) {
                    meters.descriptors.fetch_add(1, Ordering::Relaxed);
                }
                let _ = self.link.listener.refuse(self.notification.id, error);
            }
        }
        if let Some(census) = &self.link.census {
            census.answered(self.notification.id);
        }
    }

    fn send(&self, reply: Reply) -> io::Result<()> {
        let (id, listener) = (self.notification.id, &self.link.listener);
        match reply {
            Reply::Value(value) => self.wake(|| listener.answer(id, value)),
            Reply::Error(error) => self.wake(|| listener.refuse(id, error)),
            Reply::Continue => self.wake(|| listener.resume(id)),
            // Here the kernel takes no hint on where the caller goes on.
            Reply::Inject { fd, close_on_exec, is_read_only: true } => {
                listener.inject(id, fd.as_fd(), close_on_exec)
            }
            Reply::Inject { fd, close_on_exec, is_read_only: false } => {
                // A program that was written cannot start while we could write it too.
                let given = listener.give(id, fd.as_fd(), close_on_exec);
                drop(fd);
                given.and_then(|number| self.wake(|| listener.answer(id, number.into())))
            }
            Reply::Later => Ok(()),
        }
    }

    /// Answers by `send`, so that the caller goes on where it should.
    fn wake(&self, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.stays { send() } else { self.link.listener.elsewhere(send) }
    }
}

const PAGE: u64 = 4096;
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);
