//! Commits with hunks and merges, and undos of some paths, killed at any call.

use crash_points::{Ending, Point};

use crate::scene::{Scene, TEXT};

/// One hunk of a text that has another name, a merge, and whole changes.
const COMMIT: [&str; 7] = ["commit", "last", "--hunks", "text:1", "--merge", "both", "d"];
const UNDO: [&str; 4] = ["undo", "last", "text", "d/a"];

fn scene() -> Scene {
    let mut scene = Scene::new(&TEXT);
    std::thread::sleep(std::time::Duration::from_millis(25));
    scene.edit_host("sed 's/^20$/host/' both > t; cat t > both; rm t");
    scene
}

/// The hunks that wait of `text`; `None` where nothing of it does.
fn hunks(scene: &Scene) -> Option<usize> {
    let is_text = |change: &&serde_json::Value| change["path"].as_str().unwrap().ends_with("/text");
    let changes = scene.changes();
    changes.iter().find(is_text).map(|change| change["hunks"].as_array().unwrap().len())
}

#[test]
fn a_commit_of_hunks_and_merges_killed_at_any_call_is_all_or_nothing() {
    let mut scene = scene();
    scene.ask(&COMMIT);
    let after = scene.lines();
    assert_eq!((scene.changes().len(), hunks(&scene)), (1, Some(2)));
    scene.undo_all();
    let all = scene.changes().len();
    let (mut tried, mut finished) = (0, 0);
    for call in 0.. {
        let report = scene.killed_at(&COMMIT, Point::Before(call));
        let what = format!("{call} ({:?})", report.calls.last());
        // The next command makes it good.
        if scene.changes().len() == all {
            assert_eq!(hunks(&scene), Some(3), "{what}");
            scene.assert_before(&what);
        } else {
            finished += 1;
            assert_eq!((scene.changes().len(), hunks(&scene)), (1, Some(2)), "{what}");
            assert_eq!(scene.lines(), after, "{what}");
            // What is left is no conflict.
            scene.ask(&["commit", "last", "--hazards"]);
            assert_eq!(hunks(&scene), None, "{what}");
        }
        scene.undo_all();
        if report.ending != Ending::Killed {
            assert_eq!(report.ending, Ending::Exited(0), "{what}");
            break;
        }
        tried += 1;
    }
    println!("killed at {tried} calls, of which {finished} were past the last step");
    assert!(tried > 60 && finished > 3 && finished < tried / 2, "{tried} {finished}");
}

#[test]
fn an_undo_of_some_paths_killed_at_any_call_is_taken_up_again() {
    let mut scene = scene();
    scene.ask(&COMMIT);
    let committed = scene.lines();
    scene.ask(&UNDO);
    let part = scene.lines();
    assert_eq!((scene.changes().len(), hunks(&scene)), (2, Some(3)));
    scene.undo_all();
    let (mut tried, mut untouched) = (0, 0);
    for call in 0.. {
        scene.ask(&COMMIT);
        let report = scene.killed_at(&UNDO, Point::Before(call));
        let what = format!("{call} ({:?})", report.calls.last());
        if scene.changes().len() == 1 {
            untouched += 1;
            assert_eq!(scene.lines(), committed, "{what}");
        } else {
            assert_eq!((scene.changes().len(), hunks(&scene)), (2, Some(3)), "{what}");
            assert_eq!(scene.lines(), part, "{what}");
            // What went back can be committed again.
            scene.ask(&["commit", "last", "d"]);
            assert_eq!(scene.changes().len(), 1, "{what}");
        }
        scene.undo_all();
        tried += 1;
        if report.ending != Ending::Killed {
            assert_eq!(report.ending, Ending::Exited(0), "{what}");
            break;
        }
    }
    println!("killed at {tried} calls, of which {untouched} were before the first step");
    assert!(tried > 40 && untouched > 3 && untouched < tried, "{tried} {untouched}");
}
