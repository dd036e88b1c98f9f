//! What the host does between an undo that was killed and the command that finishes it is not lost.

use crash_points::{Ending, Point};

use crate::scene::{Scene, WRITTEN};

/// The files that the host writes to, wherever it finds them.
const FILES: [&str; 9] = ["mod", "both", "named", "gone", "renamed", "meta", "swapped", "n/x", "n/host"];

fn killed_everywhere(scene: impl Fn() -> Scene, stride: usize) {
    let mut tried = 0;
    for call in (0..).step_by(stride) {
        let mut scene = scene();
        scene.ask(&["commit", "last", "--hazards"]);
        let report = scene.killed_at(&["undo", "last"], Point::Before(call));
        if report.ending != Ending::Killed {
            break;
        }
        let what = format!("undo {call} ({:?})", report.calls.last());
        std::thread::sleep(std::time::Duration::from_millis(25));
        scene.edit_host("for f in mod both named gone renamed meta swapped n/x; do test -f $f && echo HOST >> $f; done; test -d n && echo HOST > n/host; true");
        let written = FILES.map(|name| scene.read(name).is_some_and(|text| text.ends_with("HOST\n")));
        let told = scene.told(&["ps"]);
        let keeps = |when: &str| {
            for (name, _) in FILES.iter().zip(written).filter(|(_, is_written)| *is_written) {
                // A renamed file may have gone back.
                let places = if *name == "renamed" { &["renamed", "old"][..] } else { &[*name] };
                let has_it = |place: &&str| scene.read(place).is_some_and(|text| text.ends_with("HOST\n"));
                assert!(places.iter().any(has_it), "{what}: {name} {when}: {:?}\n{told}", scene.read(name));
            }
        };
        keeps("once the undo is finished");
        // What came back is the host's own now; a conflict may be left, and nothing may be pending.
        drop(scene.attempt(&["commit", "last", "--hazards"]));
        keeps("after another commit");
        drop(scene.attempt(&["undo", "last"]));
        keeps("after another undo");
        tried += 1;
    }
    println!("killed at {tried} calls");
    assert!(tried > 12, "{tried}");
}

#[test]
fn what_the_host_writes_after_a_killed_undo_stays() {
    killed_everywhere(|| Scene::new(&WRITTEN), 3);
}

#[test]
fn what_the_host_writes_after_a_killed_undo_on_another_file_system_stays() {
    killed_everywhere(|| Scene::elsewhere(&WRITTEN), 6);
}
