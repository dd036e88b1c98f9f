//! Running programs.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::failure::Failure;

/// Lines of a failed program's output that are worth showing.
const TAIL: usize = 60;

/// Runs `command` silently and gives its standard output; a failure shows the end of all it printed.
pub fn quiet(command: &mut Command) -> Result<String, Failure> {
    let output = output(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let everything = stdout + &String::from_utf8_lossy(&output.stderr);
    Err(Failure::Exit { command: text(command), status: output.status, output: tail(&everything) })
}

/// Runs `command` silently, however it ends.
pub fn output(command: &mut Command) -> Result<Output, Failure> {
    let program = program(command);
    command.stdin(Stdio::null()).output().map_err(|source| Failure::Start { program, source })
}

/// Runs `command` with its output going where this task's goes.
pub fn loud(command: &mut Command) -> Result<(), Failure> {
    let program = program(command);
    let status =
        command.stdin(Stdio::null()).status().map_err(|source| Failure::Start { program, source })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Exit { command: text(command), status, output: String::new() })
}

/// Runs `command`, showing its standard output line by line and keeping a copy; true when it succeeded.
pub fn tee(command: &mut Command) -> Result<(bool, String), Failure> {
    let program = program(command);
    let start = |source| Failure::Start { program: program.clone(), source };
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut copy = String::new();
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let line = line.unwrap_or_default();
        println!("{line}");
        copy.push_str(&line);
        copy.push('\n');
    }
    let status = child.wait().map_err(start)?;
    Ok((status.success(), copy))
}

/// The full path of `program`, when it is on the search path.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// `command` as a person would type it.
pub fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn tail(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
