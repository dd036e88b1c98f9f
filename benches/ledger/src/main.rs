//! Measures the ledger beside what it could have been; started by `cargo xtask bench ledger`.

mod append;
mod canonical;
mod draft;
mod failure;
mod goals;
mod place;
mod size;
mod stopwatch;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use failure::Failure;
use place::Place;

/// Measures the ledger beside what it could have been.
#[derive(Parser)]
struct Arguments {
    /// Numbers of entries to write and to verify
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [10_000, size::PROMISED])]
    entries: Vec<u64>,
    /// Rounds of each way to append
    #[arg(long, value_name = "N", default_value_t = append::ROUNDS)]
    rounds: usize,
    /// Where to write: a folder on a disk [default: where the state folder is]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What is done in a process of its own.
#[derive(Subcommand)]
enum Part {
    /// Write a ledger
    #[command(hide = true)]
    Write {
        /// How many entries
        entries: u64,
        /// The file
        file: PathBuf,
    },
    /// Show a folder where every sync takes longer
    #[command(hide = true)]
    Slow {
        /// The folder
        backing: PathBuf,
        /// Where it is shown
        folder: PathBuf,
    },
    /// Verify a ledger on one core
    #[command(hide = true)]
    Verify {
        /// The file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.part {
        Some(Part::Write { entries, file }) => return size::write(*entries, file),
        Some(Part::Slow { backing, folder }) => return append::serve(backing, folder),
        Some(Part::Verify { file }) => return size::verify(file),
        None => {}
    }
    let place = Place::take(arguments.folder.as_deref())?;
    if !arguments.json {
        println!("disk: {place}");
    }
    let sheet = table::Sheet { json: arguments.json };

    eprintln!("\n==> appending");
    let appending = append::measure(&place, arguments.rounds)?;
    sheet.appending(&appending);

    eprintln!("\n==> writing and verifying");
    let mut sizes = Vec::new();
    for entries in &arguments.entries {
        sizes.push(size::measure(&place, *entries)?);
    }
    sheet.sizes(&sizes);

    eprintln!("\n==> canonical form");
    let canonical = canonical::measure()?;
    sheet.canonical(&canonical);

    sheet.goals(&goals::goals(&appending, &sizes, &canonical));
    Ok(())
}
