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
use crate::{failure::Failure, present::note, store::Store};

/// The questions that wait for an answer, of one run or of all, the oldest first. Of all runs, one that does not say is
/// told about on standard error.
pub fn waiting(store: &Store, run: Option<RunId>) -> Result<Vec<Question>, Failure> {
    let mut questions = match run {
        Some(run) => of_run(store, run)?,
        None => Vec::new(),
    };
    if run.is_none() {
        for run in store.ids()? {
            match of_run(store, run) {
                Ok(more) => questions.extend(more),
                Err(failure) => note(format!("vantio: {failure}\n")),
            }
        }
    }
    questions.sort_by(|left, right| (left.since_ms, &left.id).cmp(&(right.since_ms, &right.id)));
    Ok(questions)
}

fn of_run(store: &Store, run: RunId) -> Result<Vec<Question>, Failure> {
    match ask(&store.folder(run), &Request::List, PATIENCE_TO_LIST) {
        Ok(Response::Questions(questions)) => Ok(questions),
        Ok(_) => Err(unheard(&store.short(run), io::ErrorKind::InvalidData.into())),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(unheard(&store.short(run), error)),
    }
}

/// How many questions of a run wait; none where nobody can say.
pub fn count(store: &Store, run: RunId) -> usize {
    of_run(store, run).map_or(0, |questions| questions.len())
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
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(unheard(&store.short(run), error)
            .help("`vantio ledger list --op hold.answer` tells whether the answer was taken")),
        Err(error) if is_absent(&error) => Err(unknown()),
        Err(error) => Err(unheard(&store.short(run), error)),
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
    Failure::new("E_APPROVALS", format!("run {run} does not say what waits")).because(cause).help("try again")
}

/// An answer is written to disk before it is told.
const PATIENCE: Duration = Duration::from_secs(30);
/// A run that is stopped says nothing.
const PATIENCE_TO_LIST: Duration = Duration::from_secs(5);
const RESPONSE_MAX: usize = 16 * 1024 * 1024;
