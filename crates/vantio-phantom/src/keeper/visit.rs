//! Being at a detached run's terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

use super::{
    KeeperError, SOCKET,
    error::failed,
    keys::Keys,
    modes::Modes,
    visitor::is_for_now,
    wire::{Ask, Frame, Inbox, LINE_MAX, Reply, VERSION},
};
use crate::{
    socket::{
        self,
        line::{self, Patience},
    },
    sys::tty::HeldSignals,
    terminal::{Ground, Screen},
};

/// How to visit.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Whether standard input is for the run.
    pub types: bool,
    /// Where in the run's output to begin; near its end when it does not say.
    pub from: Option<u64>,
}

/// What is known once a visit begins.
#[derive(Clone, Copy, Debug)]
pub struct Welcome {
    /// Whether what is typed reaches the run.
    pub types: bool,
    /// Whether the keys that detach are looked for.
    pub has_keys: bool,
}

/// How a visit ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Leave {
    /// Whoever visited left, and the run goes on.
    Detached,
    /// The run ended: what its runner said.
    Ended(Vec<u8>),
    /// The run's command is gone without a word, or its keeper is.
    Lost,
    /// A signal ended the visit, and the run goes on.
    Signaled(i32),
}

/// Shows what the run writes, and sends it what is typed, until either is over. The caller's terminal is as it was
/// afterwards. The calling process must have one thread. `welcome` is called before anything is shown.
pub fn visit(visit: &Visit<'_>, welcome: &mut dyn FnMut(Welcome)) -> Result<Leave, KeeperError> {
    let (mut stream, rest, has_terminal) = connect(visit)?;
    let types = visit.types && has_terminal;
    let is_keyboard = types && io::stdin().is_terminal();
    welcome(Welcome { types, has_keys: is_keyboard });
    let signals = HeldSignals::hold(HELD).map_err(failed("hold signals back"))?;
    let input = io::stdin();
    let screen = is_keyboard.then(|| Screen::open(input.as_fd())).transpose();
    let mut screen = screen.map_err(failed("open the terminal"))?;
    if let Some(screen) = &mut screen {
        screen.attach().map_err(failed("set the terminal"))?;
    }
    stream.flush().and_then(|()| stream.set_nonblocking(true)).map_err(failed("use the run's socket"))?;
    let mut inbox = Inbox::default();
    inbox.push(&rest);
    let mut stay = Stay {
        stream,
        inbox,
        outbox: Vec::new(),
        screen,
        signals,
        reads: types,
        keys: is_keyboard.then(Keys::default),
        modes: Modes::default(),
        shows: has_terminal && io::stdout().is_terminal(),
    };
    stay.say_size();
    let left = stay.go_on();
    stay.tidy();
    left
}

/// Connects, and says what is wanted. Returns what came after the answer, too.
fn connect(visit: &Visit<'_>) -> Result<(UnixStream, Vec<u8>, bool), KeeperError> {
    let broken = |error: io::Error| match error.kind() {
        // It ended in this moment.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => KeeperError::Absent,
        _ => failed("use the run's socket")(error),
    };
    let stream = match socket::connect(visit.folder, SOCKET) {
        Err(error) if is_absence(&error) => return Err(KeeperError::Absent),
        other => other.map_err(failed("reach the run's keeper"))?,
    };
    let ask = Ask { types: visit.types, from: visit.from };
    line::write(&stream, VERSION, ask, PATIENCE.time).map_err(broken)?;
    let (line, rest) = line::take(&stream, PATIENCE).map_err(broken)?;
    if line.is_empty() {
        return Err(KeeperError::Absent);
    }
    match line::decode(VERSION, &line).map_err(|error| KeeperError::Refused(error.to_string()))? {
        Reply::Attached { terminal } => Ok((stream, rest, terminal)),
        Reply::Refused(reason) => Err(KeeperError::Refused(reason)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// A visit while it lasts.
struct Stay {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// The caller's terminal. Declared before the signals, so that it is given back before they take effect again.
    screen: Option<Screen>,
    signals: HeldSignals,
    /// Whether standard input is still read.
    reads: bool,
    keys: Option<Keys>,
    modes: Modes,
    /// Whether a terminal is what the run's output goes to.
    shows: bool,
}

impl Stay {
    fn go_on(&mut self) -> Result<Leave, KeeperError> {
        loop {
            while let Some(frame) = self.inbox.frame().map_err(failed("understand the run's keeper"))? {
                match frame {
                    Frame::Output(bytes) if !self.show(&bytes)? => return Ok(Leave::Detached),
                    Frame::Skipped(count) => self.say_skipped(count),
                    Frame::End(said) => return Ok(Leave::Ended(said)),
                    Frame::Lost => return Ok(Leave::Lost),
                    _ => {}
                }
            }
            let [signals, stream, keyboard] = self.wait()?;
            if self.is_in_background() && self.screen.as_ref().map(Screen::ground) == Some(Ground::Fore) {
                self.come_back()?;
            }
            if signals && let Some(leave) = self.on_signals()? {
                return Ok(leave);
            }
            if keyboard && self.read_keyboard()? {
                return Ok(Leave::Detached);
            }
            if stream && !self.exchange()? {
                return Ok(Leave::Lost);
            }
        }
    }

    /// Waits until there is something to do: signals, the socket, the keyboard.
    fn wait(&self) -> Result<[bool; 3], KeeperError> {
        let input = io::stdin();
        let mut stream = PollFlags::IN;
        stream.set(PollFlags::OUT, !self.outbox.is_empty());
        let mut asked = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.stream.as_fd(), stream),
        ];
        let in_background = self.is_in_background();
        if self.reads && !in_background && self.outbox.len() < OUTBOX {
            asked.push(PollFd::from_borrowed_fd(self.keyboard(&input), PollFlags::IN));
        }
        // Nobody tells a process that it came to the foreground without having been stopped.
        let glance = Timespec::try_from(GLANCE).ok().filter(|_| in_background);
        match poll(&mut asked, glance.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for events")(errno)),
        }
        let is_ready = |index: usize| asked.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok([0, 1, 2].map(is_ready))
    }

    /// Whether the caller's terminal is somebody else's now.
    fn is_in_background(&self) -> bool {
        self.screen.as_ref().is_some_and(|screen| !screen.is_attached())
    }

    fn keyboard<'a>(&'a self, input: &'a io::Stdin) -> BorrowedFd<'a> {
        self.screen.as_ref().map_or_else(|| input.as_fd(), |screen| screen.as_fd())
    }

    fn on_signals(&mut self) -> Result<Option<Leave>, KeeperError> {
        while let Some(number) = self.signals.next().map_err(failed("read a signal"))? {
            match number {
                libc::SIGWINCH => self.say_size(),
                libc::SIGCONT => self.come_back()?,
                libc::SIGTSTP => {
                    self.tidy();
                    kill_process(getpid(), Signal::STOP).map_err(failed("stop"))?;
                    self.come_back()?;
                }
                other => return Ok(Some(Leave::Signaled(other))),
            }
        }
        Ok(None)
    }

    /// This process was stopped and goes on, or came to the foreground.
    fn come_back(&mut self) -> Result<(), KeeperError> {
        if let Some(screen) = &mut self.screen {
            let attached = screen.reattach().and_then(|()| screen.attach());
            attached.map_err(failed("set the terminal"))?;
        }
        self.say_size();
        Ok(())
    }

    /// Reads what is typed; true when whoever types leaves.
    fn read_keyboard(&mut self) -> Result<bool, KeeperError> {
        let mut bytes = [0; 4096];
        let input = io::stdin();
        let count = match rustix::io::read(self.keyboard(&input), &mut bytes) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(_) if self.screen.is_some() => 0,
            Err(errno) => return Err(failed("read standard input")(errno)),
        };
        if count == 0 {
            self.reads = false;
            let Some(screen) = &mut self.screen else { return Ok(false) };
            // Somebody else has the terminal, or it was hung up.
            if screen.ground() == Ground::Back {
                screen.detach();
                self.reads = true;
                return Ok(false);
            }
            return Ok(true);
        }
        let (typed, leaves) = match &mut self.keys {
            Some(keys) => keys.take(&bytes[..count]),
            None => (bytes[..count].to_vec(), false),
        };
        if !typed.is_empty() {
            self.outbox.extend(Frame::Input(typed).encode());
        }
        if leaves {
            // What was typed before is for the run.
            let _ = self.stream.set_nonblocking(false).and_then(|()| self.stream.write_all(&self.outbox));
        }
        Ok(leaves)
    }

    /// Sends and receives what there is; false when the keeper is gone.
    fn exchange(&mut self) -> Result<bool, KeeperError> {
        if !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if is_for_now(&error) => {}
                // What it said before is still to be read.
                Err(_) => self.outbox.clear(),
            }
        }
        let mut bytes = vec![0; 64 * 1024];
        match io::Read::read(&mut self.stream, &mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.inbox.push(&bytes[..count]);
                Ok(true)
            }
            Err(error) if is_for_now(&error) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(failed("use the run's socket")(error)),
        }
    }

    /// Shows what the run wrote; false when nobody looks any more.
    fn show(&mut self, bytes: &[u8]) -> Result<bool, KeeperError> {
        if self.shows {
            self.modes.see(bytes);
        }
        let mut output = io::stdout().lock();
        match output.write_all(bytes).and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            // A terminal that was hung up.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            other => other.map(|()| true).map_err(failed("write to standard output")),
        }
    }

    fn say_skipped(&self, count: u64) {
        let end = if self.screen.is_some() { "\r\n" } else { "\n" };
        drop(write!(
            io::stderr(),
            "{end}vantio: {count} bytes are left out: the log keeps the last only{end}"
        ));
    }

    /// The run's terminal is to be as large as the one that is looked at.
    fn say_size(&mut self) {
        if !self.shows {
            return;
        }
        let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) else { return };
        if size.ws_row > 0 && size.ws_col > 0 {
            self.outbox.extend(Frame::Size { rows: size.ws_row, columns: size.ws_col }.encode());
        }
    }

    /// Gives the terminal back as it was.
    fn tidy(&mut self) {
        let undo = self.modes.undo();
        if !undo.is_empty() {
            let mut output = io::stdout().lock();
            drop(output.write_all(&undo).and_then(|()| output.flush()));
        }
        if let Some(screen) = &mut self.screen {
            screen.detach();
        }
    }
}

/// What a person or a shell sends to a program in the foreground.
const HELD: &[i32] =
    &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];
/// How long a keeper may take to answer.
const PATIENCE: Patience = Patience { longest: LINE_MAX, time: Duration::from_secs(10) };
/// How often a process in the background looks whether it still is.
const GLANCE: Duration = Duration::from_millis(200);
/// How much may be typed ahead, in bytes.
const OUTBOX: usize = 64 * 1024;
