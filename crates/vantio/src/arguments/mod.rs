//! What can be typed.

mod approvals;
mod changes;
mod checkpoint;
mod ledger;
mod runs;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Arg, ArgGroup, Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser, styling},
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use vantio_core::Effect;
use vantio_policy::PRESETS;

pub use approvals::{Answering, Approvals};
pub use changes::{Commit, Diff, Undo};
pub use checkpoint::{Checkpoint, Restore};
pub use ledger::{Archive, Export, ExportFormat, Ledger, List, Prove, Verdict, Verify, Witness};
pub use runs::{Attach, Keep, Logs, Prune};

use crate::failure::Failure;

/// The outcome of reading the command line.
pub enum Parsed {
    /// A command to perform.
    Arguments(Arguments),
    /// Help, the version or an error has been printed.
    Answered(ExitCode),
}

/// Reads the command line. Misuse of `run` ends with 125, because 2 could be the
/// program's own.
pub fn parse(raw: impl IntoIterator<Item = OsString>) -> Parsed {
    let raw = asked_for_help(raw.into_iter().collect());
    if let Ok(Hasty { shared, command }) = Hasty::try_parse_from(&raw) {
        return Parsed::Arguments(Arguments { shared, command: command.into() });
    }
    match Arguments::try_parse_from(&raw) {
        Ok(arguments) => Parsed::Arguments(arguments),
        Err(error) => {
            let is_run =
                raw.iter().skip(1).find(|word| !starts_with_dash(word)).is_some_and(|word| word == "run");
            let error = if is_run { with_place_of_program(error) } else { with_whole_command(error) };
            print(&error, asks_for_json(&raw));
            Parsed::Answered(match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if is_run => ExitCode::from(125),
                _ => ExitCode::from(2),
            })
        }
    }
}

/// `help COMMAND` means what `COMMAND --help` does.
fn asked_for_help(mut raw: Vec<OsString>) -> Vec<OsString> {
    if raw.get(1).is_some_and(|word| word == "help") {
        raw.remove(1);
        raw.push("--help".into());
    }
    raw
}

/// Says where the program belongs, where a word is not understood and resembles none that is.
fn with_place_of_program(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument && error.get(ContextKind::SuggestedArg).is_none() {
        let tip = "the program comes after `--`: vantio run -- CMD".to_owned();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Says which command is meant, where somebody leaves out the word before it, or has another one for it.
fn with_whole_command(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let commands = Arguments::command();
    let deeper = commands.get_subcommands().filter(|group| group.find_subcommand(word).is_some());
    let deeper = deeper.map(|group| format!("vantio {} {word}", group.get_name()));
    let meant = MEANT.iter().filter(|(said, _)| said == word).map(|(_, meant)| (*meant).to_owned());
    let tips: Vec<_> = deeper.chain(meant).map(|command| format!("there is `{command}`").into()).collect();
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// What people type, and the command for it.
const MEANT: &[(&str, &str)] = &[("log", "vantio ledger list")];

/// Prints what the parser says: help and the version as they are, what is wrong as every failure.
fn print(error: &clap::Error, as_json: bool) {
    if error.exit_code() == 0 || !as_json {
        // Nobody is left to tell when the message itself cannot be written.
        drop(error.print());
        return;
    }
    let text = error.render().to_string();
    let (what, advice) = text.trim_end().split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let what = what.strip_prefix("error: ").unwrap_or(what);
    Failure::misuse("E_USAGE", what).help(advice.trim_start()).print(true);
}

/// Whether JSON is asked for before the program and its arguments.
fn asks_for_json(raw: &[OsString]) -> bool {
    raw.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

fn starts_with_dash(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default().bold())
    .placeholder(styling::AnsiColor::Cyan.on_default());

/// Columns of what is printed for help.
const WIDTH: usize = 100;

/// Run an agent under a policy, then review, commit or discard what it changed
#[derive(Debug, Parser)]
#[command(name = "vantio", version, styles = STYLES, max_term_width = WIDTH, after_help = OVERVIEW, disable_help_subcommand = true)]
pub struct Arguments {
    /// What every command takes
    #[command(flatten)]
    pub shared: Shared,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Arguments of every command.
#[derive(Debug, Args)]
pub struct Shared {
    /// Print machine-readable JSON instead of text
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// Where the ledger is: postgres://USER@HOST/DATABASE, or a file
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "VANTIO_STORE",
        hide_env = true,
        display_order = 901
    )]
    pub store: Option<String>,
}

/// The commands that somebody waits for at every step. To read these alone takes a fraction of the time that all take;
/// what is none of them, or not right, [`Arguments`] reads anew.
#[derive(Debug, Parser)]
#[command(name = "vantio", disable_help_subcommand = true)]
struct Hasty {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Urgent,
}

#[derive(Debug, Subcommand)]
enum Urgent {
    Run(Run),
    Checkpoint(Checkpoint),
    Restore(Restore),
    Keep(Keep),
}

impl From<Urgent> for Command {
    fn from(urgent: Urgent) -> Self {
        match urgent {
            Urgent::Run(run) => Self::Run(run),
            Urgent::Checkpoint(checkpoint) => Self::Checkpoint(checkpoint),
            Urgent::Restore(restore) => Self::Restore(restore),
            Urgent::Keep(keep) => Self::Keep(keep),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program under a policy; its changes wait for your review
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Show what a run changed
    Diff(Diff),
    /// Look at what a run changed, one by one, and commit what you accept
    #[command(after_help = changes::REVIEW_HELP)]
    Review(Reference),
    /// Bring what a run changed to the host
    #[command(after_help = changes::COMMIT_HELP)]
    Commit(Box<Commit>),
    /// Remember what a run has changed so far, to go back to
    #[command(after_help = checkpoint::CHECKPOINT_HELP)]
    Checkpoint(Checkpoint),
    /// Put a run's changes back to what they were at a checkpoint
    #[command(after_help = checkpoint::RESTORE_HELP)]
    Restore(Restore),
    /// Take back the last commit of a run; what the host changed since stays
    #[command(after_help = changes::UNDO_HELP)]
    Undo(Undo),
    /// Drop what a run changed, and every copy of it
    Discard(Reference),
    /// Drop all that is kept of runs that are over
    #[command(after_help = runs::PRUNE_HELP)]
    Prune(Prune),
    /// List the runs that live or wait for review
    Ps(Ps),
    /// List what waits for an answer
    #[command(after_help = approvals::LIST_HELP)]
    Approvals(Approvals),
    /// Let something happen that waits for an answer
    #[command(after_help = approvals::APPROVE_HELP)]
    Approve(Answering),
    /// Refuse something that waits for an answer
    #[command(after_help = approvals::DENY_HELP)]
    Deny(Answering),
    /// Explain what was refused to a run, and what would permit it
    Why(Reference),
    /// Decide again what was decided in a run, and say what comes out otherwise
    #[command(after_help = REPLAY_HELP)]
    Replay(Replay),
    /// Join the terminal of a detached run
    #[command(after_help = runs::ATTACH_HELP)]
    Attach(Attach),
    /// Print what a detached run wrote
    #[command(after_help = runs::LOGS_HELP)]
    Logs(Logs),
    /// End a run that still lives
    Kill(Reference),
    /// Read, verify, prove and publish the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Check, show, compare, explain and test policies, or write one from runs
    #[command(subcommand)]
    Policy(Policy),
    /// Write a policy for this folder
    #[command(after_help = INIT_HELP)]
    Init(Init),
    /// Say what this host can enforce, and what each gap costs
    #[command(after_help = "Exit status: 0 when agents can be run here, 1 when not.")]
    Doctor,
    /// Print a completion script for a shell
    #[command(after_help = "For example:
  mkdir -p ~/.local/share/bash-completion/completions
  vantio completions bash > ~/.local/share/bash-completion/completions/vantio")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// What `run --detach` starts. Nobody types it, so that it is read hastily alone and listed nowhere.
    #[command(skip)]
    Keep(Keep),
}

/// A run.
#[derive(Debug, Args)]
pub struct Reference {
    /// A run: its id, the beginning of it, or `last`
    pub run: String,
}

/// Arguments of `vantio replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// A run: its id, the beginning of it, or `last`; or a file that --export wrote
    #[arg(value_name = "RUN|FILE")]
    pub run: String,
    /// Write all that a replay needs to a file instead
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Overwrite a file that exists
    #[arg(long, requires = "export")]
    pub force: bool,
}

/// Arguments of `vantio run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The policy. A vantio.yaml in this folder or above is obeyed too, and is the only one without --policy
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub policy: Option<PathBuf>,
    /// A policy that comes with Vantio: read-only, workspace, open or learn
    #[arg(long, value_name = "NAME", value_parser = Offering(|| PRESETS.to_vec()), hide_possible_values = true)]
    pub preset: Option<String>,
    /// A name for the run, shown in lists
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    pub name: Option<String>,
    /// Return once the program runs, and print the run's id
    #[arg(long, short)]
    pub detach: bool,
    /// What enforces the policy
    #[arg(long, value_name = "BACKEND", default_value = "notify")]
    pub backend: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Any text; shells offer these words.
#[derive(Clone)]
struct Offering(fn() -> Vec<&'static str>);

impl TypedValueParser for Offering {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

fn effects() -> Vec<&'static str> {
    Effect::ALL.iter().map(|effect| effect.name()).collect()
}

fn run_name(text: &str) -> Result<String, String> {
    if text == "last" {
        return Err("`last` names the newest run".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("a name is 1 to 64 of the characters A-Z a-z 0-9 - _ .".to_owned())
    }
}

/// Arguments of `vantio ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// List every run, the finished ones too
    #[arg(long, short)]
    pub all: bool,
}

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

const OVERVIEW: &str = "\
RUN is a run's id, the beginning of it, or `last`.

Begin with:
  vantio init                write a policy for this folder
  vantio run -- CMD [ARG…]   run an agent under it
  vantio diff last           see what it changed
  vantio commit last         keep that, or: vantio discard last

Exit status:
  0  done
  1  failed
  2  misused
  3  verified false: the ledger, an example, a question with --exit-code
  4  something was left undone: conflicts, hazards, a run that could not be dropped,
     or a suggestion is incomplete
  vantio run ends as the program did (128+N for signal N), or with
  125 when Vantio failed, 126 when the program may not be executed,
  127 when it is not found.

Environment:
  VANTIO_STATE    where runs and the ledger are kept
                  [default: $XDG_STATE_HOME/vantio, else ~/.local/state/vantio]
  VANTIO_STORE    where the ledger is, as --store: the address of a server may have a
                  password in it, which a command line would show to others
  VANTIO_DNS      name servers of a run, as IP or IP:PORT, separated by commas
                  [default: those of /etc/resolv.conf]
  VANTIO_MANAGED  one more policy that narrows every run, as /etc/vantio/policy.yaml does
  NO_COLOR        print without colour";

const INIT_HELP: &str = "\
Presets:
  read-only  read the system and this folder, change nothing
  workspace  work on this folder
  open       anything but credentials
  learn      watch what the agent does, to write a policy from it";

const REPLAY_HELP: &str = "Exit status: 0 when all comes out as recorded, 3 when something does not, or when a\nbundle is not as it was written, 1 when the run or its policy is not there,\n2 when nothing is called so.\nA file whose name reads as a run's is named with its folder: ./last";

const RUN_HELP: &str = "\
Standard output is the program's alone; what Vantio says goes to standard error.
With --json that is one JSON object, the last line of standard error.

With --detach standard output is the run's id alone. The run has a terminal if standard
input is one; otherwise its input is /dev/null. A server listens in the run's own network:
nothing outside of the run reaches it. Exit status: 0 once the program runs, else as without
--detach.

Exit status:
  the program's own, or
  128+N  signal N ended it
  125    Vantio failed; the program never ran unguarded
  126    the program may not be executed
  127    the program is not found";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_arguments_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_line_of_help_is_broken() {
        fn check(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let wide = text.lines().find(|line| line.chars().count() > WIDTH);
            assert_eq!(wide, None, "of `{}`", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn words_after_two_dashes_are_the_programs() {
        let words = ["vantio", "run", "--preset", "workspace", "--", "ls", "--json", "--policy"];
        let Arguments { shared: Shared { json, .. }, command: Command::Run(run) } =
            Arguments::try_parse_from(words).unwrap()
        else {
            panic!("not a run");
        };
        assert!(!json);
        assert_eq!(run.command, ["ls", "--json", "--policy"]);
    }

    #[test]
    fn what_is_read_hastily_is_read_alike() {
        Hasty::command().debug_assert();
        let read = [
            "run -- true",
            "run --preset workspace --name a -d --json -- ls --help",
            "--json --store ledger.db run --policy p.yaml --backend notify -- true",
            "checkpoint last",
            "checkpoint --list last --json",
            "checkpoint last --label x",
            "restore last 1",
            "restore last before --json",
        ];
        let refused = [
            "",
            "run",
            "run --policy a --preset b -- true",
            "run --name a/b -- true",
            "run --help",
            "--version",
            "--version run -- true",
            "run true",
            "checkpoint",
            "restore last",
            "help run",
            "ps",
        ];
        let words = |line: &'static str| std::iter::once("vantio").chain(line.split_whitespace());
        for line in read {
            let Hasty { shared, command } = Hasty::try_parse_from(words(line)).unwrap();
            let hasty = Arguments { shared, command: command.into() };
            let whole = Arguments::try_parse_from(words(line)).unwrap();
            assert_eq!(format!("{hasty:?}"), format!("{whole:?}"), "{line}");
        }
        for line in refused {
            assert!(Hasty::try_parse_from(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn help_of_a_command_is_asked_for_in_two_ways() {
        let asked = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            asked_for_help(words).join(OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(asked("vantio help run"), "vantio run --help");
        assert_eq!(asked("vantio help policy show"), "vantio policy show --help");
        assert_eq!(asked("vantio help"), "vantio --help");
        assert_eq!(asked("vantio run -- help"), "vantio run -- help");
    }

    #[test]
    fn what_nobody_types_is_listed_nowhere() {
        let keep = ["vantio", "keep", "1", "/runs/x"];
        assert!(Hasty::try_parse_from(keep).is_ok());
        assert!(Arguments::try_parse_from(keep).is_err());
    }

    #[test]
    fn names_of_runs_are_plain() {
        assert!(run_name("web-1.2_x").is_ok());
        for name in ["", "last", "a b", "\u{1b}[2J", "é"] {
            assert!(run_name(name).is_err(), "{name:?}");
        }
    }
}
