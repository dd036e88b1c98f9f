//! The side of whoever asks.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use vantio_phantom::{
    checkpoint::Checkpoint,
    socket::{
        self,
        line::{self, Patience},
    },
};

use super::{
    SOCKET,
    wire::{Answer, Question, VERSION},
};
use crate::failure::Failure;

/// Asks the run whose folder is `folder` for a checkpoint.
pub fn take(folder: &Path, label: Option<&str>, processes: bool) -> Result<Checkpoint, Failure> {
    let question = Question::Checkpoint { label: label.map(str::to_owned), processes };
    match ask(folder, question).map_err(unheard)?.0 {
        Answer::Taken(checkpoint) => Ok(checkpoint),
        Answer::Failed(text) => Err(refused(&text)),
        _ => Err(unheard(io::ErrorKind::InvalidData.into())),
    }
}

/// The checkpoints of the run whose folder is `folder` that have processes; none where it does not say.
pub fn kept(folder: &Path) -> Vec<u64> {
    match ask(folder, Question::Kept) {
        Ok((Answer::Kept(list), _)) => list,
        _ => Vec::new(),
    }
}

/// Has the run whose folder is `folder` go back to a checkpoint with its processes. Once nothing moves in it `compare` is
/// called; where that fails, the run is ended.
pub fn go_back(folder: &Path, id: u64, compare: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let stream = match ask(folder, Question::GoBack { id }).map_err(unheard)? {
        (Answer::Held, stream) => stream,
        (Answer::Failed(text), _) => return Err(refused(&text)),
        _ => return Err(unheard(io::ErrorKind::InvalidData.into())),
    };
    compare()?;
    line::write(&stream, VERSION, Question::Return, PATIENCE.time).map_err(unheard)?;
    match line::read(&stream, VERSION, PATIENCE).map_err(unheard)? {
        Answer::Back => Ok(()),
        Answer::Failed(text) => Err(refused(&text)),
        _ => Err(unheard(io::ErrorKind::InvalidData.into())),
    }
}

/// While this lives, nothing changes in a run.
pub struct Hold {
    stream: UnixStream,
}

impl Hold {
    /// Has the run whose folder is `folder` change nothing.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        match ask(folder, Question::Hold).map_err(unheard)? {
            (Answer::Held, stream) => Ok(Self { stream }),
            (Answer::Failed(text), _) => Err(refused(&text)),
            _ => Err(unheard(io::ErrorKind::InvalidData.into())),
        }
    }
}

impl Hold {
    /// Lets the run go on. It may have done so by itself: then what was looked at is of no one moment.
    pub fn end(self) -> Result<(), Failure> {
        self.stream.set_nonblocking(true).map_err(unheard)?;
        match (&self.stream).read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(Failure::new(
                "E_RUN_MOVING",
                "the run has so many changes that it could not be held for so long",
            )
            .help("look again when it has ended")),
        }
    }
}

fn ask(folder: &Path, question: Question) -> io::Result<(Answer, UnixStream)> {
    let stream = socket::connect(folder, SOCKET)?;
    line::write(&stream, VERSION, question, PATIENCE.time)?;
    Ok((line::read(&stream, VERSION, PATIENCE)?, stream))
}

fn unheard(cause: io::Error) -> Failure {
    Failure::new("E_RUN_UNHEARD", "the run does not answer")
        .because(cause)
        .help("it may be only starting, or just ending: try again")
}

fn refused(text: &str) -> Failure {
    crate::commands::coded(text).help("`vantio checkpoint RUN --list` shows the checkpoints that there are")
}

/// Removes the socket of a run that is over.
pub fn remove(folder: &Path) {
    socket::remove(folder, SOCKET);
}

/// A checkpoint waits for others to end, and copies what is open for writing.
const PATIENCE: Patience = Patience { longest: 64 * 1024, time: Duration::from_mins(10) };
