//! Why a run could not start or had to end.

use std::io;

/// Why the mechanism failed. The agent never ran unguarded.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct LaunchError {
    /// A stable code, such as `E_NAMESPACE`.
    pub code: &'static str,
    /// The step that failed, in words.
    pub what: String,
    /// What the kernel said.
    pub cause: io::Error,
    /// What to do about it.
    pub help: &'static str,
}
