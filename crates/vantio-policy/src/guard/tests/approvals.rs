//! What an approval settles, and what a pattern of it covers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use alloc::{format, string::String, vec::Vec};

use proptest::prelude::*;
use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Labels, Section, Target, Transport};

use super::build::{Case, at, connect, entry, exec, guards, guards_of, open, scope};
use crate::{
    ApprovedPattern, decide, decide_approved,
    explain::to_a_labels,
    guard::model::{Guards, HoldRule, Measure, Then, Threshold},
    holds,
};

fn hold(effects: &[Effect], targets: &[&str], approvers: &[&str]) -> HoldRule {
    let approvers = approvers.iter().map(|name| String::from(*name)).collect();
    HoldRule { scope: scope(effects, None, targets), approvers, timeout_ms: 1000 }
}

#[test]
fn each_rule_that_holds_is_settled_by_itself() {
    let hold =
        [hold(&[Effect::FsUnlink], &["/w"], &[]), hold(&[Effect::FsUnlink], &["/w/a"], &["owner"])].into();
    let threshold = Threshold {
        scope: scope(&[Effect::FsUnlink], None, &[]),
        measure: Measure::Count,
        limit: 0,
        within_ms: 1000,
        then: Then::Hold,
    };
    let mut parts = Guards { hold, thresholds: [threshold].into(), ..guards() };
    parts.sort();
    let case = Case::new(parts);
    let target = Target::Path { path: b"/w/a", access: Access::Write, subtree: false };
    let intent = Intent::new(Effect::FsUnlink, target);
    let rules: Vec<String> =
        holds(&case.program, &case.state, &intent).map(|held| held.rule.into()).collect();
    assert_eq!(rules.len(), 3);
    for approved in 0..=rules.len() {
        let approves = |rule: &str| rules[..approved].iter().any(|known| known == rule);
        let verdict = decide_approved(&case.program, &case.state, &intent, |held| approves(held.rule));
        match rules.get(approved) {
            Some(next) => {
                let section = if approved == 0 { Section::Thresholds } else { Section::Hold };
                assert_eq!(verdict.decision, Decision::Hold);
                assert_eq!(verdict.cause, Cause::Rule { section, text: next });
            }
            None => assert!(verdict.is_permit(), "{verdict:?}"),
        }
    }
}

#[test]
fn an_approval_passes_nothing_but_the_hold() {
    let everything = scope(&[Effect::FsOpen], None, &[]);
    let hold = || [hold(&[Effect::FsOpen], &[], &[])].into();
    let tainted = guards_of(Vec::new(), [entry(Some(1), everything.clone())].into(), Vec::new());
    let refusing = Threshold {
        scope: everything,
        measure: Measure::Count,
        limit: 0,
        within_ms: 1000,
        then: Then::Collapse,
    };
    let lists = "fs: {read: [/], deny: [/w/secret]}";
    let cases = [
        (Case::with(lists, Guards { hold: hold(), ..guards() }), "/w/secret"),
        (Case::new(Guards { hold: hold(), ..tainted }), "/w/a"),
        (Case::new(Guards { hold: hold(), thresholds: [refusing].into(), ..guards() }), "/w/a"),
    ];
    for (case, path) in &cases {
        let intent = at(open(path, Access::Read), 0, Labels::single(1));
        let verdict = decide_approved(&case.program, &case.state, &intent, |_| true);
        assert_eq!(verdict, decide(&case.program, &case.state, &intent));
        assert_eq!(verdict.decision, Decision::Collapse);
    }
    let mut killed = Case::new(Guards { hold: hold(), ..guards() });
    assert!(
        decide_approved(&killed.program, &killed.state, &open("/w/a", Access::Read), |_| true).is_permit()
    );
    killed.state.set_killed(true);
    let verdict = decide_approved(&killed.program, &killed.state, &open("/w/a", Access::Read), |_| true);
    assert_eq!(verdict.decision, Decision::KillSwitch);
}

fn pattern(text: &str, effect: Effect, access: Access) -> Result<ApprovedPattern, crate::ApprovalError> {
    let case = Case::new(guards());
    ApprovedPattern::parse(text, effect, access, case.state.bindings(), to_a_labels)
}

fn covers(text: &str, effect: Effect, target: Target<'_>, names: &[&str]) -> bool {
    let pattern = pattern(text, effect, Access::Write).unwrap();
    pattern.covers(&Intent::new(effect, target), names.iter().copied())
}

#[test]
fn a_pattern_of_paths_covers_as_an_allow_does() {
    let path =
        |path: &'static str, subtree| Target::Path { path: path.as_bytes(), access: Access::Write, subtree };
    let covered = [
        ("${workspace}/a", "/w/a", false),
        ("${workspace}/a", "/w/a/b", false),
        ("/w/*.txt", "/w/x.txt", false),
        ("~/**", "/home/u/x/y", false),
        ("/w/d/**", "/w/d/e", true),
    ];
    for (text, target, subtree) in covered {
        assert!(covers(text, Effect::FsUnlink, path(target, subtree), &[]), "{text} {target}");
    }
    let apart = [
        ("/w/a", "/w/ab", false),
        ("/w/*.txt", "/w/x.txt/y", false),
        ("/w/*.txt", "/w/x.txt", true),
        ("/w/d/**", "/w/d", true),
        ("/w/d/**", "/w", true),
    ];
    for (text, target, subtree) in apart {
        assert!(!covers(text, Effect::FsUnlink, path(target, subtree), &[]), "{text} {target}");
    }
    assert!(!covers("/w/*", Effect::FsRmdir, path("/w/d", false), &[]), "what is below comes along");
    let both = Target::Paths { from: b"/w/a", to: b"/v/a", subtree: false };
    assert!(!covers("/w", Effect::FsRename, both, &[]));
    assert!(covers("/**", Effect::FsRename, both, &[]));
}

#[test]
fn a_pattern_of_reading_covers_no_writing_and_no_other_effect() {
    let reading = pattern("/w", Effect::FsOpen, Access::Read).unwrap();
    assert!(reading.covers(&open("/w/a", Access::Read), [].into_iter()));
    assert!(!reading.covers(&open("/w/a", Access::Write), [].into_iter()));
    assert!(!reading.covers(&exec("/w/a"), [].into_iter()));
}

#[test]
fn a_pattern_of_hosts_covers_as_an_allow_does() {
    let (address, other) = (connect("10.0.0.1:443").target, connect("10.0.0.1:5432").target);
    let covers = |text, target, names: &[&str]| covers(text, Effect::NetConnect, target, names);
    for text in ["10.0.0.1", "10.0.0.0/8", "*", "db.corp.example", "*.corp.example:443"] {
        assert!(covers(text, address, &["db.corp.example"]), "{text}");
        assert!(!covers(text, other, &["db.corp.example"]), "{text}: no port is those of the web");
    }
    assert!(covers("10.0.0.1:*", other, &[]));
    for text in ["corp.example", "*.db.corp.example", "11.0.0.0/8", "udp://10.0.0.1:443", "unix:/run/x"] {
        assert!(!covers(text, address, &["db.corp.example"]), "{text}");
    }
    let udp = Endpoint { transport: Transport::Udp, address: "10.0.0.1:53".parse().unwrap(), in_run: false };
    assert!(covers("udp://10.0.0.1:53", Target::Endpoint(udp), &[]));
    assert!(!covers("10.0.0.1:53", Target::Endpoint(udp), &[]));
    assert!(covers("unix:/run/**", Target::Unix(b"/run/x"), &[]));
    assert!(!covers("*:*", Target::Unix(b"/run/x"), &[]));
}

#[test]
fn a_pattern_of_programs_may_be_a_bare_name() {
    let redact = exec("/usr/bin/redact").target;
    assert!(covers("redact", Effect::ProcExec, redact, &[]));
    assert!(!covers("other", Effect::ProcExec, redact, &[]));
    assert!(covers("/usr/bin/*", Effect::ProcExec, redact, &[]));
}

#[test]
fn what_is_no_rule_of_an_allow_is_no_pattern() {
    for (text, effect) in [
        ("w/a", Effect::FsOpen),
        ("", Effect::FsOpen),
        ("/w/../a", Effect::FsOpen),
        ("localhost", Effect::NetConnect),
        ("https://example.com", Effect::NetConnect),
        ("*.exe", Effect::ProcExec),
        ("x", Effect::ProcSignal),
    ] {
        assert!(pattern(text, effect, Access::Write).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever is approved, the pattern of the very path covers it, and no sibling.
    #[test]
    fn the_path_itself_is_the_narrowest_pattern(names in prop::collection::vec("[a-z]{1,5}", 1..5), other in "[A-Z]{1,5}") {
        let path = names.iter().fold(String::new(), |path, name| path + "/" + name);
        let sibling = format!("{}/{other}", path.rsplit_once('/').unwrap().0);
        let pattern = pattern(&path, Effect::FsOpen, Access::Write).unwrap();
        prop_assert!(pattern.covers(&open(&path, Access::Write), [].into_iter()));
        prop_assert!(!pattern.covers(&open(&sibling, Access::Write), [].into_iter()));
    }
}
