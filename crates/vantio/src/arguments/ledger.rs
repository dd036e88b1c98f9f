//! What can be typed after `vantio ledger`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Commands on the ledger.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// List entries, newest last
    List(List),
    /// Show one entry whole
    Show {
        /// Its sequence number
        seq: u64,
    },
    /// Recompute every hash, or check a proof that someone gave you
    #[command(
        after_help = "Without --proof, the ledger here is verified: chain, tree, checkpoints, seals of anomaly records.\nWith --proof, nothing but the file and the keys is needed, on any machine.\n\nExit status: 0 when everything is as it was written, 3 when something is not."
    )]
    Verify(Verify),
    /// Make the tables on the server that --store names, as their owner
    #[command(
        after_help = "The role vantio_writer is made with them: it may append and read, and nothing else. Grant it to\nthe roles that agents run with: GRANT vantio_writer TO NAME."
    )]
    Init,
    /// Make a checkpoint and print it: keep it elsewhere, and give it to verify later
    Checkpoint,
    /// Print the key that verifies this ledger's checkpoints
    Key,
    /// Print the proof that an entry is in the ledger, for `verify --proof` elsewhere
    #[command(
        after_help = "The proof holds the entry as it may be published: paths and names by their structure only."
    )]
    Prove(Prove),
    /// Write the ledger as a public log into a folder that any web server can serve
    #[command(
        after_help = "The folder gets C2SP tlog-tiles: tile/, tile/entries/ and checkpoint. Run it again after each\ncheckpoint, or from a timer: only what is missing is written."
    )]
    Publish {
        /// The folder
        folder: PathBuf,
    },
    /// Write every entry, one line of JSON each
    Export {
        /// Where to; standard output without it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `vantio ledger list`.
#[derive(Debug, Args)]
#[command(
    after_help = "TIME is RFC 3339 (2026-01-02T03:04:05Z) or how long ago (90s, 10m, 2h, 7d).\nWith --json, each entry is a line; its `seq` is the cursor for --after."
)]
pub struct List {
    /// Only entries of this run
    #[arg(long)]
    pub run: Option<String>,
    /// Only entries of this operation, such as fs.open or run.start
    #[arg(long)]
    pub op: Option<String>,
    /// Only entries with this verdict
    #[arg(long, value_enum)]
    pub verdict: Option<Verdict>,
    /// Only entries at or after this time
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only entries before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only entries with this text in them
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only entries after this sequence number, oldest first
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// At most this many, the newest; 0 for all
    #[arg(long, default_value_t = 50)]
    pub limit: u64,
    /// Go on with what is appended, until interrupted
    #[arg(long, short)]
    pub follow: bool,
}

/// A verdict, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Verdict {
    /// Permitted
    Permit,
    /// Refused
    Collapse,
    /// Stopped by the kill switch
    KillSwitch,
    /// Waits for an approver
    Hold,
}

/// Arguments of `vantio ledger verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// A checkpoint kept elsewhere, which reveals a log that was cut or rewritten since
    #[arg(long, value_name = "FILE", visible_alias = "checkpoint")]
    pub against: Option<PathBuf>,
    /// A proof that `vantio ledger prove` wrote
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
    /// A key that must have signed: the log's, as `vantio ledger key` prints it, or a witness's
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
}

/// Arguments of `vantio ledger prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The entry's sequence number
    #[arg(required_unless_present = "since")]
    pub seq: Option<u64>,
    /// Instead, that the ledger continues the one of this checkpoint
    #[arg(long, value_name = "FILE", conflicts_with = "seq")]
    pub since: Option<PathBuf>,
}
