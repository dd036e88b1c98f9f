//! Runs that go on without a terminal: the keeper, and those who visit it.
//!
//! A detached run has a *keeper*: a process of its own session that holds the master of a pseudoterminal, on whose slave
//! the ordinary `vantio run` goes on, so that the run's own terminal is behind the keeper's as it would be behind a
//! person's. Where the caller had no terminal there is none: standard input is `/dev/null`, and output a pipe to the keeper.
//!
//! What comes out goes to a bounded [`Log`] in the run's folder, and from there to whoever is connected to the
//! socket beside it; a visitor that is slow reads later, and never holds up the run. What visitors type goes to the run.
//!
//! ```text
//! caller ──fork── keeper (setsid; becomes a fresh process by exec) ──fork── runner (setsid, slave as terminal)
//! ```
//!
//! When the keeper dies, the runner is hung up as by a terminal. When the runner dies, the keeper says so and ends.

mod error;
mod keys;
mod log;
mod modes;
mod serve;
mod split;
mod visit;
mod visitor;
mod wire;

use std::path::Path;

pub use error::KeeperError;
pub use log::{Kept, Log};
pub use serve::{Duty, keep};
pub use split::{Inherited, News, Part, Seat, Starting, Word, split};
pub use visit::{Leave, Visit, Welcome, visit};

use crate::socket;

/// Removes the socket of a run that is over.
pub fn remove(folder: &Path) {
    socket::remove(folder, SOCKET);
}

/// The socket's name in a run's folder.
const SOCKET: &str = "terminal.sock";
