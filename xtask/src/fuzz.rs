//! `cargo xtask fuzz`: every parser and `decide`, fed by a fuzzer that starts from the
//! corpus in the repository and leaves in it what is worth keeping.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::{AtPath, Failure},
    layout, setup, shell,
    step::{headline, step},
};

/// Which targets to run, and for how long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Targets to run; all when none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Processes for each target
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,
    /// Leave the corpus in the repository as it is
    #[arg(long)]
    keep_corpus: bool,
}

/// Files and bytes that the corpus of one target may have in the repository.
const MAX_FILES: usize = 300;
const MAX_BYTES: u64 = 1 << 20;
/// Seconds and MiB that one input may take.
const INPUT_LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// Builds the targets, runs each, and fails where one had a finding.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    headline("setup");
    setup::packages("fuzz")?;
    tools()?;
    let every = every_target()?;
    if let Some(unknown) = arguments.targets.iter().find(|target| !every.contains(target)) {
        let known = every.join(", ");
        return Err(Failure::Check(format!("there is no target `{unknown}`; there are {known}")));
    }
    let targets = if arguments.targets.is_empty() { &every } else { &arguments.targets };
    step("build the targets", || shell::quiet(&mut cargo_fuzz("build")))?;
    let mut findings = Vec::new();
    for target in targets {
        headline(target);
        let corpus = Corpus::prepare(target)?;
        if let Err(failure) = fuzz(target, &corpus, arguments) {
            eprintln!("{failure}");
            findings.push(target.as_str());
        }
        if !arguments.keep_corpus {
            step("keep what is worth it", || corpus.minimise(target))?;
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    let all = findings.join(", ");
    Err(Failure::Check(format!("findings in {all}; the inputs are in fuzz/artifacts")))
}

fn fuzz(target: &str, corpus: &Corpus, arguments: &Arguments) -> Result<(), Failure> {
    let mut command = cargo_fuzz("run");
    command.arg(format!("--jobs={}", arguments.jobs)).arg(target).arg(&corpus.grown).arg(&corpus.committed);
    command.arg("--").arg(format!("-max_total_time={}", arguments.seconds)).args(INPUT_LIMITS);
    command.arg("-print_final_stats=1");
    // Targets whose names begin alike share a dictionary.
    let family = target.split('_').next().unwrap_or(target);
    let dictionary = fuzz_root().join("dictionaries").join(format!("{family}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    shell::loud(&mut command)
}

/// The inputs that a target starts from and those that it found.
struct Corpus {
    /// In the repository.
    committed: PathBuf,
    /// Below cargo's target directory.
    grown: PathBuf,
}

impl Corpus {
    fn prepare(target: &str) -> Result<Self, Failure> {
        let committed = fuzz_root().join("corpus").join(target);
        let grown = layout::target().join("fuzz-corpus").join(target);
        for directory in [&committed, &grown] {
            fs::create_dir_all(directory).at(directory)?;
        }
        Ok(Self { committed, grown })
    }

    /// Leaves in the repository, of the inputs that reach something no smaller one does, as
    /// many as may be there; what is there already first.
    fn minimise(&self, target: &str) -> Result<(), Failure> {
        for (path, _) in files(&self.committed)? {
            let copy = self.grown.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &copy).at(&copy)?;
        }
        shell::quiet(cargo_fuzz("cmin").arg(target).arg(&self.grown))?;
        let mut kept = files(&self.grown)?;
        kept.sort_by_key(|(path, length)| {
            let is_new = !self.committed.join(path.file_name().unwrap_or_default()).exists();
            (is_new, *length)
        });
        fs::remove_dir_all(&self.committed).at(&self.committed)?;
        fs::create_dir_all(&self.committed).at(&self.committed)?;
        let mut bytes = 0;
        for (path, length) in kept.into_iter().take(MAX_FILES) {
            bytes += length;
            if bytes > MAX_BYTES {
                break;
            }
            let copy = self.committed.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &copy).at(&copy)?;
        }
        Ok(())
    }
}

/// The files of a directory, with their lengths.
fn files(directory: &Path) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).at(directory)? {
        let path = entry.at(directory)?.path();
        let length = fs::metadata(&path).at(&path)?.len();
        files.push((path, length));
    }
    Ok(files)
}

/// Installs what fuzzing needs beside the toolchain that this project is pinned to.
fn tools() -> Result<(), Failure> {
    let toolchains = shell::quiet(Command::new("rustup").args(["toolchain", "list"]))?;
    if !toolchains.lines().any(|line| line.starts_with("nightly")) {
        step("install a nightly toolchain", || {
            let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
            shell::quiet(Command::new("rustup").args(install))
        })?;
    }
    if shell::which("cargo-fuzz").is_none() {
        step("install cargo-fuzz", || {
            shell::quiet(layout::cargo().args(["install", "--locked", "cargo-fuzz"]))
        })?;
    }
    Ok(())
}

fn every_target() -> Result<Vec<String>, Failure> {
    let list = shell::quiet(&mut cargo_fuzz("list"))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// `cargo fuzz` of the nightly toolchain: sanitizers are not stable.
fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = Command::new("rustup");
    command.current_dir(layout::root()).args(["run", "nightly", "cargo", "fuzz", subcommand]);
    command.args(["--fuzz-dir", "fuzz"]);
    if subcommand != "list" {
        command.arg("--target-dir").arg(layout::target().join("fuzz"));
    }
    command
}

fn fuzz_root() -> PathBuf {
    layout::root().join("fuzz")
}
