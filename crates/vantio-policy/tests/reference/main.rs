//! `decide` against an evaluator that is slow and plain enough to be seen to be
//! right: it tries every way a pattern can match, and every name below a folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod network;
mod paths;

use vantio_policy::{Bindings, PolicyProgram, State, compile};

/// A list of a document, in flow style.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn build(source: &str) -> (PolicyProgram, State) {
    let program = compile(source.as_bytes(), "policy.yaml").unwrap().program;
    let bindings = Bindings {
        workspace: b"/w".to_vec(),
        home: b"/h/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let state = State::new(&program, bindings);
    (program, state)
}
