//! `cargo xtask`: the demo, the tests and the benches, each with its own setup.

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod failure;
mod fuzz;
mod layout;
mod manifest;
mod setup;
mod shell;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run an unmodified agent that fixes a bug, is hijacked, and fails to do harm
    Demo,
    /// Check, build and test everything, as root and as an ordinary user
    Test(test::Arguments),
    /// Feed the parsers and `decide` what a fuzzer comes up with
    Fuzz(fuzz::Arguments),
    /// Measure Vantio beside its peers
    Bench(bench::Arguments),
    /// What the benches run inside a sandbox
    #[command(hide = true, subcommand)]
    Probe(bench::Probe),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test(arguments) => test::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Probe(probe) => bench::probe(&probe),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
