//! Why a run could not start or had to end.

use std::io;

/// Why the mechanism failed. The agent never ran unguarded.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct LaunchError {
    /// A stable code, such as `E_NAMESPACE`.
    pub code: String,
    /// The step that failed, in words.
    pub what: String,
    /// What the kernel said.
    pub cause: io::Error,
    /// What to do about it.
    pub help: String,
}

/// Says in words what failed.
pub(crate) trait Context<T> {
    /// Turns an error into a [`LaunchError`].
    fn context(self, code: &str, what: impl FnOnce() -> String, help: &str) -> Result<T, LaunchError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, code: &str, what: impl FnOnce() -> String, help: &str) -> Result<T, LaunchError> {
        self.map_err(|cause| LaunchError {
            code: code.to_owned(),
            what: what(),
            cause: cause.into(),
            help: help.to_owned(),
        })
    }
}
