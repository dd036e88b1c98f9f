//! System packages and Python environments: only what is missing is installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::{AtPath, Failure},
    layout, shell,
    step::step,
};

const PACKAGES: &str = include_str!("../setup/packages.txt");

/// Debian's Python: the environments must not depend on a version manager in somebody's home.
pub const PYTHON: &str = "/usr/bin/python3";

/// Installs the packages that `task` needs and this machine lacks, or says what to type.
pub fn packages(task: &str) -> Result<(), Failure> {
    let missing: Vec<_> = needed(task).filter(|need| !need.is_there()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !layout::is_root() || shell::which("apt-get").is_none() {
        let list = missing.join(" ");
        return Err(Failure::Check(format!(
            "packages are missing; type\n\n    sudo apt-get update && sudo apt-get install --no-install-recommends -y {list}\n"
        )));
    }
    step("update the package lists", || shell::quiet(apt().arg("update")))?;
    step(&format!("install {}", missing.join(", ")), || {
        shell::quiet(apt().args(["install", "--no-install-recommends", "-y"]).args(&missing))
    })?;
    Ok(())
}

/// A Python environment at `directory` with `requirements` installed under `constraints`; made once.
pub fn python_environment(directory: &Path, requirements: &Path, constraints: &Path) -> Result<(), Failure> {
    let stamp = directory.join("installed.txt");
    let wanted = std::fs::read_to_string(requirements).at(requirements)?
        + &std::fs::read_to_string(constraints).at(constraints)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory).at(directory)?;
    }
    step("make a Python environment", || {
        shell::quiet(Command::new(PYTHON).args(["-m", "venv"]).arg(directory))
    })?;
    step("install the agent from PyPI (some 700 MB on disk)", || {
        let mut pip = Command::new(directory.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        shell::quiet(pip.arg("-r").arg(requirements).arg("-c").arg(constraints))
    })?;
    std::fs::write(&stamp, wanted).at(stamp)
}

/// Builds the release binary that the demo, the suites and the benches drive.
pub fn release_binary() -> Result<PathBuf, Failure> {
    step("build vantio (release)", || {
        shell::quiet(layout::cargo().args(["build", "--quiet", "--release", "--package", "vantio"]))
    })?;
    Ok(layout::vantio())
}

struct Need {
    package: &'static str,
    command: Option<&'static str>,
}

impl Need {
    fn is_there(&self) -> bool {
        self.command.is_some_and(|command| shell::which(command).is_some()) || self.is_installed()
    }

    fn is_installed(&self) -> bool {
        let mut query = Command::new("dpkg-query");
        let status = shell::quiet(query.args(["--show", "--showformat=${db:Status-Status}", self.package]));
        status.is_ok_and(|status| status == "installed")
    }
}

fn needed(task: &str) -> impl Iterator<Item = Need> {
    PACKAGES.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let package = words.next()?;
        let command = words.next().filter(|command| *command != "-");
        words.any(|word| word == task).then_some(Need { package, command })
    })
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    command
}
