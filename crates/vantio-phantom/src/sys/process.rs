//! Processes and namespaces.

use std::{
    ffi::{CStr, CString},
    mem,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::{io, process::Pid};

use super::memory::last_error;

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fork {
    Parent(Pid),
    Child,
}

/// Forks, the child in new namespaces by `flags` (`CLONE_NEW*`).
///
/// The caller has one thread, so the child may do anything.
pub(crate) fn fork(flags: libc::c_int) -> io::Result<Fork> {
    let flags = libc::c_ulong::from((flags | libc::SIGCHLD) as u32);
    // SAFETY: without CLONE_VM and with no stack given, this is fork: the child runs on a copy. The caller
    // is single-threaded, so no lock is held by a thread that the child lacks.
    side(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

/// As [`fork`], the child born in `cgroup`: to move it there later would wait for every processor of the
/// machine. `ENOSYS` where `clone3(2)` is not to be had, as in some containers.
pub(crate) fn fork_into(flags: libc::c_int, cgroup: BorrowedFd<'_>) -> io::Result<Fork> {
    // SAFETY: all-zero is a valid value of this plain struct of integers.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = u64::from(flags as u32) | CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: as in `fork`; `arguments` is as long as the size passed with it and outlives the call.
    side(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, mem::size_of::<libc::clone_args>()) })
}

fn side(pid: libc::c_long) -> io::Result<Fork> {
    if pid < 0 {
        return Err(last_error());
    }
    match Pid::from_raw(pid as i32) {
        Some(pid) => Ok(Fork::Parent(pid)),
        None => Ok(Fork::Child),
    }
}

/// Moves the calling thread into the namespace `fd` of kind `kind` (`CLONE_NEW*`).
pub(crate) fn enter(fd: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) })
}

/// Gives the calling thread or process what `flags` names for itself.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers. Descriptors are never unshared here, so no Rust object dangles.
    check(unsafe { libc::unshare(flags) })
}

/// Ends the process without unwinding or running exit handlers: after a fork, those
/// belong to the parent.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(status) }
}

/// What two processes may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    Memory,
    Descriptors,
    /// The working directory and the root.
    Folders,
}

/// Whether two processes share something (`kcmp(2)`).
pub(crate) fn are_same(one: u32, other: u32, what: Shared) -> io::Result<bool> {
    // linux/kcmp.h
    let kind: libc::c_int = match what {
        Shared::Memory => 1,
        Shared::Descriptors => 2,
        Shared::Folders => 3,
    };
    // SAFETY: plain integers.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, one, other, kind, 0, 0) };
    if result < 0 { Err(last_error()) } else { Ok(result == 0) }
}

/// Whether descriptors of two processes are one open file (`kcmp(2)`).
pub(crate) fn is_same_file(one: (Pid, i32), other: (Pid, i32)) -> io::Result<bool> {
    let numbers = [one, other].map(|(pid, fd)| (pid.as_raw_pid(), libc::c_ulong::from(fd.unsigned_abs())));
    let [(one, first), (other, second)] = numbers;
    // SAFETY: plain integers; kind 0 is KCMP_FILE of linux/kcmp.h.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, one, other, 0, first, second) };
    if result < 0 { Err(last_error()) } else { Ok(result == 0) }
}

/// Sends `signal` to a process (positive) or group (negative).
pub(crate) fn kill(target: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::kill(target, signal) })
}

/// Acts on files as another user from here on, this thread only.
pub(crate) fn set_file_identity(user: u32, group: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` is valid for its length; the raw call changes this thread alone.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) as i32 })?;
    // SAFETY: plain integers; both report the previous identity and never fail by sign.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, group);
        libc::syscall(libc::SYS_setfsuid, user);
    }
    Ok(())
}

/// Closes every descriptor from `first` on when the next program starts.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: plain integers.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result as i32)
}

/// Closes descriptors that the process was started with and that nothing here owns.
pub(crate) fn close_inherited(numbers: &[u32]) {
    for number in numbers {
        // SAFETY: plain integers. The numbers were open before anything of this program opened one, and no object
        // was made from them. A number that is closed already is no harm: an empty range is no error.
        unsafe { libc::syscall(libc::SYS_close_range, *number, *number, 0) };
    }
}

/// Holds back, or lets through again, what a terminal stops a job with.
pub(crate) fn block_stops(blocks: bool) {
    let how = if blocks { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is initialised before it is used, and outlives the call.
    unsafe {
        let mut stops: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut stops);
        for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            libc::sigaddset(&raw mut stops, signal);
        }
        libc::sigprocmask(how, &raw const stops, std::ptr::null_mut());
    }
}

/// Signals that this thread held back before.
pub struct Blocked(libc::sigset_t);

/// Holds every signal back from this thread, and from those it starts, until the result is dropped.
#[must_use]
pub fn block_signals() -> Blocked {
    // SAFETY: both sets are initialised before they are used, and outlive the call.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        Blocked(before)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by the kernel, and outlives the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Whatever the caller did with them: a child that ends is waited for, and a file that may not grow is an error.
/// For a program to call first.
pub fn settle_signals() {
    // SAFETY: both are valid dispositions.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Undoes what the Rust runtime and [`settle_signals`] changed, so that a program starts as from a shell:
/// `SIGPIPE` and `SIGXFSZ` act by default and no signal is blocked.
pub(crate) fn restore_signals() {
    // SAFETY: SIG_DFL is a valid disposition, and an initialised empty set a valid mask.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Becomes another program; returns only the error.
pub(crate) fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> std::io::Error {
    let list = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (list(arguments), list(environment));
    // SAFETY: the path and both null-terminated lists of NUL-terminated strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    std::io::Error::last_os_error()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// linux/sched.h; it does not fit the `int` that `libc` has for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
