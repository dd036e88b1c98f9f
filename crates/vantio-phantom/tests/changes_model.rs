//! Random work in a run, with the overlay itself as the model: after a commit
//! the host is what the run saw, after an undo it is what it was.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use std::path::Path;

use changes_support::{World, assert_same, is_root, sh};
use proptest::prelude::*;
use vantio_phantom::commit::{CommitError, Options};

const BEFORE: &str = "mkdir -p a/b c/d/e; echo 1 > a/x; echo 2 > a/b/y; echo 3 > c/x; echo 4 > c/d/y; echo 5 > c/d/e/x; echo 6 > x
     ln -s a/x y; mkdir b; chmod 700 b; setfattr -n user.k -v old c/x; truncate -s 100000 c/sparse; printf 1 >> c/sparse
     find . -depth -type d | { t=0; while read -r d; do t=$((t+1)); touch -d @$t \"$d\"; done; }";

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "x", "y"];

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&NAMES[..]);
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

/// Notes what the host has at every path, as if the run had touched them all, whatever they were to it by then.
fn note_all(world: &World) {
    let mut paths = vec![String::new()];
    for at in 0..1 + NAMES.len() + NAMES.len().pow(2) {
        let below: Vec<_> = NAMES.iter().map(|name| format!("{}/{name}", paths[at])).collect();
        paths.extend(below);
    }
    world.note(&paths[1..].iter().map(String::as_str).collect::<Vec<_>>());
}

fn operation() -> impl Strategy<Value = String> {
    operation_on(path)
}

/// Few names, so that much is done to the names of one file.
fn near() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y", "z", "w"]).prop_map(str::to_owned)
}

fn operation_on<S: Strategy<Value = String> + 'static>(path: fn() -> S) -> impl Strategy<Value = String> {
    prop_oneof![
        // Whoever opens a fifo waits for the other end.
        3 => (path(), 0..9u8).prop_map(|(path, text)| format!("test -p {path} || echo {text} > {path}")),
        2 => path().prop_map(|path| format!("test -p {path} || echo more >> {path}")),
        3 => path().prop_map(|path| format!("rm -rf {path}")),
        1 => path().prop_map(|path| format!("rmdir {path}")),
        3 => path().prop_map(|path| format!("mkdir -p {path}")),
        4 => (path(), path()).prop_map(|(from, to)| format!("mv -T {from} {to}")),
        2 => (path(), path()).prop_map(|(from, to)| format!("mv {from} {to}")),
        2 => (path(), path()).prop_map(|(from, to)| format!("ln -fT {from} {to}")),
        1 => (path(), path()).prop_map(|(from, to)| format!("ln -sfnT {from} {to}")),
        1 => (path(), prop::sample::select(vec!["700", "755", "600", "644"])).prop_map(|(path, mode)| format!("test -h {path} || chmod u+rwx,{mode} {path}")),
        1 => path().prop_map(|path| format!("mkfifo {path}")),
        2 => (path(), 0..3u8).prop_map(|(path, value)| format!("test -f {path} && test ! -h {path} && setfattr -n user.k -v {value} {path}")),
        1 => path().prop_map(|path| format!("test -h {path} || setfattr -x user.k {path}")),
        2 => (path(), 0..200_000u32).prop_map(|(path, size)| format!("test -p {path} || test -d {path} || truncate -s {size} {path}")),
        1 => (path(), 0..90_000u32).prop_map(|(path, at)| format!("test -p {path} || printf z | dd of={path} bs=1 seek={at} conv=notrunc status=none")),
    ]
}

/// Where a host is.
#[derive(Clone, Copy, Debug)]
enum Host {
    /// With the run's folder.
    Here,
    /// On another file system.
    Away,
    /// In an overlay, where nothing that the run has from it can be renamed as a directory.
    Overlay,
}

fn host() -> impl Strategy<Value = Host> {
    prop::sample::select(vec![Host::Here, Host::Away, Host::Overlay])
}

/// A host, and what is the same of it after an undo.
fn world(host: Host, before: &str) -> (World, &'static str) {
    let shm = Path::new("/dev/shm");
    match host {
        Host::Away if shm.is_dir() => (World::with_host_on(shm, before), LOOKS),
        Host::Overlay if is_root() => (World::with_host_in_overlay(before), LOOKS_IN_OVERLAY),
        _ => (World::new(before), IDENTITY),
    }
}

/// Extended attributes, an overlay's own apart.
const ATTRIBUTES: &str = "find . -mindepth 1 -print0 | LC_ALL=C sort -z | xargs -0r getfattr -hd -m '^user[.][^o]' 2>/dev/null | cat";

/// When directories changed.
const DIR_TIMES: &str = "find . -mindepth 1 -type d -printf '%P|%T@\n' | LC_ALL=C sort";

/// What is `wanted` where the host has it earlier: there the run took back what it did, and the host has nothing of it.
fn unless_older(found: &str, wanted: &str) -> String {
    let is_old = |line: &str| {
        line.rsplit_once('|').is_some_and(|(_, time)| time.len() < "1000000000.0000000000".len())
    };
    let both = found.lines().zip(wanted.lines());
    both.map(|(found, wanted)| if is_old(found) && !is_old(wanted) { wanted } else { found })
        .fold(String::new(), |text, line| text + line + "\n")
}

fn attributes(world: &World) -> String {
    sh(&world.host(), ATTRIBUTES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_host_becomes_what_the_run_saw_and_what_it_was(
        operations in prop::collection::vec(operation(), 1..14),
        first in path(),
        host in host(),
        is_noted in any::<bool>(),
    ) {
        let (world, identity) = world(host, BEFORE);
        if is_noted {
            note_all(&world);
        }
        let before = sh(&world.host(), identity);
        let wanted = world.inside_shape(&format!("{}\n{ATTRIBUTES} > ../attributes\n{DIR_TIMES} > ../times", quiet(&operations)));
        let wanted_times = sh(&world.runs(), "cat ../times");
        let wanted_attributes = sh(&world.runs(), "cat ../attributes");
        let context = format!("{operations:#?}\n{:#?}", world.kinds());
        let absolute = format!("/{first}");
        let part = world.try_commit(&[&absolute], Options::default());
        prop_assert!(part.as_ref().map_or(true, |report| !report.is_incomplete()), "{context}\n{part:?}");
        let report = world.commit(&[]);
        prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
        assert_same(&world.shape(), &wanted, &context);
        prop_assert_eq!(world.kinds(), Vec::<String>::new(), "{}", context);
        assert_same(&attributes(&world), &wanted_attributes, &context);
        let times = sh(&world.host(), DIR_TIMES);
        assert_same(&unless_older(&times, &wanted_times), &wanted_times, &context);
        let done = [part.ok().and_then(|report| report.number), report.number];
        for number in done.into_iter().flatten().rev() {
            let undone = world.undo();
            prop_assert_eq!((undone.number, undone.stayed), (number, Vec::new()), "{}", context);
        }
        assert_same(&sh(&world.host(), identity), &before, &context);
        let again = world.commit(&[]);
        prop_assert!(!again.is_incomplete(), "{context}\n{again:?}");
        assert_same(&world.shape(), &wanted, &context);
    }

    #[test]
    fn a_part_that_is_taken_back_leaves_a_commit_that_can_be_taken_back(
        operations in prop::collection::vec(operation(), 1..14),
        parts in prop::collection::vec(path(), 1..4),
        host in host(),
        is_noted in any::<bool>(),
    ) {
        let (world, identity) = world(host, BEFORE);
        if is_noted {
            note_all(&world);
        }
        let before = sh(&world.host(), identity);
        world.inside(&quiet(&operations));
        let context = format!("{operations:#?}\n{parts:?}\n{:#?}", world.kinds());
        let pending = world.kinds();
        let report = world.commit(&[]);
        prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
        let wanted = world.shape();
        for part in &parts {
            match world.undo_paths(&[&format!("/{part}")]) {
                Ok(report) => prop_assert_eq!(report.stayed, Vec::<Vec<u8>>::new(), "{} {}", part, context),
                Err(error) => prop_assert!(is_no_part(&error), "{part} {error} {context}"),
            }
        }
        match world.try_undo() {
            Ok(report) => prop_assert_eq!(report.stayed, Vec::<Vec<u8>>::new(), "{}", context),
            Err(error) => prop_assert!(is_no_part(&error), "{error} {context}"),
        }
        assert_same(&sh(&world.host(), identity), &before, &context);
        prop_assert_eq!(world.kinds(), pending, "{}", context);
        let again = world.commit(&[]);
        prop_assert!(!again.is_incomplete(), "{context}\n{again:?}");
        assert_same(&world.shape(), &wanted, &context);
        // What was taken back in part is committed again: the host is what one commit makes of it.
        for part in &parts {
            let _ = world.undo_paths(&[&format!("/{part}")]);
        }
        let rest = world.commit(&[]);
        prop_assert!(!rest.is_incomplete(), "{context}\n{rest:?}");
        assert_same(&world.shape(), &wanted, &context);
    }

    #[test]
    fn names_that_the_host_gave_one_file_share_what_is_committed(
        operations in prop::collection::vec(operation(), 1..10),
        host in host(),
    ) {
        let several = format!("{BEFORE}; rm y; ln x y; ln a/x a/d; ln c/x c/y; ln c/x c/e");
        let (world, identity) = world(host, &several);
        // As in every run: without it, nothing tells what came back to several names from what the host changed.
        note_all(&world);
        let before = sh(&world.host(), identity);
        world.inside(&format!("{}\nmkdir ../seen; cp -a . ../seen", quiet(&operations)));
        let set = world.scan();
        let context = format!("{operations:#?}\n{:#?}", world.kinds());
        let report = world.commit(&[]);
        prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
        prop_assert_eq!(world.kinds(), Vec::<String>::new(), "{}", context);
        for change in set.changes().iter().filter(|change| change.after.is_some()) {
            let path = String::from_utf8(change.path.clone()).unwrap();
            let look = format!("test -f .{path} && test ! -h .{path} && sha256sum < .{path} || stat -c %F .{path}");
            let (now, seen) = (sh(&world.host(), &look), sh(&world.runs().join("../seen"), &look));
            prop_assert_eq!(now, seen, "{} {}", path, context);
        }
        let committed = world.shape();
        if report.number.is_some() {
            prop_assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{}", context);
        }
        assert_same(&sh(&world.host(), identity), &before, &context);
        world.commit(&[]);
        assert_same(&world.shape(), &committed, &context);
    }

    #[test]
    fn much_that_is_done_to_the_names_of_one_file_is_committed(
        operations in prop::collection::vec(operation_on(near), 1..6),
        first in near(),
        back in near(),
        host in host(),
    ) {
        let (world, _) = world(host, "echo 1 > x; ln x y; ln x z; echo 2 > w; chmod 644 x w");
        // What comes back after later commits may be a file of its own.
        let look = "stat -c '%n %F %a %s' *; cat x y z w";
        let before = sh(&world.host(), look);
        world.inside(&format!("{}\nmkdir ../seen; cp -a . ../seen", quiet(&operations)));
        let set = world.scan();
        let context = format!("{operations:#?}\n{first} {back}\n{:#?}", world.kinds());
        let part = world.try_commit(&[&format!("/{first}")], Options::default());
        prop_assert!(part.as_ref().map_or(true, |report| !report.is_incomplete()), "{context}\n{part:?}");
        let report = world.commit(&[]);
        prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
        prop_assert_eq!(world.kinds(), Vec::<String>::new(), "{}", context);
        for change in set.changes() {
            let path = String::from_utf8(change.path.clone()).unwrap();
            let look = format!("if test -f .{path} && test ! -h .{path}; then sha256sum < .{path}; fi; stat -c '%F %a' .{path} 2>&1 || true");
            let (now, seen) = (sh(&world.host(), &look), sh(&world.runs().join("../seen"), &look));
            prop_assert_eq!(now, seen, "{} {}", path, context);
        }
        match world.undo_paths(&[&format!("/{back}")]) {
            Ok(report) => prop_assert_eq!(report.stayed, Vec::<Vec<u8>>::new(), "{}", context),
            Err(error) => prop_assert!(is_no_part(&error), "{error} {context}"),
        }
        while let Ok(report) = world.try_undo() {
            prop_assert_eq!(report.stayed, Vec::<Vec<u8>>::new(), "{}", context);
        }
        assert_same(&sh(&world.host(), look), &before, &context);
    }

    #[test]
    fn hunks_come_one_by_one_and_go_the_same_way(
        edits in prop::collection::vec(edit(), 1..8),
        parts in prop::collection::vec(prop::collection::btree_set(0..8usize, 1..3), 1..4),
    ) {
        let world = World::new("seq 30 > f; chmod 640 f");
        world.note(&["/f"]);
        let before = sh(&world.host(), IDENTITY);
        world.inside(&format!("cp f ../text; cd ..; {}; cat text > merged/f", sed(&edits, "run")));
        let wanted = sh(&world.runs(), "cat ../text");
        let context = format!("{edits:?} {parts:?}");
        let mut commits = 0;
        for part in parts {
            let Some(count) = world.scan().get(b"/f").map(|_| world.hunks("/f").pieces()) else { break };
            let chosen: Vec<usize> = part.into_iter().filter(|piece| *piece < count).collect();
            if chosen.is_empty() || chosen.len() == count {
                continue;
            }
            let expected = world.hunks("/f").with(&chosen.iter().copied().collect());
            let report = world.commit_hunks("/f", &chosen);
            prop_assert!(!report.is_incomplete(), "{context} {report:?}");
            prop_assert_eq!(sh(&world.host(), "cat f").into_bytes(), expected, "{}", context);
            prop_assert_eq!(world.hunks("/f").pieces(), count - chosen.len(), "{}", context);
            commits += 1;
        }
        let report = world.commit(&[]);
        prop_assert!(!report.is_incomplete(), "{context} {report:?}");
        prop_assert_eq!(sh(&world.host(), "cat f"), wanted, "{}", context);
        for _ in 0..commits + usize::from(report.number.is_some()) {
            prop_assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{}", context);
        }
        assert_same(&sh(&world.host(), IDENTITY), &before, &context);
    }

    #[test]
    fn a_merge_has_what_both_changed_and_goes_back_to_what_the_host_had(
        run in prop::collection::vec(edit(), 1..5),
        host in prop::collection::vec(edit(), 1..5),
    ) {
        let world = World::new("seq 30 > f; chmod 640 f");
        world.note(&["/f"]);
        world.inside(&format!("cp f ../text; cd ..; {}; cat text > merged/f", sed(&run, "run")));
        world.on_host(&format!("cp f ../text; cd ..; {}; cat text > host/f", sed(&host, "host")));
        let before = sh(&world.host(), IDENTITY);
        let context = format!("{run:?} {host:?}");
        let report = world.merge("/f", false);
        let is_near = |one: &Edit| host.iter().any(|other| one.line.abs_diff(other.line) <= 1);
        if !run.iter().any(is_near) {
            prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
            let both = format!("seq 30 > ../text; cd ..; {}; {}; diff text host/f", sed(&run, "run"), sed(&host, "host"));
            prop_assert_eq!(sh(&world.host(), &both), "", "{}", context);
        }
        if report.is_incomplete() {
            assert_same(&sh(&world.host(), IDENTITY), &before, &context);
            let report = world.merge("/f", true);
            prop_assert!(!report.is_incomplete(), "{context}\n{report:?}");
        }
        if !report.merged.is_empty() {
            prop_assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{}", context);
            assert_same(&sh(&world.host(), IDENTITY), &before, &context);
        }
    }
}

/// What is done to a line.
#[derive(Clone, Debug)]
struct Edit {
    line: usize,
    what: &'static str,
}

fn edit() -> impl Strategy<Value = Edit> {
    let what = prop::sample::select(vec!["s/$/ WHO/", "i WHO", "a WHO", "d"]);
    (1..31usize, what).prop_map(|(line, what)| Edit { line, what })
}

/// Does it to the file `text`, from below, so that lines keep their numbers; once to a line.
fn sed(edits: &[Edit], who: &str) -> String {
    let mut edits = edits.to_vec();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.line));
    edits.dedup_by_key(|edit| edit.line);
    // Numbered lines are found by what they hold, whoever has edited before.
    let one =
        |edit: &Edit| format!("sed -i '/^{}\\( \\|$\\)/{}' text", edit.line, edit.what.replace("WHO", who));
    edits.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn is_no_part(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::NothingToUndo | CommitError::NotCommitted { .. } | CommitError::CameWith { .. }
    )
}

fn quiet(operations: &[String]) -> String {
    operations.iter().map(|line| format!("({line}) 2>/dev/null || true")).collect::<Vec<_>>().join("\n")
}

const IDENTITY: &str = "find . -printf '%P|%y|%m|%n|%i|%s|%l|%T@\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum";
/// Files that come back from another file system have other numbers.
const LOOKS: &str = "find . -printf '%P|%y|%m|%n|%s|%l|%T@\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum";
/// An overlay counts the names of a directory only where nothing of it comes from below.
const LOOKS_IN_OVERLAY: &str = "find . -type d -printf '%P|%y|%m|%T@\n' -o -printf '%P|%y|%m|%n|%s|%l|%T@\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum";
