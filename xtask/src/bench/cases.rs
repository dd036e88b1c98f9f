//! What is measured.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{subjects::Subject, table::Unit};
use crate::{
    failure::{AtPath, Failure},
    layout, shell,
};

/// A thing that is measured.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Case {
    /// Everything around a program that does nothing
    StartUp,
    /// One `openat` and `close` of a small file
    Openat,
    /// One program started and awaited
    Spawn,
    /// One TCP connection to a permitted server on the host
    Connect,
    /// `git clone` of a small C project and its build with `make -j2`
    Workload,
}

const PRESET: &str = include_str!("../../../crates/vantio-policy/presets/workspace.yaml");

/// Files of the C project.
const SOURCES: u32 = 40;

impl Case {
    /// Every case.
    pub const ALL: [Self; 5] = [Self::StartUp, Self::Openat, Self::Spawn, Self::Connect, Self::Workload];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::Openat => "openat",
            Self::Spawn => "spawn",
            Self::Connect => "connect",
            Self::Workload => "workload",
        }
    }

    /// The unit its times are printed in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::StartUp | Self::Workload => Unit::Milliseconds,
            Self::Openat | Self::Spawn | Self::Connect => Unit::Microseconds,
        }
    }

    /// The subject that ratios refer to.
    pub const fn baseline(self) -> &'static str {
        if matches!(self, Self::StartUp) { "bwrap" } else { "bare" }
    }

    /// Rounds that give a steady median within seconds.
    pub const fn rounds(self) -> u32 {
        match self {
            Self::StartUp => 50,
            Self::Openat | Self::Spawn | Self::Connect | Self::Workload => 5,
        }
    }

    /// One round with one subject.
    pub fn measure(self, stage: &Stage, subject: &Subject) -> Result<Vec<Duration>, Failure> {
        let times = match self {
            Self::StartUp => vec![stage.time(subject, &["true"])?],
            Self::Workload => {
                let build = "git clone --quiet ../project work && make --silent --jobs=2 --directory=work";
                vec![stage.time(subject, &["sh", "-c", build])?]
            }
            Self::Openat => stage.run_probe(subject, &["open", &stage.file(), "2000"])?,
            Self::Spawn => stage.run_probe(subject, &["spawn", "/bin/true", "100"])?,
            Self::Connect => stage.run_probe(subject, &["connect", &stage.server, "200"])?,
        };
        stage.clear()?;
        Ok(times)
    }
}

/// The folders and the server that the cases use.
pub struct Stage {
    directory: TempDir,
    /// The command under test.
    pub vantio: PathBuf,
    server: String,
    probe: String,
}

impl Stage {
    /// Lays everything out and starts the server.
    pub fn set(vantio: PathBuf) -> Result<Self, Failure> {
        let parent = layout::target().join("bench");
        fs::create_dir_all(&parent).at(&parent)?;
        let directory = tempfile::Builder::new().prefix("stage-").tempdir_in(&parent).at(&parent)?;
        let probe = std::env::current_exe().at("xtask")?.to_string_lossy().into_owned();
        let stage = Self { directory, vantio, server: serve()?, probe };
        for name in ["workspace", "home", "state"] {
            fs::create_dir(stage.path(name)).at(stage.path(name))?;
        }
        fs::write(stage.file(), "a small file\n").at(stage.file())?;
        fs::write(stage.policy(), stage.policy_text()).at(stage.policy())?;
        write_project(&stage.path("project"))?;
        Ok(stage)
    }

    /// One of its folders or files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The policy that Vantio runs under.
    pub fn policy(&self) -> PathBuf {
        self.path("policy.yaml")
    }

    /// This program, which is also the probe.
    pub fn probe(&self) -> &str {
        &self.probe
    }

    fn file(&self) -> String {
        self.path("workspace/file").to_string_lossy().into_owned()
    }

    /// The workspace preset, with the server permitted.
    fn policy_text(&self) -> String {
        PRESET.replace("net:\n  allow: []", &format!("net:\n  allow: [\"{}\"]", self.server))
    }

    fn time(&self, subject: &Subject, program: &[&str]) -> Result<Duration, Failure> {
        let mut command = self.command(subject, program);
        let start = Instant::now();
        shell::quiet(&mut command)?;
        Ok(start.elapsed())
    }

    fn run_probe(&self, subject: &Subject, arguments: &[&str]) -> Result<Vec<Duration>, Failure> {
        let program = [&[self.probe.as_str(), "probe"], arguments].concat();
        let times = shell::quiet(&mut self.command(subject, &program))?;
        Ok(times.lines().filter_map(|line| line.parse().ok()).map(Duration::from_nanos).collect())
    }

    fn command(&self, subject: &Subject, program: &[&str]) -> Command {
        let mut command = subject.command(self, program);
        command.current_dir(self.path("workspace")).env_clear().stderr(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.path("home"));
        command.env("VANTIO_STATE", self.path("state"));
        command
    }

    /// Removes what a round left, outside the time that is measured. Vantio keeps its state, as it does
    /// for its users: the first round of all makes its trust domain and its ledger.
    fn clear(&self) -> Result<(), Failure> {
        for leftover in [self.path("workspace/work"), self.path("upper")] {
            if leftover.exists() {
                // An overlay leaves a folder that its owner may not enter.
                shell::quiet(Command::new("chmod").args(["-R", "u+rwx"]).arg(&leftover))?;
                fs::remove_dir_all(&leftover).at(&leftover)?;
            }
        }
        Ok(())
    }
}

/// A server that accepts and closes; ends with the process.
fn serve() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").at("127.0.0.1")?;
    let address = listener.local_addr().at("127.0.0.1")?.to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

fn write_project(directory: &Path) -> Result<(), Failure> {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).at(directory.join(name));
    fs::create_dir(directory).at(directory)?;
    let mut main = "#include <stdio.h>\n".to_owned();
    let mut sum = String::from("0");
    for number in 0..SOURCES {
        let body = format!(
            "#include <stdlib.h>\n#include <string.h>\nint part{number}(int x) {{ char *p = malloc(64); memset(p, x, 64); int r = p[x & 63] + {number}; free(p); return r; }}\n"
        );
        write(&format!("part{number}.c"), &body)?;
        main = format!("{main}int part{number}(int);\n");
        sum = format!("{sum} + part{number}(1)");
    }
    write("main.c", &format!("{main}int main(void) {{ printf(\"%d\\n\", {sum}); }}\n"))?;
    write(
        "Makefile",
        "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n\tcc -o $@ $^\n",
    )?;
    let git = |arguments: &[&str]| shell::quiet(Command::new("git").current_dir(directory).args(arguments));
    git(&["init", "--quiet"])?;
    git(&["add", "--all"])?;
    let who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"];
    git(&[&who[..], &["commit", "--quiet", "--message=All"]].concat())?;
    Ok(())
}
