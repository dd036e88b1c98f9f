//! Somebody who is connected to the keeper.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::event::PollFlags;

use super::{
    log::Log,
    wire::{Ask, Frame, Inbox, PIECE, Reply, VERSION},
};
use crate::socket::line;

/// One connection.
#[derive(Debug)]
pub(super) struct Visitor {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It has not said what it wants.
    Greeting,
    /// It started the run, and waits to hear that it executes.
    Starting,
    /// It sees what the run writes, from this place of the log on.
    Watching { place: u64, types: bool },
    /// Whatever is in the outbox is the last that it hears.
    Leaving,
}

/// What a visitor wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The run is to read this.
    Input(Vec<u8>),
    /// The run's terminal is to have this size.
    Size(u16, u16),
}

impl Visitor {
    /// Somebody who connected to the socket.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, inbox: Inbox::default(), outbox: Vec::new(), stage: Stage::Greeting })
    }

    /// Who started the run.
    pub(super) fn starter(stream: UnixStream) -> io::Result<Self> {
        Ok(Self { stage: Stage::Starting, ..Self::new(stream)? })
    }

    /// Whether it has said what it wants.
    pub(super) fn is_greeted(&self) -> bool {
        !matches!(self.stage, Stage::Greeting)
    }

    /// What is to be waited for: nothing is read from it while the run reads nothing.
    pub(super) fn events(&self, has_room: bool) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, has_room && !matches!(self.stage, Stage::Leaving));
        events.set(PollFlags::OUT, !self.outbox.is_empty());
        events
    }

    /// Reads once; adds what it wants to `wishes`. An error, or nothing any more, is the end of it.
    pub(super) fn hear(&mut self, has_terminal: bool, log: &Log, wishes: &mut Vec<Wish>) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.inbox.push(&bytes[..count]),
            Err(error) if is_for_now(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        if matches!(self.stage, Stage::Greeting) {
            let Some(line) = self.inbox.line()? else { return Ok(()) };
            self.greet(&line, has_terminal, log)?;
        }
        while let Some(frame) = self.inbox.frame()? {
            match (frame, &self.stage) {
                (Frame::Input(bytes), Stage::Watching { types: true, .. }) => wishes.push(Wish::Input(bytes)),
                (Frame::Size { rows, columns }, Stage::Watching { .. }) => {
                    wishes.push(Wish::Size(rows, columns));
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }

    /// Tells it that the program executes, if it is who waits for that.
    pub(super) fn tell_started(&mut self) {
        if matches!(self.stage, Stage::Starting) {
            self.outbox.extend(Frame::Started.encode());
            self.stage = Stage::Leaving;
        }
    }

    /// Tells it how the run ended, if it has seen all that the run wrote.
    pub(super) fn tell_end(&mut self, end: &Frame, all: u64) {
        match self.stage {
            Stage::Watching { place, .. } if place < all => {}
            Stage::Watching { .. } | Stage::Starting => {
                self.outbox.extend(end.encode());
                self.stage = Stage::Leaving;
            }
            // Who has not said what it wants finds the run ended.
            Stage::Greeting => self.stage = Stage::Leaving,
            Stage::Leaving => {}
        }
    }

    /// Whether there is nothing more to tell it.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Leaving) && self.outbox.is_empty()
    }

    /// Sends what there is, as far as it reads. An error is the end of it.
    pub(super) fn show(&mut self, log: &Log, end: u64) -> io::Result<()> {
        loop {
            if self.outbox.is_empty() {
                self.fetch(log, end)?;
            }
            if self.outbox.is_empty() {
                return Ok(());
            }
            match self.stream.write(&self.outbox) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if is_for_now(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the next piece of the log.
    fn fetch(&mut self, log: &Log, end: u64) -> io::Result<()> {
        let Stage::Watching { place, .. } = &mut self.stage else { return Ok(()) };
        if *place >= end {
            return Ok(());
        }
        let mut bytes = vec![0; PIECE];
        let (found, count) = log.read(*place, &mut bytes)?;
        bytes.truncate(count);
        if found > *place {
            self.outbox.extend(Frame::Skipped(found - *place).encode());
        }
        self.outbox.extend(Frame::Output(bytes).encode());
        *place = found + count as u64;
        Ok(())
    }

    fn greet(&mut self, said: &[u8], has_terminal: bool, log: &Log) -> io::Result<()> {
        match line::decode::<Ask>(VERSION, said) {
            Ok(ask) => {
                self.outbox.extend(line::encode(VERSION, Reply::Attached { terminal: has_terminal })?);
                let place = ask.from.map_or_else(|| recent(log), Ok)?;
                self.stage = Stage::Watching { place, types: ask.types };
            }
            Err(reason) => {
                self.outbox.extend(line::encode(VERSION, Reply::Refused(reason.to_string()))?);
                self.stage = Stage::Leaving;
            }
        }
        Ok(())
    }
}

impl AsFd for Visitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A place near the end of the log, at the beginning of a line where there is one.
fn recent(log: &Log) -> io::Result<u64> {
    let (begin, end) = log.bounds()?;
    let earliest = end.saturating_sub(RECENT as u64);
    if earliest <= begin {
        return Ok(begin);
    }
    let mut bytes = vec![0; RECENT];
    let (found, count) = log.read(earliest, &mut bytes)?;
    let line = bytes[..count].iter().position(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    Ok(found + line as u64)
}

pub(super) fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// How much of the log whoever comes is shown, in bytes.
const RECENT: usize = 32 * 1024;
