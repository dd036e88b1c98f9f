//! Signals that a terminal's keeper takes over, and the terminal it gives back.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use rustix::io::{self, Errno};

use super::memory::last_error;

/// Signals that wait in a descriptor instead of taking their effect.
///
/// Holds for the calling thread, which must be the process's only one; a signal
/// that the process was started with as ignored stays ignored.
#[derive(Debug)]
pub(crate) struct HeldSignals {
    descriptor: OwnedFd,
    before: SignalSet,
}

impl HeldSignals {
    /// Holds these signals back until the value is dropped.
    pub(crate) fn hold(numbers: &[i32]) -> io::Result<Self> {
        let held: Vec<_> = numbers.iter().copied().filter(|number| !is_ignored(*number)).collect();
        let set = SignalSet::of(&held);
        // SAFETY: `set` is an initialised signal set.
        let fd = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(last_error());
        }
        // SAFETY: a non-negative result is a descriptor that nothing else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { descriptor, before: set.change_mask(libc::SIG_BLOCK)? })
    }

    /// The next signal that arrived, if any.
    pub(crate) fn next(&self) -> io::Result<Option<i32>> {
        let mut record = [0; mem::size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.descriptor, &mut record) {
            Ok(_) => {
                let (number, _) = record.split_at(mem::size_of::<u32>());
                Ok(Some(u32::from_ne_bytes(number.try_into().map_err(|_| Errno::IO)?) as i32))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for HeldSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // Setting a mask that the kernel itself gave cannot fail.
        let _ = self.before.change_mask(libc::SIG_SETMASK);
    }
}

/// Lets `number`, which is held back and waiting, take its effect now. For a stop signal
/// this returns when the process continues, or at once where nobody could
/// continue it.
pub(crate) fn release(number: i32) -> io::Result<()> {
    SignalSet::of(&[number]).change_mask(libc::SIG_UNBLOCK)?.change_mask(libc::SIG_SETMASK)?;
    Ok(())
}

/// Forgets `number` if it is held back and waiting.
pub(crate) fn forget(number: i32) {
    let set = SignalSet::of(&[number]);
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both structs are initialised; the kernel fills no information where the pointer is null.
    unsafe { libc::sigtimedwait(&raw const set.0, ptr::null_mut(), &raw const now) };
}

/// Runs `call` with `number` blocked, so that the call does not cause it.
pub(crate) fn with_blocked<T>(number: i32, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SignalSet::of(&[number]).change_mask(libc::SIG_BLOCK)?;
    let result = call();
    before.change_mask(libc::SIG_SETMASK)?;
    result
}

/// Gives a terminal its present modes back when a signal ends the process.
///
/// One value exists at a time. A signal that leaves no chance (`SIGKILL`) leaves
/// the terminal as it is.
#[derive(Debug)]
pub(crate) struct FatalGuard(());

impl FatalGuard {
    /// Guards `terminal`, which must stay open until the guard is dropped.
    pub(crate) fn arm(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let mut modes = mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the kernel fills the struct or says that it did not.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), modes.as_mut_ptr()) } < 0 {
            return Err(last_error());
        }
        let descriptor = terminal.as_raw_fd();
        // SAFETY: the call succeeded, so the struct is initialised.
        let modes = unsafe { modes.assume_init() };
        // The actions must be known before the first of them is replaced.
        let actions = FATAL.map(|number| (number, action_of(number)));
        let saved = Box::into_raw(Box::new(Saved { descriptor, modes, actions }));
        // Never freed: a handler may be reading it at any time. A guard is armed a few times in a run.
        SAVED.store(saved, Ordering::Release);
        for (number, before) in actions {
            if before.sa_sigaction != libc::SIG_IGN {
                set_action(number, &handler());
            }
        }
        Ok(Self(()))
    }
}

impl Drop for FatalGuard {
    fn drop(&mut self) {
        let saved = SAVED.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: the pointer is null or came from `arm`, which never frees it.
        if let Some(saved) = unsafe { saved.as_ref() } {
            saved.actions.iter().for_each(|(number, before)| set_action(*number, before));
        }
    }
}

struct Saved {
    descriptor: RawFd,
    modes: libc::termios,
    actions: [(i32, libc::sigaction); FATAL.len()],
}

static SAVED: AtomicPtr<Saved> = AtomicPtr::new(ptr::null_mut());

/// Restores the terminal, then lets the signal do what it would have done.
/// Calls only what `signal-safety(7)` lists.
extern "C" fn restore_and_die(number: libc::c_int) {
    // SAFETY: the pointer is null or came from `arm`, which never frees it.
    if let Some(saved) = unsafe { SAVED.load(Ordering::Acquire).as_ref() } {
        // SAFETY: the descriptor is a number and the struct is initialised.
        unsafe { libc::tcsetattr(saved.descriptor, libc::TCSANOW, &raw const saved.modes) };
        for (other, before) in &saved.actions {
            if *other == number {
                set_action(number, before);
            }
        }
    }
    // SAFETY: the argument is a signal number that was just received. It is blocked until the handler returns.
    unsafe { libc::raise(number) };
}

fn handler() -> libc::sigaction {
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = restore_and_die as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_ONSTACK;
    action
}

fn is_ignored(number: i32) -> bool {
    action_of(number).sa_sigaction == libc::SIG_IGN
}

fn action_of(number: i32) -> libc::sigaction {
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is set; the kernel fills the struct, or leaves it (default) for an unknown number.
    unsafe { libc::sigaction(number, ptr::null(), &raw mut action) };
    action
}

fn set_action(number: i32, action: &libc::sigaction) {
    // SAFETY: the action came from the kernel or is `handler`, which may run at any point.
    unsafe { libc::sigaction(number, ptr::from_ref(action), ptr::null_mut()) };
}

#[derive(Clone, Copy)]
struct SignalSet(libc::sigset_t);

impl SignalSet {
    fn of(numbers: &[i32]) -> Self {
        // SAFETY: all-zero is a valid value of this plain struct.
        let mut set = Self(unsafe { mem::zeroed() });
        // SAFETY: the set is a live variable; an unknown number changes nothing.
        unsafe { libc::sigemptyset(&raw mut set.0) };
        for number in numbers {
            // SAFETY: as above.
            unsafe { libc::sigaddset(&raw mut set.0, *number) };
        }
        set
    }

    /// Changes the calling thread's mask and returns what it was.
    fn change_mask(self, how: i32) -> io::Result<Self> {
        let mut before = Self::of(&[]);
        // SAFETY: both sets are initialised.
        match unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut before.0) } {
            0 => Ok(before),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }
}

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SignalSet")
    }
}

/// Signals whose default action ends the process and that are not forwarded.
const FATAL: [i32; 15] = [
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGIO,
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGSEGV,
    libc::SIGSTKFLT,
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];
