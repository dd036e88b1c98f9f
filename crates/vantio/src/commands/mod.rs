//! One function for each command.

mod changes;
mod commit;
mod completions;
mod diff;
mod difference;
mod discard;
mod doctor;
mod effective;
mod examples;
mod explain;
mod init;
mod kill;
mod ledger;
mod narrowing;
mod near;
mod pick;
mod places;
mod policy;
mod ps;
mod replay;
mod run;
mod suggest;
mod summary;
mod sweep;
mod why;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
    store::Store,
};

/// Performs a command; returns the exit status.
pub fn perform(arguments: Arguments) -> Result<u8, Failure> {
    let Arguments { json, command } = arguments;
    match command {
        Command::Run(run) => run::run(&run, json),
        Command::Diff(diff) => diff::diff(&open()?, &diff, json),
        Command::Commit(commit) => commit::commit(&open()?, &commit, json),
        Command::Discard(reference) => discard::discard(&open()?, &reference.run, json),
        Command::Ps(ps) => ps::ps(&open()?, ps.all, json),
        Command::Why(reference) => why::why(&open()?, &reference.run, json),
        Command::Replay(arguments) => replay::replay(&arguments, json),
        Command::Kill(reference) => kill::kill(&open()?, &reference.run, json),
        Command::Ledger(command) => ledger::ledger(&Store::open()?, &command, json),
        Command::Policy(command) => policy::policy(&command, json),
        Command::Init(init) => init::init(&init, json),
        Command::Doctor => doctor::doctor(json),
        Command::Completions { shell } => completions::completions(shell),
    }
}

/// Opens the state folder, and cleans up after commands that died.
fn open() -> Result<Store, Failure> {
    let store = Store::open()?;
    sweep::sweep(&store);
    Ok(store)
}
