//! Arguments of the commands that show, commit and take back what a run changed.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

use super::Reference;

/// Arguments of `vantio diff`.
#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    pub reference: Reference,
    /// Print the patch alone, whole
    #[arg(long, conflicts_with = "json")]
    pub patch: bool,
    /// Print the tree alone
    #[arg(long, conflicts_with_all = ["json", "patch"])]
    pub tree: bool,
    /// Show what changed since a checkpoint: its number, or its label
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<String>,
    /// Show what had changed by a checkpoint: its number, or its label
    #[arg(long, value_name = "CHECKPOINT")]
    pub to: Option<String>,
}

/// Arguments of `vantio commit`.
#[derive(Debug, Args)]
pub struct Commit {
    #[command(flatten)]
    pub reference: Reference,
    /// What to commit, with everything below; all of it when none is named
    pub paths: Vec<PathBuf>,
    /// Read PATHs as patterns: *, ?, [a-z] within a name, ** across folders
    #[arg(long)]
    pub glob: bool,
    /// Commit hazards too: without this, each must be named by its own path
    #[arg(long)]
    pub hazards: bool,
    /// Ask about each change, and each hunk of a text
    #[arg(long, conflicts_with_all = ["json", "paths", "glob", "hazards", "theirs", "ours", "merge", "markers", "hunks", "patch", "to"])]
    pub interactive: bool,
    /// Print what would be committed as a unified patch, whose paths are from `/` (`git -C / apply`), and commit nothing
    #[arg(long, conflicts_with_all = ["json", "theirs", "ours", "merge"])]
    pub patch: bool,
    /// Write what would be committed to DIR/before and DIR/after, to compare them elsewhere, and commit nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["theirs", "ours", "merge", "patch"])]
    pub to: Option<PathBuf>,
    /// Settle a conflict: take the run's change, overwrite what the host has
    #[arg(long, value_name = "PATH")]
    pub theirs: Vec<PathBuf>,
    /// Settle a conflict: keep what the host has, drop the run's change
    #[arg(long, value_name = "PATH")]
    pub ours: Vec<PathBuf>,
    /// Settle a conflict: merge what the host and the run changed
    #[arg(long, value_name = "PATH")]
    pub merge: Vec<PathBuf>,
    /// With --merge: commit lines that both changed with conflict markers
    #[arg(long, requires = "merge")]
    pub markers: bool,
    /// Commit only these hunks of a text file, not its mode or owner, and nothing else that is not named: PATH:1,3
    #[arg(long, value_name = "PATH:N", conflicts_with_all = ["patch", "to"])]
    pub hunks: Vec<OsString>,
}

/// Arguments of `vantio undo`.
#[derive(Debug, Args)]
pub struct Undo {
    #[command(flatten)]
    pub reference: Reference,
    /// What to take back, with everything below, of the last commit that brought it; all of the last when none is named
    pub paths: Vec<PathBuf>,
}

pub(super) const REVIEW_HELP: &str = "\
Deletions come first, then hazards. Beside each change stand its patch, why it is a hazard,
and who made it after reading what, from the ledger. A hazard is committed only when it is
accepted itself. What is neither accepted nor needed by what is stays pending: rejected means
not committed now, and pending in the run until it is committed or discarded.

Keys: j k move, J K scroll, Tab to a hunk and a r for it alone, a accept, r reject, u undecided,
m M merge what the host changed too (M with markers), A accept all but hazards, p all of who made
it, c commit, q quit, ? every key.

With --json: the changes, as `vantio diff --json` has them, with reasons and intents.

Exit status: 0 when what was accepted is committed or nothing was, 2 without a terminal,
4 when something that was accepted was left.";

pub(super) const UNDO_HELP: &str = "\
With PATHs: what cannot stay without them goes back too, and is named: both names of a renamed
folder, what was put into a new one, the other names of a file. What came or went with its
folder goes back with it alone.

Interrupted (^C), it goes on to its end. A second ^C leaves that to the next command.

Exit status: 0 when all of it is taken back or there was none, 4 when something stayed.";

pub(super) const COMMIT_HELP: &str = "\
--theirs, --ours and --merge settle what conflicts below their PATH; all else is committed too,
unless PATHs are named.

Exit status: 0 when everything asked for was committed or nothing was pending,
4 when something was left: a conflict with the host, or a hazard that must be named;
128+N when signal N (^C: 130) interrupted it: the commit is taken back at once, and nothing is
committed. A second ^C leaves taking it back, or finishing it, to the next command.
With --interactive, input that ends before the last answer and without `q` commits nothing: 4.";
