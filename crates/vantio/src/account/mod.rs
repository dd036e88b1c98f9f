//! What the ledger says about runs, read back for people.

mod fields;
mod lesson;
mod refusal;

pub use fields::{asked, detail, target};
pub use lesson::{Learned, bindings, names, of_run as learned_from};
pub use refusal::{NO_DETAILS, Refusal, advice_json, of_run};
