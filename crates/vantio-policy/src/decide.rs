//! The decision: kill switch, lists, guards, in this order; the first refusal stands.

use vantio_core::{Cause, Decision, Intent, Verdict};

use crate::{Mode, PolicyProgram, State, guard, learn, lists};

/// Answers an intent, as the policy's mode has it carried out.
///
/// In mode `monitor` what a rule, or the lack of one, refuses is permitted; in mode
/// `learn` what no rule speaks of, if it can be taken back. The cause is then
/// [`Cause::Observed`], and [`judge`] tells what would have been. What every
/// policy refuses stays refused in every mode.
pub fn decide<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    let verdict = judge(program, state, intent);
    if verdict.decision != Decision::Collapse {
        return verdict;
    }
    let section = match (program.mode(), verdict.cause) {
        (Mode::Monitor, Cause::Rule { section, .. } | Cause::Unmatched(section)) => section,
        (Mode::Learn, Cause::Unmatched(section)) if learn::can_be_taken_back(intent) => section,
        _ => return verdict,
    };
    permit(Cause::Observed(section))
}

/// Answers an intent as if the mode were `enforce`.
pub fn judge<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    if state.is_killed {
        return Verdict { decision: Decision::KillSwitch, cause: Cause::KillSwitch };
    }
    if state.program != program.hash {
        return collapse(Cause::Always("the state belongs to another policy"));
    }
    let verdict = lists::judge(program, state, intent);
    if !verdict.is_permit() {
        return verdict;
    }
    guard::hold_back(program, state, intent).unwrap_or(verdict)
}

const fn permit(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Permit, cause }
}

const fn collapse(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Collapse, cause }
}
