//! Checkpoints that a policy asks for.

use crate::{
    common::{WORKSPACE, World, finish},
    diff, entries, list,
};

#[test]
fn a_tool_that_destroys_is_taken_back() {
    let world = World::new();
    world.write("precious", "kept\n");
    let policy = with("{exec: true}");
    let script = "echo work > done; /bin/true; /bin/rm precious; echo more >> done; /bin/true; :";
    world.run(&policy, &["/bin/bash", "-euc", script]).assert_success();
    let causes: Vec<_> =
        list(&world).iter().map(|entry| entry["cause"].as_str().unwrap().to_owned()).collect();
    // Before `rm` nothing had changed since the checkpoint before `true`, unless the supervisor had not yet let go
    // of the file that it opened.
    assert!(causes.iter().all(|cause| cause == "exec") && matches!(causes.len(), 2 | 3), "{causes:?}");
    assert_eq!(entries(&world, "run.checkpoint"), causes.len());
    assert_eq!(diff(&world, &[]).len(), 2);
    world.ask(&["restore", "last", "1"]);
    let left = diff(&world, &[]);
    assert!(left.len() == 1 && left[0].contains("done"), "{left:?}");
}

#[test]
fn every_so_many_changes_are_remembered() {
    let world = World::new();
    let policy = with("{writes: 20}");
    let script = "for n in $(seq 100); do echo $n > file$n; done";
    world.run(&policy, &["/bin/bash", "-euc", script]).assert_success();
    let taken = list(&world).len();
    assert!((3..=10).contains(&taken), "{taken}");
    world.ask(&["restore", "last", "2"]);
    let left = diff(&world, &[]).len();
    assert!((20..=45).contains(&left), "{left}");
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}

/// The workspace preset with a word about checkpoints.
fn with(checkpoint: &str) -> String {
    WORKSPACE.replace("phantom:\n", &format!("phantom:\n  checkpoint: {checkpoint}\n"))
}
