//! What is to be run, and how it ended.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use vantio_core::RunId;

use crate::{changes::Stamp, checkpoint::Automatic, resources::Limits};

/// Everything the mechanism needs to know about a run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The run.
    pub run_id: RunId,
    /// When it began: no file system gave a later change time before.
    pub started: Stamp,
    /// The run's folder, which exists; upper layers and journals go below it.
    pub folder: PathBuf,
    /// Paths that the run never sees and nothing in it can name: the state folder.
    pub hidden: Vec<PathBuf>,
    /// The program and its arguments; the program is looked up in the run's `PATH`.
    pub command: Vec<OsString>,
    /// The whole environment of the program.
    pub environment: Vec<(OsString, OsString)>,
    /// Directories that the run sees even below `/tmp`: the workspace, the home; canonical.
    pub visible: Vec<PathBuf>,
    /// The directory, one of the visible, that the run sees as [`crate::snapshot::take`] copied it; canonical.
    pub frozen: Option<PathBuf>,
    /// Where the program starts; canonical.
    pub directory: PathBuf,
    /// Paths that are covered by an empty, unreadable mount; canonical.
    pub masks: Vec<PathBuf>,
    /// Files that the kernel is to start or map as no program; canonical. Folders among them stay as they are.
    pub unexecutable: Vec<PathBuf>,
    /// Paths at and beneath which Landlock lets a program be executed.
    pub executable: Vec<PathBuf>,
    /// Inclusive port ranges to which a rule lets datagrams leave.
    pub udp_ports: Vec<(u16, u16)>,
    /// Name servers of the host, in order.
    pub resolvers: Vec<SocketAddr>,
    /// Whether the oracle is told where data flows: what processes are born, end, and share. Where it is
    /// not, nothing is asked for it.
    pub tracks_flows: bool,
    /// Whether the oracle may have a call wait ([`crate::Ruling::Wait`]).
    pub may_wait: bool,
    /// For how long a call waits before the run goes on as a fork of itself; never without it. Folders that such a fork
    /// may change.
    pub speculation: Option<Speculation>,
    /// When checkpoints are taken without being asked for.
    pub checkpoints: Automatic,
    /// What the run may have at one time.
    pub limits: Limits,
}

/// When and where a run that waits goes on as a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speculation {
    /// How long a call waits first.
    pub after: Duration,
    /// Folders, canonical, that the fork may change; some may be missing.
    pub roots: Vec<PathBuf>,
}

/// What an oracle has written down of a run that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// It is not known that anything is.
    Unwritten,
    /// How it ended, and something was refused, or would have been.
    Written,
    /// How it ended, and nothing was refused, nor would have been.
    Quiet,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program exited with this status.
    Exited(i32),
    /// The program was ended by this signal.
    Signaled(i32),
    /// The program was not found.
    NotFound,
    /// The program may not be executed.
    NotExecutable,
}

impl Ending {
    /// The status a shell would report: the program's own, 128+N for signal N,
    /// 126 when it may not be executed, 127 when it is not found.
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }
}
