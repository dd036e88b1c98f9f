//! The supervisor's side.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{net::sockopt::socket_peercred, process::geteuid};
use vantio_phantom::checkpoint::{Cause, Checkpoints};

use super::{Answer, Question, SOCKET, VERSION, What, ask::short_path};

/// Answers at the socket in the run's `folder` from a thread of its own, for as long as this process lives.
pub fn serve(folder: &Path, checkpoints: Arc<dyn Checkpoints>) -> io::Result<()> {
    let (held, path) = short_path(folder)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(folder.join(SOCKET), fs::Permissions::from_mode(0o600))?;
    drop(held);
    thread::Builder::new().name("vantio-asked".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asked is told nothing more when it cannot be told.
            let _ = answer(&stream, &*checkpoints);
        }
    })?;
    Ok(())
}

fn answer(stream: &UnixStream, checkpoints: &dyn Checkpoints) -> io::Result<()> {
    // One who asks slowly must not keep the next from asking.
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if socket_peercred(stream)?.uid != geteuid() {
        return Ok(());
    }
    let mut line = Vec::new();
    BufReader::new(stream).take(LONGEST).read_until(b'\n', &mut line)?;
    let question: Question = serde_json::from_slice(&line)?;
    if question.version != VERSION {
        return say(stream, &Answer::Failed(format!("E_VERSION: this run speaks version {VERSION}")));
    }
    match question.what {
        What::Checkpoint { label } => match checkpoints.take(label.as_deref(), Cause::Asked) {
            Ok(checkpoint) => say(stream, &Answer::Taken(checkpoint)),
            Err(error) => say(stream, &Answer::Failed(error.to_string())),
        },
        What::Hold => {
            checkpoints.hold(&mut || {
                if say(stream, &Answer::Held).is_ok() {
                    // Whatever comes, or nothing for a while: the run goes on.
                    let _ = (&*stream).read(&mut [0]);
                }
            });
            Ok(())
        }
    }
}

fn say(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    stream.write_all(&text)
}

/// For how long somebody may think, or hold a run.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: u64 = 4096;
