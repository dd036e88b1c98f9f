//! What runs inside a sandbox: one operation many times, each timed.

use std::{
    fs::{self, File},
    io::BufRead as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use clap::{Subcommand, ValueEnum};

use super::overlay;
use crate::failure::{AtPath, Failure};

/// What the bench runs inside a sandbox.
#[derive(Subcommand)]
pub enum Probe {
    /// One operation many times; prints nanoseconds, one a line
    Repeat {
        /// The operation
        operation: Operation,
        /// What it is done to
        target: String,
        /// How often
        count: u32,
    },
    /// Write files anew, or make them
    Rewrite {
        /// Where `DIRECTORY/FOLDER/FILE` are
        directory: PathBuf,
        /// How many files
        count: u32,
        /// What to do once they are written
        then: Then,
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

/// An operation that is timed.
#[derive(Clone, Copy, ValueEnum)]
pub enum Operation {
    /// `openat` and `close`
    Openat,
    /// `stat` by path
    Stat,
    /// `pread` of 4 KiB
    Read,
    /// `pwrite` of 4 KiB
    Write,
    /// `unlink` of a file that the run made
    Unlink,
    /// A program started and awaited
    Exec,
    /// A TCP connection
    Connect,
}

/// What follows the writing.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Then {
    /// The end
    End,
    /// Say `ready`, wait for a line, write again, and end
    Again,
}

/// Runs a probe.
pub fn probe(probe: &Probe) -> Result<(), Failure> {
    match probe {
        Probe::Repeat { operation, target, count } => repeat(*operation, target, *count),
        Probe::Rewrite { directory, count, then } => rewrite(directory, *count, *then),
        Probe::Overlay { directory, program } => overlay::mount_and_execute(directory, program),
    }
}

fn repeat(operation: Operation, target: &str, count: u32) -> Result<(), Failure> {
    let path = Path::new(target);
    match operation {
        Operation::Openat => timed(count, || Ok(()), || File::open(path).map(drop).at(path)),
        Operation::Stat => timed(count, || Ok(()), || fs::metadata(path).map(drop).at(path)),
        Operation::Read => {
            let file = File::open(path).at(path)?;
            let mut page = [0; PAGE];
            timed(count, || Ok(()), || file.read_at(&mut page, 0).map(drop).at(path))
        }
        Operation::Write => {
            let file = File::options().write(true).open(path).at(path)?;
            timed(count, || Ok(()), || file.write_at(&[b'x'; PAGE], 0).map(drop).at(path))
        }
        Operation::Unlink => {
            let path = path.with_extension("unlink");
            timed(count, || fs::write(&path, "x").at(&path), || fs::remove_file(&path).at(&path))
        }
        Operation::Exec => timed(count, || Ok(()), || Command::new(path).status().map(drop).at(path)),
        Operation::Connect => {
            let address: SocketAddr =
                target.parse().map_err(|_| Failure::Check(format!("`{target}` is no address")))?;
            timed(count, || Ok(()), || TcpStream::connect(address).map(drop).at(target))
        }
    }
}

fn timed(
    count: u32,
    mut prepare: impl FnMut() -> Result<(), Failure>,
    mut operation: impl FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        prepare()?;
        let start = Instant::now();
        operation()?;
        times.push(start.elapsed().as_nanos());
    }
    for time in times {
        println!("{time}");
    }
    Ok(())
}

/// The file of this number: a hundred a folder.
pub fn numbered(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("folder-{}/file-{number}", number / 100))
}

fn rewrite(directory: &Path, count: u32, then: Then) -> Result<(), Failure> {
    write_all(directory, count, "written once\n")?;
    if then == Then::End {
        return Ok(());
    }
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new()).at("standard input")?;
    write_all(directory, count, "written again, and longer than before\n")
}

fn write_all(directory: &Path, count: u32, text: &str) -> Result<(), Failure> {
    for number in 0..count {
        let path = numbered(directory, number);
        if let Some(folder) = path.parent().filter(|_| number % 100 == 0) {
            fs::create_dir_all(folder).at(folder)?;
        }
        fs::write(&path, text).at(&path)?;
    }
    Ok(())
}

const PAGE: usize = 4096;
