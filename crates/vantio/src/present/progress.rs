//! A line on a terminal that says how far something is.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use super::note;

/// Says on standard error how far something is that takes longer than a second; nothing where nobody looks.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Of what begins now.
    pub fn new(what: &'static str) -> Self {
        let next = io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Self { what, next, is_shown: false }
    }

    /// Says how far it is, if it is time to.
    pub fn tell(&mut self, far: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            note(format!("\r\x1b[Kvantio: {}: {}", self.what, far()));
            (self.next, self.is_shown) = (Some(now + INTERVAL), true);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            note("\r\x1b[K");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
