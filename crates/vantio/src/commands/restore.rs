//! `vantio restore`

use std::os::fd::AsFd as _;

use vantio_core::json::Value;
use vantio_phantom::checkpoint::{self, Checkpoint, Options};

use super::{
    changes::{checkpoint_failure, claim_kept, discarded, entry, glance, host_root, ledger, still_lives},
    kill::end_live,
};
use crate::{
    arguments, checkpoints,
    failure::Failure,
    present::{note, print_json},
    store::{Record, State, Store},
};

/// Puts what a run changed back to what it was at a checkpoint.
pub fn restore(store: &Store, arguments: &arguments::Restore, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let (record, short) = (store.read(id)?, store.short(id));
    let world = store.world(&record);
    let failed = |error| checkpoint_failure(store, &world, &error);
    if record.state == State::Discarded {
        return Err(discarded(&short));
    }
    // Before anything ends.
    let found = checkpoint::find(&world, &arguments.checkpoint).map_err(failed)?;
    if arguments.processes {
        go_back(store, &record, &found)?;
        note(format!("run {short} goes on from checkpoint {}\n", found.id));
        if json {
            print_json(serde_json::json!({
                "run": id.to_string(), "checkpoint": found.id, "dropped": [], "processes": true,
            }))?;
        }
        return Ok(0);
    }
    if record.state == State::Running && store.is_held(id)? {
        if !arguments.kill {
            return Err(still_lives(&short).help(ways(store, &record, &found)));
        }
        end_live(store, &record)?;
    }
    let mut claim = claim_kept(store, id)?;
    let wanted = checkpoint::find(&claim.world(), &arguments.checkpoint).map_err(failed)?;
    ledger(store)?.append(entry(&claim.record, "run.restore", request(&wanted, false)))?;
    let restored = checkpoint::restore(&claim.world(), wanted.id, Options::default()).map_err(failed)?;
    // How much waits now nobody knows until it is counted below.
    claim.record.pending = None;
    claim.save()?;
    note(format!("run {short} is back at checkpoint {}; what waits now: vantio diff {short}\n", wanted.id));
    let dropped: Vec<String> = restored.dropped.iter().rev().map(u64::to_string).collect();
    if !dropped.is_empty() {
        note(format!("  dropped: {}\n", dropped.join(", ")));
    }
    checkpoint::erase(&claim.world()).map_err(failed)?;
    claim.record.pending = glance(store, &claim.record).ok().map(|changes| changes.changes().len() as u64);
    claim.save()?;
    claim.release()?;
    if json {
        print_json(serde_json::json!({
            "run": id.to_string(), "checkpoint": wanted.id, "dropped": restored.dropped, "processes": false,
        }))?;
    }
    Ok(0)
}

/// What restores a run that lives.
fn ways(store: &Store, record: &Record, wanted: &Checkpoint) -> String {
    let command = format!("vantio restore {} {}", store.short(record.id), wanted.id);
    let end = format!("have it ended first: {command} --kill");
    if checkpoints::kept(&store.folder(record.id)).contains(&wanted.id) {
        format!("{end}; or go on from there: {command} --processes")
    } else {
        format!("{end}; from a checkpoint that was taken with --processes it would go on with that here, too")
    }
}

/// Has a run that lives go on from a checkpoint.
fn go_back(store: &Store, record: &Record, wanted: &Checkpoint) -> Result<(), Failure> {
    let short = store.short(record.id);
    let help =
        format!("restore the files, and start the agent anew: vantio restore {short} {} --kill", wanted.id);
    if record.state != State::Running || !store.is_held(record.id)? {
        let failure = Failure::new(
            "E_CHECKPOINT_PROCESSES",
            format!("run {short} has ended, and its processes with it"),
        );
        return Err(failure.help(help));
    }
    let folder = store.folder(record.id);
    if !checkpoints::kept(&folder).contains(&wanted.id) {
        let failure = Failure::new(
            "E_CHECKPOINT_PROCESSES",
            format!("checkpoint {} keeps no processes, or what acted then has ended since", wanted.id),
        );
        return Err(failure.help(help));
    }
    let world = store.world(record);
    let root = host_root()?;
    // Half way back the run could only be ended.
    let _signals = vantio_phantom::block_signals();
    let done = checkpoints::go_back(&folder, wanted.id, || {
        // What is not written down is not done.
        ledger(store)?.append(entry(record, "run.restore", request(wanted, true)))?;
        checkpoint::prepare(&world, wanted.id, root.as_fd())
            .map_err(|error| checkpoint_failure(store, &world, &error))
    });
    checkpoint::forget(&world);
    done.map_err(|failure| failure.help(help))
}

fn request(checkpoint: &Checkpoint, processes: bool) -> Value {
    let id = i64::try_from(checkpoint.id).unwrap_or(i64::MAX);
    let label = checkpoint.label.as_deref().map_or(Value::Null, Value::from);
    Value::object([("id", Value::Integer(id)), ("label", label), ("processes", processes.into())])
}
