//! Telling a state what happened.

use alloc::vec::Vec;

use vantio_core::Intent;

use crate::{
    PolicyProgram, State,
    flow::{Census, Ended},
    guard::{
        bound::Bound,
        history::{costs, is_used_by, is_used_by_intents, is_used_by_time},
        model::Then,
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

    /// Whether an intent may have to wait for an approver.
    pub fn may_hold(&self) -> bool {
        let guards = &self.parts.guards;
        !guards.hold.is_empty() || guards.thresholds.iter().any(|threshold| threshold.then == Then::Hold)
    }

    /// Whether the time of an intent may decide.
    pub fn asks_the_time(&self) -> bool {
        !self.parts.guards.thresholds.is_empty() || is_used_by_time(self)
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
        let mut counts = is_used_by(program, intent);
        let history = &self.guards().history;
        let (moment, now) = (history.moment.saturating_add(1), history.now(intent));
        for (index, rule) in guards.order.iter().enumerate() {
            let Bound { order, history, .. } = self.guards();
            let Some((bound, progress)) = order.get(index).zip(history.order.get(index)) else { break };
            if let Some(next) = progress.after(rule, bound, self, intent, moment)
                && let Some(progress) = self.guards_mut().history.order.get_mut(index)
            {
                *progress = next;
                counts = true;
            }
        }
        for (index, threshold) in guards.thresholds.iter().enumerate() {
            let Some(bound) = self.guards().thresholds.get(index) else { break };
            if bound.scope.covers(self, intent)
                && let Some(window) = self.guards_mut().history.windows.get_mut(index)
            {
                window.add(threshold, now, intent);
                counts = true;
            }
        }
        let history = &mut self.guards_mut().history;
        history.changes += u64::from(counts);
        for (used, cost) in history.used.iter_mut().zip(costs(intent)) {
            *used = used.saturating_add(cost);
        }
        (history.moment, history.latest_ms) = (moment, now);
    }

    /// Whether [`State::settle`] of the intent may change a later decision by more than its time.
    pub fn counts(&self, program: &PolicyProgram, intent: &Intent<'_>) -> bool {
        let Bound { order, thresholds, history, .. } = self.guards();
        let mut rules = program.parts.guards.order.iter().zip(order).zip(&history.order);
        is_used_by(program, intent)
            || thresholds.iter().any(|bound| bound.scope.covers(self, intent))
            || rules.any(|((rule, bound), progress)| progress.after(rule, bound, self, intent, 0).is_some())
    }

    /// How often something happened that counts for a later decision: it orders decisions and what
    /// they depend on.
    pub fn changes(&self) -> u64 {
        self.guards().history.changes
    }

    /// The time of an intent, in milliseconds since the run's start: no earlier than any before.
    pub fn time_of(&self, intent: &Intent<'_>) -> u64 {
        self.guards().history.now(intent)
    }

    /// The numbers of the order rules that are satisfied.
    pub fn satisfied(&self) -> Vec<u32> {
        let rules = (0..).zip(&self.guards().history.order);
        rules.filter(|(_, progress)| progress.is_satisfied).map(|(number, _)| number).collect()
    }

    /// Says which order rules are satisfied, as [`State::satisfied`] told it once.
    pub fn set_satisfied(&mut self, numbers: &[u32]) {
        let history = &mut self.guards_mut().history;
        for (number, progress) in (0..).zip(&mut history.order) {
            progress.is_satisfied = numbers.contains(&number);
        }
        history.changes += 1;
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
