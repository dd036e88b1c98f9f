//! Runs a program and kills it at a system call that is named by its number.
//!
//! The program and its threads run under `ptrace`. Only calls that can change a
//! file are counted: between two of them, what a crash leaves on a file system
//! is the same, so that killing at each of them tries every state there is.
//! What is written through a shared mapping is not seen. A filter of system
//! calls stops the program at those calls only.
//!
//! Linux on x86-64.

#![forbid(unsafe_code)]

mod calls;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
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
/// makes fewer calls, it runs to its end. What processes that it starts do is
/// not counted, but they are waited for. Its standard input is empty.
pub fn run(command: &Command, point: Option<Point>) -> io::Result<Report> {
    // A program has the filter of the thread that starts it, and that cannot be taken off again.
    let watched = thread::scope(|scope| scope.spawn(|| watch(command, point)).join());
    watched.map_err(|_| io::Error::other("the watch panicked"))?
}

fn watch(command: &Command, point: Option<Point>) -> io::Result<Report> {
    let mut child = start(command)?;
    let main = Pid::from_raw(child.id() as i32);
    let options = Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options)?;
    drop(child.stdin.take());
    let mut watch = Watch {
        main,
        point,
        is_program: false,
        is_main: HashMap::new(),
        ends_at: None,
        calls: Vec::new(),
        is_killed: false,
    };
    watch.run()
}

/// Starts a shell that waits for the end of its input, and then becomes the program.
fn start(command: &Command) -> io::Result<Child> {
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
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    calls::stop_at_changes()?;
    shell.spawn()
}

struct Watch {
    main: Pid,
    point: Option<Point>,
    /// The shell has become the program.
    is_program: bool,
    /// Threads that came to a call, and whether they are the program's.
    is_main: HashMap<Pid, bool>,
    /// The thread at whose call's end the program is to be killed.
    ends_at: Option<Pid>,
    calls: Vec<&'static str>,
    is_killed: bool,
}

impl Watch {
    fn run(&mut self) -> io::Result<Report> {
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
                    if self.ends_at == Some(thread) {
                        self.kill()?;
                    }
                    go_on(thread, None)?;
                }
                WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_SECCOMP) => self.at_call(thread)?,
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.is_program |= thread == self.main && event == libc::PTRACE_EVENT_EXEC;
                    go_on(thread, None)?;
                }
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal))?,
                _ => {}
            }
        }
        let ending = ending.ok_or_else(|| io::Error::other("the program's end was not seen"))?;
        Ok(Report { ending, calls: std::mem::take(&mut self.calls) })
    }

    fn at_call(&mut self, thread: Pid) -> io::Result<()> {
        if !self.is_program || !self.is_of_main(thread) {
            return go_on(thread, None);
        }
        let registers = match ptrace::getregs(thread) {
            // It was killed meanwhile.
            Err(Errno::ESRCH) => return Ok(()),
            other => other?,
        };
        let Some(name) = calls::changing(thread, &registers) else { return go_on(thread, None) };
        let number = self.calls.len();
        self.calls.push(name);
        if self.point == Some(Point::Before(number)) {
            self.kill()?;
        } else if self.point == Some(Point::After(number)) {
            self.ends_at = Some(thread);
            return to_end_of_call(thread);
        }
        go_on(thread, None)
    }

    /// Whether a thread is one of the program's, and not of a process that it started.
    fn is_of_main(&mut self, thread: Pid) -> bool {
        *self.is_main.entry(thread).or_insert_with(|| {
            let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
            let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
            process.and_then(|id| id.trim().parse().ok()) == Some(self.main.as_raw())
        })
    }

    fn kill(&mut self) -> io::Result<()> {
        self.is_killed = true;
        Ok(kill(self.main, Signal::SIGKILL)?)
    }
}

/// Lets a thread run to its next call that counts.
fn go_on(thread: Pid, signal: Option<Signal>) -> io::Result<()> {
    match ptrace::cont(thread, signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Lets a thread run to the end of the call that it is at.
fn to_end_of_call(thread: Pid) -> io::Result<()> {
    match ptrace::syscall(thread, None) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}
