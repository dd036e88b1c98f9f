//! Runs within a run: an agent that starts a governed agent.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod hostile;
mod lives;
mod policies;

use std::fs;

use serde_json::Value;

use common::{Outcome, World, binary, parse};

/// What the outer runs of these tests may do: everything in files and programs but what is in `kept`.
pub(crate) const OUTER: &str = r#"version: 1
name: outer
fs: {read: [/], write: ["${workspace}", "${tmp}", /dev], deny: ["${workspace}/kept"]}
exec: {allow: [/]}
"#;

/// A nested policy that writes in one folder.
pub(crate) const INNER: &str = r#"version: 1
name: inner
fs: {read: [/], write: ["${workspace}/sub", /dev], deny: ["${workspace}/secret"]}
exec: {allow: [/], deny: [/usr/bin/id]}
"#;

/// A world with a nested policy, and files that it refuses.
pub(crate) fn world(inner: &str) -> World {
    let world = World::new();
    world.write("inner.yaml", inner);
    world.write("secret", "hidden\n");
    world.write("kept", "kept\n");
    fs::create_dir_all(world.workspace().join("sub")).unwrap();
    world
}

/// Runs a shell under the outer policy; in its script `nest NAME SCRIPT` starts another under the inner one.
pub(crate) fn run(world: &World, script: &str) -> Outcome {
    run_under(world, OUTER, script)
}

pub(crate) fn run_under(world: &World, outer: &str, script: &str) -> Outcome {
    let vantio = binary();
    let nest = format!(
        "nest() {{ name=$1; shift; {} run --policy \"${{inner:-inner.yaml}}\" --name \"$name\" -- /bin/bash -c \"$@\"; }}",
        vantio.display()
    );
    world.run(outer, &["/bin/bash", "-c", &format!("{nest}\nexport -f nest\n{script}")])
}

/// The requests of all entries of this operation.
pub(crate) fn requests(world: &World, op: &str) -> Vec<Value> {
    let list = world.ask(&["ledger", "list", "--op", op, "--json", "--limit", "0"]);
    list.lines().map(|line| parse(line)["detail"]["request"].clone()).collect()
}
