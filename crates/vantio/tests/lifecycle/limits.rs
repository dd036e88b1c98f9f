//! What a run may have at one time: held, recorded when it runs out, and refused where it cannot be held.

use std::{fs, process::Command, time::Duration};

use super::killed::control_groups;
use crate::common::{Outcome, WORKSPACE, World, eventually, finish, parse};

fn limited(limits: &str) -> String {
    format!("{WORKSPACE}limits: {{{limits}}}\n")
}

/// Whether somebody holds runs to a limit here: the tests go by what `vantio doctor` says.
fn is_held(world: &World, resource: &str) -> bool {
    let doctor = parse(&finish(&mut world.vantio(["doctor", "--json"])).stdout);
    let findings = doctor["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == "limits of resources").unwrap();
    let detail = finding["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{resource}: ")), "{detail}");
    !detail.contains(&format!("{resource}: nobody"))
}

/// Runs a script under a limit that a control group holds; `None` where there is none, and the run was refused.
fn run_grouped(world: &World, resource: &str, limit: &str, program: &[&str]) -> Option<Outcome> {
    let strict = world.run(&limited(limit), program);
    if is_held(world, resource) {
        return Some(strict);
    }
    strict.assert_code(125);
    assert!(strict.stderr.contains("E_LIMIT_UNHELD"), "{}", strict.describe());
    // The same, as far as it goes, which is on record.
    let relaxed = world.run(&limited(&format!("{limit}, best_effort: true")), &["/bin/true"]);
    relaxed.assert_success();
    let held = world.ask(&["ledger", "list", "--run", "last", "--op", "run.limits", "--json"]);
    assert!(held.contains("nobody"), "{held}");
    None
}

#[test]
fn a_run_that_could_not_begin_is_told_what_it_needs() {
    let world = World::new();
    for (limit, needs) in [("memory: 5", "1048576"), ("open_files: 3", "16")] {
        let outcome = world.run(&limited(limit), &["/bin/true"]);
        outcome.assert_code(125);
        assert!(outcome.stderr.contains("E_LIMIT_TOO_SMALL"), "{}", outcome.describe());
        assert!(outcome.stderr.contains(limit) && outcome.stderr.contains(needs), "{}", outcome.describe());
    }
    world.run(&limited("open_files: 16"), &["/bin/true"]).assert_success();
}

#[test]
fn a_run_that_takes_too_much_memory_is_ended() {
    let world = World::new();
    let script = "import os; os.fork(); x = bytearray(300 << 20); print(len(x))";
    let run = run_grouped(&world, "memory", "memory: 64MiB", &["/usr/bin/python3", "-c", script]);
    let Some(outcome) = run else { return };
    outcome.assert_code(137);
    assert!(!outcome.stdout.contains("314572800"), "{}", outcome.describe());
    assert!(outcome.stderr.contains("all of its 67108864 bytes of memory"), "{}", outcome.describe());
    world.assert_refused("resource.exhaust", "memory");
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("raise limits.memory"), "{why}");
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
    let replayed = finish(&mut world.vantio(["replay", "last"]));
    replayed.assert_success();
}

#[test]
fn a_run_that_starts_too_many_processes_gets_no_more() {
    let world = World::new();
    let script = r#"
import os, errno, time
children = []
try:
    while True:
        child = os.fork()
        if child == 0:
            time.sleep(600)
        children.append(child)
except OSError as error:
    print(errno.errorcode[error.errno], len(children), flush=True)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
print("again", os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1])
"#;
    let run = run_grouped(&world, "processes", "processes: 9", &["/usr/bin/python3", "-c", script]);
    let Some(outcome) = run else { return };
    outcome.assert_success();
    // The program itself is one of the nine.
    assert_eq!(outcome.stdout, "EAGAIN 8\nagain 0\n");
    world.assert_refused("resource.exhaust", "processes");
}

#[test]
fn a_run_gets_its_share_of_the_processor_and_no_more() {
    let world = World::new();
    let script = r"
import time
start = time.monotonic()
while time.process_time() < 0.5:
    pass
print((time.monotonic() - start) / time.process_time())
";
    let run = run_grouped(&world, "cpu", "cpu: 20%", &["/usr/bin/python3", "-c", script]);
    let Some(outcome) = run else { return };
    outcome.assert_success();
    let slower: f64 = outcome.stdout.trim().parse().unwrap();
    assert!(slower > 3.0, "it took only {slower} times as long as its processor time");
}

#[test]
fn a_process_opens_so_many_files() {
    let world = World::new();
    let script = r#"
import errno, os, resource
print(resource.getrlimit(resource.RLIMIT_NOFILE))
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
    print("RAISED")
except ValueError:
    pass
opened = []
try:
    while True:
        opened.append(open("/etc/passwd"))
except OSError as error:
    print(errno.errorcode[error.errno], max(one.fileno() for one in opened))
"#;
    let outcome = world.run(&limited("open_files: 32"), &["/usr/bin/python3", "-c", script]);
    outcome.assert_success();
    assert_eq!(outcome.stdout, "(32, 32)\nEMFILE 31\n");
    world.assert_refused("resource.exhaust", "open_files");
}

#[test]
fn changes_take_so_much_room() {
    let world = World::new();
    world.write("host", "from the host\n");
    let script = r#"
import errno, os, time
def attempt(name, action):
    try:
        action()
        print(name, "done")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
chunk = b"x" * (1 << 20)
for number in range(3):
    open(f"file{number}", "wb").write(chunk * 2)
# It is seen a moment later.
while True:
    try:
        open("probe", "w").close()
        time.sleep(0.02)
    except OSError:
        break
for name, action in [
    ("create", lambda: open("more", "w")),
    ("overwrite", lambda: open("host", "w")),
    ("folder", lambda: os.mkdir("folder")),
    ("link", lambda: os.symlink("host", "symlink")),
    ("read", lambda: open("host").read()),
    ("null", lambda: open("/dev/null", "w").write("x")),
    ("remove", lambda: os.unlink("file0")),
]:
    attempt(name, action)
while True:
    try:
        open("again", "w").close()
        break
    except OSError:
        time.sleep(0.02)
print("room again")
"#;
    let outcome = world.run(&limited("disk: 5MiB"), &["/usr/bin/python3", "-c", script]);
    outcome.assert_success();
    let expected = "create ENOSPC\noverwrite ENOSPC\nfolder ENOSPC\nlink ENOSPC\nread done\nnull done\nremove done\nroom again\n";
    assert_eq!(outcome.stdout, expected, "{}", outcome.describe());
    world.assert_refused("resource.exhaust", "disk");
    assert_eq!(fs::read_to_string(world.workspace().join("host")).unwrap(), "from the host\n");
}

#[test]
fn one_file_grows_to_the_limit_and_many_end_the_run() {
    let world = World::new();
    let script = r#"
import signal, errno
# From the beginning: later there is no room for another.
many = [open(f"/tmp/many{number}", "wb", buffering=0) for number in range(9)]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("one", "wb", buffering=0) as one:
        while True:
            one.write(b"x" * (1 << 20))
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
import itertools
for one in itertools.cycle(many):
    try:
        one.write(b"x" * (1 << 20))
    except OSError:
        pass
"#;
    let outcome = world.run(&limited("disk: 6MiB"), &["/usr/bin/python3", "-c", script]);
    outcome.assert_code(137);
    assert_eq!(outcome.stdout, "EFBIG\n", "{}", outcome.describe());
    world.assert_refused("resource.exhaust", "disk");
}

#[test]
fn what_checkpoints_keep_takes_room_too() {
    let world = World::new();
    let script = "for n in 1 2 3 4 5 6 7 8; do
        head -c 5000000 /dev/urandom > file || exit 9
        sleep 0.5; /bin/true; rm file
    done";
    let policy = limited("disk: 20MiB").replace("phantom:\n", "phantom:\n  checkpoint: {exec: true}\n");
    world.run(&policy, &["/bin/sh", "-c", script]).assert_code(9);
    world.assert_refused("resource.exhaust", "disk");
}

#[test]
fn several_names_of_a_file_take_its_room_once() {
    let world = World::new();
    let script = "head -c 5000000 /dev/urandom > file; for n in 1 2 3 4 5 6; do ln file $n; done; sleep 0.5; echo > more && echo room";
    let outcome = world.run(&limited("disk: 20MiB"), &["/bin/sh", "-c", script]);
    outcome.assert_success();
    assert_eq!(outcome.stdout, "room\n");
}

#[test]
fn many_folders_hide_nothing_and_take_no_descriptors() {
    let world = World::new();
    let script = r#"
import errno, os, time
for number in range(1500):
    os.mkdir(f"d{number}")
try:
    for number in range(0, 1500, 10):
        with open(f"d{number}/file", "wb", buffering=0) as file:
            file.write(b"x" * (1 << 20))
        # Slowly: who is far over before that is seen, as on a busy machine, is ended.
        time.sleep(0.1)
    print("no end")
except OSError as error:
    print(errno.errorcode[error.errno])
"#;
    let command = world.governed(&limited("disk: 20MiB"), &["/usr/bin/python3", "-c", script]);
    let outcome = finish(&mut with_few_descriptors(&world, &command));
    assert_eq!(outcome.stdout, "ENOSPC\n", "{}", outcome.describe());
    world.assert_refused("resource.exhaust", "disk");
}

#[test]
fn a_run_ends_whose_changes_lie_too_deep_to_be_counted() {
    let world = World::new();
    // Deeper than any path by renaming, with something left to look at on every step of the way.
    let script = r#"
import os, time
many = [open(f"/tmp/many{number}", "wb", buffering=0) for number in range(9)]
os.mkdir("old")
try:
    for step in range(80):
        os.mkdir("new")
        at = "new"
        for level in range(14):
            for beside in "xyz":
                os.mkdir(f"{at}/{beside}")
            at += "/" + "d" * 250
            os.mkdir(at)
        os.rename("old", f"{at}/below")
        os.rename("new", "old")
except OSError:
    print("full", flush=True)
for size in range(30):
    for one in many:
        one.write(b"x" * (1 << 20))
    time.sleep(0.1)
print("no end")
"#;
    let command = world.governed(&limited("disk: 30MiB"), &["/usr/bin/python3", "-c", script]);
    let outcome = finish(&mut with_few_descriptors(&world, &command));
    outcome.assert_code(137);
    assert!(!outcome.stdout.contains("no end"), "{}", outcome.describe());
    world.assert_refused("resource.exhaust", "disk");
}

/// A command whose supervisor can open few files.
fn with_few_descriptors(world: &World, command: &Command) -> Command {
    let mut few = world.command("/bin/sh");
    few.args(["-c", r#"ulimit -Sn 128; exec "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    few
}

#[test]
fn groups_of_limited_runs_are_removed_and_swept() {
    let world = World::new();
    let policy = limited("memory: 512MiB, processes: 50, cpu: 1, best_effort: true");
    world.run(&policy, &["/bin/true"]).assert_success();
    assert_eq!(control_groups(&world), [""; 0]);
    let mut command = world.governed(&policy, &["/bin/sh", "-c", "echo ready; sleep 600"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let line = crate::common::detached::line_of(child.stdout.take().unwrap());
    assert_eq!(line, "ready\n");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    finish(Command::new("kill").args(["-KILL", &child.id().to_string()]).args(children.split_whitespace()));
    child.wait().unwrap();
    world.ask(&["ps"]);
    let swept = eventually(Duration::from_secs(10), || {
        world.ask(&["ps"]);
        control_groups(&world).is_empty()
    });
    assert!(swept, "{:#?}", control_groups(&world));
}
