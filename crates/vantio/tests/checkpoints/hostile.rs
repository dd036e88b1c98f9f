//! Agents that change everything while it is being remembered.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    Paused,
    common::{WORKSPACE, World, eventually, finish},
    diff, folder, list, take,
};

#[test]
fn what_is_renamed_linked_and_removed_meanwhile_is_still_taken_back() {
    let world = World::new();
    for n in 0..20 {
        world.write(&format!("d{n}/f"), "x");
    }
    let script = r"pause
work() { for round in $(seq 12); do n=$((RANDOM % 20)); m=$((RANDOM % 20))
  echo $round >> d$n/f$m 2>/dev/null; mv d$n/f$m d$m/g$round 2>/dev/null; ln d$m/g$round d$n/h$round 2>/dev/null
  rm d$m/g$round 2>/dev/null; mkdir -p d$n/s 2>/dev/null; mv -T d$n/s d$m/s$round 2>/dev/null; rm -rf d$n/s* 2>/dev/null
  mv -T e$n e$m 2>/dev/null; mkdir -p e$n/x/y 2>/dev/null; echo $round >> e$n/x/y/z 2>/dev/null; done; true; }
for worker in 1 2 3 4; do work & done; wait; echo finished; pause";
    let mut run = Paused::start(&world, script);
    let mut seen = Vec::new();
    run.input_line();
    for _ in 0..10 {
        let id = take(&world, &[]);
        seen.push((id, diff(&world, &["--to", &id.to_string()])));
    }
    run.wait_for("finished\n");
    run.wait();
    run.end();
    for (id, changes) in seen.iter().rev() {
        world.ask(&["restore", "last", &id.to_string()]);
        assert_eq!(diff(&world, &[]), *changes, "back at {id}");
    }
}

#[test]
fn a_hundred_thousand_files_are_gone_again() {
    let world = World::new();
    let script = "mkdir old; echo x > old/x; pause; cd old; seq 100000 | xargs touch; mkdir ../many; cd ../many; seq 1000 | xargs touch";
    let run = Paused::start(&world, script);
    take(&world, &[]);
    let before = diff(&world, &[]);
    run.end();
    assert!(diff(&world, &[]).len() > 101_000);
    world.ask(&["restore", "last", "1"]);
    assert_eq!(diff(&world, &[]), before);
}

#[test]
fn three_hundred_checkpoints_cost_the_same_each() {
    let world = World::new();
    let script = "for n in $(seq 200); do echo $n > file$n; done; pause; for n in $(seq 300); do echo $n > file$((n % 200)); pause; done";
    let mut run = Paused::start(&world, script);
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(take(&world, &[]));
        run.next();
    }
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
    // Each keeps the one file that changed after it, however many came before.
    let bytes: Vec<u64> = list(&world).iter().map(|entry| entry["bytes"].as_u64().unwrap()).collect();
    assert!(bytes.iter().all(|bytes| *bytes < 64 * 1024), "{bytes:?}");
    let shelf = folder(&world).join("checkpoints");
    let lines = |id: u64| {
        fs::read_to_string(shelf.join(id.to_string()).join("journal.jsonl")).unwrap().lines().count()
    };
    assert!(lines(290) <= 2 * lines(10), "{} {}", lines(290), lines(10));
    run.end();
    world.ask(&["restore", "last", "1"]);
    assert_eq!(diff(&world, &[]).len(), 200);
    assert_eq!(list(&world).len(), 1);
}

#[test]
fn a_supervisor_that_is_killed_leaves_its_checkpoints() {
    let world = World::new();
    world.write("base", "base\n");
    let mut run = Paused::start(
        &world,
        "echo one > file; pause; while :; do echo more >> file; rm -f base; echo x > base; mv base other; done",
    );
    take(&world, &[]);
    let before = diff(&world, &[]);
    run.input_line();
    thread::sleep(Duration::from_millis(300));
    run.kill();
    assert!(eventually(Duration::from_secs(10), || {
        world.vantio(["restore", "last", "1"]).stderr(Stdio::null()).status().unwrap().success()
    }));
    assert_eq!(diff(&world, &[]), before);
}

#[test]
fn a_restore_that_is_killed_is_finished_by_the_next_command() {
    let world = World::new();
    let script = "mkdir d; for n in $(seq 300); do echo $n > d/f$n; done; pause; for n in $(seq 300); do echo again > d/f$n; done; rm -r d; mkdir d; echo new > d/new";
    let run = Paused::start(&world, script);
    take(&world, &[]);
    let before = diff(&world, &[]);
    run.end();
    // What the kernel leaves of an ordinary user's overlay is closed even to its owner.
    finish(Command::new("chmod").arg("-R").arg("u+rwX").arg(world.state())).assert_success();
    let whole = finish(Command::new("cp").arg("-a").arg(world.state()).arg(world.path().join("state-copy")));
    whole.assert_success();
    let mut killed = 0;
    for round in 0..25 {
        let mut restore = world.vantio(["restore", "last", "1"]);
        let mut child = restore.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(4_000 + round * 1_500));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // A restore that was only announced may not have begun: the next one begins it.
        world.ask(&["ps"]);
        world.ask(&["restore", "last", "1"]);
        assert_eq!(diff(&world, &[]), before, "round {round}");
        finish(Command::new("rm").arg("-rf").arg(world.state())).assert_success();
        finish(Command::new("cp").arg("-a").arg(world.path().join("state-copy")).arg(world.state()))
            .assert_success();
    }
    assert!(killed > 3, "{killed}");
}

#[test]
fn a_file_that_lost_its_name_is_not_written_behind_a_checkpoint() {
    let world = World::new();
    let program = r#"
import os, sys
def pause():
    print("paused", flush=True); sys.stdin.readline()
open("file", "w").write("before\n")
file = os.open("file", os.O_RDONLY)
pause()
os.unlink("file")
try:
    again = os.open(f"/proc/self/fd/{file}", os.O_WRONLY)
    os.write(again, b"behind\n")
except OSError as error:
    print("refused", error.errno, file=sys.stderr)
open("file", "w").write("after\n")
"#;
    world.write("program.py", program);
    let run = Paused::start_program(&world, WORKSPACE, &["/usr/bin/python3", "program.py"]);
    take(&world, &[]);
    let before = crate::patch(&world, &[]);
    run.end();
    world.ask(&["restore", "last", "1"]);
    assert_eq!(crate::patch(&world, &[]), before);
}
