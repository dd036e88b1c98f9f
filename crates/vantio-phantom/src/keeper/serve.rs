//! The keeper's own process.

use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Pid, Signal, WaitOptions, kill_process, umask, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    termios::{Winsize, tcsetwinsize},
};

use super::{
    KeeperError, SOCKET,
    error::failed,
    log::{Log, Writer},
    visitor::{Visitor, Wish, is_for_now},
    wire::{Frame, Inbox},
};
use crate::socket;

/// What a keeper keeps. The rest are its standard descriptors, which [`Seat::execute`](super::Seat::execute) made.
#[derive(Debug)]
pub struct Duty {
    /// The run's folder.
    pub folder: PathBuf,
    /// The process that runs, a child of this one.
    pub runner: Pid,
    /// Whether the run has a terminal.
    pub has_terminal: bool,
}

/// Keeps a run until it ended and whoever is connected was told. `is_stranger` says of a process whether it may connect for
/// somebody who may not.
pub fn keep(duty: &Duty, is_stranger: &dyn Fn(Pid) -> bool) -> Result<(), KeeperError> {
    let [source, hearing, reporting] = take_streams().map_err(failed("take over a run"))?;
    umask(Mode::from_raw_mode(0o077));
    let unusable = failed("use what the run was started with");
    rustix::io::ioctl_fionbio(&source, true).map_err(failed("use the run's terminal"))?;
    let hearing = UnixStream::from(hearing);
    hearing.set_nonblocking(true).map_err(&unusable)?;
    let starter = Visitor::starter(reporting.into()).map_err(&unusable)?;
    let log = failed("keep what the run writes");
    let writer = Writer::create(&duty.folder).map_err(&log)?;
    let mut keeper = Keeper {
        has_terminal: duty.has_terminal,
        source: Some(source),
        log: Log::open(&duty.folder).ok_or_else(|| log(io::ErrorKind::NotFound.into()))?,
        writer,
        input: Vec::new(),
        hearing: Some(hearing),
        inbox: Inbox::default(),
        end: Frame::Lost,
        listener: listen(&duty.folder).map_err(failed("listen"))?,
        visitors: vec![starter],
        runner: Some(await_runner(duty.runner).map_err(failed("wait for the run"))?),
    };
    while !keeper.is_over() {
        keeper.turn(is_stranger).map_err(failed("wait for events"))?;
    }
    keeper.part();
    Ok(())
}

struct Keeper {
    has_terminal: bool,
    /// Where the run's output comes from, and its input goes to, until nothing more comes.
    source: Option<OwnedFd>,
    log: Log,
    writer: Writer,
    /// What was typed and the run has not read.
    input: Vec<u8>,
    /// From the runner.
    hearing: Option<UnixStream>,
    inbox: Inbox,
    /// What will be told when all is over.
    end: Frame,
    listener: UnixListener,
    visitors: Vec<Visitor>,
    /// Closed when the runner is gone.
    runner: Option<OwnedFd>,
}

impl Keeper {
    /// Whether the runner is gone, and all that it wrote and said is here.
    fn is_over(&self) -> bool {
        self.runner.is_none() && self.source.is_none() && self.hearing.is_none()
    }

    /// Waits for something, and does it.
    fn turn(&mut self, is_stranger: &dyn Fn(Pid) -> bool) -> io::Result<()> {
        let has_room = self.input.len() < INPUT_MAX;
        let mut source = PollFlags::IN;
        source.set(PollFlags::OUT, !self.input.is_empty());
        let fixed = [
            self.source.as_ref().map(|fd| (fd.as_fd(), source)),
            self.hearing.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)),
            self.runner.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)),
            Some((self.listener.as_fd(), PollFlags::IN)),
        ];
        let visitors = self.visitors.iter().map(|visitor| Some((visitor.as_fd(), visitor.events(has_room))));
        let asked: Vec<Question<'_>> = fixed.into_iter().chain(visitors).collect();
        let ready = ask(&asked, None)?;
        let [source, hearing, runner, listener, visitors @ ..] = &ready[..] else { return Ok(()) };
        let (source, hearing) = (*source, !hearing.is_empty());
        let (runner, listener, visitors) = (!runner.is_empty(), !listener.is_empty(), visitors.to_vec());
        if hearing {
            self.hear();
        }
        if !source.is_empty() {
            self.copy(source);
        }
        if runner {
            self.runner = None;
        }
        if self.runner.is_none() {
            self.drain();
        }
        self.see_visitors(&visitors);
        if listener {
            self.welcome(is_stranger);
        }
        Ok(())
    }

    /// What the runner says.
    fn hear(&mut self) {
        let Some(stream) = &mut self.hearing else { return };
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes) {
            Err(error) if is_for_now(&error) => return,
            Ok(count) if count > 0 => self.inbox.push(&bytes[..count]),
            _ => self.hearing = None,
        }
        while let Ok(Some(frame)) = self.inbox.frame() {
            match frame {
                Frame::Started => self.visitors.iter_mut().for_each(Visitor::tell_started),
                Frame::End(_) => self.end = frame,
                // A fork of this very program says nothing else.
                _ => {}
            }
        }
    }

    /// From the run to the log, and from those who type to the run.
    fn copy(&mut self, ready: PollFlags) {
        let Some(source) = &self.source else { return };
        if ready.contains(PollFlags::OUT) && !self.input.is_empty() {
            match rustix::io::write(source, &self.input) {
                Ok(count) => drop(self.input.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It reads no more.
                Err(_) => self.input.clear(),
            }
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read();
        }
    }

    /// Reads once from the run; false when there is nothing now.
    fn read(&mut self) -> bool {
        let Some(source) = &self.source else { return false };
        let mut bytes = [0; 16 * 1024];
        match rustix::io::read(source, &mut bytes) {
            Ok(count) if count > 0 => {
                self.writer.append(&bytes[..count]);
                true
            }
            Err(Errno::AGAIN) => false,
            Err(Errno::INTR) => true,
            // The end of a pipe, or a terminal that nobody has open.
            _ => {
                self.source = None;
                false
            }
        }
    }

    /// The runner is gone, and everything in the run with it: what it wrote is all there will be.
    fn drain(&mut self) {
        while self.read() {}
        self.source = None;
        self.hear();
        self.hearing = None;
    }

    fn see_visitors(&mut self, ready: &[PollFlags]) {
        let (has_terminal, end) = (self.has_terminal, self.writer.end());
        let mut wishes = Vec::new();
        let mut ready = ready.iter();
        let log = &self.log;
        self.visitors.retain_mut(|visitor| {
            let ready = ready.next().copied().unwrap_or(PollFlags::empty());
            let is_heard = ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
            let heard = if is_heard { visitor.hear(has_terminal, log, &mut wishes) } else { Ok(()) };
            heard.and_then(|()| visitor.show(log, end)).is_ok() && !visitor.is_done()
        });
        for wish in wishes {
            match wish {
                Wish::Input(bytes) if self.has_terminal && self.source.is_some() => self.input.extend(bytes),
                Wish::Size(rows, columns) if self.has_terminal => self.resize(rows, columns),
                _ => {}
            }
        }
    }

    /// A size that cannot be set changes nothing.
    fn resize(&self, rows: u16, columns: u16) {
        if let Some(source) = &self.source {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(source, size);
        }
    }

    /// Lets somebody in who may.
    fn welcome(&mut self, is_stranger: &dyn Fn(Pid) -> bool) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_for_now(&error) => return,
            Err(_) => return socket::pause(),
        };
        if self.visitors.len() >= VISITORS {
            // Who has not said what it wants makes room for who may.
            let Some(silent) = self.visitors.iter().position(|visitor| !visitor.is_greeted()) else { return };
            self.visitors.remove(silent);
        }
        if socket::hear(&stream, is_stranger).is_some()
            && let Ok(visitor) = Visitor::new(stream)
        {
            self.visitors.push(visitor);
        }
    }

    /// Tells everybody how the run ended, and waits a while until they have heard it.
    fn part(mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            let (log, all) = (&self.log, self.writer.end());
            let end = &self.end;
            self.visitors.retain_mut(|visitor| {
                let shown = visitor.show(log, all).and_then(|()| {
                    visitor.tell_end(end, all);
                    visitor.show(log, all)
                });
                shown.is_ok() && !visitor.is_done()
            });
            if self.visitors.is_empty() || Instant::now() > deadline {
                return;
            }
            let asked: Vec<Question<'_>> =
                self.visitors.iter().map(|visitor| Some((visitor.as_fd(), PollFlags::OUT))).collect();
            if ask(&asked, Some(LAST_WORDS)).is_err() {
                return;
            }
        }
    }
}

/// A descriptor and what is to be known about it.
type Question<'fd> = Option<(BorrowedFd<'fd>, PollFlags)>;

fn ask(questions: &[Question<'_>], patience: Option<Duration>) -> io::Result<Vec<PollFlags>> {
    let asked = questions.iter().flatten();
    let mut descriptors: Vec<_> = asked.map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut answers = descriptors.iter().map(PollFd::revents);
    let answer =
        |question: &Question<'_>| question.and_then(|_| answers.next()).unwrap_or(PollFlags::empty());
    Ok(questions.iter().map(answer).collect())
}

/// Moves the three descriptors that a keeper is started with off the standard ones.
fn take_streams() -> io::Result<[OwnedFd; 3]> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let is_socket = |fd: BorrowedFd<'_>| {
        fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
    };
    if !is_socket(output.as_fd()) || !is_socket(error.as_fd()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let move_up = |fd: BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, 3);
    let moved = [move_up(input.as_fd())?, move_up(output.as_fd())?, move_up(error.as_fd())?];
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(moved)
}

fn listen(folder: &Path) -> io::Result<UnixListener> {
    let listener = socket::listen(folder, SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A descriptor that is closed when `runner` is gone. One that stops itself is continued: there is no shell
/// that it would give a terminal back to.
fn await_runner(runner: Pid) -> io::Result<OwnedFd> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    thread::Builder::new().name("vantio-runner".into()).spawn(move || {
        loop {
            match waitpid(Some(runner), WaitOptions::UNTRACED) {
                Ok(Some((_, status))) if status.stopped() => drop(kill_process(runner, Signal::CONT)),
                Ok(None) | Err(Errno::INTR) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
        drop(theirs);
    })?;
    Ok(ours)
}

/// How much may be typed ahead, in bytes.
const INPUT_MAX: usize = 64 * 1024;
/// How many may be connected.
const VISITORS: usize = 64;
/// How long whoever is connected may take to hear the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
