//! What counts as the host having moved, case by case.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, assert_same, is_root, paths, sh};
use vantio_phantom::commit::{Options, Reason, Selector};

/// The conflicts after the run did `run` to `noted` paths and then the host
/// did `host`.
fn conflicts(before: &str, noted: &[&str], run: &str, host: &str) -> Vec<(String, Reason)> {
    let world = World::new(before);
    world.note(noted);
    world.inside(run);
    world.on_host(host);
    let untouched = world.listing();
    let report = world.commit(&[]);
    if !report.conflicts.is_empty() && report.committed.is_empty() {
        assert_eq!(world.listing(), untouched);
    }
    let path = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    report.conflicts.iter().map(|conflict| (path(&conflict.path), conflict.reason)).collect()
}

/// Worlds whose host is a file system of its own and, where that may be mounted, an overlay.
fn hosts() -> impl Iterator<Item = fn(&str) -> World> {
    let all: [fn(&str) -> World; 2] = [World::new, World::with_host_in_overlay];
    all.into_iter().take(if is_root() { 2 } else { 1 })
}

fn one(path: &str, reason: Reason) -> Vec<(String, Reason)> {
    vec![(path.into(), reason)]
}

#[test]
fn the_host_changed_what_the_run_changed() {
    let found = conflicts("echo 1 > f", &["/f"], "echo 2 > f", "echo 3 > f");
    assert_eq!(found, one("/f", Reason::Changed));
    let found = conflicts("echo 1 > f", &["/f"], "rm f", "echo 3 > f");
    assert_eq!(found, one("/f", Reason::Changed));
    let found = conflicts("echo 1 > f; chmod 644 f", &["/f"], "echo 2 > f", "chmod 600 f");
    assert_eq!(found, one("/f", Reason::Changed));
    let found = conflicts("ln -s a f", &["/f"], "ln -sfn b f", "ln -sfn c f");
    assert_eq!(found, one("/f", Reason::Changed));
}

#[test]
fn without_a_base_the_change_time_decides() {
    assert_eq!(conflicts("echo 1 > f", &[], "echo 2 > f", "echo 3 > f"), one("/f", Reason::Changed));
    assert_eq!(conflicts("echo 1 > f", &[], "echo 2 > f", "touch f"), one("/f", Reason::Changed));
    assert_eq!(conflicts("echo 1 > f", &[], "echo 2 > f", "true"), []);
}

#[test]
fn the_same_size_and_a_restored_time_hide_nothing() {
    let host = "touch -r f ../t; echo 3 > f; touch -r ../t f; rm ../t";
    assert_eq!(conflicts("echo 1 > f", &["/f"], "echo 2 > f", host), one("/f", Reason::Changed));
}

#[test]
fn the_host_removed_or_made_it() {
    assert_eq!(conflicts("echo 1 > f", &["/f"], "echo 2 > f", "rm f"), one("/f", Reason::Vanished));
    assert_eq!(conflicts("true", &["/f"], "echo 2 > f", "echo 3 > f"), one("/f", Reason::Appeared));
    assert_eq!(conflicts("true", &[], "echo 2 > f", "echo 3 > f"), one("/f", Reason::Changed));
    assert_eq!(conflicts("true", &["/f"], "mkdir f", "echo 3 > f"), one("/f", Reason::Appeared));
}

#[test]
fn equal_results_are_none() {
    assert_eq!(conflicts("echo 1 > f", &["/f"], "echo 2 > f", "touch f"), []);
    assert_eq!(conflicts("echo 1 > f", &["/f"], "echo 2 > f", "echo 1 > g; mv g f"), []);
    assert_eq!(conflicts("echo 1 > f", &["/f"], "rm f", "rm f"), []);
    assert_eq!(conflicts("echo 1 > f", &["/f"], "echo 2 > f", "echo 2 > f"), []);
    assert_eq!(conflicts("true", &["/f"], "echo 2 > f", "echo 2 > f"), []);
    assert_eq!(conflicts("mkdir d", &["/d/f"], "echo 2 > d/f", "echo 3 > d/g"), []);
}

#[test]
fn what_was_only_read_never_conflicts() {
    assert_eq!(conflicts("echo 1 > f; echo 1 > g", &["/g"], "cat f; echo 2 > g", "echo 3 > f"), []);
}

#[test]
fn a_new_file_of_the_host_saves_the_directory_the_run_removed() {
    let world = World::new("mkdir -p d/e; echo 1 > d/e/f; echo 2 > d/g");
    world.note(&["/d/e/f", "/d/g", "/d/e", "/d"]);
    world.inside("rm -r d");
    world.on_host("echo mine > d/e/new");
    let report = world.commit(&[]);
    assert_eq!(paths(&report.committed), ["/d/e/f", "/d/g"]);
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(report.conflicts[0].path, b"/d/e/new");
    let held: Vec<_> = report.held.iter().map(|held| held.path.clone()).collect();
    assert_eq!(paths(&held), ["/d", "/d/e"]);
    assert_eq!(sh(&world.host(), "find . | sort"), ".\n./d\n./d/e\n./d/e/new\n");
}

#[test]
fn a_new_file_of_the_host_saves_the_directory_the_run_replaced() {
    let world = World::new("mkdir d; echo 1 > d/f");
    world.inside("rm -r d; echo file > d");
    world.on_host("echo mine > d/new");
    let report = world.commit(&[]);
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(sh(&world.host(), "ls d"), "new\n");
    assert_eq!(report.held[0].path, b"/d");
}

#[test]
fn a_new_folder_of_the_host_saves_the_directory_the_run_removed_or_replaced() {
    for host in hosts() {
        for (before, run, new) in [
            ("mkdir d", "rmdir d; echo file > d", "mkdir d/b"),
            ("mkdir d", "rmdir d", "mkdir d/b"),
            ("mkdir d; echo 1 > d/f", "rm -r d", "mkdir -p d/h/i/j"),
            ("mkdir d; echo 1 > d/f", "rm -r d; echo file > d", "mkdir -m 750 d/h"),
            ("mkdir d; echo 1 > d/f", "rm -r d; mkdir d", "mkdir d/h"),
        ] {
            let world = host(before);
            world.note(&["/d/f", "/d"]);
            world.inside(run);
            world.on_host(new);
            let wanted = sh(&world.host(), "find . -type d | sort");
            let report = world.commit(&[]);
            assert!(report.is_incomplete(), "{run} | {new}: {report:?}");
            assert_eq!(sh(&world.host(), "find . -type d | sort"), wanted, "{run} | {new}");
        }
    }
}

#[test]
fn entries_that_came_and_went_do_not_save_the_folder_that_the_run_removed() {
    for host in hosts() {
        let world = host("mkdir -p d/e; echo 1 > d/e/f");
        world.inside("rm -r d");
        world.on_host("touch d/g d/e/g; rm d/g d/e/g");
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{report:?}");
        assert_eq!(sh(&world.host(), "ls"), "");
    }
}

#[test]
fn a_directory_that_the_host_removed_is_not_made_again() {
    let world = World::new("mkdir d; echo 1 > d/f");
    world.inside("echo 2 > d/f; echo 3 > d/n");
    world.on_host("rm -r d");
    let report = world.commit(&[]);
    assert_eq!(
        (report.conflicts[0].path.as_slice(), report.conflicts[0].reason),
        (&b"/d"[..], Reason::Vanished)
    );
    assert_eq!(sh(&world.host(), "ls"), "");
}

#[test]
fn what_conflicts_stays_pending_and_the_rest_is_committed() {
    let world = World::new("echo 1 > a; echo 1 > b");
    world.note(&["/a", "/b"]);
    world.inside("echo 2 > a; echo 2 > b");
    world.on_host("echo 3 > a");
    let report = world.commit(&[]);
    assert!(report.is_incomplete());
    assert_eq!(paths(&report.committed), ["/b"]);
    assert_eq!(world.kinds(), ["modified /a"]);
    assert_eq!(sh(&world.host(), "cat a b"), "3\n2\n");
}

#[test]
fn a_journal_whose_last_line_was_torn_still_tells_the_others() {
    let world = World::new("echo 1 > a; echo 1 > b");
    world.note(&["/a", "/b"]);
    let path = world.run.path().join("base.jsonl");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    world.note(&["/c"]);
    world.inside("echo 2 > a; echo 2 > b; echo 2 > c");
    world.on_host("touch a b; echo 3 > c");
    let report = world.commit(&[]);
    let conflicts: Vec<_> = report.conflicts.iter().map(|conflict| conflict.path.clone()).collect();
    assert_eq!(paths(&conflicts), ["/b", "/c"]);
}

#[test]
fn what_is_kept_in_a_folder_keeps_the_folder() {
    for (run, host) in [("rm -r d", "echo h >> d/a"), ("rm -r d; echo x > d", "setfattr -n user.k -v 1 d/a")]
    {
        let world = World::new("mkdir -p d/e; echo 1 > d/a; echo 1 > d/b; echo 1 > d/e/c");
        world.inside(run);
        std::thread::sleep(std::time::Duration::from_millis(25));
        world.on_host(host);
        assert!(world.commit(&[]).is_incomplete(), "{run}");
        let ours = [Selector::new("/d/a")];
        let options = Options { ours: &ours, ..Options::default() };
        assert_eq!(paths(&world.try_commit(&["/d/a"], options).unwrap().dropped), ["/d", "/d/a"], "{run}");
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{run}: {report:?}");
        assert_eq!(
            (world.kinds(), sh(&world.host(), "find d | sort")),
            (vec![], "d\nd/a\n".to_owned()),
            "{run}"
        );
    }
}

#[test]
fn folders_that_swap_their_names_and_get_new_files_are_no_conflict() {
    if !is_root() {
        return;
    }
    let before = "mkdir -p d/s e/t; echo x > d/x; echo 1 > d/s/f; echo z > e/z; echo 1 > e/t/f";
    let swap = "mv d g; mv e d; mv g e";
    for run in [
        "echo new > d/x",
        "echo new > e/z",
        "mkdir d/s; echo new > d/s/f",
        "echo new > d/x; rm d/z; echo 2 > d/t/f",
    ] {
        let world = World::new(before);
        world.note(&["/d", "/e", "/d/x", "/e/z", "/d/s", "/d/s/f", "/d/z"]);
        let wanted = world.inside_shape(&format!("{swap}; {run}"));
        let was = world.shape();
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{run}: {report:?}");
        assert_same(&world.shape(), &wanted, run);
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{run}");
        assert_same(&world.shape(), &was, run);
    }
    // What the host removed from one is told.
    let world = World::new(before);
    world.inside(&format!("{swap}; echo 2 > d/t/f"));
    world.on_host("rm -r e/t");
    let report = world.commit(&[]);
    assert_eq!(
        report.conflicts.iter().map(|conflict| conflict.reason).collect::<Vec<_>>(),
        [Reason::Vanished]
    );
}

/// What the run changed or added in a directory that it renamed can be taken though the host removed that.
#[test]
fn the_rest_of_a_renamed_directory_is_taken_without_its_source() {
    // An ordinary user's run has copied it.
    for new in hosts().filter(|_| is_root()) {
        let world = new("mkdir -p docs/sub; echo 1 > docs/1; echo 2 > docs/2; echo 3 > docs/sub/3");
        world.note(&["/docs", "/doc", "/docs/1", "/doc/new", "/docs/sub", "/docs/sub/3"]);
        world.inside("mv docs doc; echo work > doc/1; echo n > doc/new; echo more > doc/sub/3");
        world.on_host("mv docs manual");
        let before = world.listing();
        assert!(world.scan().changes().iter().all(|change| change.hazards.is_empty()));
        let report = world.commit(&[]);
        let reason = |path: &str| {
            let mut conflicts = report.conflicts.iter();
            conflicts.find(|conflict| conflict.path == path.as_bytes()).map(|conflict| conflict.reason)
        };
        assert_eq!(reason("/doc"), Some(Reason::Vanished));
        assert!(report.conflicts.iter().all(|conflict| conflict.can_be_forced));
        assert_eq!((world.listing(), report.number), (before.clone(), None));
        let theirs = [Selector::new("/doc")];
        let report = world.try_commit(&["/doc"], Options { theirs: &theirs, ..Options::default() }).unwrap();
        assert_eq!(paths(&report.committed), ["/doc", "/doc/1", "/doc/new", "/doc/sub", "/doc/sub/3"]);
        assert_eq!(sh(&world.host(), "cat doc/1 doc/new doc/sub/3; ls doc"), "work\nn\nmore\n1\nnew\nsub\n");
        assert_eq!(world.kinds(), Vec::<String>::new());
        world.undo();
        assert_same(&world.listing(), &before, "undo");
        assert!(world.try_commit(&["/doc"], Options { theirs: &theirs, ..Options::default() }).is_ok());
    }
}

#[test]
fn the_rest_of_a_renamed_directory_takes_the_place_of_what_the_host_put_there() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir docs; echo 1 > docs/1");
    world.note(&["/docs", "/doc", "/docs/1"]);
    world.inside("mv docs doc; echo work > doc/1");
    world.on_host("mv docs manual; mkdir doc; echo host > doc/own");
    let before = world.listing();
    let report = world.commit(&[]);
    assert!(!report.conflicts.is_empty() && report.number.is_none(), "{report:?}");
    let theirs = [Selector::new("/doc")];
    let report = world.try_commit(&["/doc"], Options { theirs: &theirs, ..Options::default() }).unwrap();
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "cat doc/1; ls doc"), "work\n1\n");
    world.undo();
    assert_same(&world.listing(), &before, "undo");
}
