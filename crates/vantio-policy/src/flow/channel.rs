//! Who and what labels attach to.

use alloc::vec::Vec;

use vantio_core::{Effect, Intent, Target};

pub use vantio_core::{Channel, End, Process};

/// An intent that the lists permit, with what the plane knows of it besides.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// Who.
    pub process: Process,
    /// What.
    pub intent: &'a Intent<'a>,
    /// When, in milliseconds since the Unix epoch: for trails only.
    pub at_ms: u64,
    /// Whether content can be read through what is opened.
    pub reads: bool,
    /// Whether content can be written through what is opened.
    pub writes: bool,
    /// Whether the file comes into being by this (`O_EXCL`), so that nobody can hold it open yet.
    pub is_new: bool,
}

impl<'a> Act<'a> {
    /// An intent of which nothing more is known: an open for writing may read as well.
    pub fn new(process: Process, at_ms: u64, intent: &'a Intent<'a>) -> Self {
        let reads = intent.effect == Effect::FsOpen;
        let writes = match intent.target {
            Target::Path { access, .. } => access == vantio_core::Access::Write,
            _ => false,
        };
        Self { process, intent, at_ms, reads, writes, is_new: false }
    }
}

/// How a process ended, for [`crate::State::ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The program that it executed last, and where that is a script, its interpreters. Empty where
    /// that is not certain.
    pub(crate) programs: Vec<Vec<u8>>,
    /// [`crate::State::moment`] when it was executed.
    pub(crate) executed: u64,
    /// Its exit status; `None` when a signal ended it or nobody knows.
    pub(crate) status: Option<u8>,
}
