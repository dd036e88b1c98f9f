//! `vantio discard`

use vantio_core::json::Value;
use vantio_phantom::commit;

use super::changes::{claim_ended, commit_failure, entry, ledger};
use crate::{
    failure::Failure,
    present::{note, print_json},
    store::{State, Store},
};

/// Drops what a run changed.
pub fn discard(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(reference)?;
    let short = store.short(id);
    let mut claim = claim_ended(store, id)?;
    if claim.record.state == State::Discarded {
        note(format!("run {short} was discarded before: nothing to do\n"));
    } else {
        let request = Value::object([("pending", pending_value(claim.record.pending))]);
        ledger(store)?.append(entry(&claim.record, "phantom.discard", request))?;
        commit::discard(&claim.world()).map_err(|error| commit_failure(&error))?;
        claim.record.state = State::Discarded;
        claim.record.pending = Some(0);
        claim.save()?;
        note(format!("run {short} discarded: what was not committed is gone\n"));
    }
    claim.release()?;
    if json {
        print_json(serde_json::json!({ "run": id.to_string(), "state": "discarded" }))?;
    }
    Ok(0)
}

fn pending_value(pending: Option<u64>) -> Value {
    pending.and_then(|count| i64::try_from(count).ok()).map_or(Value::Null, Value::Integer)
}
