//! Plays a scene in processes of their own, by starting this test program again.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::fcntl_dupfd_cloexec,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, ioctl_tiocsctty, kill_process, kill_process_group, setpgid,
        waitpid,
    },
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin, stdout},
    termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetpgrp, tcsetwinsize},
};

use crate::{
    Account, Ending,
    control::{Channel, ControlError, Message},
    sys::{
        process::restore_signals,
        trial::fork_child,
        tty::{HeldSignals, with_blocked},
    },
    terminal::{Outcome, Plan, attend, session},
};

/// What differs from one test to the next.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// What the agent, a POSIX shell, does.
    pub(super) script: &'a str,
    pub(super) background: bool,
    pub(super) piped_output: bool,
    pub(super) without_terminal: bool,
    pub(super) supervisor_dies: bool,
}

impl<'a> Scene<'a> {
    pub(super) fn of(script: &'a str) -> Self {
        Self {
            script,
            background: false,
            piped_output: false,
            without_terminal: false,
            supervisor_dies: false,
        }
    }

    fn flags(&self) -> String {
        [self.background, self.piped_output, self.without_terminal, self.supervisor_dies]
            .map(|flag| if flag { '1' } else { '0' })
            .into_iter()
            .collect()
    }

    fn parse(script: &'a str, flags: &str) -> Self {
        let mut flags = flags.chars().map(|flag| flag == '1');
        let mut next = || flags.next().unwrap();
        Self {
            script,
            background: next(),
            piped_output: next(),
            without_terminal: next(),
            supervisor_dies: next(),
        }
    }
}

/// The person's side of a scene that is being played.
pub(super) struct Stage {
    /// As the modes were before the run.
    pub(super) modes_before: String,
    terminal: Option<File>,
    shown: Vec<u8>,
    orders: UnixStream,
    reports: BufReader<UnixStream>,
    caller: Pid,
    shell: Child,
}

impl Stage {
    pub(super) fn of(script: &str) -> Self {
        Self::start(&Scene::of(script))
    }

    pub(super) fn start(scene: &Scene<'_>) -> Self {
        let plan = Plan { terminals: [true; 3], foreground: true, modes: None, size: Some(size(25, 91)) };
        let session::Pair { master, slave } =
            session::open_pair(devices().as_fd(), plan.modes.as_ref(), plan.size).unwrap();
        let modes_before = modes_of(&slave);
        let (orders, theirs) = UnixStream::pair().unwrap();
        let shell = Command::new(env::current_exe().unwrap())
            .args(["terminal::tests::stage::play", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(SCRIPT, scene.script)
            .env(FLAGS, scene.flags())
            .stdin(slave)
            .stdout(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        let reports = BufReader::new(orders.try_clone().unwrap());
        let terminal = Some(File::from(master));
        let caller = Pid::from_child(&shell);
        let mut stage = Self { modes_before, terminal, shown: Vec::new(), orders, reports, caller, shell };
        stage.caller = Pid::from_raw(stage.next_report().parse().unwrap()).unwrap();
        stage
    }

    /// Types; the terminal has room for that much.
    pub(super) fn type_keys(&mut self, keys: &str) {
        self.keyboard().write_all(keys.as_bytes()).unwrap();
    }

    pub(super) fn keyboard(&self) -> File {
        self.terminal().try_clone().unwrap()
    }

    /// Waits until `text` is shown; returns all that was shown up to its end.
    pub(super) fn see(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|window| window == text.as_bytes()) {
                let rest = self.shown.split_off(at + text.len());
                return String::from_utf8(std::mem::replace(&mut self.shown, rest)).unwrap();
            }
            let shown = String::from_utf8_lossy(&self.shown);
            assert!(Instant::now() < deadline, "`{text}` was not shown, but `{shown}`");
            if is_readable(self.terminal().as_fd()) {
                let mut chunk = [0; 4096];
                let count = self.terminal().read(&mut chunk).unwrap();
                self.shown.extend_from_slice(&chunk[..count]);
            }
        }
    }

    pub(super) fn modes(&self) -> String {
        modes_of(self.terminal())
    }

    pub(super) fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.terminal()).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Does as a shell does when it takes its terminal back.
    pub(super) fn make_cooked(&self) {
        let mut modes = tcgetattr(self.terminal()).unwrap();
        modes.local_modes |= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(self.terminal(), OptionalActions::Now, &modes).unwrap();
    }

    pub(super) fn resize(&self, size: Winsize) {
        tcsetwinsize(self.terminal(), size).unwrap();
    }

    pub(super) fn hang_up(&mut self) {
        self.terminal = None;
    }

    pub(super) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Signals the caller's process alone.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.caller, signal).unwrap();
    }

    /// Gives the shell an order: `fg` or `bg`.
    pub(super) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// What the shell says next about its job.
    pub(super) fn next_report(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.reports.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
            let count = self.reports.read_line(&mut line).unwrap();
            assert!(count > 0, "the shell is gone");
            // The test program says things of its own, and not in whole lines.
            if let Some((_, report)) = line.trim_end().split_once(REPORT) {
                return report.to_owned();
            }
        }
    }

    fn terminal(&self) -> &File {
        self.terminal.as_ref().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Ends what a failed test left behind: a supervisor whose caller is gone ends the run.
        self.terminal = None;
        let _ = kill_process(self.caller, Signal::KILL);
        let _ = kill_process(Pid::from_child(&self.shell), Signal::KILL);
        self.shell.wait().unwrap();
    }
}

pub(super) fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Not a test: the processes of a scene. Does nothing unless [`Stage::start`] asks.
#[test]
#[ignore = "started by the tests"]
fn play() {
    let (Ok(script), Ok(flags)) = (env::var(SCRIPT), env::var(FLAGS)) else { return };
    shell(&Scene::parse(&script, &flags));
}

/// A shell with job control and one job.
fn shell(scene: &Scene<'_>) {
    let mut talk = UnixStream::from(fcntl_dupfd_cloexec(stdout(), 3).unwrap());
    let mut orders = BufReader::new(talk.try_clone().unwrap()).lines();
    // A test thread cannot ignore what the terminal's end sends to the session's leader.
    let _held = HeldSignals::hold(&[libc::SIGHUP]).unwrap();
    let leader = fork_child(|| {
        rustix::process::setsid().unwrap();
        ioctl_tiocsctty(stdin()).unwrap();
        let job = fork_child(|| caller(scene)).unwrap();
        let _ = setpgid(Some(job), Some(job));
        if !scene.background {
            give_terminal(job);
        }
        writeln!(talk, "{REPORT}{}", job.as_raw_nonzero()).unwrap();
        loop {
            let (_, status) = waitpid(Some(job), WaitOptions::UNTRACED).unwrap().unwrap();
            let Some(signal) = status.stopping_signal() else {
                writeln!(talk, "{REPORT}{}", describe(status)).unwrap();
                return 0;
            };
            give_terminal(rustix::process::getpgrp());
            writeln!(talk, "{REPORT}stopped {signal}").unwrap();
            if orders.next().unwrap().unwrap() == "bg" {
                kill_process_group(job, Signal::CONT).unwrap();
                // A shell does not continue what runs already.
                assert_eq!(orders.next().unwrap().unwrap(), "fg");
                give_terminal(job);
            } else {
                give_terminal(job);
                kill_process_group(job, Signal::CONT).unwrap();
            }
        }
    });
    waitpid(Some(leader.unwrap()), WaitOptions::empty()).unwrap();
}

/// The caller's process: `vantio run`, as far as the terminal is concerned.
fn caller(scene: &Scene<'_>) -> i32 {
    restore_signals();
    let _ = setpgid(None, None);
    let (_reader, writer) = std::io::pipe().unwrap();
    let nothing = File::options().read(true).write(true).open("/dev/null").unwrap();
    let terminal = fcntl_dupfd_cloexec(stdin(), 3).unwrap();
    if scene.without_terminal {
        dup2_stdin(&nothing).unwrap();
        dup2_stderr(&nothing).unwrap();
    } else {
        dup2_stdout(&terminal).unwrap();
        dup2_stderr(&terminal).unwrap();
    }
    if scene.piped_output {
        dup2_stdout(&writer).unwrap();
    }
    if !scene.background && !scene.without_terminal {
        // The shell gives the terminal at its own pace; a real one has done so before it starts a program.
        while rustix::termios::tcgetpgrp(&terminal).unwrap() != rustix::process::getpgrp() {
            std::thread::yield_now();
        }
    }
    drop(terminal);

    let plan = Plan::of_caller();
    let (mine, theirs) = Channel::pair().unwrap();
    let (mine, theirs) = (&mut Some(mine), &mut Some(theirs));
    fork_child(|| {
        drop(mine.take());
        supervisor(scene, &plan, &theirs.take().unwrap())
    })
    .unwrap();
    drop(theirs.take());
    let channel = mine.take().unwrap();
    match attend(&channel, &plan, &mut |_| ()) {
        Ok(Outcome::Ended(ending, _)) => ending.exit_code(),
        Ok(Outcome::Failed(_)) | Err(_) => 125,
    }
}

/// Supervisor and init in one.
fn supervisor(scene: &Scene<'_>, plan: &Plan, channel: &Channel) -> i32 {
    // As the first process of a PID namespace does without being asked.
    let _held = HeldSignals::hold(&[libc::SIGHUP]).unwrap();
    let mut slave = None;
    if plan.needs_terminal() {
        let pair = session::open_pair(devices().as_fd(), plan.modes.as_ref(), plan.size).unwrap();
        channel.send(&Message::Terminal, Some(pair.master.as_fd())).unwrap();
        slave = Some(pair.slave);
    }
    session::lead(slave.as_ref().map(OwnedFd::as_fd)).unwrap();
    let agent = fork_child(|| {
        session::join(slave.as_ref().map(OwnedFd::as_fd), plan).unwrap();
        let _ = Command::new("sh").args(["-c", scene.script]).exec();
        127
    })
    .unwrap();
    channel.send(&Message::Started { pid: agent.as_raw_nonzero().get() }, None).unwrap();
    loop {
        if is_readable(channel.as_fd()) {
            match channel.receive() {
                Ok((Message::Signal { number }, None)) => {
                    let _ = kill_process_group(agent, Signal::from_named_raw(number).unwrap());
                }
                Ok((Message::Continue, None)) => {
                    let _ = kill_process_group(agent, Signal::CONT);
                }
                Err(ControlError::Closed) => return 1,
                other => panic!("{other:?}"),
            }
        }
        let Some((_, status)) = waitpid(Some(agent), WaitOptions::NOHANG | WaitOptions::UNTRACED).unwrap()
        else {
            continue;
        };
        if let Some(signal) = status.stopping_signal() {
            if let (libc::SIGTTIN | libc::SIGTTOU, Some(slave)) = (signal, &slave) {
                session::hand_over(slave.as_fd(), agent).unwrap();
            }
            channel.send(&Message::Stopped { signal }, None).unwrap();
            continue;
        }
        if !scene.supervisor_dies {
            let ending = match status.exit_status() {
                Some(status) => Ending::Exited(status),
                None => Ending::Signaled(status.terminating_signal().unwrap()),
            };
            channel.send(&Message::Ended(ending, Account::Unwritten), None).unwrap();
        }
        return 0;
    }
}

fn give_terminal(group: Pid) {
    with_blocked(libc::SIGTTOU, || tcsetpgrp(stdin(), group)).unwrap();
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => format!("exited {status}"),
        (None, Some(signal)) => format!("signaled {signal}"),
        (None, None) => format!("{status:?}"),
    }
}

fn modes_of(terminal: impl std::os::fd::AsFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 })).unwrap() > 0
}

/// A directory with a `ptmx` that everybody may open.
fn devices() -> OwnedFd {
    rustix::fs::open("/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

const SCRIPT: &str = "VANTIO_TEST_SCRIPT";
const FLAGS: &str = "VANTIO_TEST_FLAGS";
const REPORT: &str = "report ";
const PATIENCE: Duration = Duration::from_mins(1);
