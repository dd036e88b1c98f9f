//! The supervisor's end of the socket.
//!
//! The socket is in the run's folder, which no run sees, and only its owner may connect to it. Connections that a supervisor makes are
//! refused all the same: they are those of an agent.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::process::Pid;

use super::{
    Holds,
    holds::AnswerError,
    wire::{self, Request, Response},
};
use crate::store::Process;

/// The name of the socket in a run's folder.
pub const SOCKET: &str = "approvals.sock";

/// Serves the questions of a run from its folder, until the process ends. `runs` is the folder of all runs.
pub fn serve(holds: Arc<Holds>, folder: &Path, runs: PathBuf) -> io::Result<()> {
    let directory = File::open(folder)?;
    // A path may be longer than the address of a socket.
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    thread::Builder::new().name("vantio-approvals".into()).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                // Whoever went away needs no answer.
                Ok(stream) => drop(attend(&holds, &stream, &runs)),
                // Out of descriptors, say: the next may do better.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    })?;
    Ok(())
}

fn attend(holds: &Holds, stream: &UnixStream, runs: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let uid = peer.uid.as_raw();
    if uid != rustix::process::geteuid().as_raw() || is_supervisor(peer.pid, runs) {
        return Ok(());
    }
    let response = match wire::read(stream, REQUEST_MAX)? {
        Request::List => Response::Questions(holds.list()),
        Request::Answer(reply) => match holds.answer(reply, uid) {
            Ok(waited) => Response::Settled(waited),
            Err(error) => Response::Refused(AnswerError::into(error)),
        },
    };
    wire::write(stream, response)
}

/// Whether the process makes connections for an agent: this one, and the supervisor of any other run.
fn is_supervisor(pid: Pid, runs: &Path) -> bool {
    if pid == rustix::process::getpid() {
        return true;
    }
    let Ok(entries) = fs::read_dir(runs) else { return true };
    let mut supervisors =
        entries.filter_map(|entry| Process::read(&entry.ok()?.path().join("supervisor")).ok()?);
    // A number that was a supervisor's may be anybody's by now.
    supervisors.any(|supervisor| supervisor.is(pid))
}

const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST_MAX: u64 = 64 * 1024;
