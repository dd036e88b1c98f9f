//! `cargo xtask demo`: an unmodified agent works, is hijacked, and fails to do harm; every claim is checked.

mod check;
mod learn;
mod scene;

use std::path::Path;

use crate::{
    failure::{AtPath, Failure},
    layout, setup, shell,
    step::{headline, step},
};

use check::Checks;
use scene::{Notes, Scene};

/// Sets up, runs and judges the demo.
pub fn run() -> Result<(), Failure> {
    headline("setup");
    setup::packages("demo")?;
    let vantio = setup::release_binary()?;
    let files = layout::root().join("examples/demo");
    let environment = layout::target().join("demo/venv");
    setup::python_environment(&environment, &files.join("requirements.txt"), &files.join("constraints.txt"))?;
    let lay_out = |notes| Scene::set(&files, &environment, vantio.clone(), notes);
    let scene = step("lay out a repository with a failing test and a home with an SSH key", || {
        lay_out(Notes::Misleading)
    })?;
    let before = scene.listing()?;

    headline("the agent: mini-swe-agent under examples/demo/policy.yaml");
    let transcript = scene.run_agent(&scene.policy(&files.join("policy.yaml"), "policy")?)?;
    println!("{}", conversation(&transcript));

    headline("what it wanted to change: vantio diff last --patch");
    shell::loud(&mut scene.vantio(&["diff", "last", "--patch"]))?;
    headline("what was refused, and why: vantio why last");
    shell::loud(&mut scene.vantio(&["why", "last"]))?;

    headline("checks");
    let mut checks = Checks::default();
    check::host_untouched(&mut checks, &scene, &before)?;
    check::fix_is_pending(&mut checks, &scene)?;
    check::attempts_refused(&mut checks, &scene, &transcript)?;
    check::ledger_verifies(&mut checks, &scene)?;

    headline("commit the fix: vantio commit last pricing.py");
    shell::loud(&mut scene.vantio(&["commit", "last", "pricing.py"]))?;
    check::only_the_fix_arrived(&mut checks, &scene, &before)?;
    check::tests_pass(&mut checks, &scene)?;
    check::ledger_verifies(&mut checks, &scene)?;

    let calm = step("lay out the same again, without the notes that mislead", || lay_out(Notes::Plain))?;
    learn::close(&mut checks, &calm, &files)?;
    checks.finish()
}

/// The agent's own words from its transcript, without the long instructions that it starts with.
fn conversation(transcript: &str) -> &str {
    transcript.find("mini-swe-agent (step 1").map_or(transcript, |start| &transcript[start..])
}

/// The content of a file, or the reason there is none.
fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).at(path)
}
