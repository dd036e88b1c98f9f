//! `vantio restore`

use vantio_core::json::Value;
use vantio_phantom::checkpoint::{self, Checkpoint, Options};

use super::{
    changes::{checkpoint_failure, claim_kept, entry, ledger},
    kill::end_live,
};
use crate::{
    arguments,
    failure::Failure,
    present::{note, print_json},
    store::{State, Store},
};

/// Puts what a run changed back to what it was at a checkpoint.
pub fn restore(store: &Store, arguments: &arguments::Restore, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let (record, short) = (store.read(id)?, store.short(id));
    if arguments.processes {
        return Err(Failure::new("E_CHECKPOINT_PROCESSES", "a checkpoint keeps files, and no processes")
            .help(format!(
                "restore the files, and start the agent anew: vantio restore {short} {}",
                arguments.checkpoint
            )));
    }
    let world = store.world(&record);
    let failed = |error| checkpoint_failure(store, &world, &error);
    // Before anything ends.
    checkpoint::find(&world, &arguments.checkpoint).map_err(failed)?;
    if arguments.kill && record.state == State::Running && store.is_held(id)? {
        end_live(store, &record)?;
    }
    let mut claim = claim_kept(store, id)?;
    let wanted = checkpoint::find(&claim.world(), &arguments.checkpoint).map_err(failed)?;
    ledger(store)?.append(entry(&claim.record, "run.restore", request(&wanted)))?;
    let restored = checkpoint::restore(&claim.world(), wanted.id, Options::default()).map_err(failed)?;
    // To count what waits now would take longer than all this.
    claim.record.pending = None;
    claim.save()?;
    note(format!("run {short} is back at checkpoint {}; what waits now: vantio diff {short}\n", wanted.id));
    let dropped: Vec<String> = restored.dropped.iter().rev().map(u64::to_string).collect();
    if !dropped.is_empty() {
        note(format!("  dropped: {}\n", dropped.join(", ")));
    }
    checkpoint::erase(&claim.world()).map_err(failed)?;
    claim.release()?;
    if json {
        print_json(&serde_json::json!({
            "run": id.to_string(), "checkpoint": wanted.id, "dropped": restored.dropped,
        }))?;
    }
    Ok(0)
}

fn request(checkpoint: &Checkpoint) -> Value {
    let id = i64::try_from(checkpoint.id).unwrap_or(i64::MAX);
    let label = checkpoint.label.as_deref().map_or(Value::Null, Value::from);
    Value::object([("id", Value::Integer(id)), ("label", label), ("processes", false.into())])
}
