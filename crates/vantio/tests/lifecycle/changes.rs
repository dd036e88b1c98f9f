//! After `discard` the host is what it was; after `commit` it is what the diff showed.

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{Manifest, Outcome, WORKSPACE, World, finish, is_root};

/// One way to change a tree: what is there before, and the shell commands that change it.
struct Change {
    before: fn(&Path),
    script: &'static str,
}

const fn change(before: fn(&Path), script: &'static str) -> Change {
    Change { before, script }
}

fn nothing(_: &Path) {}

fn a_file(workspace: &Path) {
    fs::write(workspace.join("file"), "before\n").unwrap();
}

fn a_tree(workspace: &Path) {
    fs::create_dir_all(workspace.join("tree/below")).unwrap();
    for name in ["one", "two", "below/three"] {
        fs::write(workspace.join("tree").join(name), name).unwrap();
    }
}

fn two_links(workspace: &Path) {
    a_file(workspace);
    fs::hard_link(workspace.join("file"), workspace.join("link")).unwrap();
}

fn a_symlink(workspace: &Path) {
    symlink("file", workspace.join("symlink")).unwrap();
}

/// Runs the same change bare in one world and governed in another; checks discard in a third.
#[track_caller]
fn holds(change: &Change) {
    let [bare, governed, discarded] = [World::new(), World::new(), World::new()];
    for world in [&bare, &governed, &discarded] {
        (change.before)(&world.workspace());
    }
    let shell = |script| ["/bin/bash", "-euc", script];
    finish(bare.command("/bin/bash").args(["-euc", change.script])).assert_success();

    let before = discarded.manifest();
    discarded.run(WORKSPACE, &shell(change.script)).assert_success();
    assert_eq!(differences(&discarded, &before), Vec::<String>::new(), "the run changed the host");
    assert_ne!(discarded.changes(), [], "the diff shows nothing");
    discarded.ask(&["discard", "last"]);
    assert_eq!(differences(&discarded, &before), Vec::<String>::new(), "discard changed the host");

    governed.run(WORKSPACE, &shell(change.script)).assert_success();
    governed.ask(&["commit", "last", "--hazards"]);
    assert_eq!(shape(&governed.workspace()), shape(&bare.workspace()), "commit differs from the bare run");
    assert_eq!(governed.changes(), [], "something is still pending");
}

fn differences(world: &World, before: &Manifest) -> Vec<String> {
    // The policy file is the test's own.
    let policy = Path::new("policy.yaml");
    before.clone().without(policy).differences(&world.manifest().without(policy))
}

/// What two trees have in common when the same was done to both: everything but times and inode numbers. Of the room
/// that files take up to 64 KiB may be the file system's own, which maps a file in pieces when it is full.
fn shape(root: &Path) -> Vec<String> {
    let mut format = Command::new("find");
    format.arg(root).args(["-printf", "%P %y %m %U:%G %n %s %l\\n"]);
    let mut lines: Vec<_> =
        finish(&mut format).stdout.lines().filter(|line| !line.is_empty()).map(without_sizes).collect();
    let contents = "find . -type f -exec sha256sum {} + ; getfattr -R -h -d -m - . 2>/dev/null; find . -type f -printf '%p %b\\n' | awk '{ $NF = int($NF / 128); print }'";
    let mut shell = Command::new("/bin/sh");
    lines.extend(finish(shell.args(["-c", contents]).current_dir(root)).stdout.lines().map(str::to_owned));
    lines.sort();
    lines
}

/// A directory's size and link count depend on its history.
fn without_sizes(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    if words.get(1) == Some(&"d") { words[..4.min(words.len())].join(" ") } else { line.to_owned() }
}

macro_rules! changes {
    ($($test:ident: $before:ident, $script:literal;)*) => {
        $(#[test]
        fn $test() {
            holds(&change($before, $script));
        })*
    };
}

changes! {
    a_new_file: nothing, "echo new > file";
    a_changed_file: a_file, "echo more >> file";
    a_replaced_file: a_file, "echo other > temporary; mv temporary file";
    a_removed_file: a_file, "rm file";
    a_removed_tree: a_tree, "rm -r tree";
    a_tree_removed_and_made_again: a_tree, "rm -r tree; mkdir tree; echo new > tree/other";
    a_renamed_file: a_file, "mv file moved";
    a_renamed_directory: a_tree, "mv tree moved";
    a_directory_renamed_and_filled: a_tree, "mv tree moved; echo x > moved/new; rm moved/one; mkdir tree";
    two_names_exchanged: a_tree, "mv tree/one t; mv tree/two tree/one; mv t tree/two";
    a_new_hard_link: a_file, "ln file link";
    a_linked_file_changed: two_links, "echo more >> link";
    one_of_two_links_removed: two_links, "rm link";
    a_new_symlink: a_file, "ln -s file symlink; ln -s /nowhere dangling";
    a_changed_symlink: a_symlink, "ln -sfn other symlink";
    a_symlink_made_a_directory: a_symlink, "rm symlink; mkdir symlink; echo x > symlink/file";
    a_file_made_a_directory: a_file, "rm file; mkdir file; echo x > file/below";
    a_directory_made_a_file: a_tree, "rm -r tree; echo x > tree";
    a_sparse_file: nothing, "truncate -s 50M sparse; printf x | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none";
    a_fifo: nothing, "mkfifo -m 640 fifo";
    a_changed_mode: a_tree, "chmod 700 tree tree/one; chmod 664 tree/two; chmod 1777 tree/below";
    changed_attributes: a_tree, "setfattr -n user.mark -v value tree/one; setfattr -n user.mark -v value tree; setfattr -n user.new -v x tree/two";
    strange_names: nothing, "printf x > $'new\\nline'; printf x > $'\\xff\\xfe'; printf x > -dash; printf x > ' space '; printf x > '*'; mkdir $'d\\x01'; printf x > $'d\\x01/f'";
    ten_thousand_files: nothing, "mkdir many; cd many; seq 10000 | xargs touch; seq 1 7 10000 | while read -r n; do echo $n > $n; done";
    empty_directories: nothing, "mkdir -p a/b/c d; chmod 711 a/b";
    a_deep_tree: nothing, "d=.; for i in $(seq 60); do d=$d/level$i; done; mkdir -p $d; echo deep > $d/file";
    a_large_file: nothing, "head -c 30000000 /dev/zero | tr '\\0' x > large";
    a_truncated_file: a_file, "truncate -s 3 file";
    files_of_a_process_of_any_name: nothing, "/usr/bin/python3 -c 'import ctypes, os; ctypes.CDLL(None).prctl(15, b\"\\xff\\xfe\\nUmask:\\t0\"); os.umask(0o27); open(\"file\", \"w\"); os.mkdir(\"folder\")'";
    writes_through_a_mapping: a_file, "/usr/bin/python3 -c 'import mmap; f = open(\"file\", \"r+b\"); m = mmap.mmap(f.fileno(), 0); m[0:3] = b\"MAP\"; m.flush()'";
}

/// Of a file that is nearly all hole, only what is none is read and copied.
#[test]
fn a_file_larger_than_the_disk_is_compared_committed_and_taken_back() {
    let world = World::new();
    let at = |name: &str| world.workspace().join(name);
    for name in ["touched.py", "written.py"] {
        fs::write(at(name), "begin\n").unwrap();
        fs::File::options().write(true).open(at(name)).unwrap().set_len(4 << 40).unwrap();
    }
    let script = "truncate -s 4T made.py; chmod 600 touched.py
        for f in made.py written.py; do printf x | dd of=$f bs=1 seek=2T conv=notrunc status=none; done";
    world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
    world.ask(&["diff", "last"]);
    world.ask(&["commit", "last"]);
    for (name, begin) in [("made.py", b'\0'), ("touched.py", b'b'), ("written.py", b'b')] {
        let file = fs::File::open(at(name)).unwrap();
        let read = |offset| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            byte[0]
        };
        let end = if name == "touched.py" { 0 } else { b'x' };
        assert_eq!((read(0), read(2 << 40), file.metadata().unwrap().len()), (begin, end, 4 << 40), "{name}");
    }
    world.ask(&["undo", "last"]);
    assert!(!at("made.py").exists());
    assert_ne!(fs::metadata(at("touched.py")).unwrap().mode() & 0o777, 0o600);
    world.ask(&["discard", "last"]);
}

/// Runs each script, commits what it did, and takes all of it back, the last one first.
#[track_caller]
fn taken_back_in_turn(before: &str, scripts: &[&str]) {
    let world = World::new();
    finish(world.command("/bin/bash").args(["-euc", before])).assert_success();
    let was = world.manifest();
    for script in scripts {
        world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
        world.ask(&["commit", "last", "--hazards"]);
    }
    for run in world.runs().iter().rev() {
        let undone = finish(&mut world.vantio(["undo", run]));
        assert!(undone.status.success(), "{scripts:?}: {}", undone.describe());
    }
    assert_eq!(differences(&world, &was), Vec::<String>::new(), "{scripts:?}");
}

#[test]
fn what_several_runs_did_to_the_same_is_taken_back_in_turn() {
    taken_back_in_turn("echo 0 > f", &["echo 1 > f", "echo 2 > f"]);
    taken_back_in_turn("true", &["echo 1 > f", "rm f", "echo 3 > f", "chmod 600 f"]);
    taken_back_in_turn("mkdir d; echo 0 > d/f", &["echo 1 > d/f; echo 1 > d/g", "echo 2 >> d/f", "rm -r d"]);
    taken_back_in_turn(
        "true",
        &["mkdir n; echo 1 > n/one; echo 2 > n/two", "rm n/one", "mv n/two n/three; echo 3 > n/one"],
    );
    taken_back_in_turn("echo 0 > f; ln f g", &["echo 1 >> f", "ln f h", "echo 2 >> g; chmod 600 h"]);
    taken_back_in_turn("mkdir b; echo a > a; ln a b/e", &["echo x >> a", "chmod 600 b/e"]);
    taken_back_in_turn("mkdir b; echo a > a; ln a b/e", &["echo x >> a", "setfattr -n user.k -v 1 b/e"]);
    // The file comes back in a folder that the first of them renamed, and that has yet another name by then.
    taken_back_in_turn("mkdir -p d/x; echo 1 > d/x/f", &["mv d/x d/b", "mv d/b y", "echo 3 >> y/f"]);
}

#[test]
fn a_file_whose_other_name_goes_is_taken_back_with_the_folder_it_is_in() {
    let world = World::new();
    let before = "mkdir a h; echo 2 > a/2; ln a/2 h/2";
    finish(world.command("/bin/bash").args(["-euc", before])).assert_success();
    world.run(WORKSPACE, &["/bin/bash", "-euc", "rm h/2; cp -al a a3"]).assert_success();
    world.ask(&["commit", "last"]);
    world.ask(&["undo", "last"]);
    assert!(world.workspace().join("h/2").exists() && !world.workspace().join("a3").exists());
    taken_back_in_turn(
        "mkdir a; echo 2 > a/2; ln a/2 a/3",
        &["mkdir a3; echo 2 > a3/2; rm a/3; ln -f a3/2 a/2"],
    );
}

#[test]
fn what_its_owner_may_not_change_is_taken_back() {
    let before = "mkdir ro; echo r > ro/r; chmod 555 ro; echo o > other";
    taken_back_in_turn(before, &["chmod 755 ro; echo n > ro/n; rm ro/r; chmod 555 ro; echo p >> other"]);
    taken_back_in_turn("true", &["mkdir m; echo s > m/f; chmod 311 m"]);
    taken_back_in_turn("mkdir -p d/ro; echo 1 > d/ro/f; chmod 500 d/ro d", &["chmod -R u+w d; rm -r d"]);
}

#[test]
fn a_folder_that_both_made_holds_what_both_put_there() {
    let world = World::new();
    let script = "mkdir -p pkg/sub; echo r > pkg/r; echo s > pkg/sub/s";
    world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
    let folder = world.workspace().join("pkg");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("host"), "h").unwrap();
    fs::write(folder.join("sub/host"), "h").unwrap();
    assert!(!world.changes().iter().any(|(kind, _)| kind == "deleted"), "{:?}", world.changes());
    world.ask(&["commit", "last"]);
    for name in ["r", "host", "sub/s", "sub/host"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    // One that the run removed and made anew is another matter.
    let script = "rm -r pkg; mkdir pkg; echo n > pkg/n";
    world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
    world.ask(&["commit", "last"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn what_ends_as_it_began_is_no_change() {
    let world = World::new();
    a_tree(&world.workspace());
    let script = "cat tree/one > t; cat t > tree/one; rm t; touch tree/x; rm tree/x; chmod 600 tree/two; chmod 644 tree/two; mv tree/below b; mv b tree/below; touch -d '2001-02-03' tree/two tree";
    world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
    assert_eq!(world.changes(), []);
}

#[test]
fn times_of_a_commit_are_those_of_the_run() {
    let world = World::new();
    a_file(&world.workspace());
    let script = "echo more >> file; touch -d '2001-02-03 04:05:06.789' file; mkdir dir; touch dir/x; touch -d '2002-03-04' dir";
    world.run(WORKSPACE, &["/bin/bash", "-euc", script]).assert_success();
    world.ask(&["commit", "last"]);
    let time = |name: &str| fs::metadata(world.workspace().join(name)).unwrap();
    assert_eq!((time("file").mtime(), time("file").mtime_nsec()), (981_173_106, 789_000_000));
    assert_eq!(time("dir").mtime(), 1_015_200_000);
}

#[test]
fn commit_brings_the_named_part_and_discard_the_rest() {
    let world = World::new();
    a_tree(&world.workspace());
    world
        .run(WORKSPACE, &["/bin/sh", "-c", "echo 1 > tree/one; echo 2 > tree/two; echo n > new"])
        .assert_success();
    world.ask(&["commit", "last", "tree/one"]);
    let read = |name: &str| fs::read_to_string(world.workspace().join(name)).unwrap();
    assert_eq!((read("tree/one"), read("tree/two")), ("1\n".to_owned(), "two".to_owned()));
    let left: Vec<_> = world.changes().into_iter().map(|(_, path)| path).collect();
    assert_eq!(left, ["new", "tree/two"].map(|name| world.workspace().join(name)));
    world.ask(&["discard", "last"]);
    assert!(!world.workspace().join("new").exists());
    assert_eq!(read("tree/two"), "two");
}

#[test]
fn a_file_that_the_host_only_touched_meanwhile_is_no_conflict() {
    let world = World::new();
    a_tree(&world.workspace());
    let script = "echo run > tree/one; chmod 700 tree/below; ln -sfn run tree/link";
    std::os::unix::fs::symlink("host", world.workspace().join("tree/link")).unwrap();
    world.run(WORKSPACE, &["/bin/sh", "-c", script]).assert_success();
    let tree = world.workspace().join("tree");
    let content = fs::read(tree.join("one")).unwrap();
    fs::write(tree.join("one"), content).unwrap();
    fs::write(tree.join("below/new"), "host").unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    std::os::unix::fs::symlink("host", tree.join("link")).unwrap();
    world.ask(&["commit", "last"]);
    assert_eq!(fs::read_to_string(tree.join("one")).unwrap(), "run\n");
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), std::path::Path::new("run"));
    assert_eq!(fs::read_to_string(tree.join("below/new")).unwrap(), "host");
}

#[test]
fn a_file_that_the_host_changed_meanwhile_is_a_conflict() {
    let world = World::new();
    a_tree(&world.workspace());
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo run > tree/one; echo run > tree/two"]).assert_success();
    fs::write(world.workspace().join("tree/one"), "host\n").unwrap();
    let outcome = finish(&mut world.vantio(["commit", "last"]));
    outcome.assert_code(4);
    assert!(
        outcome.stderr.contains("tree/one") || outcome.stdout.contains("tree/one"),
        "{}",
        outcome.describe()
    );
    let read = |name: &str| fs::read_to_string(world.workspace().join(name)).unwrap();
    assert_eq!((read("tree/one"), read("tree/two")), ("host\n".to_owned(), "run\n".to_owned()));
    assert_eq!(world.changes().len(), 1);
}

#[test]
fn a_symlink_planted_on_the_host_is_not_followed() {
    let world = World::new();
    a_tree(&world.workspace());
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo run > tree/below/three"]).assert_success();
    fs::write(world.outside().join("three"), "kept").unwrap();
    fs::remove_dir_all(world.workspace().join("tree/below")).unwrap();
    symlink(world.outside(), world.workspace().join("tree/below")).unwrap();
    finish(&mut world.vantio(["commit", "last"])).assert_code(4);
    assert_eq!(fs::read_to_string(world.outside().join("three")).unwrap(), "kept");
}

#[test]
fn a_second_commit_says_that_nothing_is_pending() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo x > file"]).assert_success();
    world.ask(&["commit", "last"]);
    let again = finish(&mut world.vantio(["commit", "last"]));
    again.assert_success();
    assert_says_something(&again);
}

#[test]
fn a_discarded_run_cannot_be_committed() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo x > file"]).assert_success();
    world.ask(&["discard", "last"]);
    let commit = finish(&mut world.vantio(["commit", "last"]));
    commit.assert_code(1);
    assert_says_something(&commit);
    assert!(!world.workspace().join("file").exists());
}

#[test]
fn discard_leaves_no_copy_of_content() {
    let world = World::new();
    // Not as one word: the command line is part of the run's record.
    let script = "echo a-very-'particular'-line > file";
    world.run(WORKSPACE, &["/bin/sh", "-c", script]).assert_success();
    world.ask(&["discard", "last"]);
    let mut grep = Command::new("grep");
    let found = finish(grep.args(["-rlaF", "a-very-particular-line"]).arg(world.state().join("runs")));
    assert_eq!(found.stdout, "");
}

#[test]
fn a_setuid_file_is_a_hazard_of_a_commit() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "cp /usr/bin/id tool; chmod 4755 tool"]).assert_success();
    let diff = world.ask(&["diff", "last", "--json"]);
    assert!(diff.contains("setuid"), "{diff}");
    let _ = finish(&mut world.vantio(["commit", "last"]));
    let committed = fs::metadata(world.workspace().join("tool"));
    assert!(committed.is_err() || committed.unwrap().permissions().mode() & 0o7000 == 0o4000);
}

#[test]
fn writes_outside_the_workspace_are_in_the_diff_and_nowhere_else() {
    let world = World::new();
    let before = world.manifest();
    let script = "mkdir -p ~/.cache/tool; echo cached > ~/.cache/tool/file; echo t > /tmp/scratch; echo v > /var/tmp/vantio-test-scratch";
    world.run(WORKSPACE, &["/bin/sh", "-euc", script]).assert_success();
    assert_eq!(differences(&world, &before), Vec::<String>::new());
    assert!(!Path::new("/tmp/scratch").exists() && !Path::new("/var/tmp/vantio-test-scratch").exists());
    let changed: Vec<PathBuf> = world.changes().into_iter().map(|(_, path)| path).collect();
    assert!(changed.contains(&world.home().join(".cache/tool/file")), "{changed:?}");
    // An ordinary user's run has a `/var/tmp` of its own.
    let is_shown = changed.contains(&PathBuf::from("/var/tmp/vantio-test-scratch"));
    assert_eq!(is_shown, is_root(), "{changed:?}");
}

#[track_caller]
fn assert_says_something(outcome: &Outcome) {
    let lines = outcome.stderr.lines().count() + outcome.stdout.lines().count();
    assert!((1..=24).contains(&lines), "not one screen: {}", outcome.describe());
}
