//! Seccomp filters and user notification (`seccomp_unotify(2)`).

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::io::{self, Errno};

use super::memory::last_error;

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    pub(crate) tid: i32,
    pub(crate) architecture: u32,
    pub(crate) number: i32,
    pub(crate) arguments: [u64; 6],
}

/// One instruction of classic BPF.
pub(crate) type Instruction = libc::sock_filter;

/// Installs `program` on the calling thread, which has `no_new_privs`, and
/// returns the descriptor that receives its notifications.
pub(crate) fn install(program: &[Instruction]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: `program` points to `length` instructions that outlive the call; the kernel validates them.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    // SAFETY: a non-negative result is a descriptor that nothing else owns.
    if fd < 0 { Err(last_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }) }
}

/// The receiving end of a filter's notifications.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    /// Whether the kernel takes hints on where to wake.
    takes_hints: bool,
}

impl Listener {
    /// Takes over the descriptor that [`install`] returned.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let mut listener = Self { fd, takes_hints: false };
        // Kernels before 6.6 lack the hint; nothing but speed depends on it.
        listener.takes_hints = listener.hint(FD_SYNC_WAKE_UP);
        listener
    }

    /// Answers by `send`. A call wakes who receives it where the caller ran, for the caller stops there, and an answer
    /// does the same to the caller. Here the kernel chooses where that goes on: it would stay behind on a processor on
    /// which others wait, while another is idle.
    pub(crate) fn elsewhere<T>(&self, send: impl FnOnce() -> T) -> T {
        if !self.takes_hints {
            return send();
        }
        self.hint(0);
        let result = send();
        self.hint(FD_SYNC_WAKE_UP);
        result
    }

    fn hint(&self, flags: libc::c_ulong) -> bool {
        // SAFETY: the argument is a plain integer.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_SET_FLAGS, flags) == 0 }
    }

    /// Waits for the next notification. `ENOENT` when the caller died meanwhile.
    pub(crate) fn receive(&self) -> io::Result<Notification> {
        // SAFETY: all-zero is a valid value of this plain struct, and the kernel demands it.
        let mut raw: libc::seccomp_notif = unsafe { mem::zeroed() };
        self.control(NOTIF_RECV, &mut raw)?;
        Ok(Notification {
            id: raw.id,
            tid: raw.pid as i32,
            architecture: raw.data.arch,
            number: raw.data.nr,
            arguments: raw.data.args,
        })
    }

    /// Answers with a value.
    pub(crate) fn answer(&self, id: u64, value: i64) -> io::Result<()> {
        self.send(libc::seccomp_notif_resp { id, val: value, error: 0, flags: 0 })
    }

    /// Answers with an error.
    pub(crate) fn refuse(&self, id: u64, error: Errno) -> io::Result<()> {
        let error = -error.raw_os_error();
        self.send(libc::seccomp_notif_resp { id, val: 0, error, flags: 0 })
    }

    /// Lets the kernel carry the call out with the arguments it then finds.
    pub(crate) fn resume(&self, id: u64) -> io::Result<()> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.send(libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
    }

    /// Gives the caller a descriptor for `fd` and answers with its number.
    pub(crate) fn inject(&self, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        self.add(id, fd, ADDFD_FLAG_SEND, 0, close_on_exec).map(drop)
    }

    /// Gives the caller a descriptor for `fd`, and returns its number; the call still waits.
    pub(crate) fn give(&self, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<u32> {
        self.add(id, fd, 0, 0, close_on_exec)
    }

    /// Puts `fd` in place of the caller's descriptor `at`; the call still waits.
    pub(crate) fn replace(
        &self,
        id: u64,
        fd: BorrowedFd<'_>,
        at: u32,
        close_on_exec: bool,
    ) -> io::Result<()> {
        self.add(id, fd, ADDFD_FLAG_SETFD, at, close_on_exec).map(drop)
    }

    /// Whether the call still waits: its memory and descriptors are the caller's.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.control(NOTIF_ID_VALID, &mut id).is_ok()
    }

    fn send(&self, mut response: libc::seccomp_notif_resp) -> io::Result<()> {
        self.control(NOTIF_SEND, &mut response).map(drop)
    }

    fn add(&self, id: u64, fd: BorrowedFd<'_>, flags: u32, at: u32, close_on_exec: bool) -> io::Result<u32> {
        let newfd_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
        let mut request =
            libc::seccomp_notif_addfd { id, flags, srcfd: fd.as_raw_fd() as u32, newfd: at, newfd_flags };
        self.control(NOTIF_ADDFD, &mut request)
    }

    fn control<T>(&self, operation: libc::Ioctl, argument: &mut T) -> io::Result<u32> {
        // SAFETY: every caller passes the struct that its operation reads and writes.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), operation, std::ptr::from_mut(argument)) };
        u32::try_from(result).map_err(|_| last_error())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// linux/seccomp.h
const FILTER_FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
const FD_SYNC_WAKE_UP: libc::c_ulong = 1;
const ADDFD_FLAG_SETFD: u32 = 1;
const ADDFD_FLAG_SEND: u32 = 1 << 1;
const NOTIF_RECV: libc::Ioctl = 0xc050_2100;
const NOTIF_SEND: libc::Ioctl = 0xc018_2101;
const NOTIF_ID_VALID: libc::Ioctl = 0x4008_2102;
const NOTIF_ADDFD: libc::Ioctl = 0x4018_2103;
const NOTIF_SET_FLAGS: libc::Ioctl = 0x4008_2104;
