//! Thresholds and budgets.

use alloc::{format, vec::Vec};

use proptest::{collection::vec, prelude::*};
use vantio_core::{Access, Cause, Decision, Effect, Intent, Labels, Section, Target};

use super::{Case, at, connect, guards, open, scope};
use crate::guard::model::{Guards, Measure, Then, Threshold};

fn unlink(path: &str) -> Intent<'_> {
    let target = Target::Path { path: path.as_bytes(), access: Access::Write, subtree: false };
    Intent::new(Effect::FsUnlink, target)
}

fn case(effect: Effect, measure: Measure, limit: u64, within_ms: u64, then: Then) -> Case {
    let threshold = Threshold { scope: scope(&[effect], None, &[]), measure, limit, within_ms, then };
    Case::new(Guards { thresholds: [threshold].into(), ..guards() })
}

#[test]
fn a_threshold_is_reached_and_not_passed() {
    let mut case = case(Effect::FsUnlink, Measure::Count, 2, 10_000, Then::Hold);
    let mut unlink_at = |ms| case.act(&at(unlink("/a"), ms, Labels::NONE));
    assert!(unlink_at(0) && unlink_at(4_000));
    assert!(!unlink_at(4_000) && !unlink_at(10_000));
    assert!(unlink_at(10_001) && !unlink_at(10_001));
    assert!(!unlink_at(14_000) && unlink_at(14_001));
    let verdict = case.ask(&at(unlink("/a"), 14_001, Labels::NONE));
    assert_eq!(verdict.decision, Decision::Hold);
    let text = "fs.unlink: 2 within 10s, then hold";
    assert_eq!(verdict.cause, Cause::Rule { section: Section::Thresholds, text });
}

#[test]
fn what_counts_for_later_is_told_and_counted() {
    let mut case = case(Effect::FsUnlink, Measure::Count, 2, 10_000, Then::Collapse);
    let counts = |case: &Case, intent: &Intent<'_>| case.state.counts(&case.program, intent);
    let (removal, opening) =
        (at(unlink("/a"), 7, Labels::NONE), at(open("/a", Access::Read), 9, Labels::NONE));
    assert!(counts(&case, &removal) && !counts(&case, &opening));
    assert!(case.act(&opening) && case.state.changes() == 0);
    assert_eq!(case.state.time_of(&removal), 9, "time does not go back");
    assert!(case.act(&removal) && case.state.changes() == 1);
    assert!(case.program.asks_the_time() && case.state.satisfied().is_empty());
}

#[test]
fn a_threshold_of_zero_permits_none() {
    let mut case = case(Effect::FsUnlink, Measure::Count, 0, 1, Then::Collapse);
    assert!(!case.act(&at(unlink("/a"), u64::MAX, Labels::NONE)));
}

#[test]
fn a_clock_that_goes_back_or_stands_still_opens_nothing() {
    let mut case = case(Effect::FsUnlink, Measure::Count, 3, 1_000, Then::Collapse);
    let mut unlink_at = |ms| case.act(&at(unlink("/a"), ms, Labels::NONE));
    assert!(unlink_at(5_000) && unlink_at(0) && unlink_at(u64::MAX));
    assert!(unlink_at(u64::MAX) && unlink_at(7));
    for ms in [0, 5_000, 100_000, u64::MAX - 1, u64::MAX] {
        assert!(!unlink_at(ms), "{ms}");
    }
}

#[test]
fn bytes_are_added_up() {
    let mut case = case(Effect::FsOpen, Measure::Bytes, 100, 1_000, Then::Collapse);
    let mut write = |bytes| {
        let mut intent = open("/a", Access::Write);
        intent.context.bytes = bytes;
        case.act(&intent)
    };
    assert!(write(60) && write(0) && !write(41) && write(40) && write(0));
    assert!(!write(1) && !write(u64::MAX));
}

#[test]
fn different_targets_are_counted_once_while_they_are_recent() {
    let mut case = case(Effect::NetConnect, Measure::Distinct, 2, 1_000, Then::Collapse);
    let mut to = |address, ms| case.act(&at(connect(address), ms, Labels::NONE));
    assert!(to("192.0.2.1:1", 0) && to("192.0.2.1:2", 0) && to("192.0.2.2:1", 500));
    assert!(!to("192.0.2.3:1", 1_000));
    assert!(to("[::ffff:192.0.2.1]:80", 1_000), "the same host");
    assert!(to("192.0.2.3:1", 1_501), "the second is forgotten");
    assert!(!to("192.0.2.2:1", 1_501));
}

#[test]
fn budgets_count_what_intents_cost() {
    let mut case = Case::with("fs: {write: [/]}\nbudgets: {file_bytes: 10, wall_ms: 1000}", guards());
    let mut write = |bytes, ms| {
        let mut intent = at(open("/a", Access::Write), ms, Labels::NONE);
        intent.context.bytes = bytes;
        let refused = case.ask(&intent).cause;
        let name = if let Cause::Budget(name) = refused { Some(name) } else { None };
        assert_eq!(case.act(&intent), name.is_none());
        name
    };
    assert_eq!(write(6, 0), None);
    assert_eq!(write(5, 0), Some("file_bytes"));
    assert_eq!(write(4, 0), None);
    assert_eq!(write(u64::MAX, 0), Some("file_bytes"));
    assert_eq!(write(0, 1_000), None);
    assert_eq!(write(0, 1_001), Some("wall_ms"));
    assert_eq!(write(0, 0), None, "what was refused is not remembered");
}

#[test]
fn calls_of_tools_and_models_are_counted_together() {
    let document = "tools: {allow: ['*']}\ninfer: {models: ['*']}\nbudgets: {calls: 2}";
    let mut case = Case::with(document, guards());
    let [tool, model] =
        [Effect::ToolCall, Effect::Infer].map(|effect| Intent::new(effect, Target::Named("x")));
    assert!(case.act(&tool) && case.act(&model));
    for call in [tool, model] {
        assert_eq!(case.ask(&call).cause, Cause::Budget("calls"));
    }
    let mut none = Case::with("tools: {allow: ['*']}\nbudgets: {calls: 0}", guards());
    assert!(!none.act(&tool));
}

#[test]
fn a_policy_remembers_only_where_something_asks_for_it() {
    let remembers = |document, guards| Case::with(document, guards).program.remembers();
    assert!(!remembers("fs: {read: [/]}\nbudgets: {processes: 9, wall_ms: 1000}", guards()));
    for document in ["budgets: {calls: 1}", "budgets: {file_bytes: 1}", "budgets: {network_bytes: 1}"] {
        assert!(remembers(document, guards()), "{document}");
    }
    assert!(case(Effect::FsUnlink, Measure::Count, 1, 1, Then::Hold).program.remembers());
}

/// What is in a window, counted one by one.
struct Exact {
    limit: u64,
    within_ms: u64,
    latest: u64,
    permitted: Vec<(u64, u64)>,
}

impl Exact {
    fn would_permit(&self, ms: u64, bytes: u64) -> bool {
        let now = self.latest.max(ms);
        let recent = self.permitted.iter().filter(|(at, _)| now - at <= self.within_ms);
        bytes == 0 || recent.map(|(_, bytes)| bytes).sum::<u64>() + bytes <= self.limit
    }
}

proptest! {
    #[test]
    fn a_window_never_counts_too_little_and_counts_exactly_while_there_is_room(
        limit in 0_u64..3_000,
        within_ms in 0_u64..200,
        events in vec((0_u64..4, 0_u64..5), 0..1_500),
    ) {
        let mut case = case(Effect::FsOpen, Measure::Bytes, limit, within_ms, Then::Collapse);
        let mut exact = Exact { limit, within_ms, latest: 0, permitted: Vec::new() };
        let mut now = 0;
        for (index, (delay, bytes)) in events.into_iter().enumerate() {
            now += delay;
            let mut intent = at(open("/a", Access::Write), now, Labels::NONE);
            intent.context.bytes = bytes;
            let (expected, is_permitted) = (exact.would_permit(now, bytes), case.act(&intent));
            prop_assert!(expected || !is_permitted, "{}", format!("{index}: {now} {bytes}"));
            prop_assert!(expected == is_permitted || index >= 512, "{index}");
            if is_permitted {
                exact.permitted.push((now, bytes));
                exact.latest = now;
            }
        }
    }
}
