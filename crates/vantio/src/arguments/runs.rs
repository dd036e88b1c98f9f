//! What can be typed about runs that were detached.

use std::path::PathBuf;

use clap::Args;

use super::Reference;

/// Arguments of `vantio attach`.
#[derive(Debug, Args)]
pub struct Attach {
    #[command(flatten)]
    pub reference: Reference,
    /// Only look: what is typed stays here
    #[arg(long)]
    pub no_stdin: bool,
}

/// Arguments of `vantio logs`.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub reference: Reference,
    /// Go on until the run ends
    #[arg(long, short)]
    pub follow: bool,
    /// Begin with the last N lines
    #[arg(long, short = 'n', value_name = "N")]
    pub tail: Option<u64>,
}

/// Arguments of a keeper, which `vantio run --detach` starts and nobody else.
#[derive(Debug, Args)]
pub struct Keep {
    /// The process that runs
    pub runner: i32,
    /// The run's folder
    pub folder: PathBuf,
    /// Whether the run has a terminal
    #[arg(long)]
    pub terminal: bool,
}

pub const ATTACH_HELP: &str = "\
^P ^Q detaches, and the run goes on; ^P ^P sends one ^P. So does a terminal that goes away.
Several may be attached: all see what the run writes, all may type, and the run's window has
the size of the one that attached, or was resized, last.

Exit status: the run's own when it ends meanwhile, as `vantio run` has it; 0 when detached,
or left with ^C under --no-stdin.";

pub const LOGS_HELP: &str = "\
The last 16 MiB are kept, until the run is discarded. With --follow it ends when the run does.

Exit status: 0; 1 when there are none, as of a run that was not detached.";
