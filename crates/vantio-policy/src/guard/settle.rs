//! Telling a state what happened.

use vantio_core::{Access, Effect, Intent, Target};

use crate::{
    PolicyProgram, State,
    flow::Ended,
    guard::{
        bound::Bound,
        history::{Progress, costs, is_used_by_intents},
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
        for index in 0..history.order.len() {
            let Some((rule, bound)) = guards.order.get(index).zip(self.guards().order.get(index)) else {
                break;
            };
            let has_happened = rule.unless_after.exit.is_none() && bound.unless_after.covers(self, intent);
            let begins_again = bound.since.covers(self, intent);
            let Some(progress) = self.guards_mut().history.order.get_mut(index) else { break };
            progress.is_satisfied |= has_happened;
            // One intent that is both has not happened since.
            if begins_again {
                *progress = Progress { is_satisfied: false, since: moment };
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
    /// ended so, and nothing of `since` has happened after it was started.
    pub fn ended(&mut self, program: &PolicyProgram, ended: &Ended) {
        for (index, rule) in program.parts.guards.order.iter().enumerate() {
            if rule.unless_after.exit.is_none() || rule.unless_after.exit != ended.status {
                continue;
            }
            let Bound { order, history, .. } = self.guards();
            let Some((bound, progress)) = order.get(index).zip(history.order.get(index)) else { break };
            let is_covered = ended.programs.iter().any(|path| {
                let target = Target::Path { path, access: Access::Read, subtree: false };
                bound.unless_after.covers(self, &Intent::new(Effect::ProcExec, target))
            });
            if is_covered
                && progress.since <= ended.executed
                && let Some(progress) = self.guards_mut().history.order.get_mut(index)
            {
                progress.is_satisfied = true;
            }
        }
    }

    /// How many intents were settled.
    pub fn moment(&self) -> u64 {
        self.guards().history.moment
    }
}
