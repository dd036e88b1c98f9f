//! Questions that a run asks people, and their answers.
//!
//! What a rule of `hold`, or a threshold with `then: hold`, holds back waits for an answer. In the run's supervisor [`Holds`] keeps the
//! questions that are open and the answers that go on holding, writes both down, and serves them on a local
//! socket in the run's folder, which no run can reach. Everybody else lists and answers them through [`waiting`] and
//! [`answer`]. How what is held waits is the mechanism's business, and what an answer settles the policy's.

mod client;
mod forked;
mod holds;
mod orphans;
mod question;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Waiting, answer, count, remove, waiting};
pub use holds::{Announcement, Asking, Holds, Place};
pub use orphans::{WITHDRAWN, orphans, withdrawn};
pub use question::{
    Answer, Asked, answers_of, how_to_answer, in_words, intent_hash, is_too_many, with_answers,
};
pub use server::serve;
pub use wire::{Question, Reach, Reply};

use question::Said;
use server::SOCKET;

/// The operation of an entry that has an answer, or that there was none.
pub const HOLD_ANSWER: &str = "hold.answer";
