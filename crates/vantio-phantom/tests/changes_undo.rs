//! A part of a commit is taken back by path.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use std::path::Path;

use changes_support::{World, assert_same, is_root, paths, sh};
use vantio_phantom::{
    changes::Blocked,
    commit::{CommitError, Held, UndoReport},
};

const IDENTITY: &str = "find . -printf '%P|%y|%m|%n|%i|%s|%l|%T@\n' | LC_ALL=C sort";
/// Files that come back from another file system have other numbers.
const LOOKS: &str = "find . -printf '%P|%y|%m|%n|%s|%l|%T@\n' | LC_ALL=C sort";

/// An overlay counts the names of a directory only where nothing of it comes from below.
const LOOKS_IN_OVERLAY: &str =
    "find . -type d -printf '%P|%y|%m|%T@\n' -o -printf '%P|%y|%m|%n|%s|%l|%T@\n' | LC_ALL=C sort";

/// Commits what `run` does to `before`, takes `taken` back, then the rest; and checks that the host is what it was. The same
/// where the host is on another file system than the run's folder, and where it is an overlay.
#[track_caller]
fn part(before: &str, run: &str, taken: &[&str], seen: &str) -> UndoReport {
    if is_root() {
        part_of(&World::with_host_in_overlay(before), LOOKS_IN_OVERLAY, run, taken, seen);
    }
    part_where_directories_move(before, run, taken, seen)
}

/// As [`part`], of what is in a renamed directory, which in an overlay goes back with it.
#[track_caller]
fn part_where_directories_move(before: &str, run: &str, taken: &[&str], seen: &str) -> UndoReport {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        part_of(&World::with_host_on(shm, before), LOOKS, run, taken, seen);
    }
    part_of(&World::new(before), IDENTITY, run, taken, seen)
}

#[track_caller]
fn part_of(world: &World, identity: &str, run: &str, taken: &[&str], seen: &str) -> UndoReport {
    let was = sh(&world.host(), identity);
    world.inside(run);
    let pending = world.kinds();
    assert!(!world.commit(&[]).is_incomplete());
    let wanted = world.shape();
    let report = world.undo_paths(taken).unwrap();
    assert!(report.stayed.is_empty(), "{report:?}");
    assert_eq!(
        sh(&world.host(), "find . ! -type d | LC_ALL=C sort | sed s,^..,, | tr '\\n' ' '").trim_end(),
        seen
    );
    // What was taken back waits, and only that; it can be committed again.
    let waiting = world.kinds();
    let known =
        |line: &String| pending.iter().any(|other| other == line || other.starts_with(&format!("{line} <")));
    assert!(!waiting.is_empty() && waiting.iter().all(known), "{waiting:?}");
    let rest = world.undo();
    assert!(rest.stayed.is_empty(), "{rest:?}");
    assert_same(&sh(&world.host(), identity), &was, "all is taken back");
    assert_eq!(world.kinds(), pending);
    assert!(!world.commit(&[]).is_incomplete());
    assert_same(&world.shape(), &wanted, "and committed again");
    let report = world.undo_paths(taken).unwrap();
    assert_same(&world.kinds().join("\n"), &waiting.join("\n"), "the same part waits");
    assert!(!world.commit(&[]).is_incomplete());
    assert_same(&world.shape(), &wanted, "and committed once more");
    report
}

#[test]
fn one_file_of_several() {
    let report = part(
        "echo 1 > a; echo 1 > b; echo 1 > c",
        "echo 2 > a; rm b; echo 2 > d; chmod 600 c",
        &["/a"],
        "a c d",
    );
    assert_eq!(paths(&report.along), [""; 0]);
    part("echo 1 > a; echo 1 > b", "echo 2 > a; rm b; echo 2 > d", &["/b"], "a b d");
    part("echo 1 > a; echo 1 > b", "echo 2 > a; rm b; echo 2 > d", &["/d"], "a");
    part("echo 1 > a; chmod 644 a; echo 1 > b", "chmod 600 a; rm b", &["/a"], "a");
    part(
        "mkdir d; chmod 700 d; echo 1 > d/a",
        "chmod 755 d; echo 2 > d/a; echo 2 > d/b",
        &["/d/a"],
        "d/a d/b",
    );
}

#[test]
fn a_folder_is_taken_back_with_all_below() {
    part(
        "mkdir d; echo 1 > d/a; echo 1 > d/b; echo 1 > x",
        "echo 2 > d/a; rm d/b; mkdir d/n; echo 2 > d/n/c; rm x",
        &["/d"],
        "d/a d/b",
    );
    part("echo 1 > x", "mkdir -p n/m; echo 2 > n/m/f; echo 2 > n/g; rm x", &["/n"], "");
    part("mkdir d; echo 1 > d/a; echo 1 > x", "rm -r d; echo 2 > d; rm x", &["/d"], "d/a");
}

#[test]
fn what_came_or_went_with_its_folder_is_not_taken_back_alone() {
    for (before, run, path, with) in [
        ("echo 1 > x", "mkdir n; echo 2 > n/a", "/n/a", "/n"),
        ("mkdir d; echo 1 > d/a", "rm -r d", "/d/a", "/d"),
        ("mkdir d; echo 1 > d/a", "rm -r d; echo 2 > d", "/d/a", "/d"),
    ] {
        let world = World::new(before);
        world.inside(run);
        world.commit(&[]);
        let untouched = world.listing();
        let error = world.undo_paths(&[path]).unwrap_err();
        assert!(
            matches!(&error, CommitError::CameWith { path: one, with: other }
            if one == path.as_bytes() && other == with.as_bytes()),
            "{error}"
        );
        assert_eq!(world.listing(), untouched);
    }
}

#[test]
fn the_names_of_a_file_go_together() {
    let report = part("echo 1 > x", "echo 2 > a; ln a b; rm x", &["/a"], "");
    assert_eq!(paths(&report.along), ["/b"]);
    part("echo 1 > a; ln a b; echo 1 > x", "echo 2 > a; rm x", &["/a"], "a b");
    let report = part("echo 1 > a; ln a b; echo 1 > x", "rm b; ln a c; rm x", &["/b"], "a b");
    assert_eq!(paths(&report.along), ["/c"]);
}

#[test]
fn a_rename_takes_what_stands_in_its_way_along() {
    if !is_root() {
        return;
    }
    let report =
        part("mkdir d; echo 1 > d/a; echo 1 > x", "mv d e; echo 2 > e/a; echo 2 > d; rm x", &["/e"], "d/a");
    assert_eq!(paths(&report.along), ["/d"]);
    let before = "mkdir d; echo 1 > d/a; echo 1 > d/b";
    part_where_directories_move(before, "mv d e; echo 2 > e/a; rm e/b", &["/e/a"], "e/a");
    part("mkdir -p d/s; echo 1 > d/s/a; echo 1 > x", "mv d/s e; rm -r d; rm x", &["/e"], "d/s/a");
    part("mkdir d e; echo 1 > d/a; echo 1 > x", "mv -T d e; rm x", &["/e"], "d/a");
    part(before, "mv d e; rm e/b; echo 2 > e/c", &["/e/c"], "e/a");
}

#[test]
fn what_stays_with_another_names_it() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir d; echo 1 > d/f");
    world.inside("mv d e");
    world.commit(&[]);
    world.on_host("mv e elsewhere");
    let report = world.undo();
    assert_eq!(paths(&report.stayed), ["/d", "/e"]);
    let held = Held { path: b"/d".to_vec(), on: b"/e".to_vec() };
    assert_eq!(report.held, [held], "the host changed the other name only");
}

#[test]
fn a_part_that_the_host_changed_since_stays_and_is_named() {
    let world = World::new("echo 1 > a; echo 1 > b; echo 1 > c");
    world.inside("echo 2 > a; echo 2 > b; echo 2 > c");
    world.commit(&[]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.on_host("echo mine > b");
    let report = world.undo_paths(&["/a", "/b"]).unwrap();
    assert_eq!(paths(&report.stayed), ["/b"]);
    assert_eq!(sh(&world.host(), "cat a b c"), "1\nmine\n2\n");
    assert_eq!(world.kinds(), ["modified /a"]);
    let report = world.undo();
    assert_eq!(paths(&report.stayed), ["/b"]);
    assert_eq!(sh(&world.host(), "cat a b c"), "1\nmine\n1\n");
}

#[test]
fn the_last_commit_that_brought_a_path_is_found() {
    let world = World::new("echo 1 > a; seq 40 > f");
    world.note(&["/a", "/f"]);
    world.inside("echo 2 > a; sed 's/^2$/two/; s/^39$/last/' f > t; cat t > f; rm t");
    world.commit(&["/a"]);
    world.commit_hunks("/f", &[0]);
    world.commit_hunks("/f", &[0]);
    assert_eq!(world.kinds(), [""; 0]);
    assert_eq!(world.undo_paths(&["/a"]).unwrap().number, 1);
    assert_eq!(world.undo_paths(&["/f"]).unwrap().number, 3);
    assert_eq!(sh(&world.host(), "cat a; sed -n '2p;39p' f"), "1\ntwo\n39\n");
    assert_eq!(world.undo_paths(&["/f"]).unwrap().number, 2);
    assert_eq!(sh(&world.host(), "seq 40 | diff - f"), "");
    let error = world.undo_paths(&["/f"]).unwrap_err();
    assert!(matches!(error, CommitError::NothingToUndo), "{error}");
    assert_eq!(world.kinds(), ["modified /a", "modified /f"]);
    world.commit(&[]);
    let error = world.undo_paths(&["/none"]).unwrap_err();
    assert!(matches!(&error, CommitError::NotCommitted { path } if path == b"/none"), "{error}");
}

/// A run's `before` and `run` are committed, and the host does `edit`: an undo leaves `keep` somewhere on the host, however
/// often it is tried, and brings everything back once the host has done `repair`.
fn is_never_lost(before: &str, run: &str, edit: &str, repair: &str) {
    if !is_root() {
        return;
    }
    let shm = Path::new("/dev/shm");
    for host in [World::new, World::with_host_in_overlay, |before: &str| {
        World::with_host_on(Path::new("/dev/shm"), before)
    }] {
        if !shm.is_dir() {
            return;
        }
        let world = host(before);
        let was = world.shape();
        world.inside(run);
        world.commit(&[]);
        std::thread::sleep(std::time::Duration::from_millis(25));
        world.on_host(edit);
        for _ in 0..2 {
            world.undo();
            let found = sh(&world.host(), "grep -rlx keep . || true");
            assert_eq!(found.lines().count(), 1, "{run} | {edit}: {found}");
        }
        world.on_host(repair);
        while !world.shape().eq(&was) {
            let undone = world.try_undo();
            assert!(
                undone.as_ref().is_ok_and(|report| report.stayed.is_empty()),
                "{run} | {edit}: {undone:?}"
            );
        }
    }
}

#[test]
fn what_was_renamed_is_somewhere_whatever_stays() {
    is_never_lost("mkdir z; echo keep > z/k", "mv z e", "touch e/h", "rm -f e/h");
    is_never_lost(
        "mkdir -p d/s; echo keep > d/s/c",
        "chmod 700 d; mv d/s e",
        "mkdir d/s; echo h > d/s/h",
        "rm -r d/s",
    );
    is_never_lost("mkdir d; echo keep > d/k", "mv d e", "mkdir d; echo h > d/h", "rm -r d");
    is_never_lost("mkdir d; echo keep > d/k", "mv d e", "echo h > d", "rm d");
    is_never_lost("mkdir -p d/s; echo keep > d/s/c", "mv d/s e", "rm -r d", "mkdir d");
    is_never_lost(
        "mkdir -p d/s; echo keep > d/s/c",
        "mv d/s e; rm -r d; echo f > d",
        "touch e/h",
        "rm -f e/h",
    );
    is_never_lost(
        "mkdir -p d/s; echo keep > d/s/c; echo 1 > d/x",
        "mv d/s e; mv d q",
        "mkdir q/s; echo h > q/s/h",
        "rm -r q/s",
    );
}

#[test]
fn a_file_that_lost_a_name_with_its_folder_comes_back_on_another_file_system() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    for run in ["echo new > g", "echo x > d; echo new > g", "chmod 600 g"] {
        let world = World::with_host_on(
            shm,
            "mkdir -p d/e; echo old > d/e/f; ln d/e/f g; chmod 644 g; chmod 555 d/e",
        );
        let look = "stat -c '%n %a' d/e d/e/f g; cat d/e/f g";
        let was = sh(&world.host(), look);
        world.inside(&format!("chmod 755 d/e; rm -r d; {run}"));
        assert!(!world.commit(&[]).is_incomplete(), "{run}");
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{run}");
        assert_eq!(sh(&world.host(), look), was, "{run}");
    }
}

#[test]
fn what_the_host_writes_to_a_file_of_which_the_mode_was_committed_survives_an_undo() {
    for write in ["echo host > f", "echo tsoh > f; touch -r g f"] {
        let world = World::new("echo mode > f; chmod 644 f; echo > g");
        world.inside("chmod 600 f");
        world.commit(&[]);
        std::thread::sleep(std::time::Duration::from_millis(25));
        world.on_host(write);
        let written = sh(&world.host(), "cat f");
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new());
        assert_eq!(sh(&world.host(), "stat -c %a f; cat f"), format!("644\n{written}"));
        assert!(world.commit(&[]).is_incomplete(), "{write}");
        assert_eq!(sh(&world.host(), "cat f"), written);
    }
}

#[test]
fn attributes_that_the_host_set_since_stay_and_their_file_is_named() {
    for (before, run, host, path) in [
        ("echo 1 > k; chmod 644 k", "chmod 600 k", "setfattr -n user.h -v 1 k", "/k"),
        (
            "echo 1 > k; setfattr -n user.h -v 0 k",
            "setfattr -n user.h -v 1 k",
            "setfattr -n user.h -v 2 k",
            "/k",
        ),
        ("echo 1 > k; setfattr -n user.h -v 0 k; chmod 644 k", "chmod 600 k", "setfattr -x user.h k", "/k"),
        ("mkdir k; chmod 755 k", "chmod 700 k", "setfattr -n user.h -v 1 k", "/k"),
        ("mkdir k; chmod 755 k", "chmod 700 k; echo 1 > k/f", "setfattr -n user.h -v 1 k", "/k"),
    ] {
        let world = World::new(before);
        world.inside(run);
        world.commit(&[]);
        std::thread::sleep(std::time::Duration::from_millis(25));
        let look = "stat -c %a k; getfattr -hd -m '^user[.][^o]' k";
        world.on_host(host);
        let was = sh(&world.host(), look);
        assert_eq!(paths(&world.undo().stayed), [path], "{run} | {host}");
        assert_eq!(sh(&world.host(), look), was, "{run} | {host}");
    }
}

#[test]
fn attributes_that_a_commit_set_are_not_taken_for_the_hosts() {
    for run in
        ["chmod 600 k", "setfattr -n user.r -v 1 k", "setfattr -x user.b k; chmod 000 k", "chmod 400 k"]
    {
        let world = World::new("echo 1 > k; chmod 644 k; setfattr -n user.b -v 0 k");
        world.inside(run);
        world.commit(&[]);
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{run}");
        let found = sh(&world.host(), "stat -c %a k; getfattr -hd -m '^user[.][^o]' k");
        assert_eq!(found, "644\n# file: k\nuser.b=\"0\"\n\n", "{run}");
    }
}

#[test]
fn what_the_host_did_to_a_new_folder_stays_and_is_named() {
    let run = "mkdir -p n/s; echo 1 > n/f; echo 1 > n/s/f";
    for (before, run, host) in [
        ("true", run, "mkdir n/h"),
        ("true", run, "mkdir -p n/s/h/i; touch n/s/h"),
        ("true", run, "mkdir ../h; mv ../h n/h"),
        ("true", run, "chmod 700 n"),
        ("true", run, "chmod 700 n/s; touch n/s/g; rm n/s/g"),
        ("true", run, "setfattr -n user.h -v 1 n/s"),
        ("true", run, "mv n/s n/h"),
        ("true", run, "rm n/f; mkdir n/f"),
        ("true", "echo 1 > n", "rm n; mkdir n"),
        ("echo 1 > n", "rm n; mkdir n", "mkdir n/h"),
        ("mkdir -p m/s", "mv m n", "mkdir n/s/h"),
    ] {
        if run == "mv m n" && !is_root() {
            continue;
        }
        let world = World::new(before);
        world.inside(run);
        world.commit(&[]);
        std::thread::sleep(std::time::Duration::from_millis(25));
        world.on_host(host);
        let was = world.listing();
        let stayed = paths(&world.undo().stayed);
        assert!(stayed.contains(&"/n".to_owned()), "{run} | {host}: {stayed:?}");
        assert_same(&world.listing(), &was, host);
    }
}

#[test]
fn entries_that_came_and_went_do_not_keep_a_new_folder() {
    for (before, run) in [
        ("true", "mkdir -p n/s; chmod 750 n; setfattr -n user.k -v 1 n/s; echo 1 > n/s/f"),
        ("true", "mkdir -p n/s; chmod 550 n/s"),
        ("echo 1 > n", "rm n; mkdir -p n/s"),
        ("mkdir -p m/s; echo 1 > m/s/f", "mkdir n; mv m/s n/s; rmdir m"),
    ] {
        let world = World::new(before);
        let was = world.shape();
        world.inside(run);
        world.commit(&[]);
        std::thread::sleep(std::time::Duration::from_millis(25));
        world.on_host("chmod u+w n/s 2> /dev/null && touch n/h n/s/h && rm n/h n/s/h");
        world.on_host(if run.contains("550") { "chmod 550 n/s" } else { "true" });
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{run}");
        assert_same(&world.shape(), &was, run);
    }
}

#[test]
fn a_new_folder_that_was_made_again_as_it_was_goes() {
    let world = World::new("true");
    world.inside("mkdir -p n/s; chmod 750 n/s; echo 1 > n/f");
    world.commit(&[]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.on_host("rmdir n/s; mkdir ../s ../t; rmdir ../s; mkdir -m 750 n/s");
    assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new());
    assert_eq!(sh(&world.host(), "ls"), "");
}

/// A small file system, until this is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        sh(dir.path(), "mount -t tmpfs -o size=1m,mode=755 none .");
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn an_undo_that_has_no_room_takes_nothing_back_and_names_the_place() {
    if !is_root() {
        return;
    }
    let small = Small::new();
    let world = World::with_host_on(small.0.path(), "head -c 600000 /dev/zero | tr '\\0' a > f; echo 1 > g");
    let was = world.shape();
    world.inside("rm f; echo 2 > g");
    world.commit(&[]);
    world.on_host("head -c 700000 /dev/zero > h");
    let full = world.shape();
    let error = world.try_undo().unwrap_err();
    assert!(
        matches!(&error, CommitError::NotUndone { path, source }
        if path == b"/" && source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    assert_same(&world.shape(), &full, "nothing is taken back");
    world.on_host("rm h");
    assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new());
    assert_same(&world.shape(), &was, "all is");
}

#[test]
fn an_undo_that_failed_names_the_place_and_the_next_goes_on_with_it_and_no_further() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir d; echo 1 > d/f; echo 1 > a; echo 1 > z; echo 1 > first");
    world.inside("echo 2 > first");
    world.commit(&[]);
    world.inside("echo 2 > a; rm d/f; echo 2 > z");
    world.commit(&[]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.on_host("echo host > z; chattr +i d || touch unsupported");
    if world.host().join("unsupported").exists() {
        return;
    }
    let error = world.try_undo().unwrap_err().to_string();
    world.on_host("chattr -i d");
    assert!(error.contains("at `/d/f`: "), "{error}");
    let UndoReport { number, taken, stayed, .. } = world.undo();
    assert_eq!((number, taken, paths(&stayed)), (2, 2, vec!["/z".to_owned()]));
    assert_eq!(sh(&world.host(), "cat a d/f z first"), "1\n1\nhost\n2\n");
}

#[test]
fn what_the_state_folder_has_no_room_for_stays_and_the_rest_is_taken_back() {
    if !is_root() {
        return;
    }
    let small = Small::new();
    let before = "mkdir -p d/e; for f in big d/e/big over; do head -c 2000000 /dev/urandom > $f; done
                  echo 1 > a; echo 1 > gone; echo 1 > zz; echo 1 > d/e/little; mkdir r; echo 1 > r/f";
    let world = World::with_state_on(small.0.path(), before);
    world.inside("rm big gone; echo 2 > a; rm -r d; rm over; mkdir over; echo 2 > over/in; mv r moved; rm zz; echo 2 > new");
    let report = world.commit(&[]);
    assert!(!report.is_incomplete());
    assert_eq!(paths(&report.unkept), ["/big", "/d/e/big", "/over"]);
    let UndoReport { stayed, unkept, held, .. } = world.undo();
    assert_eq!(paths(&stayed), ["/big", "/d/e/big", "/over"]);
    assert_eq!((&unkept, &held[..]), (&stayed, &[][..]));
    let looks = "find . -type f -size -2 | LC_ALL=C sort | xargs grep -H . | tr '\\n' ' '";
    assert_eq!(sh(&world.host(), looks), "./a:1 ./d/e/little:1 ./gone:1 ./over/in:2 ./r/f:1 ./zz:1 ");
    assert_eq!(sh(&world.host(), "ls -d big d/e/big new moved 2>/dev/null || true"), "");
    // It can be told again, and what came back can be committed again.
    let again = world.undo();
    assert_eq!((paths(&again.stayed), again.taken), (vec!["/big".to_owned(), "/over".to_owned()], 0));
    let report = world.commit(&[]);
    assert!(report.conflicts.is_empty() && report.unkept.is_empty(), "{report:?}");
    assert_eq!(
        sh(&world.host(), "find . -type f | LC_ALL=C sort | tr '\\n' ' '"),
        "./a ./moved/f ./new ./over/in "
    );
}

#[test]
fn what_cannot_be_kept_on_another_file_system_stays_and_is_named() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let before = "echo 1 > a; echo 1 > gone; mkdir d r; echo 1 > d/f; echo 1 > r/f";
    let world = World::with_host_on(shm, before);
    for socket in ["socket", "d/socket", "replaced"] {
        drop(std::os::unix::net::UnixListener::bind(world.host().join(socket)).unwrap());
    }
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.note(&["/socket", "/d/socket", "/replaced"]);
    world.inside("rm gone socket; echo 2 > a; rm -r d; rm replaced; mv r replaced");
    let report = world.commit(&[]);
    assert_eq!(paths(&report.unkept), ["/d/socket", "/replaced", "/socket"], "{report:?}");
    let UndoReport { stayed, unkept, held, .. } = world.undo();
    assert_eq!(paths(&unkept), ["/d/socket", "/replaced", "/socket"]);
    assert_eq!((&stayed, &held[..]), (&unkept, &[][..]));
    // An ordinary user's run has no renamed folder, but a new one, which is all that there is in the socket's place.
    let replaced = if is_root() { "" } else { "./replaced/f:1 " };
    assert_eq!(
        sh(&world.host(), "find . -type f | LC_ALL=C sort | xargs grep -H . | tr '\\n' ' '"),
        format!("./a:1 ./d/f:1 ./gone:1 ./r/f:1 {replaced}")
    );
}

#[test]
fn what_a_user_may_not_read_is_not_kept_and_the_rest_is() {
    let shm = Path::new("/dev/shm");
    if is_root() || !shm.is_dir() {
        return;
    }
    let world = World::with_host_on(shm, "echo 1 > a; echo 1 > closed; chmod 0 closed; echo 1 > gone");
    world.inside("rm -f closed gone; echo 2 > a");
    assert_eq!(paths(&world.commit(&[]).unkept), ["/closed"]);
    let UndoReport { stayed, unkept, .. } = world.undo();
    assert_eq!((paths(&stayed), stayed), (vec!["/closed".to_owned()], unkept));
    assert_eq!(sh(&world.host(), "cat a gone; ls"), "1\n1\na\ngone\n");
}

/// Folders that are closed to their owner too, in any depth, come and go like others.
#[test]
fn folders_that_nobody_may_enter_are_committed_compared_and_taken_back() {
    if is_root() {
        return;
    }
    let before = "mkdir -p d e/s; echo 1 > d/a; echo 1 > d/b; echo 1 > e/s/f";
    let run = "echo 2 > d/a; rm d/b; chmod 0 d; echo 2 > e/s/f; chmod 600 e/s; chmod 0 e
               mkdir -p n/s; echo 1 > n/s/f; chmod 600 n/s; chmod 0 n";
    let hosts = [World::new, |before: &str| World::with_host_on(Path::new("/dev/shm"), before)];
    for host in hosts.into_iter().take(if Path::new("/dev/shm").is_dir() { 2 } else { 1 }) {
        let world = host(before);
        let was = world.shape();
        world.inside(run);
        assert!(!world.commit(&[]).is_incomplete());
        assert_eq!(world.kinds(), [""; 0]);
        let modes = "stat -c '%a %n' d e n";
        assert_eq!(sh(&world.host(), modes), "0 d\n0 e\n0 n\n");
        assert_eq!(world.undo_paths(&["/d/a"]).unwrap().stayed, Vec::<Vec<u8>>::new());
        assert_eq!(sh(&world.host(), modes), "0 d\n0 e\n0 n\n");
        let never = world.commit(&[]).never;
        assert_eq!(never, [(b"/d/a".to_vec(), Blocked::Unreadable)], "the host's cannot be compared");
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new());
        assert_same(&world.shape(), &was, "the host");
    }
}

#[test]
fn an_access_list_of_what_its_owner_may_not_enter_or_read_is_not_taken_for_the_hosts() {
    let world = World::new("mkdir d; echo 1 > f; setfacl -m u:65534:rwx d f");
    let was = world.listing();
    world.inside("chmod 604 d; chmod 204 f");
    world.commit(&[]);
    assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new());
    assert_same(&world.listing(), &was, "the host");
}
