//! How another process asks a run that lives for a checkpoint: at a local socket in the run's folder. The supervisor
//! answers.

mod ask;
mod serve;
mod wire;

use vantio_core::json::Value;
use vantio_phantom::checkpoint::Checkpoint;

pub use ask::{Hold, go_back, kept, remove, take};
pub use serve::serve;

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
