//! Texts that are no rules, each with the code of the error.

use vantio_core::Section;
use vantio_policy::{PolicyProgram, compile};

const REFUSALS: &str = include_str!("cases/refusals.txt");

#[test]
fn texts_that_are_no_rules_are_refused() {
    let mut wrong = Vec::new();
    for (index, line) in REFUSALS.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [code, rule, _reason] = columns.as_slice() else { panic!("line {}", index + 1) };
        let (list, text) = rule.split_once(' ').unwrap_or((rule, ""));
        let section = PolicyProgram::SECTIONS.into_iter().find(|section| section.name() == list);
        let codes = codes(section.expect("a list"), text);
        if codes != [*code] {
            wrong.push(format!("line {}: {text}: {codes:?}", index + 1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes of a document that has this rule; the text is as it stands between double
/// quotes.
fn codes(section: Section, text: &str) -> Vec<&'static str> {
    let (key, list) = section.name().split_once('.').unwrap();
    let document = format!("version: 1\n{key}: {{{list}: [\"{text}\"]}}\n");
    match compile(document.as_bytes(), "policy.yaml") {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(|problem| problem.code).collect(),
    }
}
