//! Attempts to get out of a run, each with a test. A test fails when something outside changed or leaked, when an
//! attempt was not even made, or when a refusal is missing from the ledger.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod files;
mod host;
mod names;
mod network;
mod privileges;
mod processes;
mod races;
mod sockets;
mod supervisor;
mod syscalls;

use common::{Outcome, World};

const PRELUDE: &str = include_str!("attacks/prelude.py");

/// Runs a Python attack under `policy`; fails when an attempt reached its aim or the script did not come to its end.
#[track_caller]
fn attack(world: &World, policy: &str, script: &str, arguments: &[&str]) -> Outcome {
    let outcome = world.run(policy, &attack_command(world, script, arguments));
    assert_held(&outcome);
    outcome
}

/// The command line of a Python attack, written into the workspace.
fn attack_command<'a>(world: &World, script: &str, arguments: &[&'a str]) -> Vec<&'a str> {
    world.write("attack.py", format!("{}\n{PRELUDE}\n{script}\ndone()\n", host_namespaces()));
    [&["/usr/bin/python3", "-B", "attack.py"], arguments].concat()
}

/// The namespaces of the host, for an attack to compare with its own: in one of these it does not even begin.
fn host_namespaces() -> String {
    let link = |kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let pair = |kind| format!("'{kind}': '{}'", link(kind).display());
    format!("HOST = {{{}}}", ["ipc", "mnt", "net", "pid", "user", "uts"].map(pair).join(", "))
}

#[track_caller]
fn assert_held(outcome: &Outcome) {
    assert!(!outcome.stdout.contains("REACHED"), "{}", outcome.describe());
    assert!(outcome.stdout.ends_with("DONE\n"), "the attack did not come to its end: {}", outcome.describe());
    outcome.assert_no_secret();
}

/// Runs a compiled attack; the same promises.
#[track_caller]
fn attack_in_c(world: &World, policy: &str, program: &str, arguments: &[&str]) -> Outcome {
    let outcome = world.run(policy, &[&[program], arguments].concat());
    assert_held(&outcome);
    outcome
}
