//! Telling a state what happened.

use vantio_core::Intent;

use crate::{
    PolicyProgram, State,
    flow::{Census, Ended},
    guard::{
        bound::Bound,
        history::{costs, is_used_by_intents},
    },
};

impl PolicyProgram {
    /// Whether permitted intents must be told to [`State::settle`]: whether the policy has budgets that
    /// intents use up, thresholds or order rules. Deciding and settling are then one step, under one
    /// lock: two intents that are decided before either is settled could pass a limit together.
    pub fn remembers(&self) -> bool {
        let guards = &self.parts.guards;
        !guards.order.is_empty() || !guards.thresholds.is_empty() || is_used_by_intents(self)
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
    /// count of it, what order rules wait for. Needed where [`PolicyProgram::remembers`].
    pub fn settle(&mut self, program: &PolicyProgram, intent: &Intent<'_>) {
        let guards = &program.parts.guards;
        let history = &self.guards().history;
        let (moment, now) = (history.moment.saturating_add(1), history.now(intent));
        for (index, rule) in guards.order.iter().enumerate() {
            let Bound { order, history, .. } = self.guards();
            let Some((bound, progress)) = order.get(index).zip(history.order.get(index)) else { break };
            if let Some(next) = progress.after(rule, bound, self, intent, moment)
                && let Some(progress) = self.guards_mut().history.order.get_mut(index)
            {
                *progress = next;
            }
        }
        for (index, threshold) in guards.thresholds.iter().enumerate() {
            let Some(bound) = self.guards().thresholds.get(index) else { break };
            if bound.scope.covers(self, intent)
                && let Some(window) = self.guards_mut().history.windows.get_mut(index)
            {
                window.add(threshold, now, intent);
            }
        }
        let history = &mut self.guards_mut().history;
        for (used, cost) in history.used.iter_mut().zip(costs(intent)) {
            *used = used.saturating_add(cost);
        }
        (history.moment, history.latest_ms) = (moment, now);
    }

    /// A process has ended: an order rule that asks for how a program ended is satisfied where it
    /// ended so, nothing of `since` has happened after it was started, and nobody has open for writing
    /// what `since` is about. For the last a census is taken.
    pub fn ended(&mut self, program: &PolicyProgram, ended: &Ended, census: &mut Census<'_>) {
        for (index, rule) in program.parts.guards.order.iter().enumerate() {
            let Bound { order, history, .. } = self.guards();
            let Some((bound, progress)) = order.get(index).zip(history.order.get(index)) else { break };
            if progress.is_satisfied_by(rule, bound, self, ended, census)
                && let Some(progress) = self.guards_mut().history.order.get_mut(index)
            {
                progress.is_satisfied = true;
            }
        }
    }

    /// Nobody knows who has what open: what order rules wait for has to happen again.
    pub fn doubt(&mut self) {
        for progress in &mut self.guards_mut().history.order {
            progress.is_satisfied = false;
        }
    }

    /// How many intents were settled.
    pub fn moment(&self) -> u64 {
        self.guards().history.moment
    }
}
