//! Processes: where they come from, and where they go.

use super::world::{NONE, SECRET, World, process};
use crate::flow::Process;

#[test]
fn a_child_carries_what_its_parent_carried_and_the_parent_nothing_of_the_child() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.fork(2, 3);
    for pid in 4..2_000 {
        world.fork(pid - 1, pid);
    }
    assert_eq!(world.labels(1_999), SECRET);
    assert_eq!(world.labels(1), NONE);
    assert!(world.trail(1_999, 1).starts_with("read `/k/secret` by `sh` (pid 2) at 1 → "));
}

#[test]
fn an_orphan_carries_what_anybody_ever_had() {
    let mut world = World::new();
    world.flow.appear(process(50), None, b"/bin/early");
    assert_eq!(world.labels(50), NONE);
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.exit(2);
    for (pid, parent) in [(51, None), (52, Some(process(2))), (53, Some(process(53)))] {
        world.flow.appear(process(pid), parent, b"/bin/late");
        assert_eq!(world.labels(pid), SECRET, "{pid}");
    }
    assert_eq!(world.trail(51, 1), "`late` (pid 51), whose parent is not known");
    assert_eq!(world.labels(54), SECRET, "one that has not appeared");
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    let later = Process { pid: 2, started: 9 };
    assert!(!world.flow.knows(later));
    world.flow.appear(later, Some(process(1)), b"/bin/sh");
    assert_eq!(world.flow.labels(later), NONE);
    assert!(!world.flow.knows(process(2)));
    // A child of the earlier one is an orphan now.
    world.flow.appear(process(3), Some(process(2)), b"/bin/sh");
    assert_eq!(world.labels(3), SECRET);
}

#[test]
fn appearing_twice_changes_nothing() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(1, "/k/secret").unwrap();
    world.flow.appear(process(2), Some(process(1)), b"/bin/other");
    assert_eq!(world.labels(2), NONE);
}

#[test]
fn the_end_of_a_program_counts_for_what_certainly_ran() {
    let mut world = World::new();
    for (pid, has_run, programs) in [(2, true, 1), (3, false, 0)] {
        world.fork(1, pid);
        world.execute(pid, "/w/test.sh", has_run, true);
        let ended = world.flow.exit(process(pid), Some(0)).unwrap();
        assert_eq!((ended.programs.len(), ended.status), (programs, Some(0)));
        // Nothing is certain of what it may still do.
        assert!(world.flow.exit(process(pid), Some(0)).unwrap().programs.is_empty());
    }
    // A start of which nobody was told how it went.
    world.fork(1, 4);
    world.execute(4, "/w/test.sh", true, true);
    world.act(4, &crate::guard::tests::exec("/bin/true")).unwrap();
    assert!(world.flow.exit(process(4), Some(0)).unwrap().programs.is_empty());
    // A script and its interpreter are one start.
    world.fork(1, 5);
    world.act(5, &crate::guard::tests::exec("/w/test.sh")).unwrap();
    world.execute(5, "/bin/dash", true, true);
    let ended = world.flow.exit(process(5), None).unwrap();
    assert_eq!(ended.programs, [b"/w/test.sh".to_vec(), b"/bin/dash".to_vec()]);
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.flow.retain(|process| process.pid != 3);
    assert_eq!([1, 2, 3].map(|pid| world.flow.knows(process(pid))), [true, true, false]);
}
