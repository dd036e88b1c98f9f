//! Arguments of the commands on checkpoints.

use clap::Args;

use super::{Reference, run_name};

/// Arguments of `vantio checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    #[command(flatten)]
    pub reference: Reference,
    /// A name for the checkpoint
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub label: Option<String>,
    /// List the run's checkpoints instead
    #[arg(long, conflicts_with = "label")]
    pub list: bool,
}

/// A label is no number, so that it names one checkpoint only.
fn label(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
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
    #[arg(long)]
    pub kill: bool,
    /// Bring its processes back too; this version cannot, and says so
    #[arg(long)]
    pub processes: bool,
}

pub(super) const CHECKPOINT_HELP: &str = "\
A checkpoint of a run that lives costs next to nothing: what changes from then on is saved
before it does. It is of the run's files alone, and of what `vantio diff` shows.

  vantio checkpoint last --label before-tests
  vantio diff last --from before-tests
  vantio restore last before-tests";

pub(super) const RESTORE_HELP: &str = "\
The run must have ended; --kill ends it. Later checkpoints are dropped. What was committed
to the host stays there: a commit drops the checkpoints before it.";
