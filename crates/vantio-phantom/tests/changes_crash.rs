//! A commit that is cut off anywhere leaves all or nothing, and an undo
//! brings back what was.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, assert_same, is_root, sh};
use std::{cell::Cell, os::fd::AsFd as _};
use vantio_phantom::{
    changes::{self, RunFolder},
    commit::{self, CommitError, Moment, Options, UndoReport},
};

const BEFORE: &str = "mkdir -p d/sub gone/deep ren; echo 1 > d/mod; echo 2 > d/del; echo 4 > gone/deep/f; echo 5 > h1; ln h1 h2
     echo 6 > file; mkdir dir; echo 7 > dir/in; echo 8 > meta; chmod 644 meta; echo 9 > ren/f; echo 9 > ren/h; ln ren/h hren
     touch -d @1000000000 d gone dir ren .";

fn script() -> String {
    let rename = if is_root() { "mv ren d/ren2; echo x >> d/ren2/f; echo y >> d/ren2/h" } else { "true" };
    format!(
        "echo more >> d/mod; rm d/del; rm -r gone; echo in place > h1; rm file; mkdir file; echo n > file/n
         rm -r dir; echo f > dir; chmod 600 meta; mkdir -p new/a; echo z > new/a/c; ln new/a/c link; ln -s q sym
         chmod 700 d/sub; {rename}"
    )
}

/// What an undisturbed commit makes of the host.
fn committed_shape(world: &World) -> String {
    world.inside(&script());
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    world.shape()
}

#[test]
fn a_crash_at_any_moment_leaves_all_or_nothing() {
    crash_at_any_moment(World::new);
}

#[test]
fn a_crash_at_any_moment_leaves_all_or_nothing_where_directories_cannot_be_renamed() {
    if is_root() {
        crash_at_any_moment(World::with_host_in_overlay);
    }
}

fn crash_at_any_moment(host: fn(&str) -> World) {
    let mut outcomes = [0, 0];
    let after = committed_shape(&host(BEFORE));
    for crash in 0.. {
        let world = host(BEFORE);
        let before = world.listing();
        let times = "stat -c '%n %Y' . d";
        let times_before = sh(&world.host(), times);
        world.inside(&script());
        let reached = Cell::new(false);
        let at = |moment: usize| {
            if moment == crash {
                reached.set(true);
                return Moment::Crash;
            }
            Moment::Go
        };
        let result = world.try_commit(&[], Options { at_moment: Some(&at), ..Options::default() });
        if !reached.get() {
            result.unwrap();
            break;
        }
        assert!(matches!(result, Err(CommitError::Interrupted)), "moment {crash}: {result:?}");
        world.recover();
        let now = world.listing();
        if now == before {
            outcomes[0] += 1;
            assert_eq!(sh(&world.host(), times), times_before, "moment {crash}");
            // What was taken back can be committed again.
            let report = world.commit(&[]);
            assert!(!report.is_incomplete(), "moment {crash}: {report:?}");
        } else {
            outcomes[1] += 1;
        }
        assert_same(&world.shape(), &after, &format!("moment {crash}"));
        assert_eq!(world.kinds(), [""; 0], "moment {crash}");
        world.recover();
    }
    assert!(outcomes[0] > 10 && outcomes[1] >= 1, "{outcomes:?}");
}

#[test]
fn a_killed_commit_is_made_good() {
    // This test runs itself again as the process that is killed.
    if let Ok(run) = std::env::var("CHANGES_CRASH_RUN") {
        let started = std::env::var("CHANGES_CRASH_STARTED").unwrap().parse().unwrap();
        let kill: usize = std::env::var("CHANGES_CRASH_MOMENT").unwrap().parse().unwrap();
        let host = std::fs::File::open(std::env::var("CHANGES_CRASH_HOST").unwrap()).unwrap();
        let at = |moment: usize| {
            if moment == kill {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .unwrap();
            }
            Moment::Go
        };
        let options = Options { at_moment: Some(&at), ..Options::default() };
        commit::commit(&RunFolder::new(run, started), &[], options, host.as_fd()).unwrap();
        return;
    }
    let after = committed_shape(&World::new(BEFORE));
    for moment in [0, 3, 9, 14, 20] {
        let world = World::new(BEFORE);
        let before = world.listing();
        world.inside(&script());
        let started = world.run.started();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_commit_is_made_good"])
            .env("CHANGES_CRASH_RUN", world.run.path())
            .env("CHANGES_CRASH_STARTED", (started.sec * 1_000_000_000 + i64::from(started.nsec)).to_string())
            .env("CHANGES_CRASH_MOMENT", moment.to_string())
            .env("CHANGES_CRASH_HOST", world.host())
            .output()
            .unwrap()
            .status;
        assert!(!status.success());
        world.recover();
        if world.listing() != before {
            assert_same(&world.shape(), &after, &format!("moment {moment}"));
        }
    }
}

#[test]
fn a_step_that_fails_is_taken_back_at_once() {
    let world = World::new("echo 1 > a; mkdir d; echo 1 > d/f");
    let before = world.shape();
    world.inside("echo 2 > a; echo 2 > d/f; mkdir n; echo 3 > n/m");
    // The content of one file goes missing while it is being copied.
    let upper = world.upper();
    let at = move |moment: usize| {
        if moment == 2 {
            let _ = std::fs::remove_file(upper.join("d/f"));
        }
        Moment::Go
    };
    let error = world.try_commit(&[], Options { at_moment: Some(&at), ..Options::default() }).unwrap_err();
    assert!(matches!(error, CommitError::Step { .. }), "{error}");
    assert_same(&world.shape(), &before, "the host");
    assert_eq!(sh(world.run.path(), "ls undo"), "");
}

#[test]
fn an_undo_brings_back_content_metadata_times_and_inodes() {
    let world = World::new(BEFORE);
    let identity = "find . -printf '%P|%y|%m|%i|%s|%T@\n' | LC_ALL=C sort; cat d/mod h2 gone/deep/f";
    let before = sh(&world.host(), identity);
    world.inside(&script());
    let pending = world.kinds();
    world.commit(&[]);
    let wanted = world.shape();
    let report = world.undo();
    assert_eq!((report.number, report.stayed.len()), (1, 0));
    assert_same(&sh(&world.host(), identity), &before, "the undone host");
    assert_eq!(world.kinds(), pending);
    world.commit(&[]);
    assert_same(&world.shape(), &wanted, "the second commit");
}

#[test]
fn an_undo_restores_the_times_of_a_directory_that_got_both_entries_and_a_mode() {
    let world = World::new("mkdir b; chmod 700 b; touch -d @1000000000 b");
    let before = sh(&world.host(), "stat -c '%a %Y' b");
    world.inside("rm -r b; mkdir -p b/b");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "stat -c %a b"), "755\n");
    world.undo();
    assert_eq!(sh(&world.host(), "stat -c '%a %Y' b"), before);
}

#[test]
fn an_undo_leaves_and_names_what_the_host_changed_since() {
    let world = World::new("echo 1 > a; echo 1 > b");
    world.inside("echo 2 > a; echo 2 > b; mkdir n; echo 3 > n/m");
    world.commit(&[]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.on_host("echo mine > b; echo mine > n/mine");
    let report = world.undo();
    assert_eq!(changes_support::paths(&report.stayed), ["/b", "/n"]);
    assert_eq!(sh(&world.host(), "cat a b n/m n/mine"), "1\nmine\n3\nmine\n");
    // What stays can be taken back once the host has it as it was committed.
    assert_eq!(changes_support::paths(&world.undo().stayed), ["/b", "/n"]);
    world.on_host("rm n/mine");
    assert_eq!(changes_support::paths(&world.undo().stayed), ["/b"]);
    assert_eq!(sh(&world.host(), "cat a b; ls"), "1\nmine\na\nb\n");
}

#[test]
fn what_has_no_folder_to_go_back_to_goes_back_once_it_has() {
    let world = World::new("mkdir d; echo 1 > d/f; echo 1 > d/g");
    world.inside("rm d/f; echo 2 > d/g");
    world.commit(&["/d/f"]);
    world.commit(&[]);
    let before = world.listing();
    world.on_host("mv d elsewhere");
    for _ in 0..2 {
        assert_eq!(changes_support::paths(&world.undo_paths(&["/d/f"]).unwrap().stayed), ["/d/f"]);
    }
    world.on_host("mv elsewhere d");
    assert_eq!(world.listing(), before);
    for _ in 0..2 {
        assert!(world.undo().stayed.is_empty());
    }
    assert_eq!(sh(&world.host(), "cat d/f d/g"), "1\n1\n");
}

#[test]
fn a_commit_of_which_all_stays_is_passed_over() {
    let world = World::new("echo 1 > a; echo 1 > b");
    world.inside("echo 2 > a; echo 2 > b");
    world.commit(&["/a"]);
    world.commit(&["/b"]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.on_host("echo mine > b");
    let stays = |report: UndoReport| (report.number, report.taken, changes_support::paths(&report.stayed));
    // It is told first.
    assert_eq!(stays(world.undo()), (2, 0, vec!["/b".to_owned()]));
    assert_eq!(sh(&world.host(), "cat a b"), "2\nmine\n");
    assert_eq!(world.undo().number, 1);
    assert_eq!(sh(&world.host(), "cat a b"), "1\nmine\n");
    assert_eq!(stays(world.undo()), (2, 0, vec!["/b".to_owned()]));
}

#[test]
fn two_commits_are_undone_one_after_the_other() {
    let world = World::new("echo 1 > a; echo 1 > b");
    let before = world.listing();
    world.inside("echo 2 > a; echo 2 > b");
    world.commit(&["/a"]);
    let middle = world.listing();
    world.commit(&["/b"]);
    assert_eq!(world.undo().number, 2);
    assert_eq!(world.listing(), middle);
    assert_eq!(world.undo().number, 1);
    assert_eq!(world.listing(), before);
    assert_eq!(changes::scan(&world.run, world.root.as_fd()).unwrap().changes().len(), 2);
}

#[test]
fn an_undone_rename_can_be_committed_again() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir a b; echo 1 > a/f");
    let wanted = world.inside_shape("mv -T a b; mkdir a");
    for _ in 0..2 {
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{report:?}");
        assert_same(&world.shape(), &wanted, "the host");
        assert!(world.undo().stayed.is_empty());
    }
}

#[test]
fn a_commit_that_is_called_off_at_any_step_is_taken_back_at_once() {
    for step in (0..).step_by(3) {
        let world = World::new(BEFORE);
        let before = world.listing();
        world.inside(&script());
        let asked = Cell::new(0);
        let is_called_off = || asked.replace(asked.get() + 1) == step;
        let options = Options { is_called_off: Some(&is_called_off), ..Options::default() };
        let result = world.try_commit(&[], options);
        if asked.get() <= step {
            assert!(!result.unwrap().is_incomplete() && step > 10, "{step}");
            break;
        }
        assert!(matches!(result, Err(CommitError::CalledOff)), "{step}: {result:?}");
        assert_same(&world.listing(), &before, &format!("step {step}"));
        assert!(!world.commit(&[]).is_incomplete(), "{step}");
    }
}
