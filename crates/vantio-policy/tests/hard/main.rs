//! Cases that are easy to get wrong, each with the reason for its outcome: `decide`
//! and the evaluator of the tests are both asked.
//!
//! A file of `cases/` is a sequence of policies. Lines under `policy` add rules (`fs.read
//! /a`), the mode, and what the host has (`on home=/h`); then comes one case a line:
//! outcome, intent and reason, between bars. `\xHH` is a byte, `\u{H}` a character,
//! `\r{N,TEXT}` a text N times, `\s` a space.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../reference/evaluator/mod.rs"]
#[allow(dead_code, reason = "shared with the tests that compare random policies")]
mod evaluator;
#[path = "../reference/question.rs"]
#[allow(dead_code, reason = "shared with the tests that compare random policies")]
mod question;
mod refusals;
mod table;

use evaluator::Evaluator;
use vantio_policy::{PolicyProgram, decide};

/// Cases that there are at least, in all files together.
const LEAST: usize = 250;

#[test]
fn hard_cases_are_decided_as_their_reasons_say() {
    let mut asked = 0;
    let mut wrong = Vec::new();
    for (file, text) in FILES {
        for policy in table::parse(file, text) {
            let (program, state) = policy.world.build(&policy.policy);
            assert_eq!(PolicyProgram::decode(&program.encode()).as_ref(), Ok(&program), "{file}");
            let evaluator = Evaluator::new(&policy.policy, &policy.world);
            for case in &policy.cases {
                asked += 1;
                let intent = case.question.intent();
                let (reply, verdict) = (evaluator.reply(&intent), decide(&program, &state, &intent));
                if !reply.is(&verdict) {
                    wrong.push(format!("{}: decide {verdict:?}, reference {reply:?}", case.place));
                } else if reply.kind() != case.outcome {
                    wrong.push(format!("{}: {}, for {}", case.place, reply.kind(), case.reason));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= LEAST, "{asked} cases");
}

const FILES: &[(&str, &str)] = &[
    ("aliases", include_str!("cases/aliases.txt")),
    ("domains", include_str!("cases/domains.txt")),
    ("addresses", include_str!("cases/addresses.txt")),
    ("folders", include_str!("cases/folders.txt")),
    ("modes", include_str!("cases/modes.txt")),
    ("names", include_str!("cases/names.txt")),
    ("overlaps", include_str!("cases/overlaps.txt")),
    ("paths", include_str!("cases/paths.txt")),
    ("programs", include_str!("cases/programs.txt")),
    ("wildcards", include_str!("cases/wildcards.txt")),
];
