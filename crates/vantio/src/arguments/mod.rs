//! What can be typed.

mod approvals;
mod changes;
mod checkpoint;
mod ledger;
mod policy;
mod run;
mod runs;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Arg, Args, CommandFactory as _, Parser, Subcommand,
    builder::{PossibleValue, StringValueParser, TypedValueParser, styling},
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use vantio_core::Effect;

pub use approvals::{Answering, Approvals};
pub use changes::{Commit, Diff, Undo};
pub use checkpoint::{Checkpoint, Restore};
pub use ledger::{Archive, Export, ExportFormat, Ledger, List, Prove, Verdict, Verify, Witness};
pub use policy::{Explain, Init, Policy, PolicyDiff, Preset, Suggest};
pub use run::Run;
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
    #[command(after_help = run::RUN_HELP)]
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
    #[command(after_help = policy::INIT_HELP)]
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

/// Arguments of `vantio ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// List every run, the finished ones too
    #[arg(long, short)]
    pub all: bool,
}

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

const REPLAY_HELP: &str = "Exit status: 0 when all comes out as recorded, 3 when something does not, or when a\nbundle is not as it was written, 1 when the run or its policy is not there,\n2 when nothing is called so.\nA file whose name reads as a run's is named with its folder: ./last";

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
}
