//! What fails, and when.

use std::sync::{Mutex, PoisonError};

/// A way in which a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writing, or making a file or folder, finds no space left.
    Full,
    /// A write fails, and nothing of it is done.
    Write,
    /// A sync fails. As on Linux, what it should have kept of a file is not tried again: a later sync
    /// succeeds, and keeps only what was written since; and whoever had the file open then is told
    /// once, at the next sync (since Linux 4.13; `fsync(2)`, notes on `EIO`).
    Sync,
    /// A sync answers that all is well, and keeps nothing.
    Lie,
}

/// Something that can fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Make,
    Write,
    Sync,
}

impl Fault {
    const fn is_of(self, operation: Operation) -> bool {
        match self {
            Self::Full => matches!(operation, Operation::Make | Operation::Write),
            Self::Write => matches!(operation, Operation::Write),
            Self::Sync | Self::Lie => matches!(operation, Operation::Sync),
        }
    }
}

/// The fault that is in force.
#[derive(Default)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    after: u64,
    times: u64,
    failed: u64,
}

impl Faults {
    pub fn inject(&self, fault: Fault, after: u64, times: u64) {
        *self.lock() = State { fault: Some(fault), after, times, failed: 0 };
    }

    pub fn failures(&self) -> u64 {
        self.lock().failed
    }

    pub fn repair(&self) -> u64 {
        std::mem::take(&mut *self.lock()).failed
    }

    /// How an operation fails that is about to be done.
    pub fn meet(&self, operation: Operation) -> Option<Fault> {
        let mut state = self.lock();
        let fault = state.fault.filter(|fault| fault.is_of(operation))?;
        if state.after > 0 {
            state.after -= 1;
            return None;
        }
        if state.failed == state.times {
            return None;
        }
        state.failed += 1;
        Some(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
