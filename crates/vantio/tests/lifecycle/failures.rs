//! When a run cannot begin or Vantio cannot go on: one screen, what to do, the right exit code.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{Outcome, WORKSPACE, World, eventually, finish, is_root, needs_root, start};

#[track_caller]
fn assert_one_screen(outcome: &Outcome, code: i32, words: &[&str]) {
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
head -c 1000000 /dev/zero > $VANTIO_STATE/filler
run sh -c 'echo kept > kept' || exit 90
run sh -c 'head -c 40000000 /dev/zero > big; echo program: $?' ; echo run: $?
vantio ledger verify; echo verify: $?
rm $VANTIO_STATE/filler
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

/// Mounts of the host, elsewhere in what the run sees.
#[test]
fn mounts_that_come_and_go_stop_no_run() {
    if needs_root("mounts_that_come_and_go_stop_no_run") {
        return;
    }
    let world = World::new();
    let script = "while [ -e more ]; do mkdir -p one/two && mount -t tmpfs none one/two && umount -l one/two; rm -r one; done";
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    fs::write(elsewhere.path().join("more"), "").unwrap();
    let mut host = start(Command::new("/bin/sh").args(["-c", script]).current_dir(elsewhere.path()));
    for _ in 0..25 {
        let outcome = world.run(WORKSPACE, &["/bin/echo", "ran"]);
        outcome.assert_success();
        assert_eq!(outcome.stdout, "ran\n");
        assert_eq!(world.changes(), []);
    }
    // Whoever is killed in the middle leaves a mount behind.
    fs::remove_file(elsewhere.path().join("more")).unwrap();
    host.wait().unwrap();
}

#[test]
fn a_mount_that_is_gone_hinders_nothing_that_is_elsewhere() {
    if needs_root("a_mount_that_is_gone_hinders_nothing_that_is_elsewhere") {
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let point = elsewhere.path().join("point");
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));

    mount(&point);
    world.run(&policy, &["/bin/sh", "-c", "echo new > made"]).assert_success();
    unmount(&point);
    assert_eq!(world.changes(), [("added".to_owned(), world.workspace().join("made"))]);
    mount(&point);
    world.ask(&["commit", "last"]);
    unmount(&point);
    world.ask(&["undo", "last"]);
    assert!(!world.workspace().join("made").exists());

    mount(&point);
    let script = format!("echo new > made; echo new > {}/made", point.display());
    world.run(&policy, &["/bin/sh", "-c", &script]).assert_success();
    unmount(&point);
    let outcome = finish(&mut world.vantio(["diff", "last"]));
    assert_one_screen(&outcome, 1, &["E_SCAN", &point.display().to_string(), "must be mounted"]);
    fs::create_dir(&point).unwrap();
    world.ask(&["commit", "last"]);
    assert_eq!(fs::read_to_string(point.join("made")).unwrap(), "new\n");
}

#[test]
fn a_mount_below_a_read_only_one_is_written_as_on_the_host() {
    if needs_root("a_mount_below_a_read_only_one_is_written_as_on_the_host") {
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let (outer, inner) = (elsewhere.path().join("outer"), elsewhere.path().join("outer/inner"));
    mount(&outer);
    mount(&inner);
    fs::write(inner.join("old"), "old\n").unwrap();
    finish(Command::new("/bin/mount").args(["-o", "remount,ro"]).arg(&outer)).assert_success();
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));

    let script = format!("cd {}; cat old; echo new > made; rm old; echo x > ../made", inner.display());
    let outcome = world.run(&policy, &["/bin/sh", "-c", &script]);
    let changes = world.changes();
    let before = fs::read_to_string(inner.join("old")).unwrap();
    let commit = finish(&mut world.vantio(["commit", "last"]));
    let after = fs::read_to_string(inner.join("made"));
    finish(Command::new("/bin/mount").args(["-o", "remount,rw"]).arg(&outer)).assert_success();
    unmount(&inner);
    unmount(&outer);

    assert_eq!(outcome.stdout, "old\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    assert_eq!(
        changes,
        [("added".to_owned(), inner.join("made")), ("deleted".to_owned(), inner.join("old"))]
    );
    assert_eq!(before, "old\n");
    commit.assert_success();
    assert_eq!(after.unwrap(), "new\n");
}

/// An automounter with one thing mounted; it counts what it is asked for, and mounts nothing more. Ends with its input.
const AUTOMOUNTER: &str = "
import ctypes, fcntl, os, struct, subprocess, sys, threading
FAIL = 0x9361
point = sys.argv[1]
inner = os.path.join(point, 'inner')
asked, ends = [], os.pipe()
options = f'fd={ends[1]},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect'
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'auto', point.encode(), b'autofs', 0, options.encode()):
    sys.exit(f'no autofs: {os.strerror(ctypes.get_errno())}')
root = os.open(point, os.O_RDONLY)
def answer():
    while packet := os.read(ends[0], 4096):
        token = struct.unpack_from('iII', packet)[2]
        asked.append(token)
        fcntl.ioctl(root, FAIL, token)
threading.Thread(target=answer, daemon=True).start()
os.mkdir(inner)
os.mkdir(os.path.join(point, 'later'))
subprocess.run(['mount', '-t', 'tmpfs', 'none', inner], check=True)
print('ready', flush=True)
sys.stdin.readline()
made = os.path.exists(os.path.join(inner, 'made'))
os.close(root)
subprocess.run(['umount', inner], check=True)
subprocess.run(['umount', point], check=True)
print(len(asked), made, flush=True)
";

#[test]
fn a_run_sees_what_an_automounter_has_mounted_and_has_it_mount_nothing() {
    if needs_root("a_run_sees_what_an_automounter_has_mounted_and_has_it_mount_nothing") {
        return;
    }
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("autofs") {
        eprintln!("skipped: this kernel has no autofs");
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let mut automounter = Command::new("/usr/bin/python3");
    automounter.args(["-c", AUTOMOUNTER]).arg(elsewhere.path()).process_group(0);
    let mut automounter = start(automounter.stdin(Stdio::piped()));
    let mut said = BufReader::new(automounter.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));

    let script = format!(
        "cd {}; ls -A; ls later/. later/deep; echo x > outside; cd inner && echo new > made && cat made",
        elsewhere.path().display()
    );
    let outcome = world.run(&policy, &["/bin/sh", "-c", &script]);
    let changes = world.changes();
    let commit = finish(&mut world.vantio(["commit", "last"]));
    drop(automounter.stdin.take());
    let (ended, end) = (automounter.wait().unwrap(), said.next());

    assert_eq!(outcome.stdout, "inner\nnew\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    assert_eq!(changes, [("added".to_owned(), elsewhere.path().join("inner/made"))]);
    commit.assert_success();
    assert!(ended.success());
    assert_eq!(end.unwrap().unwrap(), "0 True");
}

fn mount(point: &Path) {
    fs::create_dir(point).unwrap();
    finish(Command::new("/bin/mount").args(["-t", "tmpfs", "none"]).arg(point)).assert_success();
}

fn unmount(point: &Path) {
    // It is busy for as long as another run, which begins just now, looks at it.
    let is_free = || finish(Command::new("/bin/umount").arg(point)).status.success();
    assert!(eventually(Duration::from_secs(10), is_free), "{} stays busy", point.display());
    fs::remove_dir(point).unwrap();
}
