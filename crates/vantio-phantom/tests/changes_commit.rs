//! What a commit brings to the host, and what it refuses.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, assert_same, is_root, paths, sh};
use std::{os::fd::AsFd as _, os::unix::fs::MetadataExt as _, path::Path};
use vantio_phantom::{
    changes::Blocked,
    commit::{self, CommitError, Moment, Options, Reason, Selector},
};

/// Commits everything that `script` does and compares the host with what the
/// run saw.
fn becomes_what_the_run_saw(before: &str, script: &str) -> World {
    let world = World::new(before);
    let wanted = world.inside(script);
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{script}: {report:?}");
    assert_same(&world.listing(), &wanted, "the host");
    assert_eq!(world.kinds(), [""; 0]);
    assert!(world.commit(&[]).is_nothing_pending());
    assert!(
        !world
            .host()
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with(".vantio") })
    );
    world
}

#[test]
fn what_was_removed_from_a_renamed_directory_goes_though_it_replaces_another() {
    if !is_root() {
        return; // An ordinary user's overlay answers EXDEV and programs copy.
    }
    for script in [
        "rm -r c/a; rm -r a; mv c a; mv d c; ln -s b c/a",
        "rm c/a/f; rm -r a; mv c a; mv d c; mkdir c/a; echo 4 > c/a/f",
        "rm -r c/a; rm -r a; mv c a; mkdir -p c/a; echo 4 > c/a/f",
    ] {
        let world = World::new("mkdir -p a c/a d; echo 1 > c/f; echo 2 > d/y; echo 3 > a/x; echo 5 > c/a/f");
        let (before, wanted) = (world.shape(), world.inside_shape(script));
        assert!(!world.commit(&[]).is_incomplete(), "{script}");
        assert_eq!(world.shape(), wanted, "{script}");
        assert_eq!(world.undo().stayed, Vec::<Vec<u8>>::new(), "{script}");
        assert_eq!(world.shape(), before, "{script}");
    }
}

#[test]
fn trees_files_and_links_of_every_kind() {
    becomes_what_the_run_saw(
        "mkdir -p d/sub gone/deep; echo 1 > d/mod; echo 2 > d/del; echo 3 > d/sub/keep; echo 4 > gone/deep/f
         ln -s x link; echo 6 > file; mkdir dir; echo 7 > dir/in; echo 8 > meta; chmod 644 meta",
        "echo more >> d/mod; rm d/del; rm -r gone; ln -sfn y link; rm file; mkdir file; echo n > file/n
         rm -r dir; echo f > dir; chmod 600 meta; mkdir -p new/a/b; echo z > new/a/b/c; mkfifo -m 640 fifo new/fifo
         ln -s ../dangling new/a/link; touch -d @1000000000.5 new/a/b/old; chmod 1777 new/a; chmod 750 d/sub
         printf x > 'sp ace'; printf y > \"$(printf 'bad\\377name')\"",
    );
}

#[test]
fn attributes_and_access_lists_travel() {
    let world = becomes_what_the_run_saw(
        "echo a > a; mkdir d; setfattr -n user.old -v 1 a",
        "setfattr -n user.new -v 2 a; setfattr -x user.old a; echo b > b; setfattr -n user.b -v 3 b
         setfacl -m m::r b; setfacl -d -m g::r d; mkdir d/e; setfattr -n user.d -v 4 d/e",
    );
    let noted = sh(&world.host(), "getfattr -Rhd -m overlay . ; getfattr -hd -m user a");
    assert!(!noted.contains("overlay") && noted.contains("user.new"), "{noted}");
}

#[test]
fn holes_stay_holes() {
    let world = becomes_what_the_run_saw(
        "truncate -s 8M big; echo tail >> big",
        "truncate -s 64M new; printf x | dd of=new bs=1 seek=33554432 conv=notrunc 2>/dev/null; echo more >> big",
    );
    for name in ["new", "big"] {
        let meta = world.host().join(name).metadata().unwrap();
        assert!(meta.blocks() * 512 < 1 << 20, "{name} takes {} blocks", meta.blocks());
    }
}

#[test]
fn links_between_files_are_links_again() {
    let world = becomes_what_the_run_saw(
        "echo k > kept; echo m > mod",
        "echo n > n1; ln n1 n2; mkdir d; ln n1 d/n3; ln kept kept2; ln mod mod2; echo more >> mod",
    );
    assert_eq!(world.inode("n1"), world.inode("d/n3"));
    assert_eq!(world.inode("kept"), world.inode("kept2"));
    assert_eq!(world.inode("mod"), world.inode("mod2"));
}

#[test]
fn a_file_with_several_names_is_written_in_place() {
    let world = World::new("echo one > a; ln a b");
    let inode = world.inode("a");
    world.inside("echo two > a; chmod 600 a");
    world.commit(&[]);
    assert_eq!((world.inode("a"), world.inode("b")), (inode, inode));
    assert_eq!(sh(&world.host(), "cat b; stat -c %a b"), "two\n600\n");
    assert_eq!(world.kinds(), [""; 0]);
}

#[test]
fn each_name_of_a_file_becomes_what_the_run_saw() {
    let first = ["echo more >> ONE", "printf '' > ONE", "chmod 600 ONE", "cat /dev/null >> ONE"];
    let then = [
        "ln -sfn a",
        "rm",
        "rm OTHER; echo n >",
        "rm OTHER; mkdir",
        "chmod 600",
        "chmod 640",
        "echo q >",
        "ln -f ONE",
    ];
    for (one, other) in [("x", "y"), ("y", "x")] {
        for (first, then) in first.iter().flat_map(|first| then.iter().map(move |then| (first, then))) {
            let script = format!("{first}\n{then} OTHER").replace("ONE", one).replace("OTHER", other);
            let world = World::new("echo 1 > x; ln x y; sleep 0.01");
            let before = sh(&world.host(), "stat -c '%n %i' x y");
            world.inside(&format!("{script}\nmkdir ../seen; cp -a . ../seen"));
            let report = world.commit(&[]);
            assert!(!report.is_incomplete(), "{script}: {report:?}");
            // Whether names are still of one file is not asked: the run could not see it.
            let look = "for name in x y; do stat -c '%n %F %a' $name || echo gone; test ! -f $name || cat $name; done 2>&1";
            assert_eq!(sh(&world.host(), look), sh(&world.runs().join("../seen"), look), "{script}");
            assert_eq!(world.kinds(), [""; 0], "{script}");
            if report.number.is_some() {
                assert!(world.undo().stayed.is_empty(), "{script}");
            }
            assert_eq!(sh(&world.host(), "stat -c '%n %i' x y; cat x y"), before + "1\n1\n", "{script}");
        }
    }
}

#[test]
fn a_removed_name_counts_no_more_until_an_undo_brings_it_back() {
    let world = World::new("mkdir d; echo one > a; ln a b; echo two > c; ln c d/c; echo three > e; ln e f");
    let inode = world.inode("a");
    world.inside("rm b; rm d/c; rm e; mkdir e");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "stat -c '%n %h' a c f"), "a 1\nc 1\nf 1\n");
    assert_eq!(world.inode("a"), inode);
    assert!(world.undo().stayed.is_empty());
    assert_eq!(sh(&world.host(), "cat a b c d/c e f"), "one\none\ntwo\ntwo\nthree\nthree\n");
    // The name's old directory has another name of the file, or has none.
    assert_eq!(sh(&world.host(), "stat -c '%n %h' a b c d/c e f"), "a 2\nb 2\nc 1\nd/c 1\ne 2\nf 2\n");
}

#[test]
fn removing_every_name_of_a_file_keeps_the_file_for_an_undo() {
    let world = World::new("echo one > a; ln a b");
    let inode = world.inode("a");
    world.inside("rm a b");
    world.commit(&[]);
    assert!(world.undo().stayed.is_empty());
    assert_eq!((world.inode("a"), world.inode("b")), (inode, inode));
}

#[test]
fn directories_are_renamed_and_not_copied() {
    if !is_root() {
        return;
    }
    let before = "mkdir -p a/b/c p y x; echo 1 > a/b/c/f; echo 2 > a/b/g; echo 3 > a/h; echo 4 > a/b/del
                  echo 5 > y/f; echo 6 > x/f; mkdir s t; echo s > s/s; echo t > t/t";
    let script = "mv a/b p/moved; echo more >> p/moved/g; rm p/moved/del; echo n > p/moved/n; mv a z; mkdir a; echo 7 > a/new
                  rm -r x; mv y x; mv s tmp; mv t s; mv tmp t; mkdir deep; mv t deep/t";
    let probe = World::new(before);
    let inode = probe.inode("a/b/c/f");
    let wanted = probe.inside(script);
    let report = probe.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_same(&probe.listing(), &wanted, "the host");
    assert_eq!(probe.inode("p/moved/c/f"), inode);
    assert_eq!(probe.kinds(), [""; 0]);
}

#[test]
fn ten_thousand_files_arrive() {
    becomes_what_the_run_saw(
        "mkdir t; cd t; for d in $(seq 50); do mkdir $d; for f in $(seq 100); do echo $f > $d/$f; done; done",
        "rm -r t/1; for d in $(seq 2 6); do chmod 600 t/$d/*; done; for f in t/7/*; do echo more >> $f; done
         mkdir n; cd n; for d in $(seq 100); do mkdir $d; (cd $d; for f in $(seq 100); do echo $f > $f; done); done",
    );
}

#[test]
fn untouched_files_and_directories_keep_inode_and_times() {
    let world =
        World::new("mkdir -p d/q q; echo 1 > d/f; echo 2 > d/q/g; touch -d @1000000000 d/q/g d/q d q");
    let stat = "stat -c '%n %i %Y' d/q/g d/q q";
    let before = sh(&world.host(), stat);
    world.inside("echo x >> d/q/g; echo 2 > d/q/g; echo new > d/n; echo 3 > d/f");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), stat), before);
}

#[test]
fn a_directory_whose_file_was_changed_in_place_keeps_its_time() {
    let world = World::new("mkdir d; echo 1 > d/f; touch -d @1000000000 d");
    world.inside("echo 2 >> d/f");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "stat -c %Y d; cat d/f"), "1000000000\n1\n2\n");
}

#[test]
fn sockets_stay_behind_and_are_named() {
    let world = World::new("true");
    world.inside(
        "mkdir d; echo 1 > d/f; cd d; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'",
    );
    let report = world.commit(&[]);
    assert_eq!(report.never, [(b"/d/s".to_vec(), Blocked::Socket)]);
    assert_eq!(sh(&world.host(), "ls d"), "f\n");
}

#[test]
fn a_part_brings_its_parents_its_links_and_nothing_else() {
    let world = World::new("echo o > other");
    world.inside("mkdir -p n/m; echo 1 > n/m/f; echo 2 > n/g; ln n/m/f l; echo 3 > other");
    let report = world.commit(&["/n/m/f"]);
    assert_eq!(paths(&report.committed), ["/l", "/n", "/n/m", "/n/m/f"]);
    assert_eq!(paths(&report.along), ["/l", "/n", "/n/m"]);
    assert_eq!(world.kinds(), ["added /n/g", "modified /other"]);
    assert_eq!(world.inode("l"), world.inode("n/m/f"));
    assert!(world.commit(&["/n/m"]).is_nothing_pending());
    let error = world.try_commit(&["/nowhere"], Options::default()).unwrap_err();
    assert!(matches!(error, CommitError::NoSuchChange { .. }), "{error}");
    world.commit(&["/n"]);
    assert_eq!(world.kinds(), ["modified /other"]);
}

#[test]
fn half_of_a_rename_brings_the_other() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir a; echo 1 > a/f; echo 2 > a/g");
    world.inside("mv a b; echo 3 > b/f; rm b/g; mkdir a; echo 4 > a/n");
    let report = world.commit(&["/a/n"]);
    assert_eq!(paths(&report.along), ["/a", "/b"]);
    assert_eq!(sh(&world.host(), "cat a/n b/f b/g"), "4\n1\n2\n");
    assert_eq!(world.kinds(), ["modified /b/f", "deleted /b/g"]);
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "cat b/f; ls b"), "3\nf\n");
}

#[test]
fn a_discarded_run_cannot_be_committed() {
    let world = World::new("echo 1 > a");
    world.inside("echo 2 > a");
    commit::discard(&world.run).unwrap();
    let error = world.try_commit(&[], Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("E_RUN_DISCARDED"), "{error}");
}

#[test]
fn discard_leaves_the_host_alone_and_nothing_behind() {
    let world = World::new("mkdir d; echo 1 > d/f; echo 2 > g");
    let before = world.exact();
    world.inside("rm -r d; echo 3 > g; mkdir -p x/y; echo s > x/y/f; chmod 0 x/y/f x/y x");
    let dig = "import os\nfor i in range(3000):\n  os.mkdir('deep'); os.chdir('deep')\nopen('bottom', 'w')";
    sh(&world.upper(), &format!("python3 -c \"{dig}\""));
    assert!(world.kinds().contains(&"added /deep".to_owned()));
    std::fs::create_dir_all(world.run.path().join("tmp/t")).unwrap();
    world.note(&["/g"]);
    world.scan();
    commit::discard(&world.run).unwrap();
    assert_same(&world.exact(), &before, "the host");
    assert_eq!(sh(world.run.path(), "ls -A"), "run.json\n");
    commit::discard(&world.run).unwrap();
}

#[test]
fn a_partial_commit_survives_a_discard_and_can_be_undone() {
    let world = World::new("echo 1 > a; echo 1 > b");
    let before = world.listing();
    world.inside("echo 2 > a; echo 2 > b");
    world.commit(&["/a"]);
    commit::discard(&world.run).unwrap();
    assert_eq!(sh(world.run.path(), "ls -A"), "run.json\nundo\n");
    assert_eq!(sh(&world.host(), "cat a b"), "2\n1\n");
    assert!(world.undo().stayed.is_empty());
    assert_eq!(world.listing(), before);
}

#[test]
fn a_host_on_another_file_system_leaves_no_temporary_folder() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let world = World::with_host_on(shm, "mkdir d; echo 1 > d/f; echo 2 > g; ln g h; touch -d @1000000000 d");
    // The layer cannot be an overlay's over this host: it is made by hand.
    sh(
        &world.upper(),
        "mkdir d; echo new > d/f; touch -d @1000000000 d; echo longer > g; mkdir n; echo 3 > n/m",
    );
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(
        sh(&world.host(), "cat d/f h n/m; ls -A; stat -c %Y d"),
        "new\nlonger\n3\nd\ng\nh\nn\n1000000000\n"
    );
}

#[test]
fn a_folder_that_sets_the_group_keeps_nothing_of_a_commit() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let world = World::with_host_on(shm, "chmod 2775 .; mkdir d; echo 1 > d/f");
    sh(&world.upper(), "mkdir d; echo new > d/f; mkdir n; echo 2 > n/m; chmod 755 n");
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(sh(&world.host(), "cat d/f; ls -A; stat -c %a n"), "new\nd\nn\n755\n");
    assert!(world.undo().stayed.is_empty());
    assert_eq!(sh(&world.host(), "cat d/f; ls -A"), "1\nd\n");
}

#[test]
fn every_step_stays_below_the_directory_it_was_planned_for() {
    // At each moment in turn, somebody on the host replaces the directory by
    // a symlink that leads elsewhere.
    for moment in 0..12 {
        let world = World::new(
            "mkdir -p d/e out; echo 1 > d/e/f; echo safe > out/f; echo safe > out/del; echo x > d/e/del",
        );
        world.inside("echo 2 > d/e/f; echo 3 > d/e/n; rm d/e/del");
        let host = world.host();
        let swap = move |now: usize| {
            if now == moment {
                sh(&host, "mv d/e d/away; ln -s ../out d/e");
            }
            Moment::Go
        };
        let options = Options { at_moment: Some(&swap), ..Options::default() };
        let result = world.try_commit(&[], options);
        assert_eq!(
            sh(&world.host(), "cat out/f out/del; ls out"),
            "safe\nsafe\ndel\nf\n",
            "moment {moment}: {result:?}"
        );
    }
}

#[test]
fn a_change_under_the_hands_of_a_commit_is_a_conflict_and_the_rest_goes_on() {
    for moment in 0..8 {
        let world = World::new("echo 1 > a; echo 1 > b");
        world.inside("echo 2 > a; echo 2 > b");
        let host = world.host();
        let meddle = move |now: usize| {
            if now == moment {
                sh(&host, "grep -q 2 b || echo mine > b");
            }
            Moment::Go
        };
        let report =
            world.try_commit(&[], Options { at_moment: Some(&meddle), ..Options::default() }).unwrap();
        let b = sh(&world.host(), "cat a b");
        let kept = report.conflicts.iter().any(|conflict| conflict.path == b"/b");
        assert_eq!(b, if kept { "2\nmine\n" } else { "2\n2\n" }, "moment {moment}");
    }
}

#[test]
fn a_layer_of_a_mount_point_below_the_root_is_committed_there() {
    let world = World::new("mkdir -p home/u; echo 1 > home/u/f; echo 1 > other");
    let kind = if is_root() { "trusted" } else { "user" };
    let layers = format!(r#"[{{"mount_point":"/home","upper":"layers/0/upper","kind":"{kind}"}}]"#);
    std::fs::write(world.run.path().join("layers.json"), layers).unwrap();
    sh(&world.upper(), "mkdir u; echo 2 > u/f; echo 3 > u/n");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "cat home/u/f home/u/n"), "2\n3\n");
}

#[test]
fn settled_conflicts_go_the_way_that_was_chosen() {
    let world = World::new("echo 1 > a; echo 1 > b; echo 1 > c");
    world.note(&["/a", "/b", "/c"]);
    world.inside("echo run > a; echo run > b; echo run > c");
    world.on_host("echo host > a; echo host > b; echo host > c");
    let report = world.commit(&[]);
    assert_eq!(report.conflicts.len(), 3);
    assert!(report.conflicts.iter().all(|conflict| conflict.reason == Reason::Changed));
    let (theirs, ours) = ([Selector::new("/a")], [Selector::new("/b")]);
    let report = commit::commit(
        &world.run,
        &[],
        Options { theirs: &theirs, ours: &ours, ..Options::default() },
        world.root.as_fd(),
    )
    .unwrap();
    assert_eq!(paths(&report.committed), ["/a"]);
    assert_eq!(paths(&report.dropped), ["/b"]);
    assert_eq!(sh(&world.host(), "cat a b c"), "run\nhost\nhost\n");
    assert_eq!(world.kinds(), ["modified /c"]);
}

#[test]
fn a_name_that_the_run_left_as_it_was_stays_so_when_another_of_the_file_changes() {
    for apart in ["ln h2 h3", "touch h2"] {
        let world = World::new("echo old > h1; ln h1 h2");
        let wanted = world.inside_shape(&format!("echo new > h1; {apart}"));
        world.commit(&[]);
        assert_same(&world.shape(), &wanted, apart);
        assert_eq!(world.kinds(), [""; 0], "{apart}");
    }
}

/// What the run saw is on the host after a commit, and an undo brings back what was; in an overlay too.
fn there_and_back(before: &str, run: &str) {
    const LOOKS: &str = "find . -type d -printf '%P|%y|%m|%U|%T@\n' -o -printf '%P|%y|%m|%s|%l|%T@\n' | LC_ALL=C sort; getfattr -Rhd -m '^user[.][^o]' . 2>/dev/null | cat";
    const OWN: &str = "(find . -mindepth 1 -printf '%P|%U|%G\n' | LC_ALL=C sort; find . -mindepth 1 | LC_ALL=C sort | xargs -r getfattr -hd -m '^(user[.][^o]|system)' 2>/dev/null)";
    if !is_root() {
        // Nobody else renames a directory.
        return;
    }
    let before = format!(
        "{before}\nfind . -depth -type d | {{ t=0; while read -r d; do t=$((t+1)); touch -d @$t \"$d\"; done; }}"
    );
    for host in [World::new, World::with_host_in_overlay] {
        let world = host(&before);
        let was = sh(&world.host(), LOOKS);
        let wanted = world.inside_shape(&format!("{run}\n{OWN} > ../own"));
        let wanted_own = sh(&world.runs(), "cat ../own");
        let context = format!("{run}\n{:#?}", world.kinds());
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{context}\n{report:?}");
        assert_same(&world.shape(), &wanted, &context);
        assert_same(&sh(&world.host(), OWN), &wanted_own, &context);
        assert_eq!(world.kinds(), [""; 0], "{context}");
        let undone = world.undo();
        assert!(undone.stayed.is_empty(), "{context}\n{undone:?}");
        assert_same(&sh(&world.host(), LOOKS), &was, &context);
    }
}

#[test]
fn a_renamed_directory_gets_the_mode_owner_and_attributes_that_it_got() {
    there_and_back("mkdir c; echo 1 > c/f", "chmod 750 c; mv c t");
    there_and_back("mkdir c", "mv c t; chmod 700 t");
    there_and_back("mkdir c", "chown 33:33 c; mv c t");
    there_and_back("mkdir c", "chgrp 33 c; mv c t");
    there_and_back("mkdir -p r/x; echo 1 > r/x/f; echo 1 > r/y", "rm -r r/x; mv r q");
    there_and_back(
        "mkdir c; setfattr -n user.a -v 1 c; echo 1 > c/f",
        "setfattr -n user.a -v 2 c; chown 5:5 c; mv c t",
    );
    there_and_back("mkdir -p c/s; echo 1 > c/s/f", "mv c t; chmod 700 t/s; echo 2 >> t/s/f");
    there_and_back("mkdir c; echo 1 > c/f", "setfattr -n user.z -v 1 c; mv c t");
    there_and_back("mkdir -p c/s; setfattr -n user.z -v 1 c/s; echo 1 > c/s/f", "mv c t");
    there_and_back("mkdir c; echo 1 > c/f", "setfacl -m u:33:rx c; mv c t");
}

#[test]
fn a_file_with_several_names_is_written_in_place_wherever_its_folder_goes() {
    if !is_root() {
        return;
    }
    for (before, run, names) in [
        ("mkdir d; echo 1 > d/x; ln d/x y", "echo 2 >> d/x; mv d e", "e/x y"),
        ("mkdir d; echo 1 > d/x; ln d/x d/y", "echo 2 >> d/x; mv d e", "e/x e/y"),
        ("mkdir d a; echo 1 > d/x; ln d/x y; echo 3 > a/e", "echo 2 >> d/x; rm -r a; mv d a", "a/x y"),
        ("mkdir d e; echo 1 > d/x; ln d/x y; echo 3 > e/x", "echo 2 >> d/x; mv d t; mv e d; mv t e", "e/x y"),
    ] {
        for host in [World::new, World::with_host_in_overlay] {
            let world = host(before);
            let was = world.shape();
            world.inside(run);
            let report = world.commit(&[]);
            assert!(!report.is_incomplete(), "{run}\n{report:?}");
            assert_eq!(sh(&world.host(), &format!("cat {names}")), "1\n2\n1\n2\n", "{run}");
            assert!(world.undo().stayed.is_empty(), "{run}");
            assert_same(&world.shape(), &was, run);
        }
    }
}

#[test]
fn a_directory_is_replaced_by_another_with_the_same_names() {
    there_and_back("mkdir a b; echo 1 > a/f; echo 2 > b/f", "echo 3 >> b/f; rm -r a; mv b a");
    there_and_back(
        "mkdir -p a/s b/s; echo 1 > a/s/f; echo 2 > b/s/f; echo 2 > b/g",
        "echo 3 >> b/s/f; rm -r a; mv b a; echo 4 > a/h",
    );
    there_and_back("mkdir -p a/s b/s; echo 1 > a/s/f; echo 2 > b/s/f", "rm -r a; mv b a; rm a/s/f");
    there_and_back("mkdir -p a/s b/s; echo 1 > a/s/f; echo 2 > b/s/f", "rm -r a; mv b a; chmod 700 a/s");
    there_and_back("mkdir a b; echo 1 > a/f; echo 1 > a/g; echo 2 > b/f", "rm -r a; mv b a; echo 4 > a/g");
    there_and_back("mkdir -p a/s b; echo 1 > a/s/g; echo 2 > b/s", "rm -r a; mv b a; echo 4 > a/s");
}

#[test]
fn a_part_brings_nothing_that_its_folder_got() {
    let world = World::new("mkdir d; echo 1 > d/f; echo 1 > d/g; chmod 755 d; setfattr -n user.k -v 1 d");
    world.inside("chmod 700 d; setfattr -n user.k -v 2 d; echo 2 > d/f; rm d/g; echo 3 > d/n");
    world.commit(&["/d/f"]);
    world.commit(&["/d/n"]);
    world.commit(&["/d/g"]);
    let look = || sh(&world.host(), "stat -c %a d; getfattr -d d | grep user; ls d");
    assert_eq!(look(), "755\nuser.k=\"1\"\nf\nn\n");
    assert_eq!(world.kinds(), ["metadata /d"]);
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(look(), "700\nuser.k=\"2\"\nf\nn\n");
    for _ in 0..4 {
        assert!(world.undo().stayed.is_empty());
    }
    assert_eq!(look(), "755\nuser.k=\"1\"\nf\ng\n");
    let report = world.commit(&[]);
    assert!(!report.is_incomplete(), "{report:?}");
    assert_eq!(look(), "700\nuser.k=\"2\"\nf\nn\n");
}

#[test]
fn what_a_part_moved_away_makes_room_for_the_rest() {
    if !is_root() {
        return;
    }
    for host in [World::new, World::with_host_in_overlay] {
        let world = host("mkdir d; echo x > d/f");
        let wanted = world.inside_shape("mv d n; mkdir d; echo new > d/g");
        world.commit(&["/n"]);
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{report:?}");
        assert_same(&world.shape(), &wanted, "");
        assert!(world.undo().stayed.is_empty());
        assert!(world.undo().stayed.is_empty());
        assert_eq!(sh(&world.host(), "find . -type f"), "./d/f\n");
    }
}

#[test]
fn what_is_in_a_renamed_directory_is_exchanged() {
    there_and_back(
        "mkdir -p p/d; echo f > p/f; echo c > p/d/c",
        "mv p/f p/t; mv p/d p/f; mv p/t p/d; mv p q",
    );
    there_and_back(
        "mkdir -p Z/d d; echo f > f; echo c > Z/d/c; echo c > d/e",
        "mv f t; mv Z/d f; mv t Z/d; mv d t; mv Z d; mv t Z",
    );
}

#[test]
fn a_directory_takes_the_place_of_its_own_parent() {
    there_and_back("mkdir -p c/c; echo 1 > c/c/f", "mv c/c t; rmdir c; mv t c");
    there_and_back("mkdir -p c/d; echo 1 > c/d/f; echo 2 > c/g", "mv c/d t; rm -rf c; mv t c");
    there_and_back(
        "mkdir -p v/src/deep; echo 1 > v/src/f; echo 2 > v/src/deep/g",
        "mv v tmp; mv tmp/src v; rmdir tmp",
    );
    there_and_back("mkdir -p c/c; echo 1 > c/c/f; echo 2 > c/readme", "mv c t; mv t/c c; rm -rf t");
}

#[test]
fn a_directory_that_takes_anothers_place_keeps_its_time() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir -p c/c; echo 1 > c/c/f; touch -d @1 c/c; touch -d @2 c");
    world.inside("mv c/c t; rmdir c; mv t c");
    world.commit(&[]);
    assert_eq!(sh(&world.host(), "stat -c %Y c"), "1\n");
}

#[test]
fn a_directory_is_made_anew_where_one_was_that_was_moved() {
    there_and_back("mkdir -p d/x; echo 1 > d/x/f; echo 1 > d/y", "mv d/x t; mv d e; mkdir d; echo 2 > d/x");
    there_and_back(
        "mkdir -p d/x; echo 1 > d/x/f; echo 1 > d/y",
        "mv d/x t; mv d e; mkdir -p d/x; echo 2 > d/x/f",
    );
    there_and_back(
        "mkdir -p d/s; echo 1 > d/s/x",
        "mv d/s t; rm t/x; echo 3 > t/w; mkdir d/s; echo 2 > d/s/z",
    );
}

#[test]
fn what_was_deleted_from_a_renamed_directory_goes_though_something_new_is_where_it_was() {
    there_and_back(
        "mkdir d; echo 1 > d/x; echo 1 > d/y",
        "mv d e; rm e/x; mkdir d; echo 2 > d/x; echo 2 > d/z",
    );
    there_and_back(
        "mkdir -p d/s; echo 1 > d/s/x; echo 1 > d/y",
        "mv d e; rm -r e/s; mkdir -p d/s; echo 2 > d/s/x",
    );
    there_and_back(
        "mkdir -p d/s; echo 1 > d/s/x; echo 1 > d/s/y",
        "mv d/s t; rm t/x; mkdir d/s; echo 2 > d/s/x",
    );
    there_and_back("mkdir d f; echo 1 > d/x; echo 1 > f/x", "mv d e; rm e/x; mv f d; echo 2 > d/x");
    there_and_back(
        "mkdir -p d/s; echo 1 > d/s/x; echo 1 > d/s/y",
        "mv d e; rm -r e/s; mkdir d; echo 2 > d/s",
    );
}

#[test]
fn a_directory_is_moved_out_of_one_that_something_else_replaces() {
    for other in ["ln -s c b", "echo 2 > b", "mkfifo b"] {
        there_and_back(
            "mkdir -p b/c; echo 1 > b/c/1; touch -d @1000000000 b",
            &format!("mv b/c c; rm -rf b; {other}"),
        );
    }
}

#[test]
fn what_stands_in_the_way_below_a_renamed_directory_goes_with_a_part() {
    // An ordinary user's run has copied it.
    if !is_root() {
        return;
    }
    let before = "mkdir -p t/a/deep t/c; echo a > t/a/1; echo d > t/a/deep/2; echo c > t/c/3";
    for (run, part) in [
        ("mv t tt; mv tt/a b; mv tt/c tt/a", "/tt/a"),
        ("mv t tt; mv tt/a b; echo file > tt/a", "/tt/a"),
        ("mv t tt; mv tt/a b; mkdir tt/a; echo n > tt/a/n", "/tt/a/n"),
        ("mv t tt; mv tt/a tt/x; mv tt/c tt/a; mv tt/x tt/c", "/tt/c"),
        ("mv t tt; mv tt/a/deep b; rm -r tt/a; echo file > tt/a", "/tt/a"),
        ("mv t tt; mv tt/a/deep b; rm -r tt/a; mkdir tt/a; echo 1 > tt/a/n", "/tt/a"),
    ] {
        let world = World::new(before);
        let host = world.listing();
        let wanted = world.inside_shape(run);
        let report = world.commit(&[part]);
        assert!(!report.is_incomplete(), "{run}: {report:?}");
        let report = world.commit(&[]);
        assert!(!report.is_incomplete(), "{run}: {report:?}");
        assert_same(&world.shape(), &wanted, run);
        while world.try_undo().is_ok() {}
        assert_same(&world.listing(), &host, run);
    }
}
