//! The first run of all makes the state folder; one that dies meanwhile leaves nothing that the next would not.

use std::{collections::BTreeSet, fs, path::Path};

use crash_points::{Ending, Point};

use crate::common::{WORKSPACE, World, finish};

/// What is below a folder, with the names that differ from run to run written alike.
fn names(folder: &Path, found: &mut BTreeSet<String>, within: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_id = name.len() >= 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let name = format!("{within}/{}", if is_id { "ID" } else { &name });
        if entry.file_type().unwrap().is_dir() {
            names(&entry.path(), found, &name);
        }
        found.insert(name);
    }
}

/// What a run leaves in the state folder once it is discarded. SQLite's own files beside the ledger come and go.
fn left(world: &World) -> BTreeSet<String> {
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    for run in world.runs() {
        world.ask(&["discard", &run]);
    }
    let mut found = BTreeSet::new();
    names(&world.state(), &mut found, "");
    found.retain(|name| !name.starts_with("/ledger.db-"));
    found
}

#[test]
fn a_first_run_killed_at_any_call_is_in_no_later_ones_way() {
    let usual = left(&World::new());
    let mut tried = 0;
    for call in 0.. {
        let world = World::new();
        let run = world.governed(WORKSPACE, &["/bin/sh", "-c", "echo new > file"]);
        let report = crash_points::run(&run, Some(Point::Before(call))).unwrap();
        finish(&mut world.vantio(["kill", "last"]));
        let what = format!("{call} ({:?})", report.calls.last());
        assert_eq!(left(&world).difference(&usual).collect::<Vec<_>>(), Vec::<&String>::new(), "{what}");
        world.ask(&["ledger", "verify"]);
        tried += 1;
        if report.ending != Ending::Killed {
            break;
        }
    }
    println!("killed at {tried} calls");
    assert!(tried > 40, "{tried}");
}
