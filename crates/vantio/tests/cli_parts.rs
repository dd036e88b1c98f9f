//! Merges, hunks and parts of commits, as a person sees them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli_world;

use std::fs;

use cli_world::World;
use serde_json::{Value, json};

const POLICY: &str =
    "version: 1\nfs: {read: [/], write: ['${workspace}', '${tmp}', /dev]}\nexec: {allow: [/]}\n";

fn numbers() -> String {
    (1..=40).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat()
}

/// A run that changed four lines of `text`, in three hunks, and more.
fn world() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.write("text", &numbers());
    world.write("gone", "bye\n");
    let script = "sed 's/^2$/two/; s/^20$/twenty/; s/^22$/twentytwo/; s/^39$/last/' text > t; cat t > text; rm t gone; mkdir new; echo x > new/file";
    assert!(world.run(&["run", "--", "sh", "-c", script]).starts_with("exit 0\n"));
    world
}

fn words(world: &World) -> String {
    let text = fs::read_to_string(world.work().join("text")).unwrap();
    let is_word = |line: &&str| line.parse::<u8>().is_err();
    text.lines().filter(is_word).collect::<Vec<_>>().join(" ")
}

fn json(world: &World, arguments: &str) -> Value {
    serde_json::from_str(&world.shell(&format!("$VANTIO {arguments} --json"))).unwrap()
}

#[test]
fn what_the_host_changed_too_is_merged_on_request() {
    let world = world();
    world.write("text", &numbers().replace("\n30\n", "\nhost\n"));
    let left = world.run(&["commit", "last"]);
    assert!(left.starts_with("exit 4\n") && left.contains("  a merge has what both changed\n"), "{left}");
    assert!(left.contains("--merge [WORK]/text\n") && !left.contains("--markers"), "{left}");
    assert_eq!(words(&world), "host");
    let conflict = &json(&world, "commit last")["conflicts"][0];
    assert_eq!(conflict["merge"], json!({ "state": "clean" }));
    let merged = world.run(&["commit", "last", "--merge", "text", "text"]);
    assert_eq!(merged, "exit 0\ncommitted 1 path\n  merged: [WORK]/text\n");
    assert_eq!(words(&world), "two twenty twentytwo host last");
    let ends = world.shell("$VANTIO ledger list --op phantom.commit.end --json");
    assert!(ends.contains("\"merged\":1"), "{ends}");
    assert!(world.run(&["undo", "last"]).starts_with("exit 0\n"));
    assert_eq!(words(&world), "host");
}

#[test]
fn lines_that_both_changed_are_told_and_marked_only_on_request() {
    let world = world();
    world.write("text", &numbers().replace("\n20\n", "\nhost\n"));
    let left = world.run(&["commit", "last", "--merge", "text"]);
    assert!(left.starts_with("exit 4\n"), "{left}");
    assert!(left.contains("  both changed line 20: the host has `host`, the run `twenty`\n"), "{left}");
    assert!(left.contains("--merge [WORK]/text --markers\n"), "{left}");
    assert_eq!(words(&world), "host");
    let merge = &json(&world, "commit last")["conflicts"][0]["merge"];
    assert_eq!(merge["state"], "overlapping");
    let one = |first: u32, line: &str| json!({ "first": first, "lines": [line] });
    let overlap = json!({ "before": one(20, "20\n"), "host": one(20, "host\n"), "run": one(20, "twenty\n") });
    assert_eq!(merge["overlaps"][0], overlap);
    let merged = world.run(&["commit", "last", "--merge", "text", "--markers", "text"]);
    assert!(merged.starts_with("exit 0\n"), "{merged}");
    assert_eq!(
        words(&world),
        "two <<<<<<< host host ||||||| before the run ======= twenty >>>>>>> run twentytwo last"
    );
    assert!(world.run(&["commit", "last", "--markers"]).starts_with("exit 2\n"));
}

#[test]
fn hunks_are_numbered_chosen_and_taken_back() {
    let world = world();
    let changes = json(&world, "diff last");
    let text =
        changes["changes"].as_array().unwrap().iter().find(|change| change["hunks"].is_array()).unwrap();
    let hunk = |number: u32, start: u32, lines: u32, changed: u32| {
        json!({
            "number": number, "old_start": start, "old_lines": lines, "new_start": start, "new_lines": lines,
            "removed": changed, "added": changed,
        })
    };
    assert_eq!(text["hunks"], json!([hunk(1, 1, 5, 1), hunk(2, 17, 9, 2), hunk(3, 36, 5, 1)]));
    let part = world.run(&["commit", "last", "--hunks", "text:1,3"]);
    assert_eq!(part, "exit 0\ncommitted some hunks of [WORK]/text: the others wait\n");
    assert_eq!(words(&world), "two last");
    assert!(world.work().join("gone").exists());
    let shown = world.run(&["diff", "last", "--patch"]);
    assert!(shown.contains("+twenty\n") && !shown.contains("+two\n"), "{shown}");
    assert!(world.run(&["commit", "last", "--hunks", "text:2"]).starts_with("exit 2\nE_HUNKS"));
    assert!(world.run(&["commit", "last", "--hunks", "text"]).starts_with("exit 2\nE_HUNKS"));
    let unchanged = world.run(&["commit", "last", "--hunks", "unchanged:1"]);
    assert!(unchanged.starts_with("exit 2\nE_NO_SUCH_CHANGE"), "{unchanged}");
    assert!(world.run(&["commit", "last", "--hunks", "gone:1"]).starts_with("exit 1\nE_NO_HUNKS"));
    let rest = world.run(&["commit", "last", "--hunks", "text:1", "new"]);
    assert_eq!(rest, "exit 0\ncommitted 3 paths\n");
    assert_eq!(words(&world), "two twenty twentytwo last");
    let undone = world.run(&["undo", "last", "text"]);
    assert!(undone.starts_with("exit 0\na part of commit 2 of run "), "{undone}");
    assert_eq!(words(&world), "two last");
    assert!(world.work().join("new/file").exists());
    assert!(world.run(&["undo", "last", "new/file"]).starts_with("exit 1\nE_CAME_WITH"));
    assert!(world.run(&["undo", "last", "none"]).starts_with("exit 1\nE_NOT_COMMITTED"));
    assert!(world.run(&["undo", "last", "text"]).contains("commit 1"));
    assert_eq!(words(&world), "");
    assert!(world.run(&["undo", "last"]).contains("commit 2"));
    assert!(!world.work().join("new").exists());
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified: "));
}

/// A run that changed what the host changed too, in `d` beside a hazard, and more.
fn world_with_more() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.shell("mkdir d; echo before > d/a");
    let script = "echo run > d/a; echo > d/b; ln -s /etc/passwd d/leak; ln -s /etc/passwd leak; echo > other; echo > rest";
    assert!(world.run(&["run", "--", "sh", "-c", script]).starts_with("exit 0\n"));
    world.write("d/a", "host\n");
    world
}

#[test]
fn what_is_left_of_a_part_is_asked_for_alone() {
    let world = world_with_more();
    insta::assert_snapshot!(world.run(&["commit", "last", "d", "other"]), @"
    exit 4
    committed 2 paths
    conflict: [WORK]/d/a: the host changed it since the run did
      both changed line 1: the host has `host`, the run `run`
      to take the run's:   vantio commit [RUN] --theirs [WORK]/d/a d
      to keep the host's:  vantio commit [RUN] --ours [WORK]/d/a d
      to mark the lines:   vantio commit [RUN] --merge [WORK]/d/a --markers d
    hazard: [WORK]/d/leak: symlink that leads out of the workspace
      to commit one, name it:  vantio commit [RUN] [WORK]/d/leak
      to commit all of them:   vantio commit [RUN] --hazards d
    ");
    insta::assert_snapshot!(world.run(&["commit", "last", "--hazards", "d"]), @"
    exit 4
    committed 1 path
    conflict: [WORK]/d/a: the host changed it since the run did
      both changed line 1: the host has `host`, the run `run`
      to take the run's:   vantio commit [RUN] --theirs [WORK]/d/a d
      to keep the host's:  vantio commit [RUN] --ours [WORK]/d/a d
      to mark the lines:   vantio commit [RUN] --merge [WORK]/d/a --markers d
    ");
    insta::assert_snapshot!(world.run(&["commit", "last", "--theirs", "d/a", "d"]), @"
    exit 0
    committed 1 path
    ");
    assert!(fs::symlink_metadata(world.work().join("leak")).is_err() && !world.work().join("rest").exists());
}

#[test]
fn what_is_left_of_what_patterns_name_is_asked_for_by_them() {
    let world = world_with_more();
    let left = world.run(&["commit", "last", "--glob", "d/*", "oth*"]);
    assert!(left.contains(" --theirs [WORK]/d/a --glob 'd/*'\n"), "{left}");
    assert!(left.contains(" --hazards --glob 'd/*'\n"), "{left}");
    let rest = world.run(&["commit", "last", "--theirs", "d/a", "--hazards", "--glob", "d/*"]);
    assert_eq!(rest, "exit 0\ncommitted 2 paths\n");
    assert!(fs::symlink_metadata(world.work().join("leak")).is_err() && !world.work().join("rest").exists());
}

#[test]
fn a_conflict_of_hunks_is_settled_alone() {
    let world = world();
    world.write("text", &numbers().replace("\n30\n", "\nhost\n"));
    insta::assert_snapshot!(world.run(&["commit", "last", "--hunks", "text:1", "new"]), @"
    exit 4
    committed 2 paths
    conflict: [WORK]/text: the host changed it since the run did
      a merge has what both changed
      it is settled whole, not by hunks
      to take the run's:   vantio commit [RUN] --theirs [WORK]/text [WORK]/text
      to keep the host's:  vantio commit [RUN] --ours [WORK]/text [WORK]/text
      to take both:        vantio commit [RUN] --merge [WORK]/text [WORK]/text
    ");
    let merged = world.run(&["commit", "last", "--merge", "text", "text"]);
    assert_eq!(merged, "exit 0\ncommitted 1 path\n  merged: [WORK]/text\n");
    assert!(world.work().join("gone").exists());
}

#[test]
fn the_ledger_has_what_a_commit_overrode() {
    let world = world_with_more();
    let listed = |op: &str| world.run(&["ledger", "list", "--op", op]);
    world.run(&["commit", "last", "--hazards", "--theirs", "d/a", "d"]);
    let asked = listed("phantom.commit");
    assert!(asked.contains("selected: 2, hazards 1, theirs 1\n"), "{asked}");
    let done = listed("phantom.commit.end");
    let wanted = "committed 3, conflicts 0, dropped 0, hazards_left 0, hazards 1, overwritten 1\n";
    assert!(done.contains(wanted), "{done}");
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\n"));
}

/// What the questions are answered with, one a line; what was said, and to what.
fn interactive(world: &World, answers: &str) -> String {
    world.shell(&format!("printf '{answers}' | $VANTIO commit last --interactive 2>&1; echo exit $?"))
}

#[test]
fn questions_choose_changes_and_hunks() {
    let world = world();
    // The deletion no, the new folder with all in it yes, then the hunks: the second one split.
    let asked = interactive(&world, "n\\na\\ny\\ns\\nn\\ny\\nn\\n");
    assert!(asked.ends_with("exit 0\n"), "{asked}");
    assert!(asked.contains("Commit this deletion [y,n,q,?]? "), "{asked}");
    assert!(asked.contains("Commit this change [y,n,a,d,q,?]? "), "{asked}");
    assert!(
        asked.contains("@@ -17,9 +17,9 @@\n") && asked.contains("Commit this hunk [y,n,a,d,s,q,?]? "),
        "{asked}"
    );
    assert!(asked.contains("committed some hunks of [WORK]/text: the others wait\n"), "{asked}");
    assert_eq!(words(&world), "two twentytwo");
    assert!(world.work().join("gone").exists() && world.work().join("new/file").exists());
    // Help explains and asks again; the rest is left.
    let asked = interactive(&world, "?\\nq\\n");
    assert!(
        asked.contains("q - leave it and all that comes after it")
            && asked.ends_with("nothing was committed\nexit 0\n"),
        "{asked}"
    );
    let asked = interactive(&world, "y\\na\\n");
    assert!(asked.ends_with("exit 0\n"), "{asked}");
    assert_eq!(words(&world), "two twenty twentytwo last");
    assert!(!world.work().join("gone").exists());
    assert!(interactive(&world, "").contains("nothing pending"));
}

#[test]
fn what_makes_a_change_a_hazard_is_told_before_its_hunks() {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.write(".envrc", "one\n");
    world.run(&["run", "--", "sh", "-c", "echo two >> .envrc"]);
    let reason = "! a shell runs it, or takes variables from it, when somebody enters the folder\n";
    let asked = interactive(&world, "n\\n");
    assert!(asked.contains(&format!("(1/1) ~ ! .envrc\n{reason}@@ ")), "{asked}");
    // A conflict is one too.
    world.write(".envrc", "host\n");
    let asked = interactive(&world, "n\\n");
    assert!(asked.contains(&format!("{reason}conflict: ")), "{asked}");
}

#[test]
fn answers_that_end_early_commit_nothing() {
    let world = world();
    for answers in ["", "y\\n", "y\\na\\ny\\n", "nonsense\\n"] {
        let asked = interactive(&world, answers);
        let ending = "the input ended before the last answer: nothing was committed\nexit 4\n";
        assert!(asked.ends_with(ending), "{answers}: {asked}");
    }
    assert!(world.work().join("gone").exists());
    assert_eq!(words(&world), "");
}

#[test]
fn a_conflict_is_asked_about_and_settled() {
    let world = world();
    world.write("text", &numbers().replace("\n30\n", "\nhost\n"));
    world.write("gone", "changed\n");
    let asked = interactive(&world, "o\\nd\\nm\\n");
    assert!(asked.contains("no merge: the run removed it") && asked.contains("[t,o,n,q,?]"), "{asked}");
    assert!(asked.contains("[m,t,o,n,q,?]") && asked.ends_with("exit 0\n"), "{asked}");
    assert_eq!(words(&world), "two twenty twentytwo host last");
    assert_eq!(fs::read_to_string(world.work().join("gone")).unwrap(), "changed\n");
    assert_eq!(json(&world, "diff last")["changes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_diff_has_the_tree_then_patches_with_deletions_first_and_whole() {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    let long = (0..1000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
    world.write("gone", &long);
    world.write("kept", &long);
    fs::write(world.work().join("binary"), b"\0\x01").unwrap();
    world.write("mode", "x\n");
    let script = "rm gone; sed 's/line/LINE/' kept > t; cat t > kept; rm t; printf '\\0\\2' > binary; chmod 755 mode; mkdir many; for n in $(seq 20); do echo $n > many/$n; done";
    world.run(&["run", "--", "sh", "-c", script]);
    let text = world.run(&["diff", "last"]);
    let (tree, patches) = text.split_once("\n\n").unwrap();
    assert!(tree.contains("- [WORK]/gone  (") && tree.contains("many/  (20 files, 51 B)"), "{tree}");
    assert!(
        patches.starts_with("diff --git a[WORK]/gone b[WORK]/gone\ndeleted file mode 100644\n"),
        "{patches}"
    );
    assert_eq!(patches.matches("\n-line ").count(), 1000 + 196, "the deletion whole, the change cut");
    assert!(patches.contains("\n# 1804 more lines: vantio diff RUN --patch\n"), "{patches}");
    assert!(patches.contains("Binary files a[WORK]/binary and b[WORK]/binary differ\n"), "{patches}");
    assert!(patches.contains("old mode 100644\nnew mode 100755\n"), "{patches}");
    assert!(!patches.contains("many/7"), "{patches}");
    let whole = world.run(&["diff", "last", "--patch"]);
    assert!(whole.contains("many/7") && whole.matches("\n+LINE ").count() == 1000, "{whole}");
    assert_eq!(world.run(&["diff", "last", "--tree"]).trim_end(), tree.trim_end());
}

#[test]
fn a_large_new_text_is_shown_from_its_beginning_and_hides_no_other() {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.run(&["run", "--", "sh", "-c", "seq 800000 > large; echo small > small"]);
    let text = world.run(&["diff", "last"]);
    assert!(text.contains("large\n@@ -0,0 +1,800000 @@\n+1\n+2\n"), "{text}");
    assert!(text.contains("# 799805 more lines: vantio diff RUN --patch\n"), "{text}");
    assert!(text.contains("\n+small\n") && !text.contains("perhaps"), "{text}");
    let whole = world.shell("$VANTIO diff last --patch | grep -c '^+[0-9]'");
    assert!(whole.contains("800000\n"), "{whole}");
}

/// A run that put a folder in the place of a link to a folder, and changed that too.
fn world_with_a_link() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.shell("mkdir store && echo 1 > store/n && ln -s store deps && ln -s . way");
    let script = "rm deps; mkdir deps; echo dep > deps/n; seq 3 > deps/m; echo agent > store/n";
    assert!(world.run(&["run", "--", "sh", "-c", script]).starts_with("exit 0\n"));
    world
}

#[test]
fn a_path_is_not_led_elsewhere_by_a_link_that_the_run_replaced() {
    for path in ["deps/n", "way/deps/n", "$PWD/deps/n", "store/../deps/n"] {
        let world = world_with_a_link();
        let told = world.shell(&format!("$VANTIO commit last {path}"));
        assert_eq!(told, "committed 2 paths\n  came along: [WORK]/deps\n", "{path}");
        assert_eq!(world.shell("cat deps/n store/n"), "dep\n1\n", "{path}");
        // By now it is a folder on the host too.
        assert_eq!(world.run(&["commit", "last", "deps/m"]), "exit 0\ncommitted 1 path\n");
    }
    let world = world_with_a_link();
    assert_eq!(world.run(&["commit", "last", "way/store"]), "exit 0\ncommitted 1 path\n");
    assert_eq!(world.shell("cat deps/n"), "agent\n");
    let written = world.shell("$VANTIO commit last deps/m --to out > /dev/null; find out -type f | sort");
    assert_eq!(written, "out/after[WORK]/deps/m\n");
}

#[test]
fn an_undo_is_not_led_elsewhere_by_a_link_that_the_run_made() {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.shell("mkdir store deps && echo 1 > store/n && echo q > deps/n");
    let script = "rm -r deps; ln -s store deps; echo agent > store/n";
    assert!(world.run(&["run", "--", "sh", "-c", script]).starts_with("exit 0\n"));
    assert!(world.run(&["commit", "last"]).starts_with("exit 0\n"));
    let told = world.run(&["undo", "last", "deps/n"]);
    assert!(told.contains("`[WORK]/deps/n` came or went with `[WORK]/deps`"), "{told}");
    assert!(world.run(&["undo", "last", "deps"]).starts_with("exit 0\n"));
    assert_eq!(world.shell("cat deps/n store/n"), "q\nagent\n");
}

/// A run that changed the mode of `text` beside its lines.
fn world_with_a_mode() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.write("text", &numbers());
    let script = "sed 's/^2$/two/; s/^39$/last/' text > t; cat t > text; rm t; chmod 777 text";
    assert!(world.run(&["run", "--", "sh", "-c", script]).starts_with("exit 0\n"));
    world
}

#[test]
fn hunks_bring_no_mode_and_what_waits_is_said() {
    let world = world_with_a_mode();
    let mode = || world.shell("stat -c %a text");
    let some = world.run(&["commit", "last", "--hunks", "text:1"]);
    assert_eq!(some, "exit 0\ncommitted some hunks of [WORK]/text: the others wait, and mode 0644 -> 0777\n");
    let rest = world.run(&["commit", "last", "--hunks", "text:1"]);
    assert_eq!(rest, "exit 0\ncommitted the hunks of [WORK]/text: still waiting: mode 0644 -> 0777\n");
    assert_eq!((&words(&world)[..], &mode()[..]), ("two last", "644\n"));
    assert_eq!(world.run(&["commit", "last", "text"]), "exit 0\ncommitted 1 path\n");
    assert_eq!(mode(), "777\n");
}

#[test]
fn a_mode_is_asked_about_after_the_hunks() {
    for (answers, words_then, mode) in [
        ("y\\ny\\nn\\n", "two last", "644\n"),
        ("y\\ny\\ny\\n", "two last", "777\n"),
        ("a\\n", "two last", "777\n"),
        ("y\\ny\\nq\\n", "two last", "644\n"),
        ("y\\nn\\n", "two", "644\n"),
        ("d\\n", "", "644\n"),
    ] {
        let world = world_with_a_mode();
        let asked = interactive(&world, answers);
        assert!(asked.contains("(1/1) ~ text\nalso: mode 0644 -> 0777\n@@ "), "{asked}");
        let is_asked = asked.contains("Commit mode 0644 -> 0777 too [y,n,q,?]? ");
        assert_eq!(is_asked, answers.starts_with("y\\ny"), "{asked}");
        assert_eq!((&words(&world)[..], &world.shell("stat -c %a text")[..]), (words_then, mode), "{asked}");
    }
    let world = world_with_a_mode();
    assert!(interactive(&world, "y\\ny\\n").ends_with("nothing was committed\nexit 4\n"));
}

/// As root: as a user a folder of the host is renamed by copying it.
#[test]
fn what_becomes_of_a_renamed_folder_besides_its_name_is_said() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.shell("mkdir -m 755 d");
    world.write("d/text", &numbers());
    let run = world.run(&["run", "--", "sh", "-c", "mv d z; chmod 700 z; echo more >> z/text"]);
    assert!(run.starts_with("exit 0\n"), "{run}");
    let asked = interactive(&world, "n\nq\n");
    assert!(asked.contains("also: mode 0755 -> 0700\n"), "{asked}");
    let part = world.run(&["commit", "last", "--hunks", "z/text:1"]);
    assert!(part.contains("  came along: [WORK]/z  (mode 0755 -> 0700)\n"), "{part}");
}

#[test]
fn a_diff_marks_what_the_host_changed_too() {
    let world = world();
    assert!(!world.run(&["diff", "last"]).contains("(conflict)"));
    let marks = |command: &str| {
        let changes = json(&world, command)["changes"].as_array().unwrap().clone();
        let marked = changes.iter().filter(|change| change["conflict"] == json!(true));
        marked
            .map(|change| change["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(marks("diff last"), Vec::<String>::new());
    world.write("text", &numbers().replace("\n30\n", "\nhost\n"));
    world.write("gone", "host\n");
    let tree = world.run(&["diff", "last", "--tree"]);
    let marked: Vec<_> = tree.lines().filter(|line| line.ends_with("(conflict)")).collect();
    assert_eq!(marked.len(), 2, "{tree}");
    assert!(marked[0].contains("gone") && marked[1].contains("text"), "{tree}");
    for command in ["diff last", "review last"] {
        assert_eq!(marks(command), ["gone", "text"]);
    }
    world.write("text", &numbers());
    assert_eq!(marks("diff last"), ["gone"]);
}
