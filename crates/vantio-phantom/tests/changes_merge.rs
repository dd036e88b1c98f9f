//! What the host and the run both changed is merged with what there was before.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, is_root, paths, sh};
use vantio_phantom::commit::{Offer, Options, Selector, Unmergeable};

const TEN: &str = "seq 10 > f; chmod 644 f";

/// A conflict over `/f`, which `before` makes and both sides change.
fn conflict(before: &str, run: &str, host: &str) -> World {
    let world = World::new(before);
    world.note(&["/f"]);
    world.inside(run);
    world.on_host(host);
    world
}

fn offer(world: &World) -> Offer {
    let untouched = world.listing();
    let mut report = world.commit(&["/f"]);
    assert_eq!(world.listing(), untouched);
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    report.conflicts.remove(0).offer
}

#[track_caller]
fn impossible(before: &str, run: &str, host: &str, why: &Unmergeable) {
    let world = conflict(before, run, host);
    assert_eq!(offer(&world), Offer::Impossible(why.clone()));
    let untouched = world.listing();
    let report = world.merge("/f", true);
    assert_eq!((report.conflicts.len(), report.committed.len()), (1, 0));
    assert_eq!(world.listing(), untouched);
}

#[test]
fn what_each_changed_elsewhere_is_merged_and_taken_back() {
    let world = conflict(TEN, "sed -i s/^2$/run/ f", "sed -i s/^9$/host/ f");
    let host = world.listing();
    assert_eq!(offer(&world), Offer::Clean);
    let report = world.merge("/f", false);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(paths(&report.merged), ["/f"]);
    assert_eq!(sh(&world.host(), "cat f"), "1\nrun\n3\n4\n5\n6\n7\n8\nhost\n10\n");
    assert_eq!(world.kinds(), [""; 0]);
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), host);
    // It conflicts as before, and can be merged again.
    assert_eq!(world.kinds(), ["modified /f"]);
    assert_eq!(offer(&world), Offer::Clean);
    assert!(!world.merge("/f", false).is_incomplete());
    assert_eq!(sh(&world.host(), "sed -n '2p;9p' f"), "run\nhost\n");
}

#[test]
fn what_was_overwritten_and_taken_back_conflicts_again() {
    let world = conflict(TEN, "sed s/^2$/run/ f > t; cat t > f; rm t", "sed -i s/^9$/host/ f");
    let host = world.listing();
    let theirs = [Selector::new("/f")];
    let report = world.try_commit(&[], Options { theirs: &theirs, ..Options::default() }).unwrap();
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "sed -n '2p;9p' f"), "run\n9\n");
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), host);
    assert_eq!(offer(&world), Offer::Clean);
}

#[test]
fn lines_that_both_changed_are_named_and_need_markers() {
    let world = conflict(TEN, "sed -i s/^5$/run/ f", "sed -i s/^5$/host/ f");
    let Offer::Overlapping(overlaps) = offer(&world) else { panic!() };
    assert_eq!(overlaps.len(), 1);
    let line = |lines: &vantio_phantom::commit::Lines| (lines.first, lines.text.concat());
    assert_eq!(line(&overlaps[0].before), (5, b"5\n".to_vec()));
    assert_eq!(line(&overlaps[0].host), (5, b"host\n".to_vec()));
    assert_eq!(line(&overlaps[0].run), (5, b"run\n".to_vec()));
    let untouched = world.listing();
    assert_eq!(world.merge("/f", false).conflicts.len(), 1);
    assert_eq!(world.listing(), untouched);
    let report = world.merge("/f", true);
    assert!(!report.is_incomplete(), "{report:?}");
    let marked = "1\n2\n3\n4\n<<<<<<< host\nhost\n||||||| before the run\n5\n=======\nrun\n>>>>>>> run\n6\n7\n8\n9\n10\n";
    assert_eq!(sh(&world.host(), "cat f"), marked);
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), untouched);
}

#[test]
fn mode_and_attributes_are_as_the_side_has_them_that_changed_them() {
    let before =
        &format!("{TEN}; setfattr -n user.a -v 1 f; setfattr -n user.b -v 1 f; setfattr -n user.c -v 1 f");
    let run = "sed s/^2$/run/ f > g; cat g > f; rm g; setfattr -n user.a -v run f; setfattr -x user.c f";
    let host = "chmod 600 f; setfattr -n user.b -v host f; echo 11 >> f";
    let world = conflict(before, run, host);
    let report = world.merge("/f", false);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "stat -c %a f; tail -1 f; sed -n 2p f"), "600\n11\nrun\n");
    let attributes = sh(&world.host(), "getfattr -d f 2>/dev/null | grep user");
    assert_eq!(attributes, "user.a=\"run\"\nuser.b=\"host\"\n");
}

#[test]
fn metadata_alone_are_merged_whatever_the_file_holds() {
    let before = "head -c 3000000 /dev/zero > f; chmod 644 f; setfattr -n user.a -v 1 f";
    // Attributes of so large a file are not known: both must have them the same.
    let world =
        conflict("head -c 3000 /dev/zero > f; chmod 644 f", "chmod 600 f", "setfattr -n user.a -v host f");
    assert_eq!(offer(&world), Offer::Clean);
    assert!(!world.merge("/f", false).is_incomplete());
    assert_eq!(sh(&world.host(), "stat -c %a f; getfattr --only-values -n user.a f"), "600\nhost");
    impossible(
        before,
        "setfattr -n user.a -v run f",
        "chmod 600 f",
        &Unmergeable::Attribute(b"user.a".to_vec()),
    );
}

#[test]
fn what_only_one_side_changed_need_not_be_text() {
    let world = conflict(
        "head -c 3000 /dev/zero > f; chmod 644 f",
        "printf run | dd of=f conv=notrunc status=none",
        "chmod 600 f",
    );
    assert_eq!(offer(&world), Offer::Clean);
    assert!(!world.merge("/f", false).is_incomplete());
    assert_eq!(sh(&world.host(), "stat -c '%a %s' f; head -c 3 f"), "600 3000\nrun");
}

#[test]
fn what_cannot_be_merged_says_why() {
    impossible(TEN, "sed -i s/^2$/run/ f; chmod 600 f", "chmod 640 f; echo 11 >> f", &Unmergeable::Mode);
    impossible("printf 'a\\0b' > f", "printf 'r\\0b' > f", "printf 'a\\0h' > f", &Unmergeable::NotText);
    impossible(TEN, "rm f", "echo 11 >> f", &Unmergeable::GoneFromRun);
    impossible(TEN, "rm f; mkdir f", "echo 11 >> f", &Unmergeable::OtherType);
    impossible("ln -s a f", "ln -sfn b f", "ln -sfn c f", &Unmergeable::OtherType);
    impossible(TEN, "sed -i s/^2$/run/ f; ln f g", "echo 11 >> f", &Unmergeable::SeveralNames);
    impossible("seq 200000 > f", "sed -i s/^2$/run/ f", "echo 11 >> f", &Unmergeable::Large);
    impossible("yes | head -50000 > f", "sed -i 1s/y/run/ f", "sed -i 9s/y/host/ f", &Unmergeable::Large);
    let before = &format!("{TEN}; setfattr -n user.a -v 1 f");
    impossible(
        before,
        "echo 0 > f; setfattr -n user.a -v run f",
        "echo 11 >> f; setfattr -n user.a -v host f",
        &Unmergeable::Attribute(b"user.a".to_vec()),
    );
    impossible("mkdir f; chmod 755 f", "chmod 700 f", "chmod 711 f", &Unmergeable::Mode);
    impossible("mkdir f; chmod 755 f", "chmod 700 f", "setfattr -n user.a -v 1 f", &Unmergeable::OtherType);
    if is_root() {
        impossible(TEN, "echo 0 > f; chown 7 f", "chown 8 f", &Unmergeable::Owner);
    }
    let world = conflict(TEN, "sed -i s/^2$/run/ f", "rm f");
    assert_eq!(offer(&world), Offer::Impossible(Unmergeable::GoneFromHost));
}

#[test]
fn without_what_was_there_before_nothing_is_merged() {
    let world = World::new(TEN);
    world.inside("sed -i s/^2$/run/ f");
    world.on_host("echo 11 >> f");
    assert_eq!(offer(&world), Offer::Impossible(Unmergeable::Forgotten));
    let world = conflict(TEN, "sed -i s/^2$/run/ f", "echo 11 >> f");
    // A part of what is kept is torn.
    std::fs::write(world.run.path().join("base.pack"), "1\n2\nsomething else that is as long").unwrap();
    assert_eq!(offer(&world), Offer::Impossible(Unmergeable::Forgotten));
}

#[test]
fn two_new_files_of_one_name_are_merged_with_markers_only() {
    let world = conflict("true", "echo run > f; chmod 644 f", "echo host > f; chmod 644 f");
    assert!(matches!(offer(&world), Offer::Overlapping(_)));
    world.merge("/f", true);
    assert_eq!(
        sh(&world.host(), "cat f"),
        "<<<<<<< host\nhost\n||||||| before the run\n=======\nrun\n>>>>>>> run\n"
    );
}

#[test]
fn a_merged_file_with_several_names_on_the_host_is_written_in_place() {
    let world = conflict(&format!("{TEN}; ln f g"), "sed s/^2$/run/ f > t; cat t > f; rm t", "echo 11 >> f");
    let inode = world.inode("f");
    let host = world.listing();
    let report = world.merge("/f", false);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!((world.inode("f"), world.inode("g")), (inode, inode));
    assert_eq!(sh(&world.host(), "sed -n '2p;11p' g"), "run\n11\n");
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), host);
}

#[test]
fn a_merge_goes_together_with_a_rename_of_its_directory() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir d; seq 10 > d/f");
    world.note(&["/d", "/e", "/d/f"]);
    world.inside("sed s/^2$/run/ d/f > t; cat t > d/f; rm t; mv d e");
    world.on_host("echo 11 >> d/f");
    let merge = [Selector::new("/e")];
    let report = world.try_commit(&[], Options { merge: &merge, ..Options::default() }).unwrap();
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "ls; sed -n '2p;11p' e/f"), "e\nrun\n11\n");
}
