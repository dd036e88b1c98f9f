//! Bringing a run's changes to the host, taking them back, and dropping them.

mod error;

pub use error::CommitError;
