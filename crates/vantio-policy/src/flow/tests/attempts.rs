//! Attempts to lose a label, or to have it at a sink before anybody knows.

use vantio_core::{Access, Effect, Intent, Target};

use super::world::{BOTH, NONE, OTHER, Refused, SECRET, World, file, process};
use crate::{flow::Channel, guard::tests::open};

#[test]
fn truncating_rewriting_and_removing_clear_nothing() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/x").unwrap();
    let path = Target::Path { path: b"/tmp/x", access: Access::Write, subtree: false };
    world.act(1, &Intent::new(Effect::FsTruncate, path)).unwrap();
    world.write(1, "/tmp/x").unwrap();
    assert_eq!(world.labels(1), NONE);
    // A removal that fails leaves the file.
    world.act(1, &Intent::new(Effect::FsUnlink, path)).unwrap();
    world.fork(1, 3);
    world.read(3, "/tmp/x").unwrap();
    assert_eq!(world.labels(3), SECRET);
    // One that succeeds makes room for another file.
    world.flow.gone(b"/tmp/x");
    world.fork(1, 4);
    world.read(4, "/tmp/x").unwrap();
    assert_eq!(world.labels(4), NONE);
}

#[test]
fn executing_another_program_clears_nothing() {
    let mut world = World::new();
    world.read(1, "/k/secret").unwrap();
    for (has_run, is_clean) in [(true, true), (false, true), (true, false)] {
        world.execute(1, "/bin/true", has_run, is_clean);
        assert_eq!(world.labels(1), SECRET);
    }
}

#[test]
fn a_descriptor_that_was_handed_on_unseen_is_seen_before_a_sink() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.read(2, "/k/secret").unwrap();
    world.hold(2, Channel::Pipe(1), false, true);
    world.hold(3, Channel::Pipe(1), true, false);
    assert_eq!(world.labels(3), NONE);
    assert!(matches!(world.connect(3, "192.0.2.1:443"), Err(Refused::ByVerdict(_))));
    assert_eq!(world.labels(3), SECRET);
}

#[test]
fn a_descriptor_on_its_way_may_be_anything() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.hold(2, Channel::Pipe(1), false, true);
    // The other end lies in the queue of a socket that 3 holds, and 3 is connected.
    world.hold(3, Channel::InFlight, true, false);
    world.connect(3, "192.0.2.1:443").unwrap();
    assert!(matches!(world.read(2, "/k/secret"), Err(Refused::ByFlow(..))));
    assert!(matches!(world.read(2, "/k/other"), Err(Refused::ByFlow(..))));
    assert_eq!([1, 2, 3].map(|pid| world.labels(pid)), [NONE; 3]);
}

#[test]
fn a_descriptor_on_its_way_may_be_of_a_sink() {
    let mut world = World::new();
    world.fork(1, 2);
    world.fork(1, 3);
    world.hold(3, Channel::InFlight, true, false);
    assert!(matches!(world.read(2, "/k/secret"), Err(Refused::ByFlow(..))));
    assert_eq!([1, 2, 3].map(|pid| world.labels(pid)), [NONE; 3]);
    world.drop_ends(3, &Channel::InFlight);
    world.read(2, "/k/secret").unwrap();
}

#[test]
fn a_refusal_changes_nothing_though_the_end_was_expected() {
    let mut world = World::new();
    world.connect(1, "192.0.2.1:443").unwrap();
    // While it is asked, a census shows the end that the process is about to get.
    world.hold(1, file("/k/secret"), true, false);
    let asked = world.act_so(1, &open("/k/secret", Access::Read), |act| act.writes = false);
    assert!(matches!(asked, Err(Refused::ByFlow(..))));
    world.drop_ends(1, &file("/k/secret"));
    assert_eq!(world.labels(1), NONE);
    world.connect(1, "192.0.2.2:443").unwrap();
}

#[test]
fn a_process_that_nobody_has_seen_is_looked_at_all_the_same() {
    let mut world = World::new();
    world.connect(1, "192.0.2.1:443").unwrap();
    world.inherit(1, 5);
    world.fork(1, 2);
    world.drop_ends(2, &Channel::Peer(vantio_core::Transport::Tcp, "192.0.2.1:443".parse().unwrap()));
    world.hold(2, Channel::Pipe(1), false, true);
    world.hold(5, Channel::Pipe(1), true, false);
    assert!(matches!(world.read(2, "/k/secret"), Err(Refused::ByFlow(..))));
    // Known from a census only, it has what the census showed and what its parent has.
    world.read(2, "/k/other").unwrap();
    world.flow.appear(process(5), Some(process(1)), b"/bin/sh");
    assert_eq!(world.labels(5), OTHER);
}

#[test]
fn two_labels_at_once_are_kept_from_their_own_sinks() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.read(2, "/k/other").unwrap();
    world.write(2, "/tmp/both").unwrap();
    world.read(1, "/tmp/both").unwrap();
    assert_eq!(world.labels(1), BOTH);
    for address in ["192.0.2.1:443", "203.0.113.1:443"] {
        assert!(matches!(world.connect(1, address), Err(Refused::ByVerdict(_))), "{address}");
    }
    world.connect(1, "198.51.100.1:443").unwrap();
    world.fork(1, 3);
    assert_eq!(
        world.trail(3, 1),
        "read `/k/secret` by `sh` (pid 2) at 1 → `/tmp/both` → `sh` (pid 1) → `sh` (pid 3)"
    );
}

#[test]
fn an_end_that_is_source_and_sink_in_one_refuses_its_own_opening() {
    let mut world = World::new();
    world.link(1, "/k/other", "/share/x");
    let both = open("/share/x", Access::Write);
    assert!(matches!(world.act(1, &both), Err(Refused::ByFlow(..))));
    world.write(1, "/share/x").unwrap();
    assert_eq!(world.labels(1), NONE);
}

#[test]
fn beyond_what_can_be_kept_everybody_carries_everything() {
    let mut world = World::new();
    world.flow.capacity = 8;
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    for number in 0..8 {
        drop(world.write(2, &alloc::format!("/tmp/{number}")));
    }
    assert_eq!(world.labels(1), BOTH);
    assert!(matches!(world.connect(1, "192.0.2.1:443"), Err(Refused::ByVerdict(_))));
    assert!(matches!(world.read(1, "/tmp/clean"), Err(Refused::ByFlow(..))));
    drop(file("/tmp/0"));
}
