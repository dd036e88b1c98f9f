//! What an overlay notes on its directories, read by the caller's process for the supervisor.
//!
//! As root these notes are `trusted.*` attributes, and only root on the host may read them; the supervisor is root
//! of the run's user namespace alone.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Mutex,
    thread,
};

use rustix::{io::Errno, process::geteuid};

use crate::{
    changes::RunFolder,
    checkpoint::{Ground, NotesSource, notes},
    packets::Packets,
    sys::process::block_signals,
};

/// The two ends between caller and supervisor; none where the supervisor can read by itself.
pub(super) fn ends() -> rustix::io::Result<Option<(Packets, Packets)>> {
    if geteuid().is_root() { Packets::pair().map(Some) } else { Ok(None) }
}

/// Answers on `end` from a thread of its own, until the other end is gone.
pub(super) fn serve(run: &Path, end: Packets) -> io::Result<()> {
    let layers = RunFolder::new(run, 0).layers().map_err(io::Error::other)?;
    let grounds = Ground::open_all(run, &layers)?;
    // Signals are for the thread that attends the run.
    let _blocked = block_signals();
    thread::Builder::new().name("vantio-notes".into()).spawn(move || {
        let mut question = vec![0; LONGEST];
        while let Ok((length, _)) = end.receive(&mut question) {
            let answer = answer(&grounds, &question[..length]).unwrap_or_default();
            // A newline is no part of an answer, and no packet is empty.
            if end.send(&[IoSlice::new(&answer), IoSlice::new(b"\n")], None).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// For the supervisor: asks at `end`, or reads by itself.
pub(super) fn source(end: Option<Packets>) -> NotesSource {
    let Some(end) = end else { return NotesSource::Here };
    let end = Mutex::new(end);
    NotesSource::There(Box::new(move |layer, path| {
        let end = end.lock().map_err(|_| Errno::IO)?;
        end.send(&[IoSlice::new(&(layer as u64).to_le_bytes()), IoSlice::new(path)], None)?;
        let mut answer = vec![0; LONGEST_ANSWER];
        let (length, _) = end.receive(&mut answer)?;
        Ok(serde_json::from_slice(&answer[..length])?)
    }))
}

fn answer(grounds: &[Ground], question: &[u8]) -> Option<Vec<u8>> {
    let (layer, path) = question.split_first_chunk::<8>()?;
    let ground = grounds.get(usize::try_from(u64::from_le_bytes(*layer)).ok()?)?;
    serde_json::to_vec(&notes(ground, path).ok()?).ok()
}

const LONGEST: usize = 8192;
const LONGEST_ANSWER: usize = 1 << 20;
