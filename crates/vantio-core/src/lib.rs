//! The words every room of Vantio shares.
//!
//! A plane catches an action and states it as an [`Intent`]; `decide` (in
//! `vantio-policy`) answers with a [`Verdict`]; the ledger remembers both under
//! the identifiers and in the encoding defined here. No rule, no mechanism and
//! no input or output lives in this crate, and it builds without `std`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod channel;
mod clock;
mod effect;
mod hash;
mod id;
mod intent;
pub mod json;
mod labels;
mod message;
mod verdict;

pub use channel::{Channel, End, Process};
pub use clock::ClockError;
pub use effect::{Effect, Reversibility};
pub use hash::{Hash, ParseHashError};
pub use id::{ParseRunIdError, RunId};
pub use intent::{Access, Becomes, Context, Endpoint, Intent, Syscall, Target, Time, Transport};
pub use labels::Labels;
pub use verdict::{Cause, Decision, Section, Verdict};
