//! One function for each command.

mod approvals;
mod attach;
mod changes;
mod checkpoint;
mod commit;
mod completions;
mod detach;
mod diff;
mod difference;
mod discard;
mod doctor;
mod effective;
mod examples;
mod explain;
mod init;
mod interruption;
mod keep;
mod kill;
mod ledger;
mod logs;
mod narrowing;
mod near;
mod pick;
mod places;
mod policy;
mod prune;
mod ps;
mod replay;
mod restore;
mod run;
mod suggest;
mod summary;
mod sweep;
mod undo;
mod wait;
mod why;

pub use changes::coded;

use crate::{
    arguments::{Arguments, Command, Shared},
    failure::Failure,
    review,
    store::Store,
};

pub use changes::{commit_failure, host_root, marked, pending, scan_failure};
pub use commit::{Settled, commit_pick, may_be_committed, offered};
pub use diff::{Bounded, paint_line};
pub use ledger::OPERATIONS;
pub use pick::Pick;

/// Performs a command; returns the exit status.
pub fn perform(arguments: Arguments) -> Result<u8, Failure> {
    let Arguments { shared: Shared { json, store }, command } = arguments;
    let place = store.as_deref();
    match command {
        Command::Run(run) => run::run(place, &run, json),
        Command::Diff(diff) => diff::diff(&open(place)?, &diff, json),
        Command::Commit(commit) if commit.interactive => {
            review::interactive(&open(place)?, &commit.reference.run)
        }
        Command::Commit(commit) if commit.patch => diff::patch(&open(place)?, &commit),
        Command::Commit(commit) if commit.to.is_some() => diff::trees(&open(place)?, &commit, json),
        Command::Commit(commit) => commit::commit(&open(place)?, &commit, json),
        Command::Checkpoint(arguments) => checkpoint::checkpoint(&open(place)?, &arguments, json),
        Command::Restore(arguments) => restore::restore(&open(place)?, &arguments, json),
        Command::Discard(reference) => discard::discard(place, &reference.run, json),
        Command::Prune(prune) => prune::prune(place, &prune, json),
        Command::Review(reference) => review::review(&open(place)?, &reference.run, json),
        Command::Undo(reference) => undo::undo(&open(place)?, &reference, json),
        Command::Ps(ps) => ps::ps(&open(place)?, ps.all, json),
        Command::Approvals(arguments) => approvals::list(&Store::open(place)?, &arguments, json),
        Command::Approve(arguments) => approvals::answer(&Store::open(place)?, &arguments, true, json),
        Command::Deny(arguments) => approvals::answer(&Store::open(place)?, &arguments, false, json),
        Command::Why(reference) => why::why(&open(place)?, &reference.run, json),
        Command::Replay(arguments) => replay::replay(place, &arguments, json),
        Command::Attach(attach) => attach::attach(&open(place)?, &attach, json),
        Command::Logs(logs) => logs::logs(&open(place)?, &logs, json),
        Command::Kill(reference) => kill::kill(&open(place)?, &reference.run, json),
        Command::Ledger(command) => ledger::ledger(&Store::open(place)?, &command, json),
        Command::Policy(command) => policy::policy(place, &command, json),
        Command::Init(init) => init::init(&init, json),
        Command::Doctor => doctor::doctor(json),
        Command::Keep(keep) => keep::keep(keep),
        Command::Completions { shell } => completions::completions(shell, json),
    }
}

/// Opens the state folder, and cleans up after commands that died.
fn open(place: Option<&str>) -> Result<Store, Failure> {
    let store = Store::open(place)?;
    sweep::sweep(&store);
    Ok(store)
}
