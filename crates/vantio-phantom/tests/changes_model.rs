//! Random work in a run, with the overlay itself as the model: after a commit
//! the host is what the run saw, after an undo it is what it was.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, assert_same, sh};
use proptest::prelude::*;
use vantio_phantom::commit::Options;

const BEFORE: &str = "mkdir -p a/b c/d/e; echo 1 > a/x; echo 2 > a/b/y; echo 3 > c/x; echo 4 > c/d/y; echo 5 > c/d/e/x; echo 6 > x
     ln -s a/x y; mkdir b; chmod 700 b; setfattr -n user.k -v old c/x; truncate -s 100000 c/sparse; printf 1 >> c/sparse";

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "x", "y"]);
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

fn operation() -> impl Strategy<Value = String> {
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

/// Extended attributes, an overlay's own apart.
const ATTRIBUTES: &str = "find . -mindepth 1 -print0 | LC_ALL=C sort -z | xargs -0r getfattr -hd -m '^user[.][^o]' 2>/dev/null | cat";

fn attributes(world: &World) -> String {
    sh(&world.host(), ATTRIBUTES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_host_becomes_what_the_run_saw_and_what_it_was(
        operations in prop::collection::vec(operation(), 1..14),
        first in path(),
    ) {
        let world = World::new(BEFORE);
        let identity = "find . -printf '%P|%y|%m|%n|%i|%s|%l|%T@\n' | LC_ALL=C sort";
        let before = sh(&world.host(), identity);
        let quiet: Vec<_> = operations.iter().map(|line| format!("({line}) 2>/dev/null || true")).collect();
        let wanted = world.inside_shape(&format!("{}\n{ATTRIBUTES} > ../attributes", quiet.join("\n")));
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
}
