//! What a run has done, as far as guards ask for it.

use vantio_core::Intent;

use crate::{PolicyProgram, State, flow::Ended};

impl PolicyProgram {
    /// Whether permitted intents must be told to [`State::settle`]: whether the policy has budgets that
    /// intents use up, thresholds or order rules. Then deciding and settling are one step: under one lock.
    pub fn remembers(&self) -> bool {
        !self.parts.guards.order.is_empty() || !self.parts.guards.thresholds.is_empty()
    }

    /// The names of the labels; the label of number `n` is the element `n`.
    pub fn labels(&self) -> &[alloc::string::String] {
        &self.parts.guards.labels
    }

    /// The number of a label.
    pub fn label_number(&self, name: &str) -> Option<u8> {
        self.labels().iter().position(|label| label == name).and_then(|index| u8::try_from(index).ok())
    }
}

impl State {
    /// Remembers an intent that was permitted and is carried out: what it costs, what thresholds
    /// count of it, what order rules wait for.
    pub fn settle(&mut self, program: &PolicyProgram, intent: &Intent<'_>) {
        let _ = (program, intent);
    }

    /// A process has ended: for order rules with `exit`.
    pub fn ended(&mut self, program: &PolicyProgram, ended: &Ended) {
        let _ = (program, ended);
    }

    /// How many intents were settled.
    pub const fn moment(&self) -> u64 {
        0
    }
}
