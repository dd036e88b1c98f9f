//! The end of a run by its own supervisor.

use std::sync::{Arc, OnceLock};

use rustix::process::Pid;

use crate::sys::process::kill;

/// Ends a run, and remembers why.
#[derive(Clone, Debug)]
pub(crate) struct End {
    init: Pid,
    why: Arc<OnceLock<&'static str>>,
}

impl End {
    /// For the run whose process 1 is `init`.
    pub(super) fn of(init: Pid) -> Self {
        Self { init, why: Arc::default() }
    }

    /// Ends every process of the run.
    pub(super) fn now(&self, why: &'static str) {
        // The first reason is the one to tell.
        let _ = self.why.set(why);
        // Gone already: nothing is left to end.
        let _ = kill(self.init.as_raw_pid(), libc::SIGKILL);
    }

    pub(super) fn why(&self) -> Option<&'static str> {
        self.why.get().copied()
    }
}

/// Why a run ends that the oracle does not rule over any more.
pub(crate) const UNRULED: &str = "what it does could not be decided and written down any more";
