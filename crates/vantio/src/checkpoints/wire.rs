//! What is said on the socket.

use serde::{Deserialize, Serialize};
use vantio_phantom::checkpoint::Checkpoint;

/// The version of the protocol.
pub const VERSION: u64 = 3;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Take a checkpoint.
    Checkpoint {
        label: Option<String>,
        /// With the processes.
        processes: bool,
    },
    /// Which checkpoints have processes.
    Kept,
    /// Go back to a checkpoint with its processes. Once nothing moves, whoever asks compares, and says [`Self::Return`].
    GoBack { id: u64 },
    /// It is known what has to change.
    Return,
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
    /// These have processes.
    Kept(Vec<u64>),
    /// The run is back.
    Back,
    /// It could not be done.
    Failed(String),
}
