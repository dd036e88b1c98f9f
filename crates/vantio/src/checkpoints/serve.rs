//! The supervisor's side.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vantio_phantom::{
    checkpoint::{Cause, Checkpoints},
    socket::{
        self,
        line::{self, LineError, Patience},
    },
};

use super::{
    SOCKET,
    wire::{Answer, Question, VERSION},
};
use crate::store::is_supervisor;

/// Answers at the socket in the run's `folder` from a thread of its own, for as long as this process lives. `runs` is the
/// folder of all runs.
pub fn serve(folder: &Path, runs: PathBuf, checkpoints: Arc<dyn Checkpoints>) -> io::Result<()> {
    let listener = socket::listen(folder, SOCKET)?;
    let is_stranger = move |pid| is_supervisor(pid, &runs);
    socket::serve(listener, "vantio-asked", is_stranger, move |stream, _| answer(stream, &*checkpoints))
}

fn answer(stream: &UnixStream, checkpoints: &dyn Checkpoints) -> io::Result<()> {
    let (said, _) = line::take(stream, PATIENCE)?;
    let question = match line::decode(VERSION, &said) {
        Err(error @ LineError::Version { .. }) => {
            return say(stream, &Answer::Failed(format!("E_VERSION: {error}")));
        }
        other => other?,
    };
    match question {
        Question::Checkpoint { label, processes } => {
            let label = label.as_deref();
            let taken =
                if processes { checkpoints.take_whole(label) } else { checkpoints.take(label, Cause::Asked) };
            match taken {
                Ok(checkpoint) => say(stream, &Answer::Taken(checkpoint))?,
                Err(error) => say(stream, &Answer::Failed(error.to_string()))?,
            }
            checkpoints.lay_ahead();
            Ok(())
        }
        Question::Kept => say(stream, &Answer::Kept(checkpoints.kept())),
        Question::GoBack { id } => go_back(stream, id, checkpoints),
        Question::Return => say(stream, &Answer::Failed("E_CHECKPOINT: nobody asked for it".to_owned())),
        Question::Hold => {
            stream.set_read_timeout(Some(PATIENCE.time))?;
            checkpoints.hold(&mut || {
                if say(stream, &Answer::Held).is_ok() {
                    // Whatever comes, or nothing for a while: the run goes on.
                    let _ = (&*stream).read(&mut [0]);
                }
            });
            Ok(())
        }
    }
}

/// Whoever asked compares while nothing moves, and is gone where it failed.
fn go_back(stream: &UnixStream, id: u64, checkpoints: &dyn Checkpoints) -> io::Result<()> {
    let patience = Patience { time: PATIENCE_TO_COMPARE, ..PATIENCE };
    let done = checkpoints.go_back(id, &mut || {
        say(stream, &Answer::Held).is_ok()
            && matches!(line::read(stream, VERSION, patience), Ok(Question::Return))
    });
    match done {
        Ok(()) => say(stream, &Answer::Back),
        Err(error) => say(stream, &Answer::Failed(error.to_string())),
    }
}

fn say(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    line::write(stream, VERSION, answer, PATIENCE.time)
}

/// For how long may be compared what a run has with what it had.
const PATIENCE_TO_COMPARE: Duration = Duration::from_mins(4);
/// For how long somebody may think, or hold a run.
const PATIENCE: Patience = Patience { longest: 4096, time: Duration::from_secs(10) };
