//! `vantio run --detach`: the three processes that it becomes.

use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vantio_core::RunId;
use vantio_phantom::keeper::{self, Inherited, News, Part, Seat, Starting, Word};

use super::{
    run::{Prepared, conduct, fail},
    summary::Summary,
};
use crate::{
    approvals,
    failure::{Failure, Told},
    present::{Paint, has_colour, note, print, print_json},
    store::Store,
};

/// Runs in the background what is prepared. Returns in the caller's process once the program executes, and in the runner's
/// when the run is over.
pub fn start(store: &Store, prepared: Prepared, inherited: &Inherited, json: bool) -> Result<u8, Failure> {
    let id = prepared.claim.record.id;
    match keeper::split(inherited) {
        Err(error) => Err(fail(store, prepared.claim, error)),
        Ok(Part::Caller(starting)) => {
            drop(prepared);
            await_start(store, starting, id, json)
        }
        Ok(Part::Keeper(seat)) => {
            drop(prepared);
            Err(become_keeper(store, seat, id))
        }
        Ok(Part::Runner(word)) => Ok(be_runner(store, prepared, word)),
    }
}

fn await_start(store: &Store, starting: Starting, id: RunId, json: bool) -> Result<u8, Failure> {
    let (short, mut is_told) = (&store.short(id), false);
    match starting.wait(&mut || is_told = is_told || tell_of_question(store, id)) {
        News::Started => {
            if json {
                print_json(json!({ "run": id.to_string(), "short": short, "detached": true }))?;
            } else {
                print(format!("{short}\n"))?;
                let paint = Paint::for_stream(&std::io::stderr());
                note(format!("next: {}  join its terminal\n", paint.cyan(&format!("vantio attach {short}"))));
            }
            Ok(0)
        }
        News::Ended(said) => Said::read(&said)?.pass_on(json),
        News::Signaled(signal) => {
            note(format!("\nrun {short} goes on in the background: `vantio kill {short}` ends it\n"));
            Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        News::Lost => Err(Failure::new("E_KEEPER", format!("run {short} was lost before its program ran"))
            .help("it was killed from outside, or the machine is out of memory; `vantio ps --all` lists it")),
    }
}

/// Says that the program itself is held, where it is; returns whether it was.
fn tell_of_question(store: &Store, id: RunId) -> bool {
    let (is_held, short) = (approvals::count(store, id).is_some_and(|count| count > 0), store.short(id));
    if is_held {
        note(format!(
            "run {short} waits for an answer before it starts: `vantio approvals` shows the question\n\
             ^C leaves it waiting; `vantio kill {short}` ends it\n"
        ));
    }
    is_held
}

/// Becomes the keeper; returns only when that fails, to nobody who would hear.
fn become_keeper(store: &Store, seat: Seat, id: RunId) -> Failure {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("/proc/self/exe");
    command.env_clear();
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.arg("keep").arg(seat.runner.as_raw_nonzero().to_string()).arg(store.folder(id));
    if seat.has_terminal {
        command.arg("--terminal");
    }
    Failure::new("E_KEEPER", "the run's keeper cannot be started").because(seat.execute(&mut command))
}

fn be_runner(store: &Store, prepared: Prepared, word: Word) -> u8 {
    let short = store.short(prepared.claim.record.id);
    let ended = conduct(store, prepared, &mut || word.started());
    let (code, said) = match ended {
        Ok((code, summary)) => (code, Said::of(code, &summary)),
        Err(failure) => (failure.exit_code(true), Said::Failed(failure.told())),
    };
    word.ended(said.write(code, &short));
    code
}

/// What a runner says at its end, for whoever started it and those who are attached.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The run ended.
    Summary {
        /// The exit status of `vantio run`.
        code: u8,
        /// The summary as text.
        plain: String,
        /// The same in colour.
        coloured: String,
        /// The same for programs.
        json: Value,
    },
    /// Vantio failed.
    Failed(Told),
}

impl Said {
    fn of(code: u8, summary: &Summary) -> Self {
        Self::Summary {
            code,
            plain: summary.to_text(Paint::plain()),
            coloured: summary.to_text(Paint::coloured()),
            json: summary.to_json(),
        }
    }

    fn write(&self, code: u8, short: &str) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(said) if said.len() <= LONGEST => said,
            _ => {
                let plain = format!("vantio: run {short} ended\nnext: vantio diff {short}\n");
                let json = json!({ "version": 1, "next_steps": [format!("vantio diff {short}")] });
                let less = Self::Summary { code, coloured: plain.clone(), plain, json };
                serde_json::to_vec(&less).unwrap_or_default()
            }
        }
    }

    /// Reads what a runner said.
    pub fn read(said: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(said).map_err(|cause| {
            Failure::new("E_KEEPER", "what the run said at its end cannot be understood").because(cause)
        })
    }

    /// Prints what `vantio run` would have printed; returns its exit status.
    pub fn pass_on(self, as_json: bool) -> Result<u8, Failure> {
        match self {
            Self::Failed(told) => Err(told.into()),
            Self::Summary { code, json, .. } if as_json => {
                note(format!("{json}\n"));
                Ok(code)
            }
            Self::Summary { code, plain, coloured, .. } => {
                note(if has_colour(&std::io::stderr()) { coloured } else { plain });
                Ok(code)
            }
        }
    }
}

/// The longest that is said, in bytes.
const LONGEST: usize = 900_000;
