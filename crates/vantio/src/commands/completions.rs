//! `vantio completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{arguments::Arguments, failure::Failure, present};

/// Prints the completion script of `shell`.
pub fn completions(shell: Shell, json: bool) -> Result<u8, Failure> {
    if json {
        return Err(Failure::misuse("E_USAGE", "a completion script is for a shell, not JSON")
            .help("leave --json away"));
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "vantio", &mut script);
    present::print(script)?;
    Ok(0)
}
