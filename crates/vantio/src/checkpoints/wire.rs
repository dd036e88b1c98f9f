//! What is said on the socket.

use serde::{Deserialize, Serialize};
use vantio_phantom::checkpoint::Checkpoint;

/// The version of the protocol.
pub const VERSION: u64 = 2;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Take a checkpoint.
    Checkpoint { label: Option<String> },
    /// Let nothing change until this connection is closed, for a moment at most.
    Hold,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was taken.
    Taken(Checkpoint),
    /// Nothing changes.
    Held,
    /// It could not be done.
    Failed(String),
}
