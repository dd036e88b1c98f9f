//! What can be typed about policies.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{Offering, effects};

/// Commands on policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Find mistakes in a policy
    Check {
        /// The policy
        file: PathBuf,
    },
    /// Print a policy with everything that it includes
    #[command(
        group = ArgGroup::new("shown").args(["file", "effective"]).required(true).multiple(true),
        after_help = "With --effective: what `vantio run` in this folder would enforce, of the policies of the\nadministrator (/etc/vantio), of FILE (as with run --policy, and preset:NAME as with run\n--preset), of this folder and of the user (~/.config/vantio), with the place that each line\nis from. A lower policy only narrows."
    )]
    Show {
        /// The policy, or preset:NAME
        file: Option<PathBuf>,
        /// Print all policies of a run here as one
        #[arg(long)]
        effective: bool,
    },
    /// Print the hash that names what a policy means
    Hash {
        /// The policy, or preset:NAME
        file: PathBuf,
    },
    /// Print what a policy allows that another does not
    #[command(after_help = DIFF_HELP)]
    Diff(PolicyDiff),
    /// Say what a policy would answer, and why each rule won or lost
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
    /// Run the examples that a policy has under `tests`
    #[command(
        after_help = "Examples are judged as in mode enforce, by their text: ${workspace} is this folder.\n\nExit status: 0 when every example holds, or there is none; 3 when one does not."
    )]
    Test {
        /// The policy
        file: PathBuf,
    },
    /// Write the smallest policy under which runs could do again what they did
    #[command(after_help = SUGGEST_HELP)]
    Suggest(Suggest),
    /// Print the JSON Schema of a policy, for editors
    #[command(
        after_help = "For example: vantio policy schema > policy.schema.json, and as the first line of a policy:\n# yaml-language-server: $schema=./policy.schema.json"
    )]
    Schema,
}

/// Arguments of `vantio policy diff`.
#[derive(Debug, Args)]
pub struct PolicyDiff {
    /// The policy to compare with, or preset:NAME
    pub first: PathBuf,
    /// The policy that may allow more, or preset:NAME
    pub second: PathBuf,
    /// Print what SECOND refuses that FIRST allows, too
    #[arg(long)]
    pub both: bool,
    /// Exit with 3 when SECOND allows more
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `vantio policy suggest`.
#[derive(Debug, Args)]
pub struct Suggest {
    /// Runs: ids, beginnings of ids, or `last`
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// Where to write it; standard output without it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite a file that exists
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `vantio policy explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The policy, or preset:NAME
    pub file: PathBuf,
    /// The kind of action, such as fs.open, proc.exec or net.connect
    #[arg(long, value_parser = Offering(effects), hide_possible_values = true)]
    pub effect: String,
    /// What it acts on: a path, a program, HOST:PORT, unix:PATH, or the name of a tool or model
    #[arg(long)]
    pub target: String,
    /// Open for writing
    #[arg(long)]
    pub write: bool,
    /// Mean everything below the folder too, as when it is renamed or removed
    #[arg(long)]
    pub subtree: bool,
    /// The new name of fs.rename and fs.link
    #[arg(long, value_name = "PATH")]
    pub to: Option<String>,
    /// A label that the process carries; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Send a datagram instead of connecting
    #[arg(long)]
    pub udp: bool,
    /// Follow symbolic links of this host, in the target and in the rules
    #[arg(long)]
    pub resolve: bool,
    /// Print every rule that was weighed
    #[arg(long)]
    pub all: bool,
    /// Exit with 3 when it would be refused
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `vantio init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Overwrite a policy that exists
    #[arg(long)]
    pub force: bool,
    /// The preset that the policy begins with: read-only, workspace, open or learn
    #[arg(long, value_enum, default_value_t = Preset::Workspace, hide_possible_values = true)]
    pub preset: Preset,
}

/// The policies that come with Vantio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Read the system and this folder, change nothing
    ReadOnly,
    /// Work on this folder
    Workspace,
    /// Anything but credentials
    Open,
    /// Watch what the agent does, to write a policy from it
    Learn,
}

const DIFF_HELP: &str = "\
Signs:
  +  SECOND allows it and FIRST does not: a rule that permits, or (gone) one that refused
  -  SECOND refuses it and FIRST does not (with --both)

Policies are compared by their rules, as they are on every host: a rule is named when no
single rule of the other policy covers all of it.

Exit status: 0; with --exit-code 3 when SECOND allows more.";

pub const INIT_HELP: &str = "\
Presets:
  read-only  read the system and this folder, change nothing
  workspace  work on this folder
  open       anything but credentials
  learn      watch what the agent does, to write a policy from it";

const SUGGEST_HELP: &str = "\
From learning to enforcing:
  vantio run --preset learn -- CMD                 watch the agent; its writes wait for review
  vantio policy suggest last --output vantio.yaml  write down what it did
  vantio run --policy vantio.yaml -- CMD           hold it to that

Learning opens no network: name your model's host under `net.allow` of
`vantio init --preset learn`, and run without `--preset`.

What holds credentials, or is called like it, is never suggested. Read the policy before you use
it: it permits what the runs did, right or wrong.

Exit status: 0 when the policy is complete, 4 when it may be too narrow: something that a run did
is not suggested, a run was enforced and had refusals, or the ledger had no room for some of its
entries.";

const EXPLAIN_HELP: &str = "\
${workspace} is this folder; a target may begin with ${workspace}, ${tmp} or ~ (quote them
from the shell). Symbolic links are followed only with --resolve; a bare name of a program
is looked up in PATH. A host name is judged as if it had led to a public address.

For example:
  vantio policy explain vantio.yaml --effect fs.open --target '${workspace}/.env' --write
  vantio policy explain preset:workspace --effect net.connect --target github.com:443

Exit status: 0 when it could be explained, whatever the verdict; with --exit-code 3 when
it would be refused or held.";
