//! How another process asks a run that lives for a checkpoint: a local socket in the run's folder, one JSON object a
//! line. The supervisor answers; only the run's own user is heard.

mod ask;
mod serve;

use serde::{Deserialize, Serialize};
use vantio_core::json::Value;
use vantio_phantom::checkpoint::Checkpoint;

pub use ask::{Hold, take};
pub use serve::serve;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    version: u32,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum What {
    /// Take a checkpoint.
    Checkpoint { label: Option<String> },
    /// Let nothing change until this connection is closed, for a moment at most.
    Hold,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// It was taken.
    Taken(Checkpoint),
    /// Nothing changes.
    Held,
    /// It could not be done.
    Failed(String),
}

/// What the ledger keeps of a checkpoint.
pub fn to_value(checkpoint: &Checkpoint) -> Value {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    Value::object([
        ("cause", Value::from(checkpoint.cause.name())),
        ("copied", number(checkpoint.copied)),
        ("id", number(checkpoint.id)),
        ("label", checkpoint.label.as_deref().map_or(Value::Null, Value::from)),
        ("moving", number(checkpoint.moving)),
    ])
}

/// The socket's name in the run's folder.
const SOCKET: &str = "checkpoints.sock";
const VERSION: u32 = 1;
