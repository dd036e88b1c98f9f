//! Deciding again what was decided in a run, from nothing but the ledger and the policy program.

mod bundle;
mod judge;
mod report;
#[cfg(test)]
mod tests;

use vantio_core::RunId;
use vantio_ledger::Entry;
use vantio_policy::PolicyProgram;

use crate::failure::Failure;

pub use bundle::{open, write};
pub use judge::replay;
pub use report::Report;

/// A run that is to be decided again.
pub struct Past<'a> {
    /// The run.
    pub run_id: RunId,
    /// The policy that it had.
    pub program: PolicyProgram,
    /// Its entries, in order.
    pub entries: Box<dyn Iterator<Item = Result<Entry, Failure>> + 'a>,
}
