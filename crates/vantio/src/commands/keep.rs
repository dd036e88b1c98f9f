//! What `vantio run --detach` starts: the keeper of one run.

use rustix::process::Pid;
use vantio_phantom::keeper::{self, Duty};

use crate::{arguments, failure::Failure, store::is_supervisor};

/// Keeps a run until it ended.
pub fn keep(arguments: arguments::Keep) -> Result<u8, Failure> {
    let runner = Pid::from_raw(arguments.runner).filter(|runner| runner.as_raw_nonzero().get() > 1);
    let runner = runner.ok_or_else(|| Failure::misuse("E_KEEPER", "there is nothing to keep"))?;
    let runs = arguments.folder.parent().map(ToOwned::to_owned);
    let duty = Duty { folder: arguments.folder, runner, has_terminal: arguments.terminal };
    // A supervisor makes connections for its agent.
    let is_supervisor = |pid: Pid| runs.as_ref().is_none_or(|runs| is_supervisor(pid, runs));
    keeper::keep(&duty, &is_supervisor).map_err(|error| {
        Failure::new(error.code(), &error).help("this is for `vantio run --detach` alone")
    })?;
    Ok(0)
}
