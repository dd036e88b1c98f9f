//! What a diff shows, over real overlays.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use changes_support::{World, describe, is_root, paths, sh};
use std::{os::unix::ffi::OsStrExt as _, time::Instant};

#[test]
fn what_ends_as_it_was_is_no_change() {
    let world = World::new("mkdir d; echo one > d/a; echo two > d/b; echo three > c; chmod 640 c");
    world.inside(
        "echo x >> d/a; echo one > d/a; touch d/b d; chmod 600 c; chmod 640 c; touch d/new; rm d/new
         mv c e; mv e c; rm d/b; echo two > d/b; mkdir n; rmdir n; setfattr -n user.a -v b c; setfattr -x user.a c
         mv d m; mv m d",
    );
    assert_eq!(world.kinds(), [""; 0]);
    assert!(world.scan().is_empty());
    assert_eq!(world.tree(), "no changes\n");
}

#[test]
fn every_kind_is_told() {
    let world = World::new(
        "mkdir -p d/sub gone/deep; echo 1 > d/mod; echo 2 > d/del; echo 3 > d/sub/keep; echo 4 > gone/deep/f
         echo 5 > gone/g; ln -s x link; echo 6 > file; mkdir dir; echo 7 > dir/in; echo 8 > meta; chmod 644 meta",
    );
    world.inside(
        "echo more >> d/mod; rm d/del; rm -r gone; ln -sfn y link; rm file; mkdir file; echo n > file/n
         rm -r dir; echo f > dir; chmod 600 meta; mkdir -p new/a/b; echo z > new/a/b/c; mkfifo fifo",
    );
    assert_eq!(
        world.kinds(),
        [
            "deleted /d/del",
            "modified /d/mod",
            "retyped /dir",
            "deleted /dir/in",
            "added /fifo",
            "retyped /file",
            "added /file/n",
            "deleted /gone",
            "deleted /gone/deep",
            "deleted /gone/deep/f",
            "deleted /gone/g",
            "modified /link",
            "metadata /meta",
            "added /new",
            "added /new/a",
            "added /new/a/b",
            "added /new/a/b/c",
        ]
    );
}

#[test]
fn a_directory_made_anew_is_compared_entry_by_entry() {
    let world =
        World::new("mkdir -p d/s; echo same > d/same; echo old > d/mod; echo x > d/gone; echo y > d/s/f");
    world.inside("rm -r d; mkdir d; echo same > d/same; echo new > d/mod; echo z > d/added");
    assert_eq!(
        world.kinds(),
        ["added /d/added", "deleted /d/gone", "modified /d/mod", "deleted /d/s", "deleted /d/s/f"]
    );
}

#[test]
fn a_tree_made_anew_is_compared_at_every_depth() {
    let world = World::new("mkdir -p d/s/t; echo y > d/s/f; echo z > d/s/t/g");
    world.inside("rm -r d; mkdir -p d/s/t");
    assert_eq!(world.kinds(), ["deleted /d/s/f", "deleted /d/s/t/g"]);
}

#[test]
fn a_renamed_directory_is_one_change() {
    if !is_root() {
        return; // An ordinary user's overlay answers EXDEV and programs copy.
    }
    let world =
        World::new("mkdir -p a/b/c p; echo 1 > a/b/c/f; echo 2 > a/b/g; echo 3 > a/h; echo 4 > a/b/del");
    world.inside(
        "mv a/b p/moved; echo more >> p/moved/g; rm p/moved/del; echo n > p/moved/n; mv a z; mkdir a",
    );
    assert_eq!(
        world.kinds(),
        [
            "added /a",
            "deleted /a/b/del",
            "renamed /p/moved < /a/b",
            "modified /p/moved/g < /a/b/g",
            "added /p/moved/n",
            "renamed /z < /a",
        ]
    );
}

#[test]
fn what_was_removed_from_a_renamed_directory_before_it_was_made_anew_is_told() {
    if !is_root() {
        return; // An ordinary user's overlay answers EXDEV and programs copy.
    }
    let world = World::new("mkdir -p d/x; echo h > d/x/f; echo k > d/k");
    world.note(&["/d", "/e", "/e/x/f", "/e/x", "/e/x/a"]);
    world.inside("mv d e; rm -r e/x; mkdir e/x; echo n > e/x/a");
    assert_eq!(world.kinds(), ["deleted /d/x/f", "renamed /e < /d", "added /e/x/a"]);
    assert!(!world.commit(&[]).is_incomplete());
    assert_eq!(sh(&world.host(), "find . -type f | sort"), "./e/k\n./e/x/a\n");
}

#[test]
fn names_that_are_not_text_survive_and_cannot_deceive() {
    let world = World::new("true");
    let name = std::ffi::OsStr::from_bytes(b"bad\xff\x1b[2J");
    std::fs::write(world.upper().join(name), "x").unwrap();
    let json = world.scan().to_json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["changes"][0]["path"]["base64"], "L2JhZP8bWzJK");
    assert!(world.tree().contains("+ /bad\\xff\\u{1b}[2J  (1 B)"), "{}", world.tree());
}

#[test]
fn the_text_folds_additions_and_never_a_deletion() {
    let world = World::new("mkdir old; for i in $(seq 40); do echo $i > old/$i; done");
    world.inside("rm -r old; mkdir new; for i in $(seq 40); do echo $i > new/$i; done");
    let tree = world.tree();
    assert_eq!(tree.lines().filter(|line| line.contains("/old/")).count(), 41, "{tree}");
    assert!(tree.starts_with("deleted:\n"), "{tree}");
    assert!(tree.contains("+ /new/  (40 files, 111 B)"), "{tree}");
    assert!(!tree.contains("new/7"), "{tree}");
}

#[test]
fn the_patch_makes_of_the_host_what_the_run_made() {
    let world = World::new(
        "mkdir -p d/e; seq 30 > d/mod; echo gone > d/del; printf 'no newline' > nl; echo m > exec; ln -s a link
         seq 5 > 'sp ace'; printf 'q\"uote\\n' > 'q\"t'; echo k > d/e/k; chmod 644 exec d/mod",
    );
    let wanted = world.inside(
        "sed -i 's/^15$/fifteen/' d/mod; rm d/del; printf 'now with\\n' > nl; chmod 755 exec; ln -sfn b link
         echo 6 >> 'sp ace'; echo r >> 'q\"t'; echo n > d/new; : > empty; rm -r d/e",
    );
    std::fs::write(world.runs().join("p"), world.patch()).unwrap();
    world.on_host("git apply --unsafe-paths -p1 ../runs/p");
    let content = |listing: &str| -> Vec<String> {
        listing.lines().filter(|line| line.contains("  ./")).map(str::to_owned).collect()
    };
    assert_eq!(content(&world.listing()), content(&wanted));
    world.on_host("test -x exec; test $(readlink link) = b");
    assert!(world.kinds().is_empty(), "{:?}", world.kinds());
}

#[test]
fn what_a_patch_cannot_hold_is_named() {
    let world = World::new("printf 'a\\0b' > bin");
    world.inside("printf 'a\\0c' > bin; mkfifo pipe");
    let patch = String::from_utf8(world.patch()).unwrap();
    assert!(patch.contains("Binary files a/bin and b/bin differ\n"), "{patch}");
    assert!(patch.contains("# added: /pipe (fifo, mode 0644)\n"), "{patch}");
}

#[test]
fn a_large_text_is_in_the_patch_and_what_is_not_leaves_the_rest_of_use() {
    let long = "seq -f '%079.0f' 900000";
    let world = World::new(&format!(
        "seq 700000 > big; seq 700000 > gone; {long} > log; for f in bin none moved; do printf 'a\\0b' > $f; done"
    ));
    world.inside(&format!(
        "rm gone none; seq 700000 > new; printf no >> new; sed -i '5s/$/ five/; 699990s/$/ last/' big; {long} > new-log
         printf 'a\\0c' > bin; chmod 755 bin; printf '\\0' > made; echo last >> log; echo z > z; : > empty"
    ));
    std::fs::write(world.runs().join("p"), world.patch()).unwrap();
    let told = sh(&world.runs(), "grep -a '^# ' p");
    for line in [
        "# Binary files a/bin and b/bin differ\n",
        "# Binary files a/none and /dev/null differ\n",
        "# Binary files /dev/null and b/made differ\n",
        "# Files a/log and b/log differ: too large to compare (text, 73 MB)\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(sh(&world.runs(), "grep -ac '^[-+][^-+]' p"), "2300006\n");
    world.on_host("git apply --unsafe-paths -p1 ../runs/p");
    world.on_host(&format!(
        "(seq 700000; printf no) | cmp - new; {long} | cmp - new-log; test ! -e gone; test -e empty"
    ));
    world.on_host("seq 700000 | sed '5s/$/ five/; 699990s/$/ last/' | cmp - big");
    world.on_host("test ! -e made; test -e none; grep z z");
}

#[test]
fn ten_thousand_files_are_told_quickly() {
    let world = World::new(
        "mkdir t; cd t; for d in $(seq 100); do mkdir $d; for f in $(seq 100); do echo $f > $d/$f; done; done",
    );
    world.inside("chmod -R u+x t; rm -r t/1; cp -r t/2 t/n");
    let start = Instant::now();
    let set = world.scan();
    eprintln!("scanned {} changes in {:?}", set.changes().len(), start.elapsed());
    // 9,900 files kept and changed, 101 deleted, 101 added (directories were executable already).
    assert_eq!(set.changes().len(), 9_900 + 101 + 101);
}

#[test]
fn a_run_may_leave_what_its_owner_cannot_read() {
    let world = World::new("echo a > a");
    world.inside("mkdir -p x/y; echo s > x/y/f; chmod 0 x/y/f x/y x; echo b > a; chmod 0 a");
    assert_eq!(world.kinds(), ["modified /a", "added /x", "added /x/y", "added /x/y/f"]);
    let modes: Vec<u32> =
        world.scan().changes().iter().map(|change| change.after.as_ref().unwrap().mode).collect();
    assert_eq!(modes, [0; 4]);
    assert_eq!(sh(&world.upper(), "stat -c %a a x"), "0\n0\n");
    let patch = String::from_utf8(world.patch()).unwrap();
    assert!(patch.contains("\n-a\n+b\n") && patch.contains("\n+s\n"), "{patch}");
    assert_eq!(sh(&world.upper(), "stat -c %a a x; ls -d ../upper.lent 2> /dev/null || true"), "0\n0\n");
    assert!(world.commit(&[]).conflicts.is_empty());
    assert_eq!(sh(&world.host(), "stat -c %a a x"), "0\n0\n");
}

#[test]
fn a_closed_folder_of_the_host_that_the_run_replaced_is_told_and_waits() {
    // Nothing is closed to root.
    if is_root() {
        return;
    }
    for mode in ["0", "600"] {
        let world = World::new(&format!(
            "mkdir over file gone; echo 1 > over/1; echo 1 > work; chmod {mode} over file gone"
        ));
        world.inside("rm -r over file gone; mkdir over; echo new > over/1; echo > file; echo lots >> work");
        let blocked = world.scan();
        let blocked = blocked.changes().iter().filter(|change| change.blocked.is_some()).map(describe);
        let blocked: Vec<_> = blocked.collect();
        assert_eq!(blocked, ["retyped /file", "deleted /gone", "metadata /over", "added /over/1"]);
        let report = world.commit(&[]);
        assert_eq!((paths(&report.committed), report.never.len()), (vec!["/work".to_owned()], 4));
        assert_eq!(sh(&world.host(), "cat work; chmod 755 over file gone; cat over/1"), "1\nlots\n1\n");
        assert_eq!(world.kinds(), ["retyped /file", "deleted /gone", "modified /over/1"],);
    }
}
