//! What a person sees around a run that really happens.

mod cli_world;

use std::{fs, process::Stdio, time::Duration};

use cli_world::World;

const POLICY: &str = "version: 1\nfs:\n  read: [/]\n  write: ['${workspace}', '${tmp}', /dev]\n  deny: ['${workspace}/secret']\nexec: {allow: [/]}\n";

fn world(policy: &str) -> World {
    let world = World::new();
    world.write("vantio.yaml", policy);
    world.write("kept.txt", "one\n");
    world.write("gone.txt", "bye\n");
    world.write("secret", "s3cret\n");
    world
}

#[test]
fn a_run_that_changed_and_was_refused_nothing_is_quiet() {
    insta::assert_snapshot!(world(POLICY).run(&["run", "--", "sh", "-c", "echo out; cat kept.txt; exit 7"]), @"
    exit 7
    out
    one
    ");
}

#[test]
fn a_run_is_summed_up_reviewed_and_committed() {
    let world = world(POLICY);
    let script = "echo two >> kept.txt; rm gone.txt; mkdir new; echo x > new/file; cat secret 2>/dev/null; cat secret 2>/dev/null; echo y 2>/dev/null > /etc/y; exit 3";
    insta::assert_snapshot!(world.run(&["run", "--name", "web", "--", "sh", "-c", script]), @"
    exit 3
    vantio: 4 changes wait for review
      deleted:
        - [WORK]/gone.txt  (4 B)
          [WORK]/
          ~ kept.txt  (4 B -> 8 B)
          + new/
            + file  (2 B)
      1 deleted, 2 added, 1 modified
    vantio: 2 refusals
      fs.open (read)  [WORK]/secret  ×2
          fs.deny: ${workspace}/secret
      fs.open (write)  /etc/y
          nothing in fs.write permits it
    next: vantio diff [RUN] --patch  read the changes
          vantio commit [RUN]        keep them
          vantio discard [RUN]       drop them
          vantio why [RUN]           what was refused, and what would permit it
    ");
    insta::assert_snapshot!(world.run(&["diff", "last"]), @"
    exit 0
    deleted:
      - [WORK]/gone.txt  (4 B)
        [WORK]/
        ~ kept.txt  (4 B -> 8 B)
        + new/
          + file  (2 B)
    1 deleted, 2 added, 1 modified

    diff --git a[WORK]/gone.txt b[WORK]/gone.txt
    deleted file mode 100644
    --- a[WORK]/gone.txt
    +++ /dev/null
    @@ -1 +0,0 @@
    -bye
    diff --git a[WORK]/kept.txt b[WORK]/kept.txt
    --- a[WORK]/kept.txt
    +++ b[WORK]/kept.txt
    @@ -1 +1,2 @@
     one
    +two
    diff --git a[WORK]/new/file b[WORK]/new/file
    new file mode 100644
    --- /dev/null
    +++ b[WORK]/new/file
    @@ -0,0 +1 @@
    +x
    ");
    insta::assert_snapshot!(world.run(&["why", "last"]), @r#"
    exit 0
    fs.open (read)  [WORK]/secret  [TIME], 2 times
      why:    fs.deny: ${workspace}/secret  (vantio.yaml:5:10)
      near:   fs.read "/": matches, but a deny beats it  (vantio.yaml:3:10)
      permit: remove from fs.deny: "${workspace}/secret"

    fs.open (write)  /etc/y  [TIME]
      why:    nothing in fs.write permits it
      permit: add to fs.write: ["/etc/y"]
    "#);
    insta::assert_snapshot!(world.run(&["why", "last", "--json"]), @r#"
    exit 0
    {"refusals":[{"access":"read","advice":{"action":"remove","rule":"${workspace}/secret","section":"fs.deny"},"count":2,"effect":"fs.open","intent":{"access":"read","path":"[WORK]/secret","subtree":false},"names":[],"near":[{"place":"vantio.yaml:3:10","reason":"matches, but a deny beats it","rule":"/","section":"fs.read"}],"observed":false,"place":"vantio.yaml:5:10","reason":"fs.deny: ${workspace}/secret","rule":"${workspace}/secret","section":"fs.deny","seq":0,"target":"[WORK]/secret","time_ms":0},{"access":"write","advice":{"action":"add","rule":"/etc/y","section":"fs.write"},"count":1,"effect":"fs.open","intent":{"access":"write","becomes":{"mode":"0666"},"path":"/etc/y","subtree":false},"names":[],"near":[],"observed":false,"place":null,"reason":"nothing in fs.write permits it","rule":null,"section":"fs.write","seq":0,"target":"/etc/y","time_ms":0}],"run":"[RUN]","version":1,"waits":[],"withdrawn":[],"withheld":[]}
    "#);
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "one\n");

    insta::assert_snapshot!(world.run(&["commit", "last", "new"]), @"
    exit 0
    committed 2 paths
    ");
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 0
    committed 2 paths
    ");
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 0
    run [RUN]: nothing pending
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "one\ntwo\n");
    assert!(!world.work().join("gone.txt").exists());
    let commits = world.run(&["ledger", "list", "--op", "phantom.commit.end"]);
    assert_eq!(
        commits.matches("committed 2, conflicts 0, dropped 0, hazards_left 0").count(),
        2,
        "{commits}"
    );
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified: "));
    // The text of a checkpoint is what verify reads, in JSON too.
    let json = world.shell("$VANTIO ledger checkpoint --json");
    let checkpoint: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(checkpoint["version"], 1);
    world.write("checkpoint", checkpoint["checkpoint"].as_str().unwrap());
    let verified = world.run(&["ledger", "verify", "--against", "checkpoint"]);
    let entries = &checkpoint["entries"];
    let contained = format!("contains the checkpoint of checkpoint: its first {entries} entries\n");
    assert!(verified.contains(&contained), "{verified}");
    // It is none that the ledger has beside its own.
    assert_eq!(verified.replace(&contained, ""), world.run(&["ledger", "verify"]));
}

#[test]
fn a_discarded_run_leaves_nothing_to_commit() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt"]);
    insta::assert_snapshot!(world.run(&["discard", "last"]), @"
    exit 0
    run [RUN] discarded: what was not committed is gone
    ");
    insta::assert_snapshot!(world.run(&["discard", "last", "--json"]), @r#"
    exit 0
    {"run":"[RUN]","state":"discarded","version":1}
    run [RUN] was discarded before: nothing to do
    "#);
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 1
    E_RUN_DISCARDED

      x run [RUN] was discarded
      help: nothing of it is left; its entries in the ledger are: `vantio ledger list --run [RUN]`
    ");
    let attached = world.run(&["attach", "last"]);
    assert!(attached.contains("E_RUN_DISCARDED") && !attached.contains("vantio logs"), "{attached}");
    let restored = world.run(&["restore", "last", "1"]);
    assert!(restored.starts_with("exit 1\nE_RUN_DISCARDED\n"), "{restored}");
    insta::assert_snapshot!(world.run(&["ps"]), @"
    exit 0
    no run lives or waits for review; `vantio ps --all` lists the finished ones
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "one\n");
}

/// Runs of every kind: one without a change, with a change, committed, discarded, and with a checkpoint of no change.
fn world_of_runs() -> World {
    let world = world(POLICY);
    world.shell("mkdir -m 0 closed");
    for script in ["true", "echo x > one", "rmdir closed", "echo x > two", "true"] {
        world.run(&["run", "--name", &script.replace([' ', '>'], "."), "--", "sh", "-c", script]);
        match script {
            "rmdir closed" => world.run(&["commit", "last"]),
            "echo x > two" => world.run(&["discard", "last"]),
            _ => String::new(),
        };
    }
    world.run(&["checkpoint", "last"]);
    world
}

#[test]
fn what_is_kept_of_runs_that_are_over_is_dropped_at_once() {
    let world = world_of_runs();
    insta::assert_snapshot!(world.shell("$VANTIO prune --dry-run 2>&1 | sed 's/ [0-9]*s  /  /'"), @"
    RUN            NAME          AGE  CHANGES  COMMAND
    [RUN]  true            0        sh -c true
    [RUN]  echo.x...two    0        sh -c 'echo x > two'
    2 runs would be dropped
      kept: 2 runs with changes or checkpoints (--changed drops such, too)
      kept: 1 run with a commit that can be taken back (--committed drops such, too)
    ");
    insta::assert_snapshot!(world.run(&["prune"]), @"
    exit 0
    2 runs dropped
      kept: 2 runs with changes or checkpoints (--changed drops such, too)
      kept: 1 run with a commit that can be taken back (--committed drops such, too)
    ");
    insta::assert_snapshot!(world.shell("$VANTIO ps --all | sed 's/ [0-9]*s  /  /'"), @"
    RUN            NAME          STATE  AGE  CHANGES  CHECKPOINTS  COMMAND
    [RUN]  echo.x...one  ended    1        -            sh -c 'echo x > one'
    [RUN]  rmdir.closed  ended    0        -            sh -c 'rmdir closed'
    [RUN]  true          ended    0        1 (5 kB)     sh -c true
    ");
    insta::assert_snapshot!(world.run(&["prune"]), @"
    exit 0
    0 runs dropped
      kept: 2 runs with changes or checkpoints (--changed drops such, too)
      kept: 1 run with a commit that can be taken back (--committed drops such, too)
    ");
    insta::assert_snapshot!(world.run(&["prune", "--committed", "--json"]), @r#"
    exit 0
    {"dropped":["[RUN]"],"dry_run":false,"failed":[],"kept":{"changed":2,"committed":0},"version":1}
    "#);
    insta::assert_snapshot!(world.run(&["prune", "--changed"]), @"
    exit 0
    2 runs dropped
    ");
    insta::assert_snapshot!(world.run(&["ps", "--all"]), @"
    exit 0
    no run yet; start one: vantio run -- CMD
    ");
    assert!(!world.work().join("closed").exists(), "what was committed stays");
    assert!(!world.work().join("one").exists());
    // The ledger has all of it, and what was dropped.
    let told = world.run(&["ledger", "list", "--op", "phantom.discard"]);
    assert_eq!(told.matches("can be taken back no more").count(), 1, "{told}");
    assert_eq!(world.run(&["ledger", "list", "--op", "run.start"]).matches("run.start").count(), 5);
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified: "));
}

#[test]
fn only_what_was_left_alone_for_long_enough_is_dropped() {
    let world = world(POLICY);
    for _ in 0..2 {
        world.run(&["run", "--", "true"]);
    }
    world.shell("touch -d '8 days ago' $(ls -d $VANTIO_STATE/runs/*/run.json | head -n 1)");
    let pruned = world.run(&["prune", "--older-than", "9d"]);
    assert_eq!(pruned, "exit 0\n0 runs dropped\n");
    assert_eq!(world.run(&["prune", "--older-than", "7d"]), "exit 0\n1 run dropped\n");
    assert!(world.run(&["prune", "--older-than", "7"]).contains("s, m, h, d"));
}

#[test]
fn a_run_that_cannot_be_dropped_is_told_and_the_others_are() {
    let world = world(POLICY);
    for _ in 0..4 {
        world.run(&["run", "--", "true"]);
    }
    let mut live = world.start(&["run", "--", "sh", "-c", "echo ready; sleep 60"], Stdio::piped());
    live.wait_for("ready");
    // Of the first the record is damaged, of the second a commit unfinished, and on the third another command works.
    let pruned = world.shell(
        "set -- $(ls $VANTIO_STATE/runs)
        echo > $VANTIO_STATE/runs/$1/run.json
        mkdir $VANTIO_STATE/runs/$2/undoing.json
        exec 9> $VANTIO_STATE/held/$3
        flock 9
        $VANTIO prune 2>&1; echo exit $?; $VANTIO ps --all 2>/dev/null | wc -l",
    );
    insta::assert_snapshot!(pruned, @"
    vantio: run [RUN] could not be dropped: the record of run [RUN] is damaged
    vantio: run [RUN] could not be dropped: `[STATE]/runs/[RUN]/undoing.json` cannot be used: a commit was cut off and must be recovered first
    vantio: run [RUN] could not be dropped: run [RUN] is in use
    1 run dropped
    exit 4
    4
    ");
    live.kill();
}

#[test]
fn what_waits_after_a_restore_is_counted() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo x > one; echo x > two"]);
    world.run(&["checkpoint", "last"]);
    assert!(world.run(&["restore", "last", "1"]).starts_with("exit 0\n"));
    let listed = world.shell("$VANTIO ps --json");
    assert!(listed.contains(r#""pending":2,"#), "{listed}");
}

#[test]
fn a_commit_is_taken_back_and_what_changed_since_stays() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt; rm gone.txt; echo x > new"]);
    world.run(&["commit", "last"]);
    world.run(&["commit", "last"]);
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 0
    commit 1 of run [RUN] taken back: its changes wait again
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "one\n");
    assert!(world.work().join("gone.txt").exists() && !world.work().join("new").exists());
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 0
    run [RUN]: no commit is left to take back
    ");
    world.run(&["commit", "last"]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.write("kept.txt", "three\n");
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 4
    commit 1 of run [RUN] taken back, but for what stays: its changes wait again
    stays, because it changed since: [WORK]/kept.txt
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "three\n");
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified: "));
}

#[test]
fn a_key_that_a_run_did_not_get_is_named_where_its_program_failed() {
    let world = world(POLICY);
    let run = |end: &str| {
        let program = format!("sh -c 'echo \"[$ANTHROPIC_API_KEY$PLAIN]\"; {end}'");
        world.shell(&format!("env ANTHROPIC_API_KEY=x PLAIN=y \"$VANTIO\" run -- {program} 2>&1"))
    };
    assert_eq!(run("true"), "[y]\n");
    insta::assert_snapshot!(run("false"), @"
    [y]
    vantio: not passed to it: ANTHROPIC_API_KEY
      the policy names in env.allow what a run gets of it
    ");
    insta::assert_snapshot!(world.run(&["why", "last"]), @"
    exit 0
    run [RUN]: nothing was refused
    not passed to it: ANTHROPIC_API_KEY; the policy names in env.allow what it gets
    ");
}

#[test]
fn an_undo_says_that_the_last_commit_stays_before_it_takes_back_an_earlier_one() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo run > kept.txt; echo run > gone.txt"]);
    world.run(&["commit", "last", "kept.txt"]);
    world.run(&["commit", "last", "gone.txt"]);
    insta::assert_snapshot!(world.run(&["undo", "last", "gone.txt", "kept.txt"]), @"
    exit 1
    E_SEVERAL_COMMITS

      x not all of these paths were brought by one commit
      help: name those of one commit at a time: vantio undo RUN PATH
    ");
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.write("gone.txt", "host\n");
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 4
    nothing of commit 2 of run [RUN] was taken back
    stays, because it changed since: [WORK]/gone.txt
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "run\n");
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 4
    commit 2 of run [RUN] stays: the host has changed what it brought
    commit 1 of run [RUN] taken back: its changes wait again
    ");
    assert_ne!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "run\n");
}

#[test]
fn a_document_about_a_run_names_it() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo x > new"]);
    for command in [
        &["diff", "last"][..],
        &["checkpoint", "last"],
        &["checkpoint", "last", "--list"],
        &["diff", "last", "--from", "1"],
        &["diff", "last", "--to", "1"],
        &["commit", "last"],
        &["diff", "last"],
        &["undo", "last"],
        &["why", "last"],
        &["discard", "last"],
        &["diff", "last"],
    ] {
        let told = world.run(&[command, &["--json"]].concat());
        assert!(told.contains(r#""run":""#), "{command:?}: {told}");
    }
}

#[test]
fn an_undo_takes_a_repository_back_whole_or_not_at_all() {
    let world = world(POLICY);
    fs::create_dir_all(world.work().join(".git/objects")).unwrap();
    world.write(".git/index", "one\n");
    world.write(".git/HEAD", "one\n");
    let script = "for name in .git/index .git/HEAD .git/objects/ab kept.txt; do echo two > $name; done";
    world.run(&["run", "--", "sh", "-c", script]);
    let of_repository =
        || [".git/index", ".git/HEAD", ".git/objects/ab"].map(|path| fs::read(world.work().join(path)).ok());
    world.run(&["commit", "last"]);
    assert!(world.run(&["undo", "last"]).starts_with("exit 0\n"));
    assert_eq!(of_repository(), [Some(b"one\n".to_vec()), Some(b"one\n".to_vec()), None]);
    world.run(&["commit", "last"]);
    std::thread::sleep(std::time::Duration::from_millis(25));
    world.write(".git/index", "refreshed\n");
    let before = of_repository();
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 4
    commit 1 of run [RUN] taken back, but for what stays: its changes wait again
    stays, because it changed since: [WORK]/.git/index
    stays, because a repository goes back whole or not at all: [WORK]/.git
      2 paths more beside [WORK]/.git/index; its own history may lead back
    ");
    assert_eq!(
        (of_repository(), fs::read_to_string(world.work().join("kept.txt")).unwrap()),
        (before, "one\n".into())
    );
}

#[test]
fn a_commit_and_its_undo_tell_what_is_not_kept_on_another_mount() {
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let world = world(POLICY).with_state(other.path().join("state").to_str().unwrap());
    drop(std::os::unix::net::UnixListener::bind(world.work().join("socket")).unwrap());
    world.run(&["run", "--", "sh", "-c", "rm -f socket gone.txt"]);
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 0
    committed 2 paths
    1 path cannot be taken back: what was there is not kept on another mount than the state folder's (VANTIO_STATE)
      not kept: [WORK]/socket
    ");
    insta::assert_snapshot!(world.run(&["undo", "last"]), @"
    exit 4
    commit 1 of run [RUN] taken back, but for what stays: its changes wait again
    stays, because what was there before is not kept on another mount than the state folder's (VANTIO_STATE): [WORK]/socket
    ");
    assert_eq!(fs::read_to_string(world.work().join("gone.txt")).unwrap(), "bye\n");
}

#[test]
fn what_an_undo_leaves_for_another_is_told_apart() {
    let world = world(POLICY);
    fs::create_dir(world.work().join("folder")).unwrap();
    world.write("folder/in", "in\n");
    world.run(&["run", "--", "sh", "-c", "rm -r folder; echo > folder"]);
    world.run(&["commit", "last", "folder/in"]);
    world.run(&["commit", "last"]);
    insta::assert_snapshot!(world.run(&["undo", "last", "folder/in"]), @"
    exit 4
    nothing of commit 1 of run [RUN] was taken back
    stays, because it cannot go back without [WORK]/folder: [WORK]/folder/in
    ");
    assert!(world.run(&["undo", "last", "folder"]).starts_with("exit 0\n"));
    assert!(world.run(&["undo", "last", "folder/in"]).starts_with("exit 0\n"));
    assert_eq!(fs::read_to_string(world.work().join("folder/in")).unwrap(), "in\n");
}

#[test]
fn a_conflict_is_left_and_settled() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo run > kept.txt; echo x > other"]);
    world.write("kept.txt", "host\n");
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 4
    committed 1 path
    conflict: [WORK]/kept.txt: the host changed it since the run did
      both changed line 1: the host has `host`, the run `run`
      to take the run's:   vantio commit [RUN] --theirs [WORK]/kept.txt
      to keep the host's:  vantio commit [RUN] --ours [WORK]/kept.txt
      to mark the lines:   vantio commit [RUN] --merge [WORK]/kept.txt --markers
    ");
    insta::assert_snapshot!(world.run(&["commit", "last", "--theirs", "kept.txt", "kept.txt"]), @"
    exit 0
    committed 1 path
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "run\n");
}

#[test]
fn the_runs_version_is_not_offered_where_only_a_name_is_left_of_it() {
    let world = world(POLICY);
    fs::create_dir(world.work().join("folder")).unwrap();
    world.write("folder/in", "in\n");
    world.run(&["run", "--", "sh", "-c", "mv folder moved"]);
    fs::remove_dir_all(world.work().join("folder")).unwrap();
    // An ordinary user's run has copied it.
    if world.run(&["diff", "last", "--tree"]).contains("renamed") {
        insta::assert_snapshot!(world.run(&["commit", "last", "--hazards", "--theirs", "moved"]), @"
        exit 4
        conflict: [WORK]/moved: the host removed it since the run changed it
          the run gave it another name only, so nothing of it is left to take
          to keep the host's:  vantio commit [RUN] --ours [WORK]/moved
        ");
    }
}

#[test]
fn a_hazard_is_left_until_it_is_named() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "mkdir d; ln -s /etc/passwd d/leak; echo x > d/plain"]);
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 4
    committed 2 paths
      came along: [WORK]/d
    hazard: [WORK]/d/leak: symlink that leads out of the workspace
      to commit one, name it:  vantio commit [RUN] [WORK]/d/leak
      to commit all of them:   vantio commit [RUN] --hazards
    ");
    assert!(fs::symlink_metadata(world.work().join("d/leak")).is_err());
    insta::assert_snapshot!(world.run(&["commit", "last", "d/leak"]), @"
    exit 0
    committed 1 path
    ");
    assert!(fs::symlink_metadata(world.work().join("d/leak")).is_ok());
}

#[test]
fn what_is_written_elsewhere_is_told_apart_from_what_is_not() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "mkfifo pipe; ln -s /etc/passwd link; echo x > new"]);
    let told = world.shell("$VANTIO commit last --to elsewhere --json 2>/dev/null");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let paths = [&told["written"][0], &told["left"][0], &told["hazards"][0]["path"]];
    assert_eq!(paths, ["[WORK]/new", "[WORK]/pipe", "[WORK]/link"]);
    assert_eq!(told["written"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn what_would_be_committed_is_printed_as_a_patch() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt; rm gone.txt; echo x > .envrc"]);
    let patch = world.run(&["commit", "last", "--patch"]);
    assert!(patch.starts_with("exit 4\n") && patch.contains("+two") && patch.contains("gone.txt"), "{patch}");
    assert!(patch.contains("left out: [WORK]/.envrc: ") && !patch.contains("b[WORK]/.envrc"), "{patch}");
    let named = world.run(&["commit", "last", "--patch", ".envrc"]);
    assert!(named.starts_with("exit 0\n") && named.contains("+x") && !named.contains("+two"), "{named}");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "one\n");
    assert!(world.run(&["commit", "last", "--to", "elsewhere"]).starts_with("exit 4\n"));
    let tree =
        |side: &str| world.work().join("elsewhere").join(side).join(world.work().strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(tree("before").join("kept.txt")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(tree("after").join("kept.txt")).unwrap(), "two\n");
    assert!(tree("before").join("gone.txt").exists() && !tree("after").join("gone.txt").exists());
    assert!(!tree("after").join(".envrc").exists());
    assert!(world.run(&["commit", "last", "--to", "elsewhere"]).contains("E_NOT_EMPTY"));
    let told = world.run(&["commit", "last", "--to", "third", "kept.txt", "--json"]);
    assert!(
        told.starts_with("exit 0\n") && told.contains(r#""written":["#) && told.contains("kept.txt"),
        "{told}"
    );
    for way in ["--patch", "--to=fourth"] {
        let none = world.run(&["commit", "last", way, "unchanged"]);
        assert!(none.starts_with("exit 2\n") && none.contains("E_NO_SUCH_CHANGE"), "{none}");
    }
    let full = world.shell("$VANTIO diff last --patch 2>&1 >/dev/full; echo exit $?");
    assert!(full.contains("E_OUTPUT") && full.ends_with("exit 1\n"), "{full}");
    let twice = world.run(&["commit", "last", "--ours", "kept.txt", "--theirs", "kept.txt"]);
    assert!(twice.starts_with("exit 2\n") && twice.contains("E_SETTLED_TWICE"), "{twice}");
    assert!(world.run(&["review", "last"]).contains("E_NO_TERMINAL"));
}

#[test]
fn an_agent_does_not_loosen_its_own_leash() {
    let world = world(&format!("{POLICY}phantom: {{commit: auto}}\n"));
    let script = "echo 'net: {allow: [\"*\"]}' >> vantio.yaml; echo x > plain";
    world.run(&["run", "--", "sh", "-c", script]);
    assert!(world.work().join("plain").exists());
    assert!(!fs::read_to_string(world.work().join("vantio.yaml")).unwrap().contains("allow: [\"*\"]"));
    insta::assert_snapshot!(world.run(&["commit", "last"]), @r"
    exit 4
    hazard: [WORK]/vantio.yaml: decides what the next run may do (policy)
      to commit one, name it:  vantio commit [RUN] [WORK]/vantio.yaml
      to commit all of them:   vantio commit [RUN] --hazards
    ");
}

#[test]
fn patterns_select_what_they_match() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo > a.rs; echo > b.txt; mkdir s; echo > s/c.rs"]);
    insta::assert_snapshot!(world.run(&["commit", "last", "--glob", "*.rs"]), @"
    exit 0
    committed 1 path
    ");
    insta::assert_snapshot!(world.run(&["commit", "last", "--glob", "*.none"]), @"
    exit 2
    E_NO_SUCH_CHANGE

      x no pending change matches the pattern
      help: `vantio diff RUN` lists what waits; patterns are relative to this folder
    ");
    assert!(world.work().join("a.rs").exists() && !world.work().join("s").exists());
}

#[test]
fn what_is_in_a_folder_that_is_named_may_be_named_too() {
    let world = world(POLICY);
    fs::create_dir(world.work().join("folder")).unwrap();
    world.write("folder/in", "in\n");
    world.run(&["run", "--", "sh", "-c", "mv folder moved; echo > other"]);
    let none = world.run(&["commit", "last", "moved", "none"]);
    assert!(none.starts_with("exit 2\n") && none.contains("[WORK]/none` has no pending change"), "{none}");
    let named = world.run(&["commit", "last", "moved", "moved/in"]);
    assert!(named.starts_with("exit 0\n"), "{named}");
    assert!(world.work().join("moved/in").exists() && !world.work().join("other").exists());
}

#[test]
fn a_policy_may_commit_by_itself_or_never() {
    let world = world(&format!("{POLICY}phantom: {{commit: auto}}\n"));
    insta::assert_snapshot!(world.run(&["run", "--", "sh", "-c", "echo two > kept.txt; ln -s /etc/passwd leak"]), @"
    exit 0
    vantio: the policy commits by itself
      committed 1 path
      hazard: [WORK]/leak: symlink that leads out of the workspace
        to commit one, name it:  vantio commit [RUN] [WORK]/leak
        to commit all of them:   vantio commit [RUN] --hazards
    vantio: 1 change waits for review
        + [WORK]/leak -> /etc/passwd  ! symlink that leads out of the workspace
      1 added
    next: vantio diff [RUN] --patch      read the changes
          vantio commit [RUN] --hazards  keep them
          vantio discard [RUN]           drop them
    ");
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "two\n");

    world.write("vantio.yaml", &format!("{POLICY}phantom: {{commit: never}}\n"));
    insta::assert_snapshot!(world.run(&["run", "--", "sh", "-c", "echo three > kept.txt"]), @"
    exit 0
    vantio: 1 change; the policy commits none
        ~ [WORK]/kept.txt  (4 B -> 6 B)
      1 modified
    next: vantio diff [RUN] --patch  read the changes
          vantio discard [RUN]       drop them
    ");
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 1
    E_COMMIT_NEVER

      x the policy of this run says that nothing of it is committed
      help: `vantio diff RUN --patch` prints its changes; a policy with `phantom: {commit: review}` lets them be committed
    ");
}

#[test]
fn monitoring_says_what_it_would_have_refused() {
    let world = world(&format!("{POLICY}mode: monitor\n"));
    insta::assert_snapshot!(world.run(&["run", "--", "cat", "secret"]), @"
    exit 0
    vantio: 1 action would have been refused
      fs.open (read)  [WORK]/secret
          fs.deny: ${workspace}/secret
    next: vantio why [RUN]  what would have been refused, and what would permit it
    ");
}

#[test]
fn the_summary_is_one_line_of_json() {
    let world = world(POLICY);
    insta::assert_snapshot!(world.run(&["run", "--json", "--", "sh", "-c", "echo two > kept.txt; cat secret 2>/dev/null"]), @r#"
    exit 1
    {"commit":null,"ending":{"exited":1},"mode":"enforce","name":null,"next_steps":["vantio diff [RUN] --patch","vantio commit [RUN]","vantio discard [RUN]","vantio why [RUN]"],"pending":{"added":0,"deleted":0,"metadata":0,"modified":1,"renamed":0,"retyped":0},"policy_hash":"[HASH]","refusals":[{"access":"read","advice":{"action":"remove","rule":"${workspace}/secret","section":"fs.deny"},"count":1,"effect":"fs.open","intent":{"access":"read","path":"[WORK]/secret","subtree":false},"names":[],"observed":false,"reason":"fs.deny: ${workspace}/secret","rule":"${workspace}/secret","section":"fs.deny","seq":0,"target":"[WORK]/secret","time_ms":0}],"run":"[RUN]","version":1,"withheld":[]}
    "#);
}

#[test]
fn a_program_that_is_not_there() {
    let world = world(POLICY);
    insta::assert_snapshot!(world.run(&["run", "--", "no-such-program"]), @"
    exit 127
    vantio: `no-such-program` was not found in the run's PATH
    ");
}

#[test]
fn a_run_that_is_killed_keeps_its_changes() {
    let world = world(POLICY);
    let mut run =
        world.start(&["run", "--", "sh", "-c", "echo two > kept.txt; echo ready; sleep 600"], Stdio::piped());
    run.wait_for("ready");
    let suggested = world.run(&["policy", "suggest", "last"]);
    assert!(suggested.contains("still lives: this is what it did so far"), "{suggested}");
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 1
    E_RUN_LIVE

      x run [RUN] still lives
      help: wait until it ends, or end it: vantio kill [RUN]
    ");
    insta::assert_snapshot!(world.run(&["kill", "last"]), @"
    exit 0
    run [RUN] killed; `vantio diff [RUN]` shows what it had changed
    ");
    assert_eq!(run.end(Duration::from_secs(20)), Some(137));
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 0
    committed 1 path
    ");
    assert!(world.run(&["ledger", "list", "--op", "run.end"]).contains("ended by signal 9"));
}

#[test]
fn a_run_whose_command_was_killed_is_swept() {
    let world = world(POLICY);
    let mut run =
        world.start(&["run", "--", "sh", "-c", "echo two > kept.txt; echo ready; sleep 600"], Stdio::piped());
    run.wait_for("ready");
    run.kill();
    let is_over = || world.run(&["ps"]).contains("  died  ");
    assert!((0..200).any(|_| is_over() || {
        std::thread::sleep(Duration::from_millis(50));
        false
    }));
    assert_eq!(world.run(&["ledger", "list", "--op", "run.end"]).matches("run.end").count(), 1);
    insta::assert_snapshot!(world.run(&["diff", "last", "--tree"]), @"
    exit 0
      ~ [WORK]/kept.txt  (4 B -> 4 B)
    1 modified
    ");
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified: "));
}

#[test]
fn the_agent_cannot_write_on_the_terminal_through_names() {
    let world = world(POLICY);
    let script =
        r#"touch "$(printf 'a\033]0;owned\007b')"; cat "$(printf 'secret/\033[2J')" 2>/dev/null; true"#;
    let summary = world.run(&["run", "--", "sh", "-c", script]);
    let texts =
        [summary, world.run(&["diff", "last"]), world.run(&["why", "last"]), world.run(&["commit", "last"])];
    for text in texts {
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
}

#[test]
fn the_open_preset_in_a_folder_with_the_workspace_preset_permits_what_both_do() {
    let world = World::new();
    world.run(&["init"]);
    let script = "echo x > /dev/null && echo y > /tmp/y && echo z > here && mkdir -p ~/.cache && echo w > ~/.cache/w; ! echo v > ~/v";
    let told = world.run(&["run", "--preset", "open", "--", "sh", "-c", script]);
    assert!(told.starts_with("exit 0\n"), "{told}");
    assert!(told.contains("vantio: 1 refusal"), "{told}");
}

#[test]
fn learning_is_told_where_it_would_learn_nothing() {
    let world = world(&format!("{POLICY}mode: enforce\n"));
    insta::assert_snapshot!(world.run(&["run", "--preset", "learn", "--", "true"]), @"
    exit 125
    E_MODE_NARROWED

      x learning has no effect here: vantio.yaml enforces
      help: start in a folder without a policy, or set `mode: learn` in vantio.yaml and run without --preset
    ");
    world.write("watch.yaml", "version: 1\nmode: monitor\n");
    assert!(
        world
            .run(&["run", "--policy", "watch.yaml", "--", "true"])
            .contains("monitoring has no effect here: vantio.yaml enforces")
    );
    world.write("vantio.yaml", &format!("{POLICY}mode: learn\n"));
    assert!(world.run(&["run", "--preset", "learn", "--", "true"]).starts_with("exit 0"));
    // A suggestion from a run that was held back says so, and is not complete.
    world.write("vantio.yaml", POLICY);
    world.run(&["run", "--", "sh", "-c", "cat secret"]);
    insta::assert_snapshot!(world.shell("$VANTIO policy suggest last 2>&1 >/dev/null; echo $?"), @"
    vantio: run [RUN] was enforced, not watched: it had 1 refusal, and what was refused is not suggested
    4
    ");
}

#[test]
fn a_suggestion_from_a_project_that_learns_is_put_in_the_place_of_its_policy() {
    let world = World::new();
    world.run(&["init", "--preset", "learn"]);
    world.run(&["run", "--", "sh", "-c", "echo a > a"]);
    let told =
        |file: &str| world.shell(&format!("$VANTIO policy suggest last --force -o {file} 2>&1 | grep next:"));
    insta::assert_snapshot!(told("new.yaml"), @"next: read it, then put it in the place of the policy that learnt: mv new.yaml vantio.yaml");
    insta::assert_snapshot!(told("vantio.yaml"), @"next: read it, then run the agent under it: vantio run -- CMD");
    assert!(world.run(&["run", "--", "sh", "-c", "echo b > a"]).starts_with("exit 0\n"));
}

#[test]
fn a_suggestion_names_what_was_refused_while_watched() {
    let world = World::new();
    let counted =
        |command: &str| world.shell(&format!("$VANTIO {command} 2>&1 | sed -E 's/[0-9]+ action/N action/'"));
    insta::assert_snapshot!(counted("run --preset learn -- ls -d /etc"), @"
    /etc
    vantio: N actions were permitted because this run was watched
    next: vantio policy suggest [RUN]  write a policy from what it did
    ");
    insta::assert_snapshot!(counted("why last"), @"
    run [RUN]: nothing was refused
    N actions were permitted because this run was watched: `vantio policy suggest [RUN]` writes a policy from what it did
    ");
    let ask = "import socket\nfor _ in '12':\n  try: socket.create_connection(('192.0.2.1', 443))\n  except OSError: pass\n";
    world.run(&["run", "--preset", "learn", "--", "python3", "-c", ask]);
    let document = world.run(&["policy", "suggest", "last"]);
    let line = "# refused while watched: net.connect 192.0.2.1:443 (2 times); add it to net.allow if the agent needs it\n";
    assert!(document.starts_with("exit 0\n") && document.contains(line), "{document}");
    insta::assert_snapshot!(world.shell("$VANTIO policy suggest last -o new.yaml 2>&1 | sed 's/: [0-9]* rules/: N rules/'"), @"
    wrote new.yaml: N rules
    refused to these runs, and not suggested: 1; the comments say what
    next: read it, then run the agent under it: vantio run --policy new.yaml -- CMD
    ");
    insta::assert_snapshot!(world.run(&["policy", "suggest", "last", "-o", "."]), @"
    exit 2
    E_OUTPUT

      x `.` is a folder
      help: name a file in it: --output ./vantio.yaml
    ");
    let told: serde_json::Value =
        serde_json::from_str(&world.shell("$VANTIO policy suggest last --json")).unwrap();
    let refused = serde_json::json!([{"effect": "net.connect", "target": "192.0.2.1:443", "section": "net.allow", "count": 2}]);
    assert_eq!(told["refused"], refused);
}

#[test]
fn what_would_permit_a_listing_is_that_folder_alone() {
    let world = World::new();
    world.shell("mkdir notes && echo x > notes/file && echo x > test.sh && chmod +x test.sh");
    let policy = |read: &str| {
        let system = "/usr, /lib, /lib64, /etc, /proc";
        format!(
            "version: 1\nfs: {{read: [{system}{read}], write: [/dev]}}\nexec: {{allow: [/usr/bin, /bin]}}\n"
        )
    };
    world.write("p.yaml", &policy(""));
    world.run(&["run", "--policy", "p.yaml", "--", "sh", "-c", "ls /; ls notes; cat notes/file; ./test.sh"]);
    let advised = world.shell("$VANTIO why last | grep -E '^(fs|proc)|permit:' | sed 's/  [^ ]*$//'");
    insta::assert_snapshot!(advised, @r#"
    fs.open (read)  /
      permit: no rule names just this
    fs.open (read)  [WORK]/notes
      permit: add to fs.read: ["${workspace}/note[s]"]
    fs.open (read)  [WORK]/notes/file
      permit: add to fs.read: ["${workspace}/notes/file"]
    proc.exec  [WORK]/test.sh
      permit: add to exec.allow: ["${workspace}/test.sh"]
    "#);
    world.write("p.yaml", &policy(", '${workspace}/note[s]'"));
    let listed = world.run(&["run", "--policy", "p.yaml", "--", "ls", "notes"]);
    assert!(listed.starts_with("exit 0\nfile\n"), "{listed}");
    let read = world.run(&["run", "--policy", "p.yaml", "--", "cat", "notes/file"]);
    assert!(read.starts_with("exit 1\n"), "{read}");
}

#[test]
fn a_suggestion_that_leaves_something_out_is_not_complete() {
    let world = World::new();
    world.run(&["run", "--preset", "learn", "--", "sh", "-c", "ls / >/dev/null"]);
    let told =
        |more: &str| world.shell(&format!("$VANTIO policy suggest last {more} 2>&1 >/dev/null; echo $?"));
    let said = "vantio: not suggested, so that it would be refused: 1; the comments at its top say what and why\n4\n";
    assert!(told("-o r.yaml").ends_with(said), "{}", told("-o r.yaml --force"));
    assert_eq!(told(""), said);
    world.run(&["run", "--policy", "r.yaml", "--", "sh", "-c", "ls /"]);
    assert!(world.run(&["why", "last"]).contains("fs.open (read)  /"));
}

#[test]
fn a_folder_that_was_deleted_whole_is_one_line_of_the_summary() {
    let world = world(POLICY);
    world.shell("mkdir -p old/in part; touch old/in/{1..60} old/{a,b} part/{x,y} old-other");
    let said = world.run(&["run", "--", "sh", "-c", "rm -r old part/x old-other; echo new > fresh"]);
    let deleted: Vec<&str> = said.lines().filter(|line| line.contains("  - ")).map(str::trim).collect();
    let listed = ["- [WORK]/old/  (62 files)", "- [WORK]/old-other  (0 B)", "- [WORK]/part/x  (0 B)"];
    assert_eq!(deleted, listed, "{said}");
    assert!(said.contains("66 deleted, 1 added") && said.contains("fresh"), "{said}");
    assert!(world.run(&["diff", "last", "--tree"]).contains("- [WORK]/old/in/60"));
}

#[test]
fn changes_that_cannot_be_written_to_a_folder_leave_no_half_of_them() {
    let world = world(POLICY);
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt"]);
    let said =
        world.shell("trap '' XFSZ; ulimit -f 0; $VANTIO commit last --to there 2>&1; echo exit $?; ls");
    assert!(said.contains("E_OUTPUT") && said.contains("there/"), "{said}");
    assert!(said.contains("cannot be written") && !said.contains("E_SCAN"), "{said}");
    assert!(said.contains("exit 1\n") && !said.contains("\nthere\n"), "{said}");
}

#[test]
fn of_a_preset_within_a_run_nothing_is_to_be_left_out() {
    let world = world("version: 1\nfs: {read: [/], write: [/dev]}\nexec: {allow: [/]}\n");
    let vantio = env!("CARGO_BIN_EXE_vantio");
    let said = world.run(&["run", "--", vantio, "run", "--preset", "read-only", "--", "true"]);
    assert!(said.contains("E_NESTED_POLICY") && said.contains("name another preset"), "{said}");
    assert!(!said.contains("leave it out"), "{said}");
}
