//! What the ledger says about runs, read back for people.

mod fields;
mod lesson;
mod refusal;

pub use fields::{detail, member, number, target, text, to_json};
pub use lesson::{Learned, bindings, of_run as learned_from};
pub use refusal::{Action, Refusal, of_run, says_nothing_was_refused};
