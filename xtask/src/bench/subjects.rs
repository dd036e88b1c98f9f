//! Who is measured: the bare machine, Vantio, and what else is installed.

use std::{ffi::CString, fs, os::unix::process::CommandExt, path::Path, process::Command};

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use super::cases::Stage;
use crate::{
    failure::{AtPath, Failure},
    layout, shell,
};

/// Every name a subject can have.
pub const NAMES: [&str; 5] = ["bare", "bwrap", "firejail", "nsjail", "vantio"];

/// Somebody who runs a program.
pub enum Subject {
    /// Nobody: the program itself.
    Bare,
    /// bubblewrap, and how it gets an overlay.
    Bwrap(Overlay),
    /// firejail, with an overlay of nothing: a private temporary folder.
    Firejail,
    /// nsjail, the root read-only.
    Nsjail,
    /// This project.
    Vantio,
}

/// How bubblewrap's world gets a copy-on-write root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// `--tmp-overlay`, from 0.11 on.
    Own,
    /// The overlay is mounted for it first; for an ordinary user, in a user namespace around it.
    Mounted,
}

/// The subjects that this machine has.
pub fn installed() -> Vec<Subject> {
    let mut subjects = vec![Subject::Bare];
    if let Some(overlay) = bwrap_overlay() {
        subjects.push(Subject::Bwrap(overlay));
    }
    if shell::which("firejail").is_some() {
        subjects.push(Subject::Firejail);
    }
    if shell::which("nsjail").is_some() {
        subjects.push(Subject::Nsjail);
    }
    subjects.push(Subject::Vantio);
    subjects
}

impl Subject {
    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Bwrap(_) => "bwrap",
            Self::Firejail => "firejail",
            Self::Nsjail => "nsjail",
            Self::Vantio => "vantio",
        }
    }

    /// What a reader must know to compare fairly.
    pub const fn footnote(&self) -> Option<&'static str> {
        match self {
            Self::Bare | Self::Vantio => None,
            Self::Bwrap(Overlay::Own) => {
                Some("bwrap: --unshare-all --share-net for connect, --overlay-src / --tmp-overlay /")
            }
            Self::Bwrap(Overlay::Mounted) => Some(
                "bwrap: this version lacks --tmp-overlay, so `unshare --mount` and a small program that mounts\n       an overlay of / (as an ordinary user: of each folder in it) come before bwrap --unshare-all; for\n       connect the network is shared",
            ),
            Self::Firejail => Some("firejail: --noprofile --private-tmp, no overlay: it no longer has one"),
            Self::Nsjail => {
                Some("nsjail: all its namespaces but the network's, / bound for writing, no overlay")
            }
        }
    }

    /// The command that runs `program` under this subject.
    pub fn command(&self, stage: &Stage, program: &[&str]) -> Command {
        let is_connect = program.contains(&"connect");
        let mut command = match self {
            Self::Bare => {
                let mut command = Command::new(program[0]);
                command.args(&program[1..]);
                return command;
            }
            Self::Bwrap(overlay) => bwrap(*overlay, stage, is_connect),
            Self::Firejail => {
                with(Command::new("firejail"), &["--quiet", "--noprofile", "--private-tmp", "--"])
            }
            Self::Nsjail => {
                let nsjail =
                    with(Command::new("nsjail"), &["--really_quiet", "--mode", "o", "--chroot", "/"]);
                with(
                    nsjail,
                    &["--rw", "--keep_env", "--disable_clone_newnet", "--cwd", &workspace(stage), "--"],
                )
            }
            Self::Vantio => {
                let mut command = with(Command::new(&stage.vantio), &["run"]);
                if is_connect {
                    command.arg("--policy").arg(stage.policy());
                } else {
                    command.args(["--preset", "workspace"]);
                }
                with(command, &["--"])
            }
        };
        command.args(program);
        command
    }
}

/// Mounts an overlay of `/`, then executes `program`. The caller has made a mount namespace.
pub fn overlay_then_exec(directory: &Path, program: &[String]) -> Result<(), Failure> {
    let merged = directory.join("merged");
    fs::create_dir_all(&merged).at(&merged)?;
    // The kernel refuses an overlay of the whole root to an ordinary user.
    if overlay(Path::new("/"), &directory.join("root"), &merged, "index=off").is_err() {
        mount("tmpfs", &merged, "tmpfs", MountFlags::empty(), None).map_err(Into::into).at(&merged)?;
        for entry in fs::read_dir("/").at("/")? {
            let entry = entry.at("/")?;
            overlay_entry(&entry.path(), &directory.join("layers"), &merged)?;
        }
    }
    let error = Command::new(&program[0]).args(&program[1..]).exec();
    Err(Failure::Start { program: program[0].clone(), source: error })
}

/// Shows one entry of the root in `merged`: a folder as an overlay, or where the kernel refuses that, as it is.
fn overlay_entry(path: &Path, layers: &Path, merged: &Path) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default();
    let target = merged.join(name);
    if path.is_symlink() {
        let leads = fs::read_link(path).at(path)?;
        return std::os::unix::fs::symlink(leads, &target).at(&target);
    }
    if !path.is_dir() {
        return Ok(());
    }
    fs::create_dir(&target).at(&target)?;
    let is_own = ["dev", "proc", "tmp"].iter().any(|own| name == *own);
    if !is_own && overlay(path, &layers.join(name), &target, "userxattr").is_err() {
        mount_bind_recursive(path, &target).map_err(Into::into).at(&target)?;
    }
    Ok(())
}

/// Mounts an overlay of `lower` at `target`, its layers in `directory`.
fn overlay(lower: &Path, directory: &Path, target: &Path, options: &str) -> Result<(), Failure> {
    let [upper, work] = ["upper", "work"].map(|name| directory.join(name));
    for directory in [&upper, &work] {
        fs::create_dir_all(directory).at(directory)?;
    }
    let [lower, upper, work] = [lower, &upper, &work].map(Path::display);
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work},{options}");
    let layers = CString::new(layers).map_err(Into::into).at(directory)?;
    mount("overlay", target, "overlay", MountFlags::empty(), layers.as_c_str()).map_err(Into::into).at(target)
}

fn bwrap_overlay() -> Option<Overlay> {
    let bwrap = shell::which("bwrap")?;
    let help = shell::quiet(Command::new(bwrap).arg("--help")).unwrap_or_default();
    Some(if help.contains("--tmp-overlay") { Overlay::Own } else { Overlay::Mounted })
}

fn bwrap(overlay: Overlay, stage: &Stage, is_connect: bool) -> Command {
    let root = match overlay {
        Overlay::Own => {
            vec!["--overlay-src".to_owned(), "/".to_owned(), "--tmp-overlay".to_owned(), "/".to_owned()]
        }
        Overlay::Mounted => vec!["--bind".to_owned(), text(&stage.path("upper/merged")), "/".to_owned()],
    };
    let mut command = if overlay == Overlay::Mounted {
        let mut command = Command::new("unshare");
        if !layout::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "--"]);
        command.arg(stage.probe()).args(["probe", "overlay"]).arg(stage.path("upper")).arg("bwrap");
        command
    } else {
        Command::new("bwrap")
    };
    command.args(root).args(["--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]);
    command.args(["--tmpfs", "/tmp"]).arg("--chdir").arg(stage.path("workspace"));
    if is_connect {
        command.arg("--share-net");
    }
    command.arg("--");
    command
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

fn workspace(stage: &Stage) -> String {
    text(&stage.path("workspace"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
