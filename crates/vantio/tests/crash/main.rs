//! A command that dies at any system call leaves the tree exactly as it was, or exactly as it was to be; or the next
//! command makes it so.
//!
//! Every call that can change a file is tried, on a small tree with every kind of change, and a stride of them on a
//! tree of 2,000 changes. `--ignored` tries every one there too, from VANTIO_TEST_FIRST by VANTIO_TEST_STRIDE.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod first;
mod meanwhile;
mod parts;
mod scene;

use std::fs;

use crash_points::{Ending, Point};

use common::{WORKSPACE, World, finish};
use scene::{LARGE, SMALL, Scene, State, Tree};

/// Kills `vantio commit` at a point, lets the next command clean up, and says what the host has then.
fn crash(scene: &mut Scene, point: Point) -> Option<State> {
    let report = scene.killed_at(&["commit", "last", "--hazards"], point);
    if report.ending != Ending::Killed {
        assert_eq!(report.ending, Ending::Exited(0), "{point:?}");
        assert_eq!(scene.settle(&format!("{point:?}")), State::After);
        return None;
    }
    Some(scene.settle(&format!("{point:?} ({:?})", report.calls.last())))
}

/// Tries every `stride`th call from `first`, and the last; returns how many, and how often the commit was finished.
fn crash_everywhere(tree: &Tree, first: usize, stride: usize) -> (usize, usize) {
    let mut scene = Scene::new(tree);
    let (mut tried, mut finished) = (0, 0);
    for call in (first..).step_by(stride) {
        match crash(&mut scene, Point::Before(call)) {
            None => break,
            Some(State::After) => finished += 1,
            Some(State::Before) => {}
        }
        tried += 1;
        if tried % 500 == 0 {
            println!("killed at {tried} calls so far, the last of them {call}");
        }
    }
    scene.ask(&["ledger", "verify"]);
    (tried, finished)
}

#[test]
fn a_commit_killed_at_any_call_is_all_or_nothing() {
    let (tried, finished) = crash_everywhere(&SMALL, 0, 1);
    println!("killed at {tried} calls, of which {finished} were past the last step");
    assert!(tried > 120 && finished > 3 && finished < tried / 2, "{tried} {finished}");
}

#[test]
fn a_commit_to_another_file_system_killed_at_any_call_is_all_or_nothing() {
    let mut scene = Scene::elsewhere(&SMALL);
    let mut tried = 0;
    for call in 0.. {
        if crash(&mut scene, Point::Before(call)).is_none() {
            break;
        }
        tried += 1;
    }
    println!("killed at {tried} calls");
    assert!(tried > 150, "{tried}");
}

#[test]
fn two_thousand_changes_killed_at_a_stride_of_calls_are_all_or_nothing() {
    let calls = Scene::new(&LARGE).calls(&["commit", "last", "--hazards"]);
    let stride = calls / 16;
    let (tried, finished) = crash_everywhere(&LARGE, stride / 2, stride);
    println!("killed at {tried} of {calls} calls, of which {finished} were past the last step");
    assert!(calls > 2000 && tried > 14, "{calls} {tried}");
}

#[test]
#[ignore = "takes an hour in a release build"]
fn two_thousand_changes_killed_at_every_call_are_all_or_nothing() {
    let first = std::env::var("VANTIO_TEST_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let stride = std::env::var("VANTIO_TEST_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (tried, finished) = crash_everywhere(&LARGE, first, stride);
    println!("killed at {tried} calls, of which {finished} were past the last step");
}

#[test]
fn a_recovery_killed_at_any_call_is_taken_up_again() {
    let mut scene = Scene::new(&SMALL);
    let calls = scene.calls(&["commit", "last", "--hazards"]);
    let mut tried = 0;
    // In the middle of the copies, of the steps, and after the last step.
    for crashed in [calls / 3, calls * 2 / 3, calls * 3 / 4, calls - 12] {
        for call in 0.. {
            let point = Point::Before(crashed);
            if scene.killed_at(&["commit", "last", "--hazards"], point).ending != Ending::Killed {
                scene.settle("not killed");
                break;
            }
            let again = scene.killed_at(&["ps"], Point::Before(call));
            scene.settle(&format!("{point:?}, then {call} ({:?})", again.calls.last()));
            tried += 1;
            if again.ending != Ending::Killed {
                break;
            }
        }
    }
    println!("killed at {tried} calls");
    assert!(tried > 60, "{tried}");
}

#[test]
fn an_undo_killed_at_any_call_is_taken_up_again() {
    undo_killed_everywhere(Scene::new(&SMALL));
}

#[test]
fn an_undo_on_another_file_system_killed_at_any_call_is_taken_up_again() {
    undo_killed_everywhere(Scene::elsewhere(&SMALL));
}

fn undo_killed_everywhere(mut scene: Scene) {
    let mut tried = 0;
    for call in 0.. {
        scene.ask(&["commit", "last", "--hazards"]);
        let report = scene.killed_at(&["undo", "last"], Point::Before(call));
        let what = format!("undo {call} ({:?})", report.calls.last());
        let told = scene.told(&["ps"]);
        assert!(!told.contains("stays as it is") && !told.contains("commit was"), "{what}: {told}");
        scene.settle(&what);
        assert_eq!(scene.kept_for_undo(), 0, "{what}");
        tried += 1;
        if report.ending != Ending::Killed {
            break;
        }
    }
    println!("killed at {tried} calls");
    assert!(tried > 60, "{tried}");
}

#[test]
fn a_discard_killed_at_any_call_leaves_the_host_and_is_taken_up_again() {
    let mut tried = 0;
    let mut scene = Scene::new(&SMALL);
    for call in (0..).step_by(4) {
        let report = scene.killed_at(&["discard", "last"], Point::Before(call));
        if report.ending != Ending::Killed {
            break;
        }
        scene.ask(&["ps"]);
        tried += 1;
        let what = format!("discard {call} ({:?})", report.calls.last());
        if scene.is_discarded() {
            // As if it had not been killed: nothing is left of what the run wrote.
            assert_eq!(scene.leftovers(), "", "{what}");
            scene.assert_before(&what);
            scene = Scene::new(&SMALL);
        } else {
            assert_eq!(scene.settle(&what), State::Before);
        }
    }
    println!("killed at {tried} calls");
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_prune_killed_at_any_call_leaves_a_run_that_can_be_pruned_or_nothing() {
    let world = World::new();
    let everything = ["prune", "--changed", "--committed"];
    for call in (0..).step_by(4) {
        world.run(WORKSPACE, &["/bin/sh", "-c", "echo x >> one; echo x >> two"]).assert_success();
        world.ask(&["commit", "last", "one"]);
        let report = crash_points::run(&world.vantio(everything), Some(Point::Before(call))).unwrap();
        let what = format!("{call} ({:?})", report.calls.last());
        let swept = finish(&mut world.vantio(["ps", "--all"]));
        assert!(
            !swept.stderr.contains("could not") && !swept.stderr.contains("damaged"),
            "{what}: {swept:?}"
        );
        finish(&mut world.vantio(everything)).assert_success();
        assert_eq!(world.runs(), Vec::<String>::new(), "{what}");
        assert_eq!(fs::read_dir(world.state().join("held")).unwrap().count(), 0, "{what}");
        let two = world.workspace().join("two");
        assert!(world.workspace().join("one").exists() && !two.exists(), "{what}");
        if report.ending != Ending::Killed {
            println!("killed at {call} calls");
            assert!(call > 60, "{call}");
            break;
        }
    }
    world.ask(&["ledger", "verify"]);
}

#[test]
fn a_checkpoint_killed_at_any_call_is_there_or_not() {
    let scene = Scene::new(&SMALL);
    let mut taken = 0;
    for call in 0.. {
        let report = scene.killed_at(&["checkpoint", "last"], Point::Before(call));
        let listed: serde_json::Value =
            serde_json::from_str(&scene.ask(&["checkpoint", "last", "--list", "--json"])).unwrap();
        let ids: Vec<_> = listed["checkpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|taken| taken["id"].as_u64().unwrap())
            .collect();
        let most = taken + 1;
        assert!(ids.len() == taken || ids.len() == most, "{call} ({:?}): {ids:?}", report.calls.last());
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
        taken = ids.len();
        if report.ending != Ending::Killed {
            break;
        }
    }
    assert!(taken > 1, "{taken}");
    scene.ask(&["restore", "last", "1"]);
    assert!(!scene.changes().is_empty());
}

#[test]
fn a_run_that_commits_by_itself_killed_at_any_call_is_all_or_nothing() {
    let mut scene = Scene::automatic(&SMALL);
    let mut command = scene.run();
    let calls = crash_points::run(&command, None).unwrap().calls.len();
    scene.settle("not killed");
    let mut tried = 0;
    // The last calls are the commit's; before them the run itself is killed, which leaves the host alone.
    for call in 0.. {
        command = scene.run();
        let report = crash_points::run(&command, Some(Point::Before(call))).unwrap();
        scene.settle(&format!("run {call} ({:?})", report.calls.last()));
        tried += 1;
        if report.ending != Ending::Killed {
            break;
        }
        finish(&mut scene.world.vantio(["kill", "last"]));
        finish(&mut scene.world.vantio(["discard", "last"]));
    }
    println!("killed at {tried} of {calls} calls");
    assert!(tried > 20, "{tried}");
}
