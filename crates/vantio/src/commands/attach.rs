//! `vantio attach`

use vantio_core::RunId;
use vantio_phantom::keeper::{KeeperError, Leave, Visit, Welcome, visit};

use super::{changes::discarded, detach::Said};
use crate::{
    arguments,
    failure::Failure,
    present::note,
    store::{Record, State, Store},
};

/// Joins the terminal of a run, until it ends or whoever types leaves.
pub fn attach(store: &Store, arguments: &arguments::Attach, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let short = store.short(id);
    let record = store.read(id)?;
    if record.state == State::Discarded {
        return Err(discarded(&short));
    }
    refuse_undetached(&record, &short, "cannot be attached to")?;
    if !lives(store, id)? {
        return Err(ended(&short));
    }
    let folder = store.folder(id);
    let place = Visit { folder: &folder, types: !arguments.no_stdin, from: None };
    let left = visit(&place, &mut |welcome| note(greeting(&short, welcome)));
    match left.map_err(|error| unreachable(&error, &short))? {
        Leave::Detached => {
            note(format!("\nvantio: detached; run {short} goes on\n"));
            Ok(0)
        }
        Leave::Ended(said) => Said::read(&said)?.pass_on(json),
        Leave::Lost => Err(lost(&short)),
        // It is how one who only looks leaves.
        Leave::Signaled(SIGINT) if arguments.no_stdin => {
            note(format!("\nvantio: left; run {short} goes on\n"));
            Ok(0)
        }
        Leave::Signaled(signal) => Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}

/// Whether a run lives.
pub fn lives(store: &Store, id: RunId) -> Result<bool, Failure> {
    Ok(store.read(id)?.state == State::Running && store.is_held(id)?)
}

/// Whether a run is over and nobody wrote down how: whoever ends one does, before it lets go of it.
pub fn was_lost(store: &Store, id: RunId) -> Result<bool, Failure> {
    let is_held = store.is_held(id)?;
    let state = store.read(id)?.state;
    Ok(state == State::Died || state == State::Running && !is_held)
}

/// Only a detached run has a keeper, and what it wrote.
pub fn refuse_undetached(record: &Record, short: &str, what: &str) -> Result<(), Failure> {
    if record.detached {
        return Ok(());
    }
    Err(Failure::new("E_RUN_NOT_DETACHED", format!("run {short} was not detached, and {what}")).help(
        format!("`vantio diff {short}` shows what it changed; `vantio run --detach` starts one that can be"),
    ))
}

/// Why a keeper cannot be reached.
pub fn unreachable(error: &KeeperError, short: &str) -> Failure {
    match error {
        KeeperError::Absent => {
            Failure::new("E_KEEPER_ABSENT", format!("nobody keeps the terminal of run {short}"))
                .help(format!(
                    "it is only starting or just ending: try again. If `vantio ps` has it live for longer, its keeper \
                     was killed and what it writes is lost: `vantio kill {short}` ends it"
                ))
        }
        error => Failure::new(error.code(), error).help(error.help().replace("RUN", short)),
    }
}

/// The run's command is gone without a word.
pub fn lost(short: &str) -> Failure {
    Failure::new("E_RUN_LOST", format!("run {short} was lost: its command, or its keeper, was killed"))
        .help(format!("`vantio ps` tells whether it lives; `vantio logs {short}` reads what it wrote"))
}

fn ended(short: &str) -> Failure {
    Failure::new("E_RUN_ENDED", format!("run {short} does not live any more")).help(format!(
        "`vantio logs {short}` reads what it wrote, `vantio diff {short}` shows what it changed"
    ))
}

fn greeting(short: &str, welcome: Welcome) -> String {
    match (welcome.has_keys, welcome.types) {
        (true, _) => format!("vantio: attached to run {short}; ^P ^Q detaches, ^P ^P sends ^P\n"),
        (false, true) => format!("vantio: attached to run {short}\n"),
        (false, false) => format!("vantio: looking at run {short}; ^C leaves it\n"),
    }
}

const SIGINT: i32 = 2;
