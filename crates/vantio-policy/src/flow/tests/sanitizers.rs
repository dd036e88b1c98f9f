//! What takes a label away.

use vantio_core::{Access, Effect};

use super::world::{EVERYTHING, NONE, Refused, SECRET, World, file};
use crate::{
    flow::Channel,
    guard::{
        model::{Measure, Then, Threshold},
        tests::scope,
    },
};

const READ_ONLY_PROGRAMS: &str = "fs: {read: [/], write: [/tmp, /share]}
exec: {allow: [/]}
net: {allow: ['*:*', '0.0.0.0/0:*']}";

fn redacting(document: &str, has_run: bool, is_clean: bool) -> World {
    let mut world = World::with(document);
    world.fork(1, 2);
    world.fork(1, 3);
    world.hold(2, Channel::Pipe(1), false, true);
    world.hold(3, Channel::Pipe(1), true, false);
    world.execute(2, "/usr/bin/redact", has_run, is_clean);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/clean").unwrap();
    world.read(3, "/tmp/clean").unwrap();
    world
}

#[test]
fn what_a_sanitizer_writes_is_clean_and_the_sanitizer_is_not() {
    let mut world = redacting(READ_ONLY_PROGRAMS, true, true);
    assert_eq!([2, 3].map(|pid| world.labels(pid)), [SECRET, NONE]);
    assert!(matches!(world.connect(2, "192.0.2.1:443"), Err(Refused::ByVerdict(_))));
    world.connect(3, "192.0.2.1:443").unwrap();
}

#[test]
fn it_counts_only_where_it_is_certainly_itself() {
    for (document, has_run, is_clean) in
        [(EVERYTHING, true, true), (READ_ONLY_PROGRAMS, false, true), (READ_ONLY_PROGRAMS, true, false)]
    {
        assert_eq!(redacting(document, has_run, is_clean).labels(3), SECRET);
    }
}

#[test]
fn a_guard_that_keeps_its_file_now_does_not_make_it_itself() {
    let threshold = Threshold {
        scope: scope(&[Effect::FsOpen, Effect::FsUnlink], Some(Access::Write), &["/usr/bin/redact"]),
        measure: Measure::Count,
        limit: 0,
        within_ms: 1_000,
        then: Then::Collapse,
    };
    let mut world = World::guarded(EVERYTHING, [threshold].into());
    world.fork(1, 2);
    assert!(world.write(1, "/usr/bin/redact").is_err());
    world.execute(1, "/usr/bin/redact", true, true);
    world.read(1, "/k/secret").unwrap();
    world.write(1, "/tmp/clean").unwrap();
    world.read(2, "/tmp/clean").unwrap();
    assert_eq!(world.labels(2), SECRET);
}

#[test]
fn it_takes_away_only_its_own_label() {
    let mut world = redacting(READ_ONLY_PROGRAMS, true, true);
    world.read(2, "/k/other").unwrap();
    assert_eq!(world.labels(3), super::world::OTHER);
}

#[test]
fn a_sanitizer_that_is_connected_may_not_read() {
    let mut world = World::with(READ_ONLY_PROGRAMS);
    world.execute(1, "/usr/bin/redact", true, true);
    world.connect(1, "192.0.2.1:443").unwrap();
    assert!(matches!(world.read(1, "/k/secret"), Err(Refused::ByFlow(..))));
}

#[test]
fn it_ends_with_the_next_program_even_if_that_does_not_start() {
    for has_run in [true, false] {
        let mut world = redacting(READ_ONLY_PROGRAMS, true, true);
        world.execute(2, "/bin/cat", has_run, true);
        assert_eq!(world.labels(3), SECRET, "the pipe is still open");
        world.fork(1, 4);
        world.drop_ends(4, &file("/tmp/clean"));
        world.write(2, "/tmp/dirty").unwrap();
        world.read(4, "/tmp/dirty").unwrap();
        assert_eq!(world.labels(4), SECRET);
    }
}

#[test]
fn a_child_that_executes_something_else_is_not_clean() {
    let mut world = World::with(READ_ONLY_PROGRAMS);
    world.fork(1, 2);
    world.execute(2, "/usr/bin/redact", true, true);
    world.read(2, "/k/secret").unwrap();
    // Forks of it run the same program; what they execute does not cleanse.
    world.inherit(2, 3);
    world.flow.appear(super::world::process(3), Some(super::world::process(2)), b"/usr/bin/redact");
    world.write(3, "/tmp/clean").unwrap();
    world.execute(3, "/bin/cat", true, true);
    world.write(3, "/tmp/dirty").unwrap();
    world.inherit(2, 4);
    world.flow.appear(super::world::process(4), Some(super::world::process(2)), b"/bin/cat");
    world.write(4, "/tmp/dirtier").unwrap();
    for (path, labels) in [("/tmp/dirty", SECRET), ("/tmp/dirtier", SECRET)] {
        world.fork(1, 9);
        world.read(9, path).unwrap();
        assert_eq!(world.labels(9), labels, "{path}");
        world.exit(9);
    }
}
