//! What `vantio run --detach` starts: the keeper of one run.

use std::fs;

use rustix::process::Pid;
use vantio_phantom::keeper::{self, Duty};

use crate::{
    arguments,
    failure::Failure,
    store::{Process, Store},
};

/// Keeps a run until it ended.
pub fn keep(arguments: arguments::Keep) -> Result<u8, Failure> {
    let runner = Pid::from_raw(arguments.runner).filter(|runner| runner.as_raw_nonzero().get() > 1);
    let runner = runner.ok_or_else(|| Failure::misuse("E_KEEPER", "there is nothing to keep"))?;
    let runs = arguments.folder.parent().map(ToOwned::to_owned);
    let duty = Duty { folder: arguments.folder, runner, has_terminal: arguments.terminal };
    // A supervisor makes connections for its agent.
    let is_supervisor = |pid: Pid| {
        let Some(Ok(entries)) = runs.as_ref().map(fs::read_dir) else { return true };
        let mut supervisors =
            entries.filter_map(|entry| Process::read(&Store::supervisor_in(&entry.ok()?.path())).ok()?);
        // A number that was a supervisor's may be anybody's by now.
        supervisors.any(|supervisor| supervisor.is(pid))
    };
    keeper::keep(&duty, &is_supervisor).map_err(|error| {
        Failure::new(error.code(), &error).help("this is for `vantio run --detach` alone")
    })?;
    Ok(0)
}
