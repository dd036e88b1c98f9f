//! When a run cannot begin or Vantio cannot go on: one screen, what to do, the right exit code.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::common::{Outcome, WORKSPACE, World, finish, is_root, needs_root};

#[track_caller]
pub fn assert_one_screen(outcome: &Outcome, code: i32, words: &[&str]) {
    outcome.assert_code(code);
    let lines = outcome.stderr.lines().count();
    assert!((1..=24).contains(&lines), "not one screen: {}", outcome.describe());
    for word in words {
        assert!(outcome.stderr.contains(word), "`{word}` is missing: {}", outcome.describe());
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.describe());
}

#[test]
fn without_a_policy_nothing_runs() {
    let world = World::new();
    let outcome = finish(&mut world.vantio(["run", "--", "/usr/bin/touch", "ran"]));
    assert_one_screen(&outcome, 125, &["vantio init"]);
    assert!(!world.workspace().join("ran").exists());
}

#[test]
fn a_policy_error_points_into_the_document() {
    let world = World::new();
    let outcome = world.run("version: 1\nfs:\n  raed: [/usr]\n", &["/bin/true"]);
    assert_one_screen(&outcome, 125, &["raed", "read", "policy.yaml"]);
    let outcome = world.run("version: 9\n", &["/bin/true"]);
    assert_one_screen(&outcome, 125, &["version"]);
    let missing = finish(&mut world.vantio(["run", "--policy", "missing.yaml", "--", "/bin/true"]));
    assert_one_screen(&missing, 125, &["missing.yaml"]);
}

#[test]
fn a_program_that_does_not_exist_ends_with_127() {
    let world = World::new();
    assert_one_screen(&world.run(WORKSPACE, &["no-such-agent"]), 127, &["no-such-agent"]);
    assert_one_screen(&world.run(WORKSPACE, &["./no/such/agent"]), 127, &["no/such/agent"]);
}

#[test]
fn a_program_that_may_not_be_executed_ends_with_126() {
    let world = World::new();
    world.write("plain", "not a program");
    assert_one_screen(&world.run(WORKSPACE, &["./plain"]), 126, &["plain"]);
    assert_one_screen(&world.run(WORKSPACE, &["/etc"]), 126, &["/etc"]);
    let policy = WORKSPACE.replace("exec:\n", "exec:\n  deny: [/usr/bin/id]\n");
    assert_one_screen(&world.run(&policy, &["/usr/bin/id"]), 126, &["/usr/bin/id"]);
}

#[test]
fn a_state_folder_that_cannot_be_written_stops_the_run() {
    let world = World::new();
    let run = |state: &str| {
        let mut command = world.governed(WORKSPACE, &["/usr/bin/touch", "ran"]);
        finish(command.env("VANTIO_STATE", state))
    };
    assert_one_screen(&run("/proc/no/such/place"), 125, &["/proc/no"]);
    fs::write(world.path().join("plain"), "").unwrap();
    assert_one_screen(&run(&world.path().join("plain").to_string_lossy()), 125, &["plain"]);
    if !is_root() {
        let closed = world.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        assert_one_screen(&run(&closed.join("state").to_string_lossy()), 125, &["closed"]);
    }
    assert!(!world.workspace().join("ran").exists());
}

/// Runs a script as root with a tmpfs mounted on the state folder, in a mount namespace of its own.
fn with_state_on_tmpfs(world: &World, options: &str, script: &str) -> Outcome {
    fs::create_dir_all(world.state()).unwrap();
    fs::write(world.path().join("policy.yaml"), WORKSPACE).unwrap();
    let run = format!(
        "vantio() {{ {} \"$@\"; }}; run() {{ vantio run --policy {} -- \"$@\"; }}",
        crate::common::binary().display(),
        world.path().join("policy.yaml").display()
    );
    let script =
        format!("mount -t tmpfs -o mode=700,{options} none {}; {run}; {script}", world.state().display());
    let mut command = world.command("/usr/bin/unshare");
    finish(command.args(["--mount", "--propagation", "private", "/bin/bash", "-c", &script]))
}

#[test]
fn a_read_only_state_folder_stops_the_run() {
    if needs_root("a_read_only_state_folder_stops_the_run") {
        return;
    }
    let world = World::new();
    let outcome = with_state_on_tmpfs(&world, "ro", "run touch ran");
    assert_one_screen(&outcome, 125, &["state"]);
    assert!(!world.workspace().join("ran").exists());
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    if needs_root("a_full_disk_stops_the_run_and_loses_nothing") {
        return;
    }
    let world = World::new();
    let script = "\
run sh -c 'echo kept > kept' || exit 90
run sh -c 'head -c 40000000 /dev/zero > big; echo program: $?' ; echo run: $?
vantio ledger verify; echo verify: $?
vantio discard last; echo discard: $?
vantio ledger verify; echo verify again: $?
run true; echo next: $?";
    let outcome = with_state_on_tmpfs(&world, "size=8m", script);
    assert!(!outcome.stdout.contains("program: 0"), "{}", outcome.describe());
    for line in ["verify: 0", "discard: 0", "verify again: 0", "next: 0"] {
        assert!(outcome.stdout.contains(line), "no `{line}`: {}", outcome.describe());
    }
    assert!(!world.workspace().join("big").exists());
}

#[test]
fn a_commit_without_room_does_not_keep_its_run_from_being_discarded() {
    if needs_root("a_commit_without_room_does_not_keep_its_run_from_being_discarded") {
        return;
    }
    let world = World::new();
    let script = format!(
        "\
run sh -c 'echo small > small; head -c 40000000 /dev/zero > big'
vantio commit last small; echo commit: $?
ls {}/runs/*/commit.journal
head -c 9000000 /dev/zero > {0}/filler
vantio discard last; echo discard: $?",
        world.state().display()
    );
    let outcome = with_state_on_tmpfs(&world, "size=8m", &script);
    for line in ["commit: 1", "discard: 0"] {
        assert!(outcome.stdout.contains(line), "no `{line}`: {}", outcome.describe());
    }
    assert!(!outcome.stdout.contains("commit.journal"), "{}", outcome.describe());
}

#[test]
fn a_run_that_a_full_disk_ends_says_so() {
    if needs_root("a_run_that_a_full_disk_ends_says_so") {
        return;
    }
    let world = World::new();
    let script = "\
run sh -c 'head -c 40000000 /dev/zero > big; while :; do echo > more$((i += 1)); cat /etc/passwd; done' > /dev/null";
    let outcome = with_state_on_tmpfs(&world, "size=8m", script);
    outcome.assert_code(125);
    let told = &outcome.stderr;
    assert!(told.contains("E_LEDGER_FULL") && told.contains("could not be written down"), "{told}");
}

/// Fills the disk through what is open, does something, and makes room again by itself, or ends.
fn hidden_by_a_full_disk(after: &str) -> String {
    format!(
        "\
cat > act.py <<'END'
import os, time
fill = os.open('fill', os.O_RDWR | os.O_CREAT)
time.sleep(0.5)
try:
    while True:
        os.write(fill, bytes(4096))
except OSError:
    open('/etc/hosts').read()
{after}
END
run python3 act.py; echo run: $?"
    )
}

#[test]
fn an_agent_that_makes_room_again_is_ended_for_what_could_not_be_written_down() {
    if needs_root("an_agent_that_makes_room_again_is_ended_for_what_could_not_be_written_down") {
        return;
    }
    let after = "time.sleep(0.5); os.ftruncate(fill, 0); time.sleep(2); os.write(1, b'went on')";
    let outcome = with_state_on_tmpfs(&World::new(), "size=8m", &hidden_by_a_full_disk(after));
    assert!(outcome.stdout.contains("run: 125"), "{}", outcome.describe());
    assert!(!outcome.stdout.contains("went on"), "{}", outcome.describe());
    assert!(outcome.stderr.contains("E_LEDGER_FULL"), "{}", outcome.describe());
}

#[test]
fn a_run_whose_end_finds_that_its_deeds_could_not_be_written_down_has_failed() {
    if needs_root("a_run_whose_end_finds_that_its_deeds_could_not_be_written_down_has_failed") {
        return;
    }
    let outcome = with_state_on_tmpfs(&World::new(), "size=8m", &hidden_by_a_full_disk("os._exit(0)"));
    assert!(outcome.stdout.contains("run: 125"), "{}", outcome.describe());
    assert!(outcome.stderr.contains("E_LEDGER_FULL"), "{}", outcome.describe());
}

/// Runs a script in which `vantio` is the program under test.
fn by_shell(world: &World, script: &str) -> Outcome {
    let script = format!("vantio() {{ {} \"$@\"; }}; {script}", crate::common::binary().display());
    finish(world.command("/bin/bash").args(["-c", &script]))
}

#[test]
fn whatever_its_caller_ignores_a_run_ends_with_the_status_of_its_program() {
    let run = "(trap '' CHLD; exec vantio run --preset workspace -- sh -c 'exit 3')";
    let run = run.replace("vantio", &crate::common::binary().display().to_string());
    let outcome = by_shell(&World::new(), &format!("{run}; echo status: $?"));
    assert!(outcome.stdout.contains("status: 3"), "{}", outcome.describe());
}

#[test]
fn a_file_that_may_not_grow_ends_the_program_that_writes_it_and_is_an_error_of_vantio() {
    let script = "\
ulimit -f 1000
vantio run --preset workspace -- sh -c 'head -c 3000000 /dev/zero > big; echo head: $?'
ulimit -f 8
vantio run --preset workspace -- true; echo run: $?";
    let outcome = by_shell(&World::new(), script);
    for line in ["head: 153", "run: 125"] {
        assert!(outcome.stdout.contains(line), "no `{line}`: {}", outcome.describe());
    }
    assert!(
        outcome.stderr.contains("E_LEDGER") || outcome.stderr.contains("E_STATE"),
        "{}",
        outcome.describe()
    );
}

#[test]
fn a_policy_with_many_ports_needs_no_more_descriptors_than_the_caller_may_have() {
    let world = World::new();
    let policy =
        "version: 1\nfs: {read: [/]}\nexec: {allow: [/]}\nnet: {allow: ['udp://127.0.0.1:5001-6000']}\n";
    fs::write(world.path().join("policy.yaml"), policy).unwrap();
    let policy = world.path().join("policy.yaml");
    let script = format!("ulimit -Sn 512; vantio run --policy {} -- sh -c 'ulimit -Sn'", policy.display());
    let outcome = by_shell(&world, &script);
    assert_eq!(outcome.stdout, "512\n", "{}", outcome.describe());
}

#[test]
fn a_run_that_died_on_a_full_disk_is_listed_before_there_is_room() {
    if needs_root("a_run_that_died_on_a_full_disk_is_listed_before_there_is_room") {
        return;
    }
    let world = World::new();
    let script = "run sh -c 'echo x > new; touch /tmp/ready; sleep 60' 2> /dev/null &
until [ -s $VANTIO_STATE/runs/*/supervisor ] && vantio diff last | grep -q new; do sleep 0.1; done
head -c 9000000 /dev/zero > $VANTIO_STATE/filler
kill -9 $(grep -o '[0-9]*' $VANTIO_STATE/runs/*/supervisor | head -n 1)
wait
vantio ps; vantio ps --json
rm $VANTIO_STATE/filler
vantio discard last; vantio ps";
    let outcome = with_state_on_tmpfs(&world, "size=8m", script);
    assert!(outcome.stderr.contains("could not be cleaned up"), "{}", outcome.describe());
    assert!(outcome.stdout.contains("died, not cleaned up"), "{}", outcome.describe());
    assert!(outcome.stdout.contains(r#""state":"died""#), "{}", outcome.describe());
    assert!(outcome.stderr.contains("discarded: what was not committed is gone"), "{}", outcome.describe());
    assert!(outcome.stderr.contains("no run lives or waits for review"), "{}", outcome.describe());
}

#[test]
fn a_disk_without_a_single_byte_stops_the_run() {
    if needs_root("a_disk_without_a_single_byte_stops_the_run") {
        return;
    }
    let world = World::new();
    let script =
        format!("head -c 9000000 /dev/zero > {}/filler 2>/dev/null; run touch ran", world.state().display());
    let outcome = with_state_on_tmpfs(&world, "size=1m", &script);
    assert_one_screen(&outcome, 125, &[]);
    assert!(!world.workspace().join("ran").exists());
}

#[test]
fn a_run_that_had_no_room_to_begin_is_over_once_there_is_some() {
    if needs_root("a_run_that_had_no_room_to_begin_is_over_once_there_is_some") {
        return;
    }
    let world = World::new();
    let script = "\
run true && vantio discard last || exit 90
for more in $(seq 0 5 80); do
    used=$(df --output=iused $VANTIO_STATE | tail -n 1)
    mount -o remount,nr_inodes=$((used + more)) $VANTIO_STATE
    run touch ran 2>/dev/null; echo run: $?
    mount -o remount,nr_inodes=10000 $VANTIO_STATE
    vantio ps 2>&1; vantio ps --all --json; vantio discard last
done
vantio ledger verify; echo verify: $?";
    let outcome = with_state_on_tmpfs(&world, "size=50m,nr_inodes=10000", script);
    assert!(
        outcome.stdout.contains("run: 125") && outcome.stdout.contains("run: 0"),
        "{}",
        outcome.describe()
    );
    assert!(!outcome.stdout.contains("\"state\":\"running\""), "{}", outcome.describe());
    assert!(!outcome.stdout.contains("could not be"), "{}", outcome.describe());
    assert!(outcome.stdout.contains("verify: 0"), "{}", outcome.describe());
    assert!(!world.workspace().join("ran").exists());
}

#[test]
fn a_run_that_does_not_exist_is_named() {
    let world = World::new();
    for command in ["diff", "commit", "discard", "why", "kill"] {
        let outcome = finish(&mut world.vantio([command, "last"]));
        assert_one_screen(&outcome, outcome.code(), &[]);
        assert!(matches!(outcome.code(), 1 | 2), "{command}: {}", outcome.describe());
    }
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    assert_one_screen(&finish(&mut world.vantio(["diff", "ffffffff"])), 2, &["ffffffff"]);
}

#[test]
fn a_changed_ledger_stops_further_runs_from_pretending() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    let tamper = "\
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1])
for name, in ledger.execute(\"select name from sqlite_master where type = 'trigger'\").fetchall():
    ledger.execute(f'drop trigger \"{name}\"')
table = ledger.execute(\"select name from sqlite_master where type = 'table' order by name\").fetchall()
for name, in table:
    columns = [row[1] for row in ledger.execute(f'pragma table_info(\"{name}\")')]
    if 'this_hash' in columns:
        ledger.execute(f'delete from \"{name}\" where seq = 1')
ledger.commit()
";
    let mut grep = Command::new("grep");
    let file = finish(grep.args(["-rlaE", "-m1", "^SQLite format 3"]).arg(world.state())).stdout;
    let mut python = Command::new("/usr/bin/python3");
    finish(python.args(["-c", tamper]).arg(file.trim())).assert_success();
    let verify = finish(&mut world.vantio(["ledger", "verify"]));
    verify.assert_code(3);
    assert!(verify.describe().contains('1'), "{}", verify.describe());
}
