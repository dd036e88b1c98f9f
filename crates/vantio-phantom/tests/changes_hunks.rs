//! Some hunks of a changed text are committed, and the others wait.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, is_root, paths, sh};
use vantio_phantom::commit::{CommitError, Offer, Options, Reason};

const BEFORE: &str = "seq 40 > f; chmod 644 f; echo 1 > other";
const RUN: &str = "sed 's/^2$/two/; s/^20$/twenty/; s/^22$/twentytwo/; s/^39$/thirtynine/' f > t; cat t > f; rm t; chmod 600 f; echo 2 > other";

fn world() -> World {
    let world = World::new(BEFORE);
    world.note(&["/f", "/other"]);
    world.inside(RUN);
    world
}

fn changed_lines(world: &World) -> String {
    sh(&world.host(), "grep -v '^[0-9]*$' f || true; stat -c %a f")
}

#[test]
fn the_chosen_hunks_are_on_the_host_and_the_others_wait() {
    let world = world();
    let hunks = world.hunks("/f");
    assert_eq!((hunks.hunks(), hunks.pieces()), (&[0..1, 1..3, 3..4][..], 4));
    let report = world.commit_hunks("/f", &[0, 2]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!((paths(&report.partly), paths(&report.committed)), (vec!["/f".to_owned()], vec![]));
    assert_eq!(changed_lines(&world), "two\ntwentytwo\n644\n");
    assert_eq!(world.kinds(), ["modified /f", "modified /other"]);
    assert_eq!(world.hunks("/f").pieces(), 2);
    let report = world.commit_hunks("/f", &[1]);
    assert_eq!(paths(&report.partly), ["/f"]);
    assert_eq!(changed_lines(&world), "two\ntwentytwo\nthirtynine\n644\n");
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(changed_lines(&world), "two\ntwenty\ntwentytwo\nthirtynine\n600\n");
    assert_eq!(world.kinds(), [""; 0]);
    for wanted in ["two\ntwentytwo\nthirtynine\n644\n", "two\ntwentytwo\n644\n", "644\n"] {
        let report = world.undo();
        assert!(report.stayed.is_empty(), "{report:?}");
        assert_eq!(changed_lines(&world), wanted);
    }
    assert_eq!(world.hunks("/f").pieces(), 4);
    assert!(!world.commit(&[]).is_incomplete());
}

#[test]
fn all_hunks_are_the_whole_change_where_it_is_one_of_text_alone() {
    let world = world();
    let report = world.commit_hunks("/f", &[0, 1, 2, 3]);
    assert_eq!((paths(&report.partly), report.committed.len()), (vec!["/f".to_owned()], 0));
    let unmoved: Vec<_> =
        report.unmoved.iter().map(|unmoved| (&unmoved.what[..], unmoved.leaves_hunks)).collect();
    assert_eq!(unmoved, [("mode 0644 -> 0600", false)]);
    assert_eq!(changed_lines(&world), "two\ntwenty\ntwentytwo\nthirtynine\n644\n");
    assert_eq!(world.kinds(), ["metadata /f", "modified /other"]);
    let report = world.commit(&["/f"]);
    assert_eq!((paths(&report.committed), report.conflicts.len()), (vec!["/f".to_owned()], 0));
    assert_eq!(changed_lines(&world), "two\ntwenty\ntwentytwo\nthirtynine\n600\n");
    assert!(world.undo().stayed.is_empty() && world.undo().stayed.is_empty());
    assert_eq!(changed_lines(&world), "644\n");
    world.inside("chmod 644 f");
    let report = world.commit_hunks("/f", &[0, 1, 2, 3]);
    assert_eq!((paths(&report.committed), report.partly.len()), (vec!["/f".to_owned()], 0));
    assert_eq!(world.kinds(), ["modified /other"]);
}

#[test]
fn what_the_host_changes_between_two_parts_conflicts_and_is_merged() {
    let world = world();
    world.commit_hunks("/f", &[0]);
    world.on_host("sed -i 's/^30$/host/' f; chmod 644 f");
    let host = world.listing();
    let report = world.commit(&["/f"]);
    assert_eq!((report.conflicts.len(), report.conflicts[0].reason), (1, Reason::Changed));
    assert_eq!(report.conflicts[0].offer, Offer::Clean);
    assert_eq!(world.listing(), host);
    let report = world.merge("/f", false);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(changed_lines(&world), "two\ntwenty\ntwentytwo\nhost\nthirtynine\n600\n");
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), host);
    let report = world.undo();
    assert_eq!(paths(&report.stayed), ["/f"], "the host changed the first part since");
}

#[test]
fn a_touched_file_between_two_parts_is_no_conflict() {
    let world = world();
    world.commit_hunks("/f", &[0]);
    world.on_host("touch f; cp f g; mv g f; chmod 644 f");
    assert!(!world.commit(&["/f"]).is_incomplete());
}

#[test]
fn a_conflict_is_one_for_its_hunks_too() {
    let world = world();
    let hunks = [world.choice("/f", &[0])];
    world.on_host("chmod 640 f");
    let report = world.try_commit(&[], Options { hunks: &hunks, ..Options::default() }).unwrap();
    assert_eq!((report.conflicts.len(), report.number), (1, None));
    assert_eq!(changed_lines(&world), "640\n");
}

#[test]
fn hunks_of_something_else_are_refused() {
    let world = world();
    let mut hunks = [world.choice("/f", &[0])];
    hunks[0].of[0] ^= 1;
    let error = world.try_commit(&[], Options { hunks: &hunks, ..Options::default() }).unwrap_err();
    assert!(matches!(error, CommitError::OtherHunks { .. }), "{error}");
    hunks[0] = world.choice("/f", &[9]);
    let error = world.try_commit(&[], Options { hunks: &hunks, ..Options::default() }).unwrap_err();
    assert!(matches!(error, CommitError::OtherHunks { .. }), "{error}");
    hunks[0].path = b"/none".to_vec();
    let error = world.try_commit(&[], Options { hunks: &hunks, ..Options::default() }).unwrap_err();
    assert!(matches!(error, CommitError::NoHunks { .. }), "{error}");
    assert_eq!(changed_lines(&world), "644\n");
}

#[test]
fn hunks_go_with_whole_changes_and_a_discard_drops_the_rest() {
    let world = world();
    let hunks = [world.choice("/f", &[0])];
    let report = world.try_commit(&["/other"], Options { hunks: &hunks, ..Options::default() }).unwrap();
    assert_eq!(
        (paths(&report.committed), paths(&report.partly)),
        (vec!["/other".to_owned()], vec!["/f".to_owned()])
    );
    vantio_phantom::commit::discard(&world.run).unwrap();
    assert_eq!(changed_lines(&world), "two\n644\n");
    assert!(!world.run.path().join("base.pack").exists());
    assert!(world.undo().stayed.is_empty());
    assert_eq!(changed_lines(&world), "644\n");
}

#[test]
fn a_part_of_a_file_with_several_names_is_written_in_place() {
    let world = World::new(&format!("{BEFORE}; ln f g"));
    world.note(&["/f"]);
    world.inside(RUN);
    let inode = world.inode("g");
    world.commit_hunks("/f", &[3]);
    assert_eq!((world.inode("f"), world.inode("g")), (inode, inode));
    assert_eq!(sh(&world.host(), "grep -c thirtynine g"), "1\n");
    assert_eq!(world.hunks("/f").pieces(), 3);
    world.commit_hunks("/f", &[0]);
    assert!(world.undo().stayed.is_empty());
    assert!(world.undo().stayed.is_empty());
    assert_eq!(changed_lines(&world), "644\n");
}

#[test]
fn a_part_brings_the_rename_of_its_directory_along() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir d; seq 40 > d/f");
    world.note(&["/d/f", "/d", "/e"]);
    world.inside("sed 's/^2$/two/; s/^39$/last/' d/f > t; cat t > d/f; rm t; mv d e");
    let report = world.commit_hunks("/e/f", &[0]);
    assert_eq!(
        (paths(&report.committed), paths(&report.partly)),
        (vec!["/e".to_owned()], vec!["/e/f".to_owned()])
    );
    assert_eq!(world.kinds(), ["modified /e/f"]);
    world.on_host("touch e/f");
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "sed -n '2p;39p' e/f"), "two\nlast\n");
    assert!(world.undo().stayed.is_empty());
    assert!(world.undo().stayed.is_empty());
    assert_eq!(sh(&world.host(), "seq 40 | diff - d/f; ls"), "d\n");
    assert!(!world.commit(&[]).is_incomplete());
}

#[test]
fn a_carriage_return_alone_ends_no_line_of_a_patch() {
    let world = World::new("printf 'a\\rb\\nc\\n' > f");
    world.inside("printf 'a\\rB\\nc\\n' > f");
    std::fs::write(world.runs().join("patch"), world.patch()).unwrap();
    world.on_host(
        "git apply --unsafe-paths ../runs/patch 2>/dev/null || patch -s -p1 --binary < ../runs/patch",
    );
    assert_eq!(sh(&world.host(), "cat f"), "a\rB\nc\n");
}
