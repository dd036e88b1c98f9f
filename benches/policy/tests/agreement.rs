//! The rule sets are what the bench says they are, and every subject answers alike.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use bench_policy::{
    requests::{self, Action},
    rules::{self, List},
    stage::Stage,
    subjects::ALL,
};

#[test]
fn a_smaller_rule_set_begins_a_larger_one() {
    let large = rules::generate(1_000);
    for count in [1, 10, 100] {
        assert_eq!(rules::generate(count), large[..count]);
    }
}

#[test]
fn a_hundred_rules_are_different_and_fill_every_list() {
    let rules = rules::generate(100);
    assert_eq!(rules.iter().collect::<HashSet<_>>().len(), 100);
    for list in List::ALL {
        assert!(rules.iter().any(|rule| rule.list == list), "{list:?} is empty");
    }
}

#[test]
fn requests_are_of_every_kind_and_most_paths_are_deep() {
    let scene = requests::generate(&rules::generate(100));
    assert_eq!(scene.requests.len(), requests::COUNT);
    for action in Action::ALL {
        assert!(scene.requests.iter().any(|request| request.action == action), "nothing asks to {action:?}");
    }
    let read: Vec<usize> = scene
        .requests
        .iter()
        .filter(|request| request.action == Action::Read)
        .map(|request| request.text().matches('/').count())
        .collect();
    let deep = read.iter().filter(|components| (5..=8).contains(*components)).count();
    assert!(deep * 4 > read.len() * 3, "{deep} of {}", read.len());
}

#[test]
fn every_subject_answers_every_request_alike() {
    for count in [1, 10, 100] {
        let stage = Stage::set(count).unwrap();
        for entrant in &stage.entrants {
            let reason = entrant.subject.as_ref().err();
            assert_eq!(reason, None, "{} refused {count} rules", entrant.kind.name);
        }
        assert_eq!(stage.entrants.len(), ALL.len());
        // Neither "always" nor "never" would do.
        assert!(
            (requests::COUNT / 20..requests::COUNT * 4 / 5).contains(&stage.permitted),
            "{}",
            stage.permitted
        );
    }
}
