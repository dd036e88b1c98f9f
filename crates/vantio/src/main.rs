//! The `vantio` command: runs an agent under a policy, and afterwards shows, commits
//! or discards what it changed.
//!
//! This crate parses arguments, joins policy and ledger into the oracle of a run,
//! keeps the store of runs, and prints. Mechanism lives in the libraries below it.

#![forbid(unsafe_code)]

mod account;
mod approvals;
mod arguments;
mod checkpoints;
mod commands;
mod failure;
mod nested;
mod oracle;
mod output;
mod present;
mod replay;
mod review;
mod run;
mod store;

use std::process::ExitCode;

use crate::arguments::{Command, Parsed};

fn main() -> ExitCode {
    vantio_phantom::settle_signals();
    let arguments = match arguments::parse(std::env::args_os()) {
        Parsed::Arguments(arguments) => arguments,
        Parsed::Answered(code) => return code,
    };
    let json = arguments.shared.json;
    let is_run = matches!(arguments.command, Command::Run(_));
    match commands::perform(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit_code(is_run))
        }
    }
}
