//! What a fork changed is in the run as if it had been changed there.

use std::{fs, thread, time::Duration};

use crate::{Run, answer, common::finish, entries, going_on, policy, world};

/// Changes files in every way, and tells so.
const CHANGES: &str = r"
print(attempt('held/a'), flush=True)
open('added', 'a').write('agent\n')
os.unlink('removed')
os.rename('renamed', 'other')
os.unlink('folder/in'); os.rmdir('folder')
os.chmod('mode', 0o600)
";

const NAMES: [&str; 4] = ["added", "removed", "renamed", "mode"];

/// The host changes what the fork has changed; what the run has changed then is no longer what it was made from.
#[test]
fn what_the_host_changed_meanwhile_is_a_conflict() {
    let world = world();
    for name in NAMES.iter().chain(&["folder/in"]) {
        world.write(name, "one\n");
    }
    let run = Run::python(&world, &policy(), CHANGES);
    let question = going_on(&world);
    thread::sleep(Duration::from_millis(600));
    for name in NAMES.iter().chain(&["folder/new"]) {
        world.write(name, "the host's\n");
    }
    answer(&world, "approve", &question);
    run.prints("opened");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
    let outcome = finish(&mut world.vantio(["commit", "last"]));
    outcome.assert_code(4);
    for name in NAMES.iter().chain(&["folder/new"]) {
        let path = world.workspace().join(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), "the host's\n", "{}", outcome.describe());
        let told = format!("conflict: {}: the host changed it", path.display());
        assert!(outcome.stdout.contains(&told), "{}", outcome.describe());
    }
}

/// What a fork found is nothing to its original, which comes to it later.
#[test]
fn what_the_host_changed_before_the_original_did_is_none() {
    let world = world();
    world.write("added", "one\n");
    let script = r"
if attempt('held/a') == 'opened':
    open('added', 'a').write('fork\n')
    time.sleep(100)
open('added', 'a').write('original\n')
";
    let run = Run::python(&world, &policy(), script);
    let question = going_on(&world);
    thread::sleep(Duration::from_millis(600));
    world.write("added", "two\n");
    answer(&world, "deny", &question);
    run.prints("");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
    finish(&mut world.vantio(["commit", "last"])).assert_success();
    assert_eq!(fs::read_to_string(world.workspace().join("added")).unwrap(), "two\noriginal\n");
}
