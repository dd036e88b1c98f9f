//! `vantio logs`

use std::{io, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use vantio_core::RunId;
use vantio_phantom::keeper::{KeeperError, Kept, Leave, Log, Visit, visit};

use super::{
    attach::{lives, lost, refuse_undetached, unreachable, was_lost},
    wait::comes_true,
};
use crate::{
    arguments,
    failure::Failure,
    present::{note, print, print_json},
    store::Store,
};

/// Prints what a run wrote; goes on until its end if that is asked for.
pub fn logs(store: &Store, arguments: &arguments::Logs, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let short = store.short(id);
    refuse_undetached(&store.read(id)?, &short, "nothing of what it wrote was kept")?;
    if json && arguments.follow {
        return Err(
            Failure::misuse("E_USAGE", "what has no end is no JSON document").help("leave --follow out")
        );
    }
    let folder = store.folder(id);
    let log = Log::open(&folder).ok_or_else(|| {
        Failure::new("E_NO_LOGS", format!("nothing is kept of what run {short} wrote"))
            .help("it never began, or was discarded")
    })?;
    // What it writes until its end is in the log once it has ended.
    let is_followed = arguments.follow && lives(store, id)?;
    let kept = log.kept().map_err(unreadable)?;
    let gone = kept.begin();
    let begin = arguments.tail.map_or(Ok(gone), |lines| kept.tail(lines)).map_err(unreadable)?;
    if json {
        return in_full(&kept, begin, &id.to_string());
    }
    if gone > 0 && arguments.tail.is_none() {
        note(format!("vantio: the first {gone} bytes are gone: the last {} are kept\n", Log::KEPT));
    }
    if is_followed {
        match follow(&folder, begin) {
            // It ended in this moment, or nobody writes down any more what it says.
            Err(error @ KeeperError::Absent) => {
                let kept = log.kept().map_err(unreadable)?;
                each(&kept, begin, &mut |bytes| print(bytes))?;
                let has_ended = comes_true(PATIENCE, || Ok(!lives(store, id)?))?;
                return if has_ended { end(store, id, &short) } else { Err(unreachable(&error, &short)) };
            }
            Err(error) => return Err(unreachable(&error, &short)),
            Ok(Leave::Ended(_) | Leave::Detached) => return Ok(0),
            Ok(Leave::Lost) => return Err(lost(&short)),
            Ok(Leave::Signaled(signal)) => return Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        }
    }
    each(&kept, begin, &mut |bytes| print(bytes))?;
    if arguments.follow { end(store, id, &short) } else { Ok(0) }
}

/// Fails where a run that is over was lost.
fn end(store: &Store, id: RunId, short: &str) -> Result<u8, Failure> {
    // Whoever cleans up after it holds it for a moment.
    comes_true(PATIENCE, || Ok(!lives(store, id)?))?;
    if was_lost(store, id)? { Err(lost(short)) } else { Ok(0) }
}

fn follow(folder: &Path, from: u64) -> Result<Leave, KeeperError> {
    visit(&Visit { folder, types: false, from: Some(from) }, &mut |_| {})
}

fn in_full(kept: &Kept, begin: u64, run: &str) -> Result<u8, Failure> {
    let mut text = Vec::new();
    each(kept, begin, &mut |bytes| {
        text.extend_from_slice(bytes);
        Ok(())
    })?;
    let output = match String::from_utf8(text) {
        Ok(text) => json!(text),
        Err(error) => json!({ "base64": STANDARD.encode(error.as_bytes()) }),
    };
    print_json(json!({ "run": run, "left_out": begin, "output": output }))?;
    Ok(0)
}

/// Hands over what was written after the first `place` bytes.
fn each(
    kept: &Kept,
    mut place: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let (found, count) = kept.read(place, &mut bytes).map_err(unreadable)?;
        if count == 0 {
            return Ok(());
        }
        take(&bytes[..count])?;
        place = found + count as u64;
    }
}

fn unreadable(cause: io::Error) -> Failure {
    Failure::new("E_LOGS", "what the run wrote cannot be read").because(cause)
}

/// How long a run goes on after its keeper.
const PATIENCE: Duration = Duration::from_secs(2);
