//! Runs a program and kills it at a system call that is named by its number.
//!
//! The program and its threads run under `ptrace`. Only calls that can change a
//! file are counted: between two of them, what a crash leaves on a file system
//! is the same, so that killing at each of them tries every state there is.
//! What is written through a shared mapping is not seen.
//!
//! Linux on x86-64.

#![forbid(unsafe_code)]

mod calls;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Where a program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the call of this number, counted from zero, has done anything.
    Before(usize),
    /// When it has been done.
    After(usize),
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The names of the counted calls that it came to, in order.
    pub calls: Vec<&'static str>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was killed at the point.
    Killed,
    /// It exited by itself, with this status.
    Exited(i32),
    /// Another signal ended it.
    Signaled(i32),
}

/// Runs `command` and kills it at `point`; without a point, or when the program
/// makes fewer calls, it runs to its end. Processes that it starts are neither
/// counted nor killed. Its standard input is empty.
pub fn run(command: &Command, point: Option<Point>) -> io::Result<Report> {
    // A shell waits to be watched and then becomes the program.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "read _; exec \"$0\" \"$@\" </dev/null"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell.env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
    let main = Pid::from_raw(child.id() as i32);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options)?;
    ptrace::interrupt(main)?;
    let gate = child.stdin.take();
    let mut watch =
        Watch { main, point, is_program: false, inside: HashMap::new(), calls: Vec::new(), is_killed: false };
    watch.run(gate)
}

struct Watch {
    main: Pid,
    point: Option<Point>,
    /// The shell has become the program.
    is_program: bool,
    /// Threads that are inside a system call, with its number if it counts.
    inside: HashMap<Pid, Option<usize>>,
    calls: Vec<&'static str>,
    is_killed: bool,
}

impl Watch {
    fn run(&mut self, mut gate: Option<std::process::ChildStdin>) -> io::Result<Report> {
        // Only what this thread watches: other threads have children of their own.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let mut ending = None;
        loop {
            let status = match waitpid(None::<Pid>, Some(flags)) {
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == self.main => ending = Some(Ending::Exited(code)),
                WaitStatus::Signaled(pid, signal, _) if pid == self.main => {
                    ending =
                        Some(if self.is_killed { Ending::Killed } else { Ending::Signaled(signal as i32) });
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread)?;
                    go_on(thread, None)?;
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.is_program |= event == libc::PTRACE_EVENT_EXEC;
                    go_on(thread, None)?;
                    if let Some(mut gate) = gate.take() {
                        gate.write_all(b"\n")?;
                    }
                }
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal))?,
                _ => {}
            }
        }
        let ending = ending.ok_or_else(|| io::Error::other("the program's end was not seen"))?;
        Ok(Report { ending, calls: std::mem::take(&mut self.calls) })
    }

    fn at_call(&mut self, thread: Pid) -> io::Result<()> {
        if let Some(call) = self.inside.remove(&thread) {
            if call.is_some_and(|call| self.point == Some(Point::After(call))) {
                self.kill()?;
            }
            return Ok(());
        }
        let registers = match ptrace::getregs(thread) {
            // It was killed meanwhile.
            Err(Errno::ESRCH) => return Ok(()),
            other => other?,
        };
        if registers.rax as i64 != -i64::from(libc::ENOSYS) {
            // The end of a call that had begun when the watch did.
            return Ok(());
        }
        let name = if self.is_program { calls::changing(thread, &registers) } else { None };
        let number = name.map(|_| self.calls.len());
        self.calls.extend(name);
        self.inside.insert(thread, number);
        if number.is_some_and(|number| self.point == Some(Point::Before(number))) {
            self.kill()?;
        }
        Ok(())
    }

    fn kill(&mut self) -> io::Result<()> {
        self.is_killed = true;
        Ok(kill(self.main, Signal::SIGKILL)?)
    }
}

/// Lets a thread run to its next system call, or the end of this one.
fn go_on(thread: Pid, signal: Option<Signal>) -> io::Result<()> {
    match ptrace::syscall(thread, signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}
