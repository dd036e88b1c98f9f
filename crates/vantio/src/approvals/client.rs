//! Everybody else's end of the socket.

use std::{io, path::Path, time::Duration};

use vantio_core::RunId;
use vantio_phantom::socket::{
    self,
    line::{self, Patience},
};

use super::{
    Question, Reply, SOCKET,
    wire::{Request, Response, VERSION},
};
use crate::{failure::Failure, store::Store};

/// What waits for an answer.
pub struct Waiting {
    /// The oldest first.
    pub questions: Vec<Question>,
    /// Of the runs that do not say.
    pub unheard: Vec<Failure>,
}

/// What waits in one run, which must say so, or in all of them.
pub fn waiting(store: &Store, run: Option<RunId>) -> Result<Waiting, Failure> {
    if let Some(run) = run {
        return Ok(Waiting { questions: of_run(store, run)?, unheard: Vec::new() });
    }
    let (mut questions, mut unheard) = (Vec::new(), Vec::new());
    for run in store.ids()? {
        match of_run(store, run) {
            Ok(more) => questions.extend(more),
            Err(failure) => unheard.push(failure),
        }
    }
    questions.sort_by(|left, right| (left.since_ms, &left.id).cmp(&(right.since_ms, &right.id)));
    Ok(Waiting { questions, unheard })
}

fn of_run(store: &Store, run: RunId) -> Result<Vec<Question>, Failure> {
    match ask(&store.folder(run), &Request::List, PATIENCE_TO_LIST) {
        Ok(Response::Questions(questions)) => Ok(questions),
        Ok(_) => Err(unheard(&store.short(run), io::ErrorKind::InvalidData.into())),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(unheard(&store.short(run), error)),
    }
}

/// How many questions of a run wait; `None` where it does not say.
pub fn count(store: &Store, run: RunId) -> Option<usize> {
    of_run(store, run).ok().map(|questions| questions.len())
}

/// Answers a question as it was listed; returns how many calls waited for it. What changed since is refused.
pub fn answer(store: &Store, question: &Question, reply: Reply) -> Result<u64, Failure> {
    let unknown = || {
        Failure::new("E_APPROVAL_UNKNOWN", format!("no question `{}` waits for an answer", question.id))
            .help("`vantio approvals` lists what waits")
    };
    let run: RunId = question.run.parse().map_err(|_| unknown())?;
    match ask(&store.folder(run), &Request::Answer(reply), PATIENCE) {
        Ok(Response::Settled(waited)) => Ok(waited),
        Ok(Response::Refused(refused)) => {
            Err(Failure::new(&refused.code, refused.message).help(refused.help))
        }
        Ok(Response::Questions(_)) => Err(unheard(&store.short(run), io::ErrorKind::InvalidData.into())),
        Err(error) if is_absent(&error) && error.kind() != io::ErrorKind::UnexpectedEof => Err(unknown()),
        Err(error) => Err(unheard(&store.short(run), error)
            .help("`vantio ledger list --op hold.answer` tells whether the answer was taken")),
    }
}

/// Removes the socket of a run that is over.
pub fn remove(folder: &Path) {
    socket::remove(folder, SOCKET);
}

fn ask(folder: &Path, request: &Request, time: Duration) -> io::Result<Response> {
    let stream = socket::connect(folder, SOCKET)?;
    line::write(&stream, VERSION, request, time)?;
    line::read(&stream, VERSION, Patience { longest: RESPONSE_MAX, time })
}

/// Whether there is nobody to ask: the run asks nothing, or is over, or ends just now.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    let kinds = [BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof];
    kinds.contains(&error.kind())
}

fn unheard(run: &str, cause: io::Error) -> Failure {
    let failure = Failure::new("E_APPROVALS", format!("run {run} does not say what waits"));
    let failure =
        if is_timeout(&cause) { failure.because("it does not answer") } else { failure.because(cause) };
    failure.help(format!("it is stopped, or has too much to do: try again; `vantio kill {run}` ends it"))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An answer is written to disk before it is told.
const PATIENCE: Duration = Duration::from_secs(30);
/// A run that is stopped says nothing.
const PATIENCE_TO_LIST: Duration = Duration::from_secs(5);
const RESPONSE_MAX: usize = 16 * 1024 * 1024;
