//! `vantio kill`

use std::{
    thread,
    time::{Duration, Instant},
};

use vantio_core::json::Value;
use vantio_phantom::cgroup::{Cgroup, CgroupError};

use super::changes::{entry, ledger};
use crate::{
    failure::Failure,
    present::{note, print_json},
    store::{State, Store},
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
    ledger(store)?.append(entry(&record, "run.kill", Value::Null))?;
    let supervisor = store.supervisor(id)?;
    if let Some(group) = Cgroup::find(id).map_err(|error| cgroup_failure(&error))? {
        group.kill().map_err(|error| cgroup_failure(&error))?;
    } else if let Some(supervisor) = supervisor {
        // Its death is the death of everything in the run.
        supervisor
            .kill()
            .map_err(|cause| Failure::new("E_KILL", "the supervisor cannot be killed").because(cause))?;
    } else {
        return Err(Failure::new("E_RUN_STARTING", format!("run {short} is only starting")).help("try again"));
    }
    wait(store, id, &short)?;
    note(format!("run {short} killed; `vantio diff {short}` shows what it had changed\n"));
    if json {
        print_json(&serde_json::json!({ "run": id.to_string(), "killed": true }))?;
    }
    Ok(0)
}

/// Waits until the run's own command has let go of it.
fn wait(store: &Store, id: vantio_core::RunId, short: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while store.is_held(id)? {
        if Instant::now() > deadline {
            return Err(Failure::new(
                "E_RUN_BUSY",
                format!("run {short} was killed, but its command has not ended"),
            )
            .help("its terminal may be stopped; `vantio ps` tells when it is gone"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn cgroup_failure(error: &CgroupError) -> Failure {
    Failure::new(error.code(), error).help(error.help())
}

const PATIENCE: Duration = Duration::from_secs(10);
