//! The decision: kill switch, lists, guards, in this order; the first refusal stands.

use vantio_core::{Cause, Decision, Intent, Section, Verdict};

use crate::{Mode, PolicyProgram, State, guard, learn, lists};

/// Answers an intent, as the policy's mode has it carried out.
///
/// In mode `monitor` what a rule, or the lack of one, refuses or holds is permitted; in mode
/// `learn` what no rule speaks of, if it can be taken back. The cause is then
/// [`Cause::Observed`], and [`judge`] tells what would have been. Nor does `learn` hold what can be
/// taken back. What every policy refuses and what a budget refuses stays refused in every mode.
pub fn decide<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    // Nothing is made of this verdict: it is written once, where the caller wants it.
    if program.mode() == Mode::Enforce {
        return judge(program, state, intent);
    }
    let verdict = judge(program, state, intent);
    let Some(section) = observed(program, intent, &verdict) else { return verdict };
    // What a mode lets through has not passed the guards that come after what refused it.
    let held = if program.mode() == Mode::Learn {
        guard::hold_back(program, state, intent).filter(|held| held.decision != Decision::Hold)
    } else {
        guard::over_budget(program, state, intent)
    };
    held.unwrap_or(permit(Cause::Observed(section)))
}

/// As [`decide`], without what guards hold back: for a question about an alternative that
/// is decided in full before it is taken.
pub fn decide_by_lists<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    let verdict = judge_by_lists(program, state, intent);
    observed(program, intent, &verdict).map_or(verdict, |section| permit(Cause::Observed(section)))
}

/// Answers an intent as if the mode were `enforce`.
pub fn judge<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    let verdict = judge_by_lists(program, state, intent);
    if !verdict.is_permit() {
        return verdict;
    }
    guard::hold_back(program, state, intent).unwrap_or(verdict)
}

#[inline]
fn judge_by_lists<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    if state.is_killed || program.parts.guards.kill_switch.is_active {
        return Verdict { decision: Decision::KillSwitch, cause: Cause::KillSwitch };
    }
    if state.program != program.hash {
        return collapse(Cause::Always("the state belongs to another policy"));
    }
    lists::judge(program, state, intent)
}

/// The section whose refusal the mode only observes.
fn observed(program: &PolicyProgram, intent: &Intent<'_>, verdict: &Verdict<'_>) -> Option<Section> {
    if !matches!(verdict.decision, Decision::Collapse | Decision::Hold) {
        return None;
    }
    match (program.mode(), verdict.cause) {
        (Mode::Monitor, Cause::Rule { section, .. } | Cause::Unmatched(section)) => Some(section),
        (Mode::Monitor, Cause::Tainted { .. }) => Some(Section::TaintSinks),
        (Mode::Learn, Cause::Rule { section, .. }) if verdict.decision == Decision::Hold => {
            learn::can_be_taken_back(program, intent).then_some(section)
        }
        (Mode::Learn, Cause::Unmatched(section)) => {
            learn::can_be_taken_back(program, intent).then_some(section)
        }
        _ => None,
    }
}

const fn permit(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Permit, cause }
}

const fn collapse(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Collapse, cause }
}
