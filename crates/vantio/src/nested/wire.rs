//! What is said between `vantio run` within a run and the supervisor.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vantio_phantom::changes::PathBytes;

/// The version of the protocol.
pub const VERSION: u64 = 1;

/// A policy for whoever takes the mark that is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// What the nested run is called.
    pub name: String,
    /// Its command.
    pub command: Vec<PathBytes>,
    /// Its policy, as its canonical bytes in base64.
    pub policy: String,
    /// What the policy's variables and names stand for.
    pub bindings: Names,
    /// The mark of whoever asks.
    pub under: (u64, u64),
}

/// [`vantio_policy::Bindings`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub workspace: PathBytes,
    pub home: PathBytes,
    pub tmp: PathBytes,
    pub aliases: Vec<(PathBytes, PathBytes)>,
    pub programs: Vec<(String, Vec<PathBytes>)>,
    pub host_addresses: Vec<IpAddr>,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is taken in.
    Nested {
        /// The nested run's number in the outer one.
        number: u64,
        /// What to take.
        mark: (u64, u64),
    },
    /// It is not.
    Refused {
        /// A stable code.
        code: String,
        /// Why.
        message: String,
        /// What to do about it.
        help: String,
    },
}
