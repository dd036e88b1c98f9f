//! What can be typed after `vantio ledger`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{Offering, effects};
use crate::commands::OPERATIONS;

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
    /// Recompute every hash, or check a bundle or a proof that someone gave you
    #[command(
        after_help = "Without a file, the ledger here is verified: chain, tree, checkpoints, seals of anomaly records.\nWith a bundle or a proof, nothing but the file and the keys is needed, on any machine.\n\nExit status: 0 when everything is as it was written, 3 when something is not."
    )]
    Verify(Verify),
    /// Make the tables on the server that --store names, as their owner
    #[command(
        after_help = "The role vantio_writer is made with them: it may append and read, and nothing else. Grant it to\nthe roles that agents run with: GRANT vantio_writer TO NAME."
    )]
    Init,
    /// Close the ledger, put it away, and begin another that continues it
    #[command(
        after_help = "An archive is a file that stays as it is: read and verify it with --store FILE. It ends by naming\nthe key of the ledger that goes on, which begins by naming what it continues. No run may be going."
    )]
    Archive(Archive),
    /// Make a checkpoint and print it: keep it elsewhere, and give it to verify later
    Checkpoint,
    /// Print the key that verifies this ledger's checkpoints
    Key,
    /// Have others sign how far the ledger goes, so that nobody here can take it back
    #[command(subcommand)]
    Witness(Witness),
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
    /// Write entries for others: as lines of JSON, or as a bundle that proves them
    #[command(
        after_help = "Formats:\n  jsonl   entries, one line of JSON each\n  bundle  entries with all that proves them, in one file\n  ocsf    events of the Open Cybersecurity Schema Framework 1.5, one line of JSON each\n  otlp    OpenTelemetry logs, as the file exporter writes them: lines of JSON\n\nEntries are written as they may be published: paths and names by their structure only.\nA bundle is a tar file: entries, the part of the tree that proves them, the signed checkpoint, the\npolicies and the trust domain's certificate. `vantio ledger verify FILE` checks it on any machine."
    )]
    Export(Export),
}

/// Arguments of `vantio ledger archive`.
#[derive(Debug, Args)]
pub struct Archive {
    /// List the archives instead
    #[arg(long)]
    pub list: bool,
    /// Remove the archives that have been kept for seven years instead; the ledger tells of each
    #[arg(long, conflicts_with = "list")]
    pub expire: bool,
}

/// Arguments of `vantio ledger export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Where to; standard output without it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to write: jsonl, bundle, ocsf or otlp
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl, hide_possible_values = true)]
    pub format: ExportFormat,
    /// Only entries of this run
    #[arg(long)]
    pub run: Option<String>,
    /// Overwrite a file that exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Include what was asked and answered, where the policy of every run in it says `export: full`
    #[arg(long)]
    pub details: bool,
}

/// What an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Entries, one line of JSON each
    Jsonl,
    /// Entries with all that proves them, in one file
    Bundle,
    /// Events of the Open Cybersecurity Schema Framework 1.5, one line of JSON each
    Ocsf,
    /// OpenTelemetry logs, as the file exporter writes them: lines of JSON
    Otlp,
}

/// Arguments of `vantio ledger list`.
#[derive(Debug, Args)]
#[command(
    after_help = "TIME is RFC 3339 (2026-01-02T03:04:05Z), how long ago (90s, 10m, 2h, 7d), or what a clock here\nshows, as in the list: 2026-01-02 03:04:05, 2026-01-02 (its beginning), 03:04:05 (today).\nWith --json, each entry is a line; its `seq` is the cursor for --after."
)]
pub struct List {
    /// Only entries of this run
    #[arg(long)]
    pub run: Option<String>,
    /// Only entries of this operation, such as fs.open or run.start
    #[arg(long, value_parser = Offering(operations), hide_possible_values = true)]
    pub op: Option<String>,
    /// Only entries with this verdict: permit, collapse (refused), kill-switch or hold (it waits for an approver)
    #[arg(long, value_enum, ignore_case = true, hide_possible_values = true)]
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

fn operations() -> Vec<&'static str> {
    effects().into_iter().chain(OPERATIONS).collect()
}

/// A verdict, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Verdict {
    /// Permitted
    Permit,
    /// Refused
    Collapse,
    /// Stopped by the kill switch
    #[value(alias = "killswitch")]
    KillSwitch,
    /// Waits for an approver
    Hold,
}

/// Commands on witnesses.
#[derive(Debug, Subcommand)]
pub enum Witness {
    /// Name a witness (C2SP tlog-witness)
    Add {
        /// Where it is, such as https://witness.example
        url: String,
        /// Its cosignature/v1 key
        key: String,
    },
    /// List the witnesses that are asked
    List,
    /// Make a checkpoint, and have every witness sign it
    Ask,
}

/// Arguments of `vantio ledger verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// A bundle that `vantio ledger export --format bundle` wrote
    #[arg(conflicts_with_all = ["against", "proof"])]
    pub bundle: Option<PathBuf>,
    /// A checkpoint kept elsewhere, which reveals a log that was cut or rewritten since
    #[arg(long, value_name = "FILE", visible_alias = "checkpoint")]
    pub against: Option<PathBuf>,
    /// A proof that `vantio ledger prove` wrote
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
    /// A key that must have signed: the log's, as `vantio ledger key` prints it, or a witness's
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Of a bundle: the certificate of the agents' trust domain, as identity/bundle.pem in the state
    /// folder has it
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub trust: Option<PathBuf>,
}

/// Arguments of `vantio ledger prove`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proved").args(["seq", "since"]).required(true))]
pub struct Prove {
    /// The entry's sequence number
    pub seq: Option<u64>,
    /// Instead, that the ledger continues the one of this checkpoint
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
}
