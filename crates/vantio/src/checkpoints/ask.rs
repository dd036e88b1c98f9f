//! The side of whoever asks.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};
use vantio_phantom::checkpoint::Checkpoint;

use super::{Answer, Question, SOCKET, VERSION, What};
use crate::failure::Failure;

/// Asks the run whose folder is `folder` for a checkpoint.
pub fn take(folder: &Path, label: Option<&str>) -> Result<Checkpoint, Failure> {
    let what = What::Checkpoint { label: label.map(str::to_owned) };
    match ask(folder, what).map_err(unheard)?.0 {
        Answer::Taken(checkpoint) => Ok(checkpoint),
        Answer::Failed(text) => Err(refused(&text)),
        Answer::Held => Err(unheard(io::ErrorKind::InvalidData.into())),
    }
}

/// While this lives, nothing changes in a run.
pub struct Hold {
    stream: UnixStream,
}

impl Hold {
    /// Has the run whose folder is `folder` change nothing.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        match ask(folder, What::Hold).map_err(unheard)? {
            (Answer::Held, stream) => Ok(Self { stream }),
            (Answer::Failed(text), _) => Err(refused(&text)),
            (Answer::Taken(_), _) => Err(unheard(io::ErrorKind::InvalidData.into())),
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

fn ask(folder: &Path, what: What) -> io::Result<(Answer, UnixStream)> {
    let (_held, path) = short_path(folder)?;
    let mut stream = UnixStream::connect(path)?;
    let mut text = serde_json::to_vec(&Question { version: VERSION, what })?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = Vec::new();
    BufReader::new(&stream).read_until(b'\n', &mut line)?;
    Ok((serde_json::from_slice(&line)?, stream))
}

/// A path to the socket that is never too long for an address, and what keeps it valid.
pub(super) fn short_path(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    Ok((folder, path.into()))
}

fn unheard(cause: io::Error) -> Failure {
    Failure::new("E_RUN_UNHEARD", "the run does not answer")
        .because(cause)
        .help("it may be only starting, or just ending: try again")
}

fn refused(text: &str) -> Failure {
    crate::commands::coded(text).help("`vantio checkpoint RUN --list` shows the checkpoints that there are")
}
