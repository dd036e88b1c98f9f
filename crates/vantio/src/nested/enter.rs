//! `vantio run` within a run.

use std::{
    env, io,
    os::unix::{ffi::OsStrExt as _, net::UnixStream, process::CommandExt as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_phantom::{
    changes::PathBytes,
    nested::{self, Mark},
    socket::line::{self, Patience},
};
use vantio_policy::Bindings;

use super::wire::{Answer, Ask, Names, VERSION};
use crate::{
    arguments,
    failure::Failure,
    present::{note, shown},
    run::{Narrowed, policy},
    store::Outcome,
};

/// Whether this process is within a run. Believed of the supervisor's own end alone ([`nested::connect`]).
pub fn is_inside() -> bool {
    env::var_os(VANTIO).is_some_and(|value| !value.is_empty()) && env::var_os(RUN_ID).is_some()
}

/// The run that this process says it is within, and that it sees none, in a clause.
pub fn said_inside() -> Option<String> {
    let run = env::var_os(RUN_ID).filter(|_| is_inside())?;
    Some(format!("this is inside run {}, which sees no runs", shown(&run.to_string_lossy())))
}

/// The run that this process is within and under whose supervisor it is: what it starts is governed by that.
pub fn governed_by() -> Option<String> {
    let run = env::var_os(RUN_ID).filter(|_| is_inside())?;
    connect().is_ok_and(|stream| stream.is_some()).then(|| shown(&run.to_string_lossy()))
}

/// Becomes the command, under its own policy and the run's. Returns where it cannot; `None` where there is no supervisor.
pub fn run(arguments: &arguments::Run) -> Result<Option<u8>, Failure> {
    let Some(stream) = connect()? else { return Ok(None) };
    if arguments.detach {
        return Err(Failure::misuse("E_NESTED_DETACH", "a nested run ends with the command that started it")
            .help("start it with `&`, or detach the outer run"));
    }
    let Narrowed { program, bindings, variables, executable } = Narrowed::new(
        &policy::find_nested(arguments.policy.as_deref(), arguments.preset.as_deref())?,
        arguments,
    )?;
    let name = arguments.name.clone().unwrap_or_else(|| agent(arguments));
    let ask = Ask {
        name: name.clone(),
        command: arguments.command.iter().map(|word| PathBytes(word.as_bytes().to_vec())).collect(),
        policy: STANDARD.encode(program.encode()),
        bindings: names(&bindings),
        under: {
            let own = Mark::own();
            (own.left, own.right)
        },
    };
    let (number, mark) = asked(stream, &ask, arguments.preset.is_some())?;
    nested::enter(mark, &executable).map_err(|cause| {
        Failure::new("E_NESTED", "this process cannot be put under its policy").because(cause)
    })?;
    let (program, words) =
        arguments.command.split_first().ok_or_else(|| Failure::misuse("E_COMMAND", "no command"))?;
    let outer = [VANTIO, RUN_ID].map(|name| (name, env::var_os(name).unwrap_or_default()));
    let mut command = Command::new(program);
    command.args(words).env_clear().envs(variables).envs(outer).env("VANTIO_NESTED_RUN", number.to_string());
    let (outcome, status) = match command.exec().kind() {
        io::ErrorKind::NotFound => (Outcome::NotFound, 127),
        _ => (Outcome::NotExecutable, 126),
    };
    let sentence = outcome.in_words(&shown(&program.to_string_lossy())).unwrap_or_default();
    note(format!("vantio: {sentence}\n"));
    Ok(Some(status))
}

fn connect() -> Result<Option<UnixStream>, Failure> {
    nested::connect().map_err(|cause| unheard(&cause))
}

fn asked(stream: UnixStream, ask: &Ask, is_preset: bool) -> Result<(u64, Mark), Failure> {
    let deadline = Instant::now() + PATIENCE.time;
    let mut stream = Some(stream);
    let said = loop {
        match stream.as_ref().map(|stream| say(stream, ask)) {
            Some(Ok(said)) if !said.is_empty() => break said,
            // It hangs up where too many ask at once.
            _ if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Some(Err(cause)) => return Err(unheard(&cause)),
            _ => return Err(unheard(&io::ErrorKind::UnexpectedEof.into())),
        }
        stream = connect()?;
    };
    match line::decode(VERSION, &said).map_err(|error| unheard(&error.into()))? {
        Answer::Nested { number, mark: (left, right) } => Ok((number, Mark { left, right })),
        // Of a preset nothing can be left out.
        Answer::Refused { code, message, .. } if code == "E_NESTED_POLICY" && is_preset => {
            Err(Failure::new(&code, message).help("name another preset, or a policy file: --policy FILE"))
        }
        Answer::Refused { code, message, help } => Err(Failure::new(&code, message).help(help)),
    }
}

fn say(stream: &UnixStream, ask: &Ask) -> io::Result<Vec<u8>> {
    line::write(stream, VERSION, ask, PATIENCE.time)?;
    Ok(line::take(stream, PATIENCE)?.0)
}

fn agent(arguments: &arguments::Run) -> String {
    let program = arguments.command.first().map(|program| program.to_string_lossy().into_owned());
    let program = program.unwrap_or_default();
    let name: String =
        program.rsplit('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "run".to_owned() } else { name }
}

fn names(bindings: &Bindings) -> Names {
    let bytes = |bytes: &Vec<u8>| PathBytes(bytes.clone());
    Names {
        workspace: bytes(&bindings.workspace),
        home: bytes(&bindings.home),
        tmp: bytes(&bindings.tmp),
        aliases: bindings.aliases.iter().map(|(from, to)| (bytes(from), bytes(to))).collect(),
        programs: bindings
            .programs
            .iter()
            .map(|(name, paths)| (name.clone(), paths.iter().map(bytes).collect()))
            .collect(),
        host_addresses: bindings.host_addresses.clone(),
    }
}

fn unheard(cause: &io::Error) -> Failure {
    Failure::new("E_NESTED_UNHEARD", "the supervisor of this run does not answer")
        .because(cause.to_string())
        .help("a run whose policy has labels or order rules has no nested ones; else try again")
}

const VANTIO: &str = "VANTIO";
const RUN_ID: &str = "VANTIO_RUN_ID";
const PATIENCE: Patience = Patience { longest: 64 * 1024, time: Duration::from_secs(30) };
