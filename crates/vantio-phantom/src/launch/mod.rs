//! Starts a run and waits for its end.
//!
//! Four processes, each forked from the one before: the caller, the supervisor, init and
//! the agent. ARCHITECTURE.md draws them.

mod agent;
mod init;
mod link;
mod notes;
mod stay;
mod streams;
mod supervise;

pub(crate) use agent::LOADERS;

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitOptions, geteuid, waitpid};

use crate::{
    Account, Ending, LaunchError, Oracle, Spec,
    changes::{Layer, LayerKind, write_layers},
    control::{Channel, Failure, Message},
    error::Context as _,
    sys::process::{Fork, block_stops, exit, fork},
    terminal::{self, Outcome},
    world::{mounts, plan, root::Folders},
};

/// Makes the oracle inside the supervisor, once no fork of its own is left to happen.
pub type MakeOracle = Box<dyn FnOnce() -> Result<Arc<dyn Oracle>, LaunchError>>;

/// Runs `spec` to its end, and says what the oracle wrote down of that; `started` is called once its program executes. The calling process must be
/// single-threaded.
///
/// # Errors
///
/// When any part of the world could not be built, the program was never started; when the
/// supervisor is lost, the run is over.
pub fn run(
    spec: &Spec,
    make_oracle: MakeOracle,
    started: &mut dyn FnMut(),
) -> Result<(Ending, Account), LaunchError> {
    streams::check()?;
    let folders = prepare(spec)?;
    let terminal = terminal::Plan::of_caller();
    let (ours, theirs) = Channel::pair().map_err(|error| failed(&error))?;
    let (our_notes, their_notes) =
        notes::ends().context("E_SUPERVISOR", || "could not make a link".into(), "")?.unzip();
    // A `^Z` before the supervisor left the caller's session would stop it for good.
    block_stops(true);
    match fork(0).context("E_FORK", || "could not start the supervisor".into(), "")? {
        Fork::Child => {
            drop((ours, our_notes));
            let notes = notes::source(their_notes);
            let code = match supervise::supervise(spec, &folders, &terminal, (&theirs, notes), make_oracle) {
                Ok(()) => 0,
                Err(error) => {
                    let failure =
                        Failure { code: error.code.clone(), message: error.to_string(), help: error.help };
                    // The caller may be gone already; then nobody is left to tell.
                    drop(theirs.send(&Message::Failed(failure), None));
                    1
                }
            };
            exit(code)
        }
        Fork::Parent(supervisor) => {
            // Nobody waits for what is let go of now.
            drop((theirs, their_notes, make_oracle));
            if let Some(end) = our_notes {
                let served = notes::serve(&spec.folder, end);
                served.context("E_SUPERVISOR", || "could not serve the supervisor".into(), "")?;
            }
            block_stops(false);
            let ended = attend(&ours, &terminal, started);
            if ended.is_err() {
                await_end(supervisor);
            }
            ended
        }
    }
}

fn attend(
    channel: &Channel,
    plan: &terminal::Plan,
    started: &mut dyn FnMut(),
) -> Result<(Ending, Account), LaunchError> {
    match terminal::attend(channel, plan, &mut |_| started()) {
        Ok(Outcome::Ended(ending, account)) => Ok((ending, account)),
        Ok(Outcome::Failed(failure)) => Err(LaunchError {
            code: failure.code,
            cause: std::io::Error::other(failure.message),
            what: "the run could not go on".into(),
            help: failure.help,
        }),
        Err(error) => Err(LaunchError {
            code: error.code().into(),
            help: error.help().into(),
            what: "the run could not be attended".into(),
            cause: std::io::Error::other(error),
        }),
    }
}

/// Waits a moment for a supervisor that has failed, and holds its run until it is gone.
fn await_end(supervisor: Pid) {
    let deadline = Instant::now() + PATIENCE;
    while matches!(waitpid(Some(supervisor), WaitOptions::NOHANG), Ok(None)) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
}

/// Decides what the world is made of and makes its folders.
fn prepare(spec: &Spec) -> Result<Folders, LaunchError> {
    let host = || -> std::io::Result<_> {
        let mounts = mounts::reachable(&mounts::parse(&fs::read("/proc/self/mountinfo")?));
        let privileged = geteuid().is_root();
        let host = plan::Host {
            mounts: &mounts,
            privileged,
            visible: &spec.visible,
            frozen: spec.frozen.as_deref(),
        };
        plan::plan(&host).map(|(pieces, layers)| (pieces, layers, privileged))
    };
    let (pieces, layers, privileged) =
        host().context("E_MOUNT", || "could not read the host's mounts".into(), "")?;
    let folders = Folders {
        run: spec.folder.clone(),
        layers,
        frozen: spec.frozen.clone(),
        pieces,
        needed: spec.visible.clone(),
        privileged,
    };
    folders.create()?;
    record_layers(&folders).context("E_STATE", || "could not record the layers".into(), "")?;
    Ok(folders)
}

fn record_layers(folders: &Folders) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let kind = if folders.privileged { LayerKind::Trusted } else { LayerKind::User };
    let layer = |(number, lower): (usize, &std::path::PathBuf)| Layer {
        mount_point: Path::new(lower).as_os_str().as_bytes().into(),
        upper: format!("layers/{number}/upper"),
        kind,
    };
    write_layers(&folders.run, &folders.layers.iter().enumerate().map(layer).collect::<Vec<_>>())
}

fn failed(error: &dyn std::error::Error) -> LaunchError {
    LaunchError {
        code: "E_SUPERVISOR".into(),
        what: "the supervisor could not work".into(),
        cause: std::io::Error::other(error.to_string()),
        help: String::new(),
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);
