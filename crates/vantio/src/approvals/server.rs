//! The supervisor's end of the socket.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vantio_phantom::socket::{
    self,
    line::{self, Patience},
};

use super::{
    Holds,
    holds::AnswerError,
    wire::{Request, Response, VERSION},
};
use crate::store::is_supervisor;

/// The name of the socket in a run's folder.
pub const SOCKET: &str = "approvals.sock";

/// Serves the questions of a run from its folder, until the process ends. `runs` is the folder of all runs.
pub fn serve(holds: Arc<Holds>, folder: &Path, runs: PathBuf) -> io::Result<()> {
    let listener = socket::listen(folder, SOCKET)?;
    let is_stranger = move |pid| is_supervisor(pid, &runs);
    socket::serve(listener, "vantio-approvals", is_stranger, move |stream, user| attend(&holds, stream, user))
}

fn attend(holds: &Holds, stream: &UnixStream, user: u32) -> io::Result<()> {
    let response = match line::read(stream, VERSION, PATIENCE)? {
        Request::List => Response::Questions(holds.list()),
        Request::Answer(reply) => match holds.answer(reply, user) {
            Ok(waited) => Response::Settled(waited),
            Err(error) => Response::Refused(AnswerError::into(error)),
        },
    };
    line::write(stream, VERSION, response, PATIENCE.time)
}

const PATIENCE: Patience = Patience { longest: 64 * 1024, time: Duration::from_secs(5) };
