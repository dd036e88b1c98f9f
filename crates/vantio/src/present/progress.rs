//! A line on a terminal that says how far something is, or for how long it has been going on.

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{note, span};

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

/// Does what cannot say how far it is. What takes longer than a second is said on standard error meanwhile, and for how
/// long; nothing where nobody looks.
pub fn waited<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let began = Instant::now();
    thread::scope(|scope| {
        // It hangs up once the work is done, or has panicked.
        let (_done, is_done) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut progress = Progress::new(what);
            while is_done.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                progress.tell(|| span(began.elapsed().as_secs() * 1000));
            }
        });
        work()
    })
}

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
