//! Deciding where a policy has labels: with those of the process that asks, and with what would flow.

use std::cell::Cell;

use vantio_core::{Cause, Channel, Decision, Effect, Intent, Process, Target, Verdict};
use vantio_phantom::{Ruling, Ways};
use vantio_policy::{
    State,
    flow::{Flow, Refusal, Step, describe as told},
};

use super::{
    Moment, Refused, Warden,
    answer::names,
    describe,
    flow::{self, Tracker},
};
use crate::present::{clock, now_ms};

impl Warden {
    pub(super) fn answer_tracked(
        &self,
        tracker: &Tracker,
        intent: &Intent<'_>,
        ways: Option<Ways>,
    ) -> Result<Ruling, Refused> {
        let process = tracker.process(intent.pid);
        if tracker.will_look(&self.state, &flow::act(process, intent, ways), None) {
            // No lock is held meanwhile: those who are to let go may have to be answered first.
            tracker.settle(process);
        }
        let Some(mut labels) = tracker.current(process) else { return Ok(Ruling::Kill) };
        let Ok(mut state) = self.state.write() else { return Ok(Ruling::Kill) };
        let ruling = self.weigh(tracker, &mut labels, &state, process, intent, ways);
        if ruling.is_ok() {
            if let (Effect::ProcExec, Target::Path { path, .. }) = (intent.effect, intent.target) {
                tracker.starts(process, path);
            }
            state.settle(&self.program, intent);
        }
        flow::leave(&mut labels, process);
        ruling
    }

    fn weigh(
        &self,
        tracker: &Tracker,
        labels: &mut Flow,
        state: &State,
        process: Process,
        intent: &Intent<'_>,
        ways: Option<Ways>,
    ) -> Result<Ruling, Refused> {
        let is_blind = Cell::new(false);
        let mut census = || tracker.census(&is_blind);
        let mut intent = *intent;
        intent.context.labels =
            labels.labels_for(&self.program, state, &flow::act(process, &{ intent }, ways), &mut census);
        let judged = self.judge(state, &intent);
        if !judged.verdict().is_permit() {
            let refused = self.carry_out(state, &intent, &judged);
            return self.with_trail(tracker, labels, process, judged.verdict(), refused);
        }
        let act = flow::act(process, &intent, ways);
        match labels.admit(&self.program, state, &act, &mut census) {
            _ if is_blind.get() => Err(self.about_flow(unseen(), Some(state), &intent)),
            Ok(None) => self.carry_out(state, &intent, &judged),
            Ok(Some(observed)) => {
                let alone = self.counts_for_later(state, &intent);
                let refused = self.tainted(tracker, &observed, &names(state, &intent));
                Ok(self.permit_tainted(&intent, alone, refused, Some(state)))
            }
            Err(refusal) => {
                let refused = self.tainted(tracker, &refusal, &names(state, &intent));
                Err(self.about_flow(refused, Some(state), &intent))
            }
        }
    }

    pub(super) fn answer_join(&self, tid: u32, channel: Channel, ways: Ways, is_found: bool) -> Ruling {
        let Some(tracker) = &self.tracker else { return Ruling::Permit };
        let target = Target::Named(flow::name_of(&channel));
        let intent = Intent { pid: tid, ..Intent::new(Effect::IpcSend, target) };
        let outcome = self.join_tracked(tracker, &intent, channel, ways, is_found);
        self.conclude(&intent, outcome)
    }

    /// An end of a channel for which no intent is asked. Of one that was found at others nobody was told what
    /// it carries.
    fn join_tracked(
        &self,
        tracker: &Tracker,
        intent: &Intent<'_>,
        channel: Channel,
        ways: Ways,
        is_found: bool,
    ) -> Result<Ruling, Refused> {
        let process = tracker.process(intent.pid);
        let act = flow::act(process, intent, Some(ways));
        if is_found {
            let Some(mut labels) = tracker.current(process) else { return Ok(Ruling::Kill) };
            labels.unsettle();
        }
        if tracker.will_look(&self.state, &act, Some(&channel)) {
            tracker.settle(process);
        }
        let Some(mut labels) = tracker.current(process) else { return Ok(Ruling::Kill) };
        let Ok(state) = self.state.read() else { return Ok(Ruling::Kill) };
        if is_found {
            labels.unsettle();
        }
        let is_blind = Cell::new(false);
        match labels.join(&self.program, &state, &act, channel, &mut || tracker.census(&is_blind)) {
            _ if is_blind.get() => Err(self.about_flow(unseen(), None, intent)),
            Ok(None) => Ok(Ruling::Permit),
            Ok(Some(observed)) => {
                Ok(self.permit_tainted(intent, false, self.tainted(tracker, &observed, &[]), None))
            }
            Err(refusal) => Err(self.about_flow(self.tainted(tracker, &refusal, &[]), None, intent)),
        }
    }

    fn permit_tainted(
        &self,
        intent: &Intent<'_>,
        alone: bool,
        refused: Refused,
        state: Option<&State>,
    ) -> Ruling {
        let observed = Refused { response: describe::observed(refused.response), ..refused };
        self.permit_observed(intent, alone, || self.about_flow(observed, state, intent).response)
    }

    /// What would let a label reach a sink that is open already.
    fn tainted(&self, tracker: &Tracker, refusal: &Refusal<'_>, names: &[String]) -> Refused {
        let verdict = Verdict { decision: Decision::Collapse, cause: refusal.cause };
        let response = describe::refusal(&verdict, None, names);
        let response = describe::with_trail(response, &self.trail(tracker, refusal.trail.clone()));
        Refused { decision: Decision::Collapse, reason: refusal.cause.to_string(), response, waiting: None }
    }

    /// The refusal with the moment at which what others have open decided; without a state it is
    /// never settled.
    fn about_flow(&self, refused: Refused, state: Option<&State>, intent: &Intent<'_>) -> Refused {
        let response = self.notes.add(&self.program, refused.response, |notes| {
            let moment = state.map(|state| notes.moment(state, intent)).unwrap_or_default();
            Moment { is_about_flow: true, ..moment }
        });
        Refused { response, ..refused }
    }

    /// The refusal with how the label came to the process, where a label is why.
    fn with_trail(
        &self,
        tracker: &Tracker,
        labels: &Flow,
        process: Process,
        verdict: &Verdict<'_>,
        refused: Result<Ruling, Refused>,
    ) -> Result<Ruling, Refused> {
        let Cause::Tainted { label, .. } = verdict.cause else { return refused };
        let number = self.program.label_number(label).unwrap_or(u8::MAX);
        let steps = tracker.up_to_date(process, labels.trail(process, number));
        let trail = self.trail(tracker, steps);
        refused.map_err(|refused| {
            let response = describe::with_trail(refused.response, &trail);
            Refused { response, ..refused }
        })
    }

    fn trail(&self, tracker: &Tracker, steps: Vec<Step>) -> String {
        let now = now_ms();
        told(&tracker.numbered(steps), &self.home, |time| clock(time, now))
    }
}

/// Where not all open ends can be seen, nobody knows what would flow where.
fn unseen() -> Refused {
    let cause = Cause::Always("who holds what cannot be seen at the moment");
    let response = describe::cause(&cause);
    Refused { decision: Decision::Collapse, reason: cause.to_string(), response, waiting: None }
}
