//! What can be typed about what waits for an answer.

use clap::{ArgGroup, Args};

/// Arguments of `vantio approvals`.
#[derive(Debug, Args)]
pub struct Approvals {
    /// A run: its id, the beginning of it, or `last`; every run without it
    pub run: Option<String>,
    /// Go on, and print what comes to wait
    #[arg(long, short)]
    pub follow: bool,
}

/// Arguments of `vantio approve` and `vantio deny`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("answered").args(["ids", "all"]).required(true))]
pub struct Answering {
    /// Questions, as `vantio approvals` names them, or the beginnings of their names
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Answer everything that waits
    #[arg(long)]
    pub all: bool,
    /// With --all: of this run only
    #[arg(long, value_name = "RUN", requires = "all")]
    pub run: Option<String>,
    /// Answer so for the same effect and target for the rest of the run
    #[arg(long)]
    pub session: bool,
    /// Answer so for whatever this pattern covers for the rest of the run
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["session", "all"])]
    pub pattern: Option<String>,
    /// Who you are, where the rule names who may approve; it is written down, and not checked
    #[arg(long = "as", value_name = "WHO")]
    pub who: Option<String>,
    /// Why, for the ledger and the agent
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

pub const LIST_HELP: &str = "\
A rule of `hold`, or a threshold with `then: hold`, has a call wait until somebody answers, or its
time is over: then it is denied. What is alike is one question, however many calls wait.

Exit status: 0, also when nothing waits.";

pub const APPROVE_HELP: &str = "\
For example:
  vantio approve 3f0c9a12                             the calls that wait now
  vantio approve 3f0c9a12 --session                   the same, for the rest of the run
  vantio approve 3f0c9a12 --pattern 'db.example:*'    whatever this covers, for the rest of the run
  vantio approve 3f0c9a12 --as security-engineer      where the rule names who may approve

An approval settles what holds the call, and nothing else: it passes no deny, no budget and no
label.

Exit status: 0, 1 when the question is not there any more or the answer is not taken, 4 when that
happened to some of several.";

pub const DENY_HELP: &str = "\
For example:
  vantio deny 3f0c9a12 --reason 'use the staging database'
  vantio deny --all

The call fails as any that is refused; `vantio why` tells the reason.

Exit status: 0, 1 when the question is not there any more or the answer is not taken, 4 when that
happened to some of several.";
