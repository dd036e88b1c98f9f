//! `vantio undo`

use std::{fmt::Write as _, os::fd::AsFd as _};

use serde_json::json;
use vantio_core::json::Value;
use vantio_ledger::Draft;
use vantio_phantom::{
    changes::{Escaped, PathBytes},
    commit::{self, CommitError},
};

use super::changes::{claim_ended, commit_failure, entry, host_root, ledger, pending};
use crate::{
    failure::Failure,
    present::{note, print, print_json},
    store::Store,
};

/// Takes back the last commit of a run; what the host changed since stays and is named.
pub fn undo(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(reference)?;
    let short = store.short(id);
    let mut claim = claim_ended(store, id)?;
    let world = claim.world();
    let Some(number) = commit::undoable(&world).map_err(|error| commit_failure(&error))? else {
        claim.release()?;
        note(format!("run {short}: no commit is left to take back\n"));
        return if json {
            print_json(&json!({ "run": id.to_string(), "commit": null })).map(|()| 0)
        } else {
            Ok(0)
        };
    };
    let ledger = ledger(store)?;
    let request = Value::object([("commit", i64::try_from(number).map_or(Value::Null, Value::Integer))]);
    ledger.append(entry(&claim.record, "phantom.undo", request.clone()))?;
    let undone = commit::undo(&world, host_root()?.as_fd());
    claim.record.pending = Some(pending(store, &claim.record)?.changes().len() as u64);
    claim.save()?;
    claim.release()?;
    let report = match undone {
        Err(CommitError::NothingToUndo) => None,
        other => Some(other.map_err(|error| commit_failure(&error))?),
    };
    let stayed = report.map(|report| report.stayed).unwrap_or_default();
    let count = i64::try_from(stayed.len()).unwrap_or(i64::MAX);
    let response = Value::object([("stayed", Value::Integer(count))]);
    let end = store.read(id)?;
    ledger.append(Draft { response, ..entry(&end, "phantom.undo.end", request) })?;
    if json {
        let paths: Vec<_> = stayed.iter().map(|path| PathBytes::from(path.as_slice())).collect();
        print_json(&json!({ "run": id.to_string(), "commit": number, "stayed": paths }))?;
    } else {
        let mut text = format!("commit {number} of run {short} taken back: its changes wait again\n");
        for path in &stayed {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "stays, because it changed since: {}", Escaped(path));
        }
        print(text)?;
    }
    Ok(if stayed.is_empty() { 0 } else { 4 })
}
