//! `vantio kill`

use std::time::Duration;

use vantio_core::{RunId, json::Value};
use vantio_phantom::cgroup::Cgroup;

use super::{
    changes::{entry, ledger},
    wait::comes_true,
};
use crate::{
    failure::Failure,
    present::{note, print_json},
    store::{Record, State, Store},
};

/// Ends a run that lives: everything in it is killed, its changes stay for review.
pub fn kill(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(reference)?;
    let short = store.short(id);
    let record = store.read(id)?;
    if record.state != State::Running || !store.is_held(id)? {
        return Err(Failure::new("E_RUN_ENDED", format!("run {short} does not live any more"))
            .help("`vantio ps` lists the runs that do"));
    }
    end_live(store, &record)?;
    note(format!("run {short} killed; `vantio diff {short}` shows what it had changed\n"));
    if json {
        print_json(serde_json::json!({ "run": id.to_string(), "killed": true }))?;
    }
    Ok(0)
}

/// Ends a run that lives, and waits for its end.
pub fn end_live(store: &Store, record: &Record) -> Result<(), Failure> {
    let short = store.short(record.id);
    ledger(store)?.append(entry(record, "run.kill", Value::Null))?;
    end(store, record.id, &short)?;
    wait(store, record.id, &short)
}

/// Kills the run's control group, and without one its supervisor: whose death is the
/// death of everything in the run.
fn end(store: &Store, id: RunId, short: &str) -> Result<(), Failure> {
    // A group that cannot be killed to its end was removed by the run itself, or cannot be
    // relied on.
    if let Ok(Some(group)) = Cgroup::find(id)
        && group.kill().is_ok()
    {
        return Ok(());
    }
    let supervisor = store.supervisor(id)?.ok_or_else(|| {
        Failure::new("E_RUN_STARTING", format!("run {short} is only starting")).help("try again")
    })?;
    supervisor
        .kill()
        .map_err(|cause| Failure::new("E_KILL", "the supervisor cannot be killed").because(cause))
}

/// Waits until the run's own command has let go of it.
fn wait(store: &Store, id: RunId, short: &str) -> Result<(), Failure> {
    if comes_true(PATIENCE, || Ok(!store.is_held(id)?))? {
        return Ok(());
    }
    Err(Failure::new("E_RUN_BUSY", format!("run {short} was killed, but its command has not ended"))
        .help("its terminal may be stopped; `vantio ps` tells when it is gone"))
}

const PATIENCE: Duration = Duration::from_secs(10);
