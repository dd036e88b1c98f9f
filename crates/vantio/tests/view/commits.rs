//! Committing from a snapshot: what the host changed since is a conflict, and nothing else is.

use std::fs;

use crate::{
    Paused,
    common::{World, finish, parse},
};

#[test]
fn what_only_the_run_changed_is_committed() {
    let world = World::new();
    world.write("a", "old\n");
    world.write("large", vec![b'x'; 3 << 20]);
    world.write("gone", "");
    world.write("tree/leaf", "");
    let script = "pause; echo new > a; echo more >> large; rm gone; mv tree moved; echo made > made; ln a b";
    Paused::start(&world, "snapshot", script).end();
    finish(&mut world.vantio(["commit", "last"])).assert_success();
    let read = |name: &str| fs::read(world.workspace().join(name)).unwrap();
    assert_eq!((read("a"), read("b"), read("made")), (b"new\n".into(), b"new\n".into(), b"made\n".into()));
    assert_eq!(read("large").len(), (3 << 20) + 5);
    assert!(!world.workspace().join("gone").exists() && world.workspace().join("moved/leaf").exists());
    assert!(!world.workspace().join("tree").exists());
}

#[test]
fn what_the_host_changed_since_the_start_conflicts_though_the_run_changed_it_later() {
    let world = World::new();
    for name in ["changed", "large", "removed", "mode", "touched", "alike", "free"] {
        world.write(name, if name == "large" { "x".repeat(2 << 20) } else { "old\n".into() });
    }
    // The run begins to change each only after the host has.
    let script =
        "pause; for name in changed large removed mode touched alike free added; do echo run >> $name; done";
    let run = Paused::start(&world, "snapshot", script);
    let at = |name: &str| world.workspace().join(name);
    world.write("changed", "host\n");
    world.write("large", "y".repeat(2 << 20));
    fs::remove_file(at("removed")).unwrap();
    finish(world.command("/bin/chmod").args(["600", "mode"])).assert_success();
    // What looks changed and is not is no conflict.
    finish(world.command("/bin/touch").arg("touched")).assert_success();
    world.write("alike", "old\nrun\n");
    world.write("added", "host\n");
    run.end();

    let outcome = finish(&mut world.vantio(["commit", "last", "--json"]));
    outcome.assert_code(4);
    let report = parse(&outcome.stdout).to_string();
    let read = |name: &str| fs::read_to_string(at(name)).unwrap();
    for (name, content) in [("changed", "host\n"), ("mode", "old\n"), ("added", "host\n")] {
        assert_eq!(read(name), content, "{report}");
    }
    assert!(!at("removed").exists() && read("large").starts_with('y'), "{report}");
    for name in ["free", "touched", "alike"] {
        assert_eq!(read(name), "old\nrun\n", "{name}: {report}");
    }
    let mut left: Vec<_> = world.changes().into_iter().map(|(_, path)| path).collect();
    left.sort();
    assert_eq!(left, ["added", "changed", "large", "mode", "removed"].map(at));
}

#[test]
fn the_hosts_new_file_in_a_directory_that_the_run_removed_is_kept() {
    let world = World::new();
    world.write("dir/a", "");
    let run = Paused::start(&world, "snapshot", "pause; rm -r dir; mkdir dir; echo b > dir/b");
    world.write("dir/new", "host");
    run.end();
    finish(&mut world.vantio(["commit", "last"])).assert_code(4);
    assert_eq!(fs::read_to_string(world.workspace().join("dir/new")).unwrap(), "host");
}
