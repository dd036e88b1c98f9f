//! An original that stands in for its twin: it waits for the twin's end, and ends likewise.

use std::{thread, time::Instant};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::room::{PATIENCE, PAUSE, Room};
use crate::{
    speculation::{
        mirror::{Mirror, is_beginning},
        puppet::Puppet,
    },
    sys::{
        process::kill,
        trace::{self, Event, Options, Way},
    },
};

impl Room {
    /// Has `original`, which stands still, wait for `twin` from now on.
    pub(super) fn stand_in(&mut self, original: Pid, twin: Pid) -> io::Result<()> {
        trace::set_options(original, Options::KEPT)?;
        let mirror = Mirror::new(Puppet::new(&self.proc, original)?)?;
        self.stand(original, mirror, twin)
    }

    /// Has an original that stands in already wait for another twin: the one before is gone.
    pub(super) fn stand_in_again(&mut self, original: Pid, twin: Pid) -> io::Result<()> {
        let Some(mirror) = self.stands.remove(&original) else { return Err(Errno::SRCH) };
        // It may have stopped with the one that is gone.
        kill(original.as_raw_pid(), libc::SIGCONT)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match trace::next(Some(original), false)? {
                Some((_, Event::Call)) if !is_beginning(trace::registers(original)?.result()) => break,
                Some((_, Event::Ended(_))) => return Err(Errno::SRCH),
                None if Instant::now() > deadline => return Err(Errno::TIMEDOUT),
                None => thread::sleep(PAUSE),
                // A signal for the one that is gone.
                Some(_) => trace::resume(original, Way::ToCall)?,
            }
        }
        self.stand(original, mirror, twin)
    }

    fn stand(&mut self, original: Pid, mut mirror: Mirror, twin: Pid) -> io::Result<()> {
        // What came before was sent to what it was.
        mirror.begin_anew()?;
        mirror.follow(&self.proc, twin)?;
        self.stands.insert(original, mirror);
        Ok(())
    }

    /// Something happened to an original that stands in.
    pub(super) fn of_stand(&mut self, original: Pid, event: Event) {
        let Some(mut mirror) = self.stands.remove(&original) else { return };
        if matches!(event, Event::Ended(_)) {
            // The original was killed, and so is its twin.
            let _ = kill(mirror.acting().as_raw_pid(), libc::SIGKILL);
            return self.look_after();
        }
        let went = match mirror.happened(&self.proc, event) {
            Ok(None) => {
                self.stands.insert(original, mirror);
                return;
            }
            Ok(Some(status)) => mirror.end(status),
            Err(error) => {
                self.stands.insert(original, mirror);
                Err(error)
            }
        };
        if went.is_err() && !self.proc.is_ended(original) {
            // Whoever waits for the original must not hear of another end.
            let _ = kill(original.as_raw_pid(), libc::SIGKILL);
        }
        self.look_after();
    }
}
