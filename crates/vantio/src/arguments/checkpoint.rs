//! Arguments of the commands on checkpoints.

use clap::Args;

use super::{Reference, run::run_name};

/// Arguments of `vantio checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    #[command(flatten)]
    pub reference: Reference,
    /// A name for the checkpoint
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub label: Option<String>,
    /// Keep the run's process as well, to go back to while the run lives
    #[arg(long, conflicts_with = "list")]
    pub processes: bool,
    /// List the run's checkpoints instead
    #[arg(long, conflicts_with = "label")]
    pub list: bool,
}

/// A label is no number, so that it names one checkpoint only.
fn label(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a label that is a number would be taken for a checkpoint's own".to_owned());
    }
    run_name(text)
}

/// Arguments of `vantio restore`.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    pub reference: Reference,
    /// A checkpoint of it: its number, or its label
    pub checkpoint: String,
    /// End the run first, if it still lives
    #[arg(long, conflicts_with = "processes")]
    pub kill: bool,
    /// Have the run, which lives, go on from there with the process that the checkpoint kept
    #[arg(long)]
    pub processes: bool,
}

pub(super) const CHECKPOINT_HELP: &str = "\
A checkpoint of a run that lives costs next to nothing: what changes from then on is saved
before it does. It is of the run's files, of what `vantio diff` shows. With --processes it
keeps the process that acts too, until the run ends: the run must be one process with one
thread, whose parents wait for it, without sockets, terminals, locks or timers.

  vantio checkpoint last --label before-tests
  vantio diff last --from before-tests
  vantio restore last before-tests
  vantio checkpoint last --processes && vantio restore last 2 --processes";

pub(super) const RESTORE_HELP: &str = "\
The run must have ended; --kill ends it. Later checkpoints are dropped. With --processes the
run goes on from the checkpoint instead, as often as you like: what it started since is ended,
later checkpoints stay, and what it read, printed, sent or spent is not taken back. What was
committed to the host stays there: a commit drops the checkpoints before it.";
