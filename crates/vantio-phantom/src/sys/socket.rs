//! Sockets by raw address, option and control message, and waking a thread that
//! blocks in one.

use std::{
    io::IoSliceMut,
    mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::memory::last_error;

/// Connects to the bytes of a `sockaddr`.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    // SAFETY: `address` is readable for its length; the kernel interprets it.
    check(unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), address.len() as u32) })
}

/// Binds to the bytes of a `sockaddr`.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    // SAFETY: `address` is readable for its length; the kernel interprets it.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), address.len() as u32) })
}

/// Reads an option into `value`; returns how much of it the kernel filled.
pub(crate) fn option(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut [u8]) -> io::Result<usize> {
    let mut length = value.len() as u32;
    // SAFETY: `value` is writable for `length` bytes.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length)
    })?;
    Ok(length as usize)
}

/// Sets an option to the bytes of its value.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: `value` is readable for its length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as u32) })
}

/// Who connected a local stream (`SO_PEERCRED` of `unix(7)`): its process, where that has a number here, and its user.
pub(crate) fn peer(fd: BorrowedFd<'_>) -> io::Result<(Option<Pid>, u32)> {
    let mut value = [0; size_of::<libc::ucred>()];
    option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut value)?;
    // Process, user and group, each in four bytes.
    let (pid, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
    let (user, _) = rest.split_first_chunk().ok_or(Errno::INVAL)?;
    Ok((Pid::from_raw(i32::from_ne_bytes(*pid)), u32::from_ne_bytes(*user)))
}

/// How much of each buffer a received message fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) payload: usize,
    pub(crate) name: usize,
    pub(crate) control: usize,
    /// Whether the payload was longer than its buffer.
    pub(crate) truncated: bool,
}

/// Takes a message that waits, with its source address and control messages.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    payload: &mut [u8],
    name: &mut [u8],
    control: &mut [u8],
) -> io::Result<Received> {
    let mut part = IoSliceMut::new(payload);
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as u32;
    // An IoSliceMut has the layout of an iovec.
    header.msg_iov = ptr::from_mut(&mut part).cast();
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len();
    // SAFETY: every buffer is writable for the length given beside it.
    let count = unsafe {
        libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)
    };
    let payload = usize::try_from(count).map_err(|_| last_error())?;
    Ok(Received {
        payload,
        name: (header.msg_namelen as usize).min(name.len()),
        control: header.msg_controllen.min(control.len()),
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
    })
}

/// Sends one message to the bytes of a `sockaddr`, with control messages; never raises `SIGPIPE`.
pub(crate) fn send(
    fd: BorrowedFd<'_>,
    payload: &[u8],
    name: &[u8],
    control: &[u8],
    flags: i32,
) -> io::Result<usize> {
    let part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len() as u32;
    header.msg_iov = ptr::from_ref(&part).cast_mut();
    header.msg_iovlen = 1;
    header.msg_control = control.as_ptr().cast_mut().cast();
    header.msg_controllen = control.len();
    // SAFETY: every buffer is readable for the length given beside it, and sending writes to none.
    let count = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags | libc::MSG_NOSIGNAL) };
    usize::try_from(count).map_err(|_| last_error())
}

/// Makes [`wake`] end a blocking call of any thread with `EINTR`, and do nothing else.
pub(crate) fn prepare_wake() -> io::Result<()> {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: all-zero is a valid value of this plain struct: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler touches nothing; the action lives across the call.
    check(unsafe { libc::sigaction(wake_signal(), &raw const action, ptr::null_mut()) })?;
    // SAFETY: an all-zero set is a valid, empty one once initialised; threads inherit the unblocked signal.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, wake_signal());
        check(libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut()))
    }
}

/// Interrupts a blocking call of the thread `tid` of this process.
pub(crate) fn wake(tid: i32) {
    // SAFETY: plain integers; a thread that is gone is an error without effect.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, wake_signal()) };
}

fn wake_signal() -> libc::c_int {
    libc::SIGRTMIN() + 3
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Never returned by the kernel to a program: ends a call so that it starts again once a
/// handler that wants this has run.
pub(crate) const RESTART: Errno = Errno::from_raw_os_error(512);
