//! What runs inside a sandbox: one operation many times, each timed.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Instant,
};

use clap::Subcommand;

use super::subjects;
use crate::failure::{AtPath, Failure};

/// One operation, many times; prints nanoseconds, one a line.
#[derive(Subcommand)]
pub enum Probe {
    /// Open and close a file
    Open {
        /// The file
        path: PathBuf,
        /// How often
        count: u32,
    },
    /// Start a program and wait for it
    Spawn {
        /// The program
        program: PathBuf,
        /// How often
        count: u32,
    },
    /// Connect to a server and close
    Connect {
        /// The server
        address: SocketAddr,
        /// How often
        count: u32,
    },
    /// Mount an overlay of the root and execute a program
    Overlay {
        /// Where the overlay and its layers lie
        directory: PathBuf,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<String>,
    },
}

/// Runs a probe.
pub fn probe(probe: &Probe) -> Result<(), Failure> {
    match probe {
        Probe::Open { path, count } => repeat(*count, || File::open(path).map(drop).at(path)),
        Probe::Spawn { program, count } => {
            repeat(*count, || Command::new(program).status().map(drop).at(program))
        }
        Probe::Connect { address, count } => {
            repeat(*count, || TcpStream::connect(address).map(drop).at(address.to_string()))
        }
        Probe::Overlay { directory, program } => subjects::overlay_then_exec(directory, program),
    }
}

fn repeat(count: u32, mut operation: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let start = Instant::now();
        operation()?;
        times.push(start.elapsed().as_nanos());
    }
    for time in times {
        println!("{time}");
    }
    Ok(())
}
