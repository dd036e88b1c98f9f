//! `vantio discard`

use vantio_core::{Hash, RunId, json::Value};
use vantio_ledger::{Filter, Reader};
use vantio_phantom::commit;

use super::{
    changes::{claim_ended, commit_failure, entry, ledger},
    sweep,
};
use crate::{
    failure::Failure,
    oracle::event,
    present::{note, print_json, waited},
    store::{Claim, State, Store, StoreError},
};

/// Drops what a run changed, on a full disk too.
pub fn discard(place: Option<&str>, reference: &str, json: bool) -> Result<u8, Failure> {
    let store = Store::open(place)?;
    store.spend_reserve();
    sweep::sweep(&store);
    let dropped = drop_run(&store, reference, json);
    store.keep_reserve();
    dropped
}

fn drop_run(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(reference)?;
    let short = store.short(id);
    if let Err(StoreError::Damaged { .. }) = store.read(id) {
        return erase(store, id, json);
    }
    let mut claim = claim_ended(store, id)?;
    if claim.record.state == State::Discarded {
        note(format!("run {short} was discarded before: nothing to do\n"));
    } else {
        let request = Value::object([("pending", pending_value(claim.record.pending))]);
        ledger(store)?.append(entry(&claim.record, "phantom.discard", request))?;
        waited("dropping", || discard_claimed(&mut claim))?;
        note(format!("run {short} discarded: what was not committed is gone\n"));
    }
    claim.release()?;
    told(id, json)
}

/// Drops what a run changed, once the ledger says so.
pub fn discard_claimed(claim: &mut Claim) -> Result<(), Failure> {
    commit::discard(&claim.world()).map_err(|error| commit_failure(&error))?;
    claim.record.state = State::Discarded;
    claim.record.pending = Some(0);
    Ok(claim.save()?)
}

/// Drops a run whose record cannot be read: nothing else can be done with it.
fn erase(store: &Store, id: RunId, json: bool) -> Result<u8, Failure> {
    store.erase(id, |world| {
        sweep::clean(id, world.path())?;
        let request = Value::object([("pending", Value::Null)]);
        ledger(store)?.append(event(id, policy_of(store, id)?, "phantom.discard", request))?;
        waited("dropping", || commit::discard(&world)).map_err(|error| commit_failure(&error))
    })?;
    note(format!("run {} discarded, its damaged record with it\n", store.short(id)));
    told(id, json)
}

/// The policy that the ledger says the run has.
fn policy_of(store: &Store, id: RunId) -> Result<Hash, Failure> {
    let filter = Filter { run_id: Some(id), limit: Some(1), ..Filter::default() };
    let first = Reader::open_at(&store.ledger())?.entries(&filter).next().transpose()?;
    Ok(first.map_or(Hash::ZERO, |entry| entry.policy_hash))
}

fn told(id: RunId, json: bool) -> Result<u8, Failure> {
    if json {
        print_json(serde_json::json!({ "run": id.to_string(), "state": "discarded" }))?;
    }
    Ok(0)
}

/// How many changes waited, in the ledger.
pub fn pending_value(pending: Option<u64>) -> Value {
    pending.and_then(|count| i64::try_from(count).ok()).map_or(Value::Null, Value::Integer)
}
