//! What is measured of every subject: start-up, single calls, whole programs.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    peers::Peers,
    sheet::{Goal, Unit},
    stage::{Seat, Stage},
    subject::{Subject, Wants, as_owner},
};
use crate::{
    failure::{AtPath, Failure},
    layout, shell,
};

/// A thing that is measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Everything around a program that does nothing
    StartUp,
    /// One `openat` and `close` of a small file
    Openat,
    /// One `stat`
    Stat,
    /// One `pread` of 4 KiB
    Read,
    /// One `pwrite` of 4 KiB
    Write,
    /// One `unlink`
    Unlink,
    /// One program started and awaited
    Exec,
    /// One TCP connection to a permitted server on the host
    Connect,
    /// `git status` on 20,000 files in 400 folders
    GitStatus,
    /// `npm install` of 30 packages of 40 files
    NpmInstall,
    /// `cargo build` of `serde_json` and what it needs
    CargoBuild,
    /// `cargo build` of six crates of a few lines
    CargoBuildSmall,
    /// `make -j2` of Lua
    Make,
    /// `make -j2` of 40 C files of three lines
    MakeSmall,
    /// A checkpoint of a run with 1,000 changed files in a tree of 1 GB
    Checkpoint,
    /// The way back to it
    Restore,
    /// The commit of 10,000 files
    Commit,
    /// The supervisor's memory while `make -j2` runs
    Memory,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 18] = [
        Self::StartUp,
        Self::Openat,
        Self::Stat,
        Self::Read,
        Self::Write,
        Self::Unlink,
        Self::Exec,
        Self::Connect,
        Self::GitStatus,
        Self::NpmInstall,
        Self::CargoBuild,
        Self::CargoBuildSmall,
        Self::Make,
        Self::MakeSmall,
        Self::Checkpoint,
        Self::Restore,
        Self::Commit,
        Self::Memory,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::Openat => "openat",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::Write => "write",
            Self::Unlink => "unlink",
            Self::Exec => "exec",
            Self::Connect => "connect",
            Self::GitStatus => "git-status",
            Self::NpmInstall => "npm-install",
            Self::CargoBuild => "cargo-build",
            Self::CargoBuildSmall => "cargo-build-small",
            Self::Make => "make",
            Self::MakeSmall => "make-small",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
            Self::Commit => "commit",
            Self::Memory => "memory",
        }
    }

    /// What is measured, as the help says.
    pub fn what(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// The unit its values are printed in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Openat
            | Self::Stat
            | Self::Read
            | Self::Write
            | Self::Unlink
            | Self::Exec
            | Self::Connect => Unit::Microseconds,
            Self::Memory => Unit::Mebibytes,
            _ => Unit::Milliseconds,
        }
    }

    /// What is promised.
    pub const fn goal(self) -> Goal {
        match self {
            Self::StartUp => Goal::Times(1.5),
            Self::GitStatus | Self::NpmInstall => Goal::Times(1.15),
            _ if self.is_build() => Goal::Times(1.05),
            Self::Checkpoint => Goal::Value(5.0),
            Self::Restore | Self::Memory => Goal::Value(20.0),
            Self::Commit => Goal::Times(0.5),
            _ => Goal::None,
        }
    }

    const fn is_build(self) -> bool {
        matches!(self, Self::CargoBuild | Self::CargoBuildSmall | Self::Make | Self::MakeSmall)
    }

    /// Whom the ratio of `subject` is to.
    pub const fn baseline(self, subject: Subject) -> &'static str {
        match (self, subject.is_user()) {
            (Self::StartUp, false) => "bwrap-overlay",
            (Self::StartUp, true) => "bwrap-overlay-user",
            (_, false) => "bare",
            (_, true) => "bare-user",
        }
    }

    /// Rounds that give a steady median, all of them within a quarter of an hour.
    pub const fn rounds(self) -> u32 {
        match self {
            Self::StartUp => 20,
            Self::GitStatus => 4,
            Self::Commit | Self::Memory => 2,
            _ => 3,
        }
    }

    /// One round with one subject, in the case's unit.
    pub fn measure(self, stage: &Stage, peers: &Peers, subject: Subject) -> Result<Vec<f64>, Failure> {
        let file = subject.seat(stage).path("workspace/file").to_string_lossy().into_owned();
        let whole = |script: &str| {
            let time = timed(stage, peers, subject, &["sh", "-c", script])?;
            Ok(vec![time.as_secs_f64()])
        };
        let repeat = |target: &str, count: &str| {
            let wants = if self == Self::Connect { Wants::Server } else { Wants::Nothing };
            let program = [&stage.probe, "probe", "repeat", self.name(), target, count];
            let text = run(subject.command(stage, peers, wants, &program), stage, subject)?;
            let nanoseconds = text.lines().filter_map(|line| line.parse::<f64>().ok());
            Ok(nanoseconds.map(|time| time / 1e9).collect())
        };
        let seconds: Result<Vec<f64>, Failure> = match self {
            Self::StartUp => Ok(vec![timed(stage, peers, subject, &["true"])?.as_secs_f64()]),
            Self::GitStatus => whole("cd repository && git status --porcelain"),
            Self::NpmInstall => whole("cd npm && npm install --offline --no-audit --no-fund --silent"),
            Self::CargoBuild => whole("cd rust && cargo build --offline --quiet"),
            Self::CargoBuildSmall => whole("cd rust-small && cargo build --offline --quiet"),
            Self::Make => whole("cd c && make --silent -j2"),
            Self::MakeSmall => whole("cd c-small && make --silent -j2"),
            Self::Exec => repeat("/bin/true", "100"),
            Self::Connect => repeat(&stage.server, "200"),
            Self::Unlink => repeat(&file, "500"),
            _ => repeat(&file, "2000"),
        };
        let values = seconds?.into_iter().map(|seconds| self.unit().of_seconds(seconds)).collect();
        clear(stage, subject, self)?;
        Ok(values)
    }
}

fn timed(stage: &Stage, peers: &Peers, subject: Subject, program: &[&str]) -> Result<Duration, Failure> {
    let command = subject.command(stage, peers, Wants::Nothing, program);
    let start = Instant::now();
    run(command, stage, subject)?;
    Ok(start.elapsed())
}

fn run(mut command: Command, stage: &Stage, subject: Subject) -> Result<String, Failure> {
    prepare(&mut command, stage, subject.seat(stage));
    shell::quiet(&mut command)
}

/// Gives a command the environment of everything that is measured.
pub fn prepare(command: &mut Command, stage: &Stage, seat: &Seat) {
    command.current_dir(seat.workspace()).env_clear().stderr(Stdio::piped());
    command.env("PATH", stage.search_path()).env("HOME", seat.home());
    command.env("VANTIO_STATE", seat.path("state"));
    as_owner(command, seat);
}

/// Removes what a round left, outside the time that is measured. Vantio keeps its state, as it does for its
/// users, but not what whole programs wrote.
fn clear(stage: &Stage, subject: Subject, case: Case) -> Result<(), Failure> {
    let seat = subject.seat(stage);
    if subject.is_own() && (case == Case::NpmInstall || case.is_build()) {
        let mut discard = Command::new(&stage.vantio);
        discard.args(["discard", "last"]);
        prepare(&mut discard, stage, seat);
        shell::quiet(&mut discard)?;
    }
    let made = [
        "c/out",
        "c-small/out",
        "rust/target",
        "rust-small/target",
        "rust-small/Cargo.lock",
        "npm/node_modules",
        "npm/package-lock.json",
    ];
    let made = made.map(|name| seat.workspace().join(name));
    for leftover in made.into_iter().chain([seat.path("upper")]) {
        if leftover.is_dir() {
            // An overlay leaves a folder that its owner may not enter.
            shell::quiet(Command::new("chmod").args(["-R", "u+rwx"]).arg(&leftover))?;
            fs::remove_dir_all(&leftover).at(&leftover)?;
        } else if leftover.exists() {
            fs::remove_file(&leftover).at(&leftover)?;
        }
    }
    let upper = seat.path("upper");
    fs::create_dir(&upper).at(&upper)?;
    if let Some((user, group)) = seat.owner {
        std::os::unix::fs::chown(&upper, Some(user), Some(group)).at(&upper)?;
    }
    if subject == Subject::Firejail && layout::is_root() {
        forget_firejail();
    }
    Ok(())
}

/// firejail leaves mounts on the host, which everybody's world would have to carry after it.
fn forget_firejail() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| point.starts_with("/run/firejail/")) {
        let _ = shell::quiet(Command::new("umount").arg(point));
    }
}
