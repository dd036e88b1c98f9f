//! What the ledger says about runs, read back for people.

mod fields;
mod refusal;

pub use fields::{detail, to_json};
pub use refusal::{Refusal, of_run, says_nothing_was_refused};
