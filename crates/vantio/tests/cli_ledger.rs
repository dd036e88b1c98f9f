//! The ledger as an operator and an auditor use it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cli_world;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use cli_world::World;

const POLICY: &str = "version: 1\nfs: {read: [/], write: ['${workspace}'], deny: [/etc/shadow]}\nexec: {allow: [/usr/bin, /bin]}\n";

/// A folder with a run behind it, in which a file was refused.
fn world() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt; cat /etc/shadow"]);
    world
}

#[test]
fn lists_are_narrowed_by_verdict_text_time_and_place() {
    let world = world();
    let list = |arguments: &[&str]| world.run(&[&["ledger", "list"], arguments].concat());
    let refused = list(&["--verdict", "collapse", "--grep", "shadow"]);
    assert_eq!(refused.matches("fs.deny: /etc/shadow").count(), 1, "{refused}");
    assert_eq!(list(&["--since", "1h", "--op", "run.start"]).lines().count(), 3, "exit, headings, one entry");
    assert_eq!(list(&["--until", "1h"]).lines().count(), 2, "exit and headings only");
    let lines = list(&["--after", "0", "--limit", "2", "--json"]);
    let sequence: Vec<u64> = lines
        .lines()
        .skip(1)
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            entry["seq"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(sequence, [1, 2]);
    insta::assert_snapshot!(list(&["--since", "yesterday"]), @"
    exit 2
    E_TIME

      x `yesterday` is not a time
      help: write 2026-01-02T03:04:05Z; or how long ago: 90s, 10m, 2h, 7d; or by this host's clock: 2026-01-02 [TIME], 2026-01-02, [TIME]
    ");
}

#[test]
fn what_a_list_shows_narrows_it() {
    let world = world();
    let list = |arguments: &[&str]| world.run(&[&["ledger", "list"], arguments].concat());
    assert_eq!(list(&["--verdict", "Collapse"]), list(&["--verdict", "collapse"]));
    assert!(list(&["--verdict", "KillSwitch"]).starts_with("exit 0\n"));
    // Where it is noon, so that the day does not change meanwhile.
    let counts = world.shell(
        r#"export TZ=X$((10#$(date -u +%H) - 12))
        day=$(date +%F); time=$($VANTIO ledger list --op run.start | awk 'NR == 2 {print $2}')
        count() { $VANTIO ledger list --op run.start "$@" | tail -n +2 | wc -l; }
        for when in "$time" "${time%:*}" "$day" "$day $time"; do
            echo $(count --since "$when") $(count --until "$when")
        done"#,
    );
    assert_eq!(counts, "1 0\n".repeat(4));
    assert!(list(&["--since", "10"]).contains("`10` is not a time"));
}

#[test]
fn what_is_appended_is_followed() {
    let world = world();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vantio"))
        .args(["ledger", "list", "--op", "run.end", "--follow", "--json"])
        .env("VANTIO_STATE", world.state())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("run.end"), "the run before");
    world.run(&["run", "--", "true"]);
    assert!(lines.next().unwrap().unwrap().contains("run.end"), "the run meanwhile");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_auditor_verifies_with_a_file_and_a_key_alone() {
    let world = world();
    let key = world.shell("$VANTIO ledger key").trim().to_owned();
    world.write("checkpoint", &world.shell("$VANTIO ledger checkpoint"));
    world.write("proof", &world.shell("$VANTIO ledger prove 0"));
    world.run(&["run", "--", "true"]);
    world.write("growth", &world.shell("$VANTIO ledger prove --since checkpoint"));

    let elsewhere = |arguments: &[&str]| world.elsewhere(&[&["ledger", "verify"], arguments].concat());
    let (code, text) = elsewhere(&["--proof", "proof", "--key", &key]);
    assert!(code == 0 && text.contains("op: run.start") && !text.contains("kept.txt"), "{text}");
    let (code, text) = elsewhere(&["--proof", "growth", "--against", "checkpoint", "--key", &key]);
    assert!(code == 0 && text.starts_with("verified: the "), "{text}");
    assert_eq!(elsewhere(&["--proof", "proof"]).0, 2, "a proof needs a key");
    assert_eq!(elsewhere(&["--proof", "growth", "--key", &key]).0, 2, "growth needs the older checkpoint");

    let proof = fs::read_to_string(world.work().join("proof")).unwrap();
    world.write("forged", &proof.replacen("index 0", "index 1", 1));
    let (code, text) = elsewhere(&["--proof", "forged", "--key", &key]);
    assert!(code == 3 && text.contains("E_LEDGER_PROOF"), "{text}");
}

#[test]
fn a_public_log_tells_no_paths() {
    let world = world();
    let published = world.run(&["ledger", "publish", "public"]);
    assert!(published.starts_with("exit 0\npublished: "), "{published}");
    let public = world.work().join("public");
    assert!(public.join("checkpoint").is_file() && public.join("tile").is_dir());
    let found = world.shell("grep -r -l -a -e shadow -e kept.txt public || echo none");
    assert_eq!(found.trim(), "none");
    assert!(world.shell("grep -r -a -c 'path(depth=2' public/tile/entries").contains(':'));
}

#[test]
fn who_has_no_key_of_a_witness_is_told_whom_to_ask() {
    let said = world().run(&["ledger", "witness", "add", "https://w.example", "zz"]);
    assert!(said.starts_with("exit 2\nE_LEDGER_KEY\n") && said.contains("ask the witness"), "{said}");
}

#[test]
fn an_operation_that_there_is_not_is_no_empty_list() {
    let world = world();
    let said = world.run(&["ledger", "list", "--op", "fs.opne"]);
    assert!(said.starts_with("exit 2\nE_OPERATION\n") && said.contains("did you mean `fs.open`?"), "{said}");
    for none in ["run.kill", "net.listen"] {
        assert!(world.run(&["ledger", "list", "--op", none]).starts_with("exit 0\n"), "{none}");
    }
    let none = world.run(&["ledger", "list", "--op", "fs.open", "--since", "2999-01-01T00:00:00Z"]);
    assert!(none.starts_with("exit 0\n"), "{none}");
}

#[test]
fn a_log_that_was_cut_does_not_hold_against_a_kept_checkpoint() {
    let world = world();
    world.write("checkpoint", &world.shell("$VANTIO ledger checkpoint"));
    let connection = rusqlite::Connection::open(world.state().join("ledger.db")).unwrap();
    let triggers =
        "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
    let drop: String = connection.query_row(triggers, (), |row| row.get(0)).unwrap();
    connection.execute_batch(&drop).unwrap();
    connection.execute("DELETE FROM entries WHERE seq > 3", ()).unwrap();
    connection.close().unwrap();
    let verified = world.run(&["ledger", "verify", "--against", "checkpoint"]);
    assert!(verified.starts_with("exit 3\nE_LEDGER_TRUNCATED"), "{verified}");
    assert!(verified.contains("entry 4 and what follows it are gone"), "{verified}");
}

#[test]
fn a_ledger_is_archived_and_read_all_the_same() {
    let world = world();
    let key = world.run(&["ledger", "key"]).lines().nth(1).unwrap().to_owned();
    let archived = world.run(&["ledger", "archive"]);
    assert!(
        archived.starts_with("exit 0\narchived: ") && archived.contains(&format!("key: {key}")),
        "{archived}"
    );
    let listed = world.run(&["ledger", "archive", "--list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.strip_prefix("exit 0\n").unwrap()).unwrap();
    let file = listed["archives"][0]["file"].as_str().unwrap();
    let file = &file.replace("[STATE]", world.state().to_str().unwrap());
    assert_eq!(listed["archives"][0]["key"].as_str(), Some(key.as_str()));
    world.run(&["run", "--", "true"]);
    assert!(!world.run(&["why", "last"]).contains("/etc/shadow"));
    let verified = world.run(&["ledger", "verify"]);
    assert!(
        verified.starts_with("exit 0\n") && verified.contains(&format!("continues: {key}")),
        "{verified}"
    );
    let in_archive = |words: &[&str]| world.run(&[&["--store", file], words].concat());
    assert!(in_archive(&["ledger", "list", "--verdict", "collapse"]).contains("fs.deny: /etc/shadow"));
    let verified = in_archive(&["ledger", "verify"]);
    let live = world.run(&["ledger", "key"]).lines().nth(1).unwrap().to_owned();
    assert!(
        verified.starts_with("exit 0\n") && verified.contains(&format!("continued by: {live}")),
        "{verified}"
    );
    let refused = in_archive(&["run", "--", "true"]);
    assert!(refused.starts_with("exit 125\nE_LEDGER_READ_ONLY"), "{refused}");
    assert!(world.run(&["ledger", "archive", "--expire"]).contains("nothing has been kept for seven years"));
}

#[test]
fn a_ledger_is_not_archived_under_a_run() {
    let world = world();
    let mut run = world.start(&["run", "--", "sh", "-c", "echo ready; sleep 30"], Stdio::piped());
    run.wait_for("ready");
    let refused = world.run(&["ledger", "archive"]);
    assert!(refused.starts_with("exit 1\nE_LEDGER_BUSY") && refused.contains("vantio ps"), "{refused}");
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0\nverified:"));
}

#[test]
fn what_was_put_away_is_not_taken_for_nothing() {
    let world = world();
    world.run(&["ledger", "archive"]);
    let listed = world.run(&["ledger", "archive", "--list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.lines().last().unwrap()).unwrap();
    let archive = listed["archives"][0]["file"].as_str().unwrap();
    let archive = &archive.replace("[STATE]", world.state().to_str().unwrap());
    for words in [&["why", "last"][..], &["why", "last", "--json"], &["policy", "suggest", "last"]] {
        let said = world.run(words);
        assert!(said.starts_with("exit 1\n") && said.contains("E_LEDGER_RUN"), "{said}");
        assert!(said.contains("--store FILE reads an archive"), "{said}");
        let read = world.run(&[&["--store", archive], words].concat());
        assert!(!read.contains("E_LEDGER_RUN") && read.contains("/etc/shadow"), "{read}");
    }
}

#[test]
fn a_proof_is_an_object_where_that_is_asked_for() {
    let world = world();
    world.write("checkpoint", &world.shell("$VANTIO ledger checkpoint"));
    for words in [&["prove", "0"][..], &["prove", "--since", "checkpoint"]] {
        let text = world.shell(&format!("$VANTIO ledger {}", words.join(" ")));
        let told = world.run(&[&["ledger", "--json"], words].concat());
        let told: serde_json::Value = serde_json::from_str(told.lines().nth(1).unwrap()).unwrap();
        assert_eq!((told["version"].as_u64(), told["proof"].as_str()), (Some(1), Some(&*text)));
    }
    for words in [&["ledger", "export", "--format", "bundle"][..], &["completions", "bash"]] {
        let said = world.run(&[words, &["--json"]].concat());
        assert!(said.starts_with("exit 2\n{") && said.contains("E_USAGE"), "{said}");
    }
}

#[test]
fn an_entry_that_is_not_there_is_not_waiting_for_a_checkpoint() {
    let world = world();
    for command in ["show", "prove"] {
        let said = world.run(&["ledger", command, "99999"]);
        assert!(said.starts_with("exit 2\nE_LEDGER_SEQ\n"), "{said}");
        assert!(said.contains("the ledger has no entry 99999"), "{said}");
    }
}

#[test]
fn a_ledger_that_was_cut_short_ends_as_one_that_was_changed() {
    let world = world();
    let file = world.state().join("ledger.db");
    // Nothing of it is in the log beside it.
    let database = rusqlite::Connection::open(&file).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    let whole = fs::read(&file).unwrap();
    for length in [100, 4096, whole.len() / 2] {
        fs::write(&file, &whole[..length]).unwrap();
        let said = world.run(&["ledger", "verify"]);
        assert!(said.starts_with("exit 3\nE_LEDGER_"), "{length}: {said}");
    }
}

#[test]
fn a_full_device_is_told_as_one() {
    let world = world();
    let said = world.shell("$VANTIO ledger export 2>&1 >/dev/full; echo exit $?");
    insta::assert_snapshot!(said, @"
    E_OUTPUT

      x standard output cannot be written
      `-> No space left on device (os error 28)
      help: free space where it is written to
    exit 1
    ");
}
