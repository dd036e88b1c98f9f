//! The supervisor's side.

use std::{
    os::unix::net::UnixStream,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::json::Value;
use vantio_phantom::{
    changes::PathBytes,
    nested::Mark,
    socket::line::{self, LineError, Patience},
};
use vantio_policy::{Bindings, PolicyProgram};

use super::{
    Nests,
    wire::{Answer, Ask, Names, VERSION},
};
use crate::oracle::bytes_value;

impl Nests {
    /// Answers whoever asks at the other end, from a thread of its own. Where too many ask already it is hung up on, and
    /// may ask again.
    pub fn serve(self: &Arc<Self>, asking: UnixStream) {
        if self.asking.fetch_add(1, Ordering::AcqRel) >= ASKING {
            self.asking.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let nests = Arc::clone(self);
        let started = thread::Builder::new().name("vantio-nested".into()).spawn(move || {
            // Whoever went away needs no answer.
            drop(
                line::take(&asking, PATIENCE)
                    .and_then(|(said, _)| line::write(&asking, VERSION, nests.answer(&said), PATIENCE.time)),
            );
            nests.asking.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            self.asking.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn answer(&self, said: &[u8]) -> Answer {
        let refused = |code: &str, message: String, help: &str| Answer::Refused {
            code: code.to_owned(),
            message,
            help: help.to_owned(),
        };
        let same = "use the same version of vantio within the run as outside";
        let Ask { name, command, policy, bindings, under } = match line::decode(VERSION, said) {
            Err(error @ LineError::Version { .. }) => return refused("E_VERSION", error.to_string(), same),
            Err(error) => return refused("E_NESTED", error.to_string(), same),
            Ok(ask) => ask,
        };
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            return refused("E_NESTED", "the nested run has no name that can be shown".into(), same);
        }
        let program = STANDARD.decode(policy).ok().map(|bytes| PolicyProgram::decode(&bytes));
        let Some(Ok(program)) = program else {
            return refused("E_NESTED", "what was sent is no policy".into(), same);
        };
        let under = Mark { left: under.0, right: under.1 };
        let command = command.iter().map(|word| bytes_value(word.as_bytes())).collect();
        let told = vec![("command", Value::Array(command))];
        match self.add((name, program, bindings.into()), under, told) {
            Ok((number, mark)) => Answer::Nested { number, mark: (mark.left, mark.right) },
            Err(error) => refused(error.code(), error.to_string(), error.help()),
        }
    }
}

impl From<Names> for Bindings {
    fn from(names: Names) -> Self {
        Self {
            workspace: names.workspace.0,
            home: names.home.0,
            tmp: names.tmp.0,
            aliases: names.aliases.into_iter().map(|(from, to)| (from.0, to.0)).collect(),
            programs: names.programs.into_iter().map(|(name, paths)| (name, plain(paths))).collect(),
            host_addresses: names.host_addresses,
        }
    }
}

fn plain(paths: Vec<PathBytes>) -> Vec<Vec<u8>> {
    paths.into_iter().map(|path| path.0).collect()
}

/// How many may ask at once.
const ASKING: usize = 8;
const PATIENCE: Patience = Patience { longest: 1 << 20, time: Duration::from_secs(10) };
const NAME_MAX: usize = 256;
