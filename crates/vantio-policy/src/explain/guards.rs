//! Guards that are about the effect.

use vantio_core::{Intent, Section};

use super::{Miss, Reason, Weighed, Weight};
use crate::guard::scope::BoundScope;

impl Weighed<'_, '_> {
    pub(super) fn guards(&mut self, intent: &Intent<'_>) {
        let guards = self.state.guards();
        for sink in &guards.sinks {
            let carried = !sink.labels.intersection(intent.context.labels).is_empty();
            let idle = (!carried).then_some("the process carries no label that it keeps from here");
            self.guard(Section::TaintSinks, &sink.text, &sink.scope, idle, intent);
        }
        for (rule, progress) in guards.order.iter().zip(&guards.history.order) {
            let idle = progress.is_satisfied.then_some("what it asks for has happened");
            self.guard(Section::Order, &rule.text, &rule.refuse, idle, intent);
        }
        let (now, thresholds) = (guards.history.now(intent), &self.program.parts.guards.thresholds);
        for ((threshold, bound), window) in
            thresholds.iter().zip(&guards.thresholds).zip(&guards.history.windows)
        {
            let idle = (!window.is_passed_by(threshold, now, intent)).then_some("it is not passed yet");
            self.guard(Section::Thresholds, &bound.text, &bound.scope, idle, intent);
        }
        for rule in &guards.hold {
            self.guard(Section::Hold, &rule.text, &rule.scope, None, intent);
        }
    }
}

impl<'p> Weighed<'_, 'p> {
    /// Weighs one guard; `idle` is why it would let an intent pass that it covers.
    fn guard(
        &mut self,
        section: Section,
        text: &'p str,
        scope: &BoundScope,
        idle: Option<&'static str>,
        intent: &Intent<'_>,
    ) {
        if !scope.is_about(intent.effect) {
            return;
        }
        let finding = match idle {
            _ if !scope.covers(self.state, intent) => Err(Miss::new(Reason::OtherKind, 0)),
            Some(why) => Err(Miss::new(Reason::Inactive(why), COVERED)),
            None => Ok(()),
        };
        self.rules.push(Weight { section, rule: text, side: None, finding });
    }
}

/// A guard that covers the intent and does not act is nearer than any that does not.
const COVERED: u32 = 1000;
