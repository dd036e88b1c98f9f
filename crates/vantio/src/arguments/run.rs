//! What can be typed to run something.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use vantio_policy::PRESETS;

use super::Offering;

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

pub fn run_name(text: &str) -> Result<String, String> {
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

pub const RUN_HELP: &str = "\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_plain() {
        assert!(run_name("web-1.2_x").is_ok());
        for name in ["", "last", "a b", "\u{1b}[2J", "é"] {
            assert!(run_name(name).is_err(), "{name:?}");
        }
    }
}
