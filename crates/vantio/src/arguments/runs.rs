//! What can be typed about runs that were detached, and about those that are over.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::Reference;
use crate::present::duration;

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

/// Arguments of `vantio prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Only runs with which nothing was done for so long, such as 30m, 12h or 7d: they ended, were committed or taken back before
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Drop runs whose changes wait too, or that have checkpoints
    #[arg(long)]
    pub changed: bool,
    /// Drop runs with a commit that can be taken back too: it stays, and cannot be any more
    #[arg(long)]
    pub committed: bool,
    /// List what would be dropped, and drop nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "an age is a whole number and one of the units s, m, h, d".to_owned())
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

pub const PRUNE_HELP: &str = "\
Dropped are runs that are over and in which nothing waits: discarded, without a change, or failed
to start. One with changes, checkpoints or a commit that `vantio undo` can take back is kept, and
counted, unless it is asked for; one that lives, or of which a commit, an undo or a restore is
unfinished, always is. What was committed stays on the host, and every entry in the ledger, which
tells what was dropped; `ps`, `why`, `logs` and `undo` know of the run no more.

  vantio prune --dry-run
  vantio prune --committed --older-than 7d

Exit status: 0, also when there was nothing to drop; 4 when a run could not be dropped: the others
are.";
