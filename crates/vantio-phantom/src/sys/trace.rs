//! Stopping another process, and having it make a system call (`ptrace(2)`), on x86-64.
//!
//! Whoever traces is one thread: every function here is for that thread.

use std::{mem, ptr};

use rustix::{io, process::Pid};

use super::memory::last_error;

/// What a stopped thread has in its registers.
#[derive(Clone, Copy)]
pub(crate) struct Registers(libc::user_regs_struct);

/// What is traced of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options(i32);

impl Options {
    /// Nothing but its own calls.
    pub(crate) const PLAIN: Self = Self(libc::PTRACE_O_TRACESYSGOOD);
    /// Its calls, those that it makes, and it dies with whoever traces it.
    pub(crate) const KEPT: Self = Self(Self::BIRTHS.0 | libc::PTRACE_O_EXITKILL);
    /// The processes and threads that it makes are traced as well.
    pub(crate) const BIRTHS: Self = Self(
        libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACESYSGOOD,
    );
    /// Besides, it stops when it runs a program and before it ends, and dies with whoever traces it.
    pub(crate) const WHOLE: Self =
        Self(Self::BIRTHS.0 | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL);
}

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Until something happens.
    On(i32),
    /// To the beginning or the end of the next system call.
    ToCall,
    /// As [`Self::ToCall`], and this signal comes first.
    ToCallWith(i32),
    /// It stays stopped by job control, and is told of its end.
    Stopped,
}

/// What happened to a traced thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is gone, with this status of `wait(2)`.
    Ended(i32),
    /// It has made another.
    Birth,
    /// It has made another, and does not stop until that has started a program or ended (`vfork(2)`).
    BirthAndWait,
    /// It runs another program. The thread that began it had the number in the event's message, and is this now.
    Exec,
    /// It is about to end.
    Exit,
    /// It stands at the beginning or the end of a system call.
    Call,
    /// It stopped because it was asked to, or is new.
    Trap,
    /// Job control stopped it.
    Group,
    /// It is about to get this signal.
    Signal(i32),
}

impl Registers {
    /// The number of the call that it is in, or comes from; negative where it is in none.
    pub(crate) const fn number(&self) -> i64 {
        self.0.orig_rax as i64
    }

    /// What the call returned.
    pub(crate) const fn result(&self) -> i64 {
        self.0.rax as i64
    }

    /// Argument `index` of a call.
    pub(crate) const fn argument(&self, index: usize) -> u64 {
        [self.0.rdi, self.0.rsi, self.0.rdx, self.0.r10, self.0.r8, self.0.r9][index]
    }

    /// About to make this call by the instruction at `instruction`.
    pub(crate) const fn calling(self, instruction: u64, number: i64, arguments: [u64; 6]) -> Self {
        let mut registers = self.0;
        registers.rip = instruction;
        registers.rax = number as u64;
        registers.orig_rax = NO_CALL;
        [registers.rdi, registers.rsi, registers.rdx] = [arguments[0], arguments[1], arguments[2]];
        [registers.r10, registers.r8, registers.r9] = [arguments[3], arguments[4], arguments[5]];
        Self(registers)
    }

    /// About to make another call than the one that it stands before.
    pub(crate) const fn becoming(self, number: i64) -> Self {
        let mut registers = self.0;
        registers.orig_rax = number as u64;
        Self(registers)
    }

    /// About to make the call once more that it comes from.
    pub(crate) const fn again(self) -> Self {
        let mut registers = self.0;
        registers.rip = registers.rip.wrapping_sub(CALL_LENGTH);
        registers.rax = registers.orig_rax;
        registers.orig_rax = NO_CALL;
        Self(registers)
    }

    /// The call has returned this.
    pub(crate) const fn returning(self, value: i64) -> Self {
        let mut registers = self.0;
        registers.rax = value as u64;
        registers.orig_rax = NO_CALL;
        Self(registers)
    }

    /// As [`Self::settled`], for a fork, which cannot go on with what is left of a sleep: it begins anew.
    pub(crate) const fn anew(self) -> Self {
        if self.number() >= 0 && self.result() == RESTART_BLOCK { self.again() } else { self.settled() }
    }

    /// As the kernel would go on from here by itself: a call that was interrupted is made again.
    pub(crate) const fn settled(self) -> Self {
        if self.number() < 0 {
            return self;
        }
        match self.result() {
            RESTART_FIRST..=RESTART_LAST => self.again(),
            RESTART_BLOCK => {
                let mut registers = self.0;
                registers.rip = registers.rip.wrapping_sub(CALL_LENGTH);
                registers.rax = libc::SYS_restart_syscall as u64;
                registers.orig_rax = NO_CALL;
                Self(registers)
            }
            value => self.returning(value),
        }
    }
}

/// Traces a thread without stopping it.
pub(crate) fn seize(tid: Pid, options: Options) -> io::Result<()> {
    control(libc::PTRACE_SEIZE, tid, options.0 as usize)
}

/// Changes what is traced of a thread that is stopped.
pub(crate) fn set_options(tid: Pid, options: Options) -> io::Result<()> {
    control(libc::PTRACE_SETOPTIONS as libc::c_uint, tid, options.0 as usize)
}

/// Has a thread stop as soon as it can.
pub(crate) fn interrupt(tid: Pid) -> io::Result<()> {
    control(libc::PTRACE_INTERRUPT, tid, 0)
}

/// Lets a stopped thread go on.
pub(crate) fn resume(tid: Pid, way: Way) -> io::Result<()> {
    match way {
        Way::On(signal) => control(libc::PTRACE_CONT, tid, signal as usize),
        Way::ToCall => control(libc::PTRACE_SYSCALL, tid, 0),
        Way::ToCallWith(signal) => control(libc::PTRACE_SYSCALL, tid, signal as usize),
        Way::Stopped => control(libc::PTRACE_LISTEN, tid, 0),
    }
}

/// Lets a stopped thread go.
pub(crate) fn detach(tid: Pid) -> io::Result<()> {
    detach_with(tid, 0)
}

/// Lets a thread go that stopped for `signal`.
pub(crate) fn detach_with(tid: Pid, signal: i32) -> io::Result<()> {
    control(libc::PTRACE_DETACH, tid, signal as usize)
}

/// The registers of a stopped thread.
pub(crate) fn registers(tid: Pid) -> io::Result<Registers> {
    // SAFETY: all-zero is a valid value of this plain struct of integers.
    let mut registers: libc::user_regs_struct = unsafe { mem::zeroed() };
    control(libc::PTRACE_GETREGS, tid, (&raw mut registers).expose_provenance())?;
    Ok(Registers(registers))
}

/// Gives a stopped thread these registers.
pub(crate) fn set_registers(tid: Pid, registers: &Registers) -> io::Result<()> {
    control(libc::PTRACE_SETREGS, tid, (&raw const registers.0).expose_provenance())
}

/// What belongs to the event that a thread stopped for.
pub(crate) fn message(tid: Pid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    control(libc::PTRACE_GETEVENTMSG as libc::c_uint, tid, (&raw mut message).expose_provenance())?;
    Ok(message)
}

/// What happened to any traced thread, or to `tid`; `None` where nothing has, unless `waits`.
pub(crate) fn next(tid: Option<Pid>, waits: bool) -> io::Result<Option<(Pid, Event)>> {
    let number = tid.map_or(-1, Pid::as_raw_pid);
    let flags = libc::__WALL | NO_THREADS | if waits { 0 } else { libc::WNOHANG };
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let found = unsafe { libc::waitpid(number, &raw mut status, flags) };
    match found {
        0 => Ok(None),
        found if found < 0 => Err(last_error()),
        found => Ok(Pid::from_raw(found).map(|tid| (tid, event(status)))),
    }
}

fn event(status: i32) -> Event {
    if !libc::WIFSTOPPED(status) {
        return Event::Ended(status);
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_CLONE => Event::Birth,
        libc::PTRACE_EVENT_VFORK => Event::BirthAndWait,
        libc::PTRACE_EVENT_EXEC => Event::Exec,
        libc::PTRACE_EVENT_EXIT => Event::Exit,
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Event::Trap,
        libc::PTRACE_EVENT_STOP => Event::Group,
        _ if signal == libc::SIGTRAP | 0x80 => Event::Call,
        _ => Event::Signal(signal),
    }
}

fn control(request: libc::c_uint, tid: Pid, data: usize) -> io::Result<()> {
    let data: *mut libc::c_void = ptr::with_exposed_provenance_mut(data);
    let none: *mut libc::c_void = ptr::null_mut();
    // SAFETY: every caller passes an integer, or the address of what its request reads or writes, which outlives
    // the call.
    let result = unsafe { libc::ptrace(request, tid.as_raw_pid(), none, data) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Only those that this very thread traces (linux/wait.h).
const NO_THREADS: libc::c_int = 0x2000_0000;
const NO_CALL: u64 = u64::MAX;
/// `syscall`
const CALL_LENGTH: u64 = 2;
/// `ERESTARTNOHAND`, `ERESTARTNOINTR`, `ERESTARTSYS` of the kernel.
const RESTART_FIRST: i64 = -514;
const RESTART_LAST: i64 = -512;
/// `ERESTART_RESTARTBLOCK`
const RESTART_BLOCK: i64 = -516;
