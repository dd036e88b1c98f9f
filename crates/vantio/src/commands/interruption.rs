//! Signals that ask a command to end which changes the host.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::failure::Failure;

/// From now on the first signal is remembered, and the second ends the process: the next command then finishes what is left.
pub struct Interruption {
    signal: Arc<AtomicUsize>,
}

impl Interruption {
    /// Begins to listen.
    pub fn listen() -> Result<Self, Failure> {
        let listening = Self { signal: Arc::default() };
        let failed = |cause| Failure::new("E_SIGNALS", "signals cannot be listened for").because(cause);
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
            listening.register(signal).map_err(failed)?;
        }
        Ok(listening)
    }

    fn register(&self, signal: i32) -> io::Result<()> {
        let was_told = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&was_told))?;
        flag::register(signal, was_told)?;
        flag::register_usize(signal, Arc::clone(&self.signal), usize::try_from(signal).unwrap_or(0))?;
        Ok(())
    }

    /// The signal that came.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
    }
}

/// Whether whoever started the command had it ignore the signal, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
