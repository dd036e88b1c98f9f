//! Whoever waits may be interrupted, killed, or lose whoever answers.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;

use crate::{
    PATIENCE, POLICY, Run, answer, assert_replayed,
    common::{Helper, World, compile, eventually, finish, parse},
    entries, fails, id, question, questions, signal, world,
};

#[test]
fn a_run_is_killed_while_it_waits() {
    let world = world();
    let run = Run::shell(&world, POLICY, "rm held/a");
    let question = question(&world);
    world.ask(&["kill", "last"]);
    questions(&world, 0);
    fails(&world, &["approve", id(&question)], 1, "E_APPROVAL_UNKNOWN");
    run.end().assert_code(137);
    assert!(world.changes().is_empty());
    assert_replayed(&world);
}

#[test]
fn whoever_started_a_run_dies_while_it_waits() {
    let world = world();
    let mut run = Run::shell(&world, POLICY, "rm held/a");
    let question = question(&world);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    questions(&world, 0);
    fails(&world, &["approve", id(&question)], 1, "E_APPROVAL_UNKNOWN");
    assert!(world.changes().is_empty());
}

#[test]
fn what_a_supervisor_asked_that_is_killed_is_withdrawn() {
    let world = world();
    let mut run = Run::shell(&world, POLICY, "rm held/a");
    let asked = question(&world);
    let folder = world.state().join("runs").join(asked["run"].as_str().unwrap());
    signal(supervisor(&folder), "KILL");
    run.child.wait().unwrap();
    withdrawn(&world, &asked);
    // Both at once: the next command cleans up.
    let mut run = Run::shell(&world, POLICY, "rm held/b");
    let asked = question(&world);
    let folder = world.state().join("runs").join(asked["run"].as_str().unwrap());
    let pid = supervisor(&folder);
    run.child.kill().unwrap();
    signal(pid, "KILL");
    run.child.wait().unwrap();
    world.ask(&["ps"]);
    withdrawn(&world, &asked);
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".sock")), "{left:?}");
}

/// Fails unless nobody waits any more for the answer to the last run's question, and it says so.
fn withdrawn(world: &World, asked: &Value) {
    fails(world, &["approve", id(asked)], 1, "E_APPROVAL_UNKNOWN");
    let told = parse(&world.ask(&["why", "last", "--json"]));
    assert_eq!(told["withdrawn"], serde_json::json!([id(asked)]), "{told:#}");
    let list = world.ask(&["ledger", "list", "--op", "hold.answer"]);
    assert_eq!(list.matches(id(asked)).count(), 1, "{list}");
}

/// The supervisor of the run in a folder.
fn supervisor(folder: &Path) -> u32 {
    let text = fs::read_to_string(folder.join("supervisor")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_program_that_dies_while_it_waits_withdraws_its_question() {
    let world = world();
    let run = Run::shell(&world, POLICY, "(rm held/a) & read line; kill -9 $!; wait; read line; echo over");
    let mut run = run;
    question(&world);
    run.tell();
    questions(&world, 0);
    run.tell();
    run.prints("over");
    let list = world.ask(&["ledger", "list", "--op", "hold.answer"]);
    assert!(list.contains("withdrawn"), "{list}");
}

#[test]
fn an_interrupt_reaches_a_program_that_waits() {
    let world = world();
    let script = "
try:
    os.unlink('held/a')
    print('removed')
except KeyboardInterrupt:
    print('interrupted')
";
    let run = Run::python(&world, POLICY, script);
    question(&world);
    signal(run.child.id(), "INT");
    run.prints("interrupted");
    assert!(world.changes().iter().all(|(_, path)| !path.ends_with("held/a")));
}

#[test]
fn an_interrupt_ends_a_program_that_takes_none() {
    let world = world();
    let run = Run::new(&world, POLICY, &["/bin/rm", "held/a"]);
    question(&world);
    signal(run.child.id(), "INT");
    run.end().assert_code(130);
    assert_replayed(&world);
}

#[test]
fn a_shell_that_waits_for_a_held_program_to_start_can_be_ended() {
    // It blocks all signals, and is stopped by the kernel, until then.
    let world = world();
    let policy = format!("{POLICY}  - {{effect: proc.exec, target: /usr/bin/id}}\n");
    for (name, code) in [("TERM", 143), ("HUP", 129)] {
        let run = Run::shell(&world, &policy, "/usr/bin/id; echo after");
        question(&world);
        signal(run.child.id(), name);
        let outcome = run.end();
        outcome.assert_code(code);
        assert!(!outcome.stdout.contains("after"), "{}", outcome.describe());
        questions(&world, 0);
        assert_replayed(&world);
    }
    let run = Run::shell(&world, &policy, "trap 'echo told; exit 7' TERM; /usr/bin/id; echo after");
    question(&world);
    signal(run.child.id(), "TERM");
    assert_eq!(run.prints("told").status.code(), Some(7));
}

/// A signal every 50 ms, and a handler after which calls start again.
const RESTARTS: &str = r#"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static volatile int ticks;
static void tick(int number) { ticks++; }
int main(int count, char **words) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = count > 1 ? 0 : SA_RESTART};
    struct itimerval often = {{0, 50000}, {0, 50000}};
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    int result = unlink("held/a");
    int error = errno;
    printf("%s, interrupted: %s\n", result ? strerror(error) : "removed", ticks ? "yes" : "no");
    return 0;
}
"#;

#[test]
fn a_call_that_starts_again_keeps_its_question() {
    let world = world();
    let program = compile(&world, "restarts", RESTARTS);
    let run = Run::new(&world, POLICY, &[&program]);
    let first = question(&world);
    // Long enough for some signals, and for whoever left for good to be forgotten.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let second = answer(&world, "approve", &[]);
    assert_eq!(first["id"], second["id"]);
    run.prints("removed, interrupted: yes");
    assert_eq!(entries(&world, &["hold.answer"]).len(), 1);
}

#[test]
fn a_call_that_does_not_start_again_is_interrupted() {
    let world = world();
    let program = compile(&world, "restarts", RESTARTS);
    Run::new(&world, POLICY, &[&program, "once"]).prints("Interrupted system call, interrupted: yes");
}

#[test]
fn a_program_that_is_stopped_waits_again_when_it_goes_on() {
    let world = world();
    let script = "rm held/a & read line; kill -STOP $!; read line; kill -CONT $!; wait; ls held";
    let mut run = Run::shell(&world, POLICY, script);
    question(&world);
    run.tell();
    // Whoever is stopped for long has to ask again.
    questions(&world, 0);
    run.tell();
    answer(&world, "approve", &[]);
    run.prints("b\nc");
}

#[test]
fn what_waits_is_followed() {
    let world = world();
    let path = world.path().join("followed");
    let mut command = world.vantio(["approvals", "--follow", "--json"]);
    let follower =
        Helper(command.stdout(fs::File::create(&path).unwrap()).stderr(Stdio::null()).spawn().unwrap());
    for name in ["a", "b"] {
        let run = Run::shell(&world, POLICY, &format!("cat held/{name}"));
        let question = question(&world);
        let is_told = || {
            let text = fs::read_to_string(&path).unwrap();
            text.lines().any(|line| parse(line)["id"] == question["id"])
        };
        assert!(eventually(PATIENCE, is_told), "{question:#}");
        world.ask(&["approve", id(&question)]);
        run.prints(name);
    }
    drop(follower);
}

#[test]
fn a_run_that_says_nothing_hides_no_other() {
    let world = world();
    let stopped = Run::shell(&world, POLICY, "cat held/a");
    let first = question(&world);
    let run = first["run"].as_str().unwrap();
    let pid = supervisor(&world.state().join("runs").join(run));
    signal(pid, "STOP");
    for command in [&["approvals"][..], &["approve", id(&first)], &["deny", "--all"]] {
        fails(&world, command, 1, "does not say what waits");
    }
    assert!(world.ask(&["ps"]).contains("does not answer"));
    let other = Run::shell(&world, POLICY, "cat held/b");
    let mut second = Value::Null;
    let is_listed = || {
        let outcome = finish(&mut world.vantio(["approvals", "--json"]));
        second = parse(outcome.stdout.lines().next().unwrap_or("{}"))["approvals"][0].clone();
        outcome.status.code() == Some(4) && outcome.stderr.contains("does not say what waits")
    };
    assert!(eventually(PATIENCE, is_listed));
    assert_ne!(first["id"], second["id"]);
    fails(&world, &["approvals", run], 1, "does not say what waits");
    world.ask(&["approve", id(&second)]);
    assert_eq!(other.end().stdout, "b\n");
    signal(pid, "CONT");
    answer(&world, "approve", &[]);
    assert_eq!(stopped.end().stdout, "a\n");
}
