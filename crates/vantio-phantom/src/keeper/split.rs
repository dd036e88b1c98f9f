//! The two forks that take a run out of the caller's session.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};

use libc::{SIGHUP, SIGINT, SIGTERM};

use super::wire::{Frame, Inbox};
use crate::{
    LaunchError,
    error::Context as _,
    sys::process::{Fork, close_inherited, close_on_exec_from, exit, fork},
    sys::tty::HeldSignals,
};

/// The descriptors that the process was started with, beside the standard ones.
#[derive(Debug)]
pub struct Inherited(Vec<u32>);

/// Which of the three processes this is.
#[derive(Debug)]
pub enum Part {
    /// The one that was called: it hears how the start went.
    Caller(Starting),
    /// The keeper, which has to become a process of its own.
    Keeper(Seat),
    /// The one that goes on to run, with standard streams that are the keeper's.
    Runner(Word),
}

/// What the caller hears from the keeper.
#[derive(Debug)]
pub struct Starting(UnixStream);

/// How a start went.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The program executes.
    Started,
    /// It never did: what the runner said at its end.
    Ended(Vec<u8>),
    /// The keeper or the runner is gone without a word.
    Lost,
    /// A signal came first, and the start goes on.
    Signaled(i32),
}

/// The runner's way to tell the keeper.
#[derive(Debug)]
pub struct Word(UnixStream);

/// What a keeper starts with.
#[derive(Debug)]
pub struct Seat {
    source: OwnedFd,
    hearing: UnixStream,
    reporting: UnixStream,
    /// The process that runs.
    pub runner: Pid,
    /// Whether the run has a terminal.
    pub has_terminal: bool,
}

impl Inherited {
    /// Notes them. To be called before this process opens anything.
    pub fn note() -> Self {
        let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers: Vec<u32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        // The folder itself was open while it was read, and is closed now.
        let is_open = |number: &u32| *number > 2 && fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
        Self(numbers.into_iter().filter(is_open).collect())
    }
}

/// Makes a keeper and a runner of this process, which must have one thread. The run gets a terminal if standard input
/// is one.
pub fn split(inherited: &Inherited) -> Result<Part, LaunchError> {
    let step = |what: &'static str| move || format!("could not {what}");
    let has_terminal = isatty(io::stdin());
    let (source, stream) = if has_terminal { terminal() } else { pipe() }.context(
        "E_TERMINAL",
        step("make a terminal for the run"),
        "without a terminal: `vantio run --detach … </dev/null`",
    )?;
    let pair = || UnixStream::pair().context("E_KEEPER", step("make a link"), "");
    let ((starting, reporting), (word, hearing)) = (pair()?, pair()?);
    match fork(0).context("E_FORK", step("start the run's keeper"), "")? {
        Fork::Parent(_) => Ok(Part::Caller(Starting(starting))),
        Fork::Child => {
            drop(starting);
            // Whoever waits hears that the link is closed.
            let Ok(_) = setsid() else { exit(1) };
            let keeper = getpid();
            match fork(0) {
                Ok(Fork::Parent(runner)) => {
                    Ok(Part::Keeper(Seat { source, hearing, reporting, runner, has_terminal }))
                }
                Ok(Fork::Child) => {
                    drop((source, hearing, reporting));
                    match become_runner(keeper, &stream, has_terminal) {
                        Ok(()) => {
                            close_inherited(&inherited.0);
                            Ok(Part::Runner(Word(word)))
                        }
                        Err(_) => exit(1),
                    }
                }
                Err(_) => exit(1),
            }
        }
    }
}

/// A pseudoterminal like the caller's terminal: its master and its slave.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Ok(modes) = tcgetattr(io::stdin()) {
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
    }
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        tcsetwinsize(&slave, size)?;
    }
    Ok((master, slave))
}

fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC)
}

/// Leaves the keeper's session for one on `stream`, and is told when the keeper dies as when a terminal is hung up.
fn become_runner(keeper: Pid, stream: &OwnedFd, has_terminal: bool) -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::HUP))?;
    if getppid() != Some(keeper) {
        return Err(rustix::io::Errno::SRCH);
    }
    setsid()?;
    if has_terminal {
        rustix::process::ioctl_tiocsctty(stream)?;
        rustix::stdio::dup2_stdin(stream)?;
    } else {
        rustix::stdio::dup2_stdin(null()?)?;
    }
    rustix::stdio::dup2_stdout(stream)?;
    rustix::stdio::dup2_stderr(stream)
}

fn null() -> rustix::io::Result<OwnedFd> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

impl Starting {
    /// Waits until it is known how the start went; every second until then calls `meanwhile`.
    pub fn wait(self, meanwhile: &mut dyn FnMut()) -> News {
        let (mut inbox, mut bytes, mut stream) = (Inbox::default(), [0; 4096], self.0);
        let Ok(signals) = HeldSignals::hold(&[SIGHUP, SIGINT, SIGTERM]) else { return News::Lost };
        loop {
            match inbox.frame() {
                Ok(Some(Frame::Started)) => return News::Started,
                Ok(Some(Frame::End(said))) => return News::Ended(said),
                Ok(None) => {}
                _ => return News::Lost,
            }
            let mut asked = [PollFd::new(&stream, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            let found = poll(&mut asked, Some(&GLANCE));
            let is_heard = !asked[0].revents().is_empty();
            if let Ok(Some(signal)) = signals.next() {
                return News::Signaled(signal);
            }
            match found {
                Ok(0) => meanwhile(),
                Err(error) if error != Errno::INTR => return News::Lost,
                _ => {}
            }
            if !is_heard {
                continue;
            }
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => inbox.push(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return News::Lost,
            }
        }
    }
}

impl Word {
    /// The program executes.
    pub fn started(&self) {
        self.tell(&Frame::Started);
    }

    /// How the run ended, for whoever asks the keeper.
    pub fn ended(self, said: Vec<u8>) {
        self.tell(&Frame::End(said));
    }

    /// A keeper that is gone needs no word.
    fn tell(&self, frame: &Frame) {
        let _ = (&self.0).write_all(&frame.encode());
    }
}

impl Seat {
    /// Becomes `command`, a fresh process that has no memory and no descriptor of the caller's; it is to call
    /// [`keep`](super::keep). Returns only the error.
    pub fn execute(self, command: &mut Command) -> io::Error {
        use std::os::unix::process::CommandExt as _;
        if let Err(error) = close_on_exec_from(3) {
            return error.into();
        }
        let (hearing, reporting) = (OwnedFd::from(self.hearing), OwnedFd::from(self.reporting));
        command.stdin(Stdio::from(self.source)).stdout(Stdio::from(hearing)).stderr(Stdio::from(reporting));
        command.exec()
    }
}

/// How often something else is looked at while a start goes on.
const GLANCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
