//! Processes of the host: what procfs shows of them, signals to them, and processes that outlive the run.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    assert_held, attack, attack_command,
    common::{CLOSED, Outcome, World, compile, eventually, finish, start},
};

/// Host pids of `pid` and of everything below it.
fn family(pid: u32) -> Vec<String> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next) {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        next += 1;
    }
    family.into_iter().map(|pid| pid.to_string()).collect()
}

/// Starts a governed shell that reads the host pids of its own run and attacks them.
#[track_caller]
fn attack_the_family(world: &World, script: &str, arguments: &[&str]) -> Outcome {
    let attack = attack_command(world, script, arguments).join(" ");
    let waiting = format!("read -r pids; exec {attack} $pids");
    let mut command = world.governed(CLOSED, &["/bin/sh", "-c", &waiting]);
    let mut child = start(command.stdin(Stdio::piped()));
    assert!(eventually(Duration::from_secs(30), || family(child.id()).len() > 2), "the run did not start");
    let pids = family(child.id()).join(" ") + "\n";
    child.stdin.take().unwrap().write_all(pids.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn procfs_leads_nowhere_outside() {
    let world = World::new();
    let secret = world.secret().to_string_lossy().into_owned();
    assert_held(&attack_the_family(&world, include_str!("attacks/procfs.py"), &[&secret]));
    world.assert_refused("fs.open", "outside/secret");
    world.assert_refused("fs.open", "outside the run: /proc/1/root");
    world.assert_refused("fs.open", "outside the run: /proc/1/fd/0");
    for effect in ["fs.open", "fs.mkdir"] {
        world.assert_refused(effect, "outside the run: /proc/made");
    }
    for effect in ["fs.unlink", "fs.rename"] {
        world.assert_refused(effect, "outside the run: /proc/version");
    }
}

#[test]
fn signals_do_not_reach_the_supervisor() {
    let world = World::new();
    let outcome = attack_the_family(&world, include_str!("attacks/signals.py"), &[]);
    assert_held(&outcome);
    outcome.assert_success();
    world.assert_refused("proc.signal", "");
    assert!(finish(&mut world.vantio(["ledger", "verify"])).status.success());
}

#[test]
fn a_daemon_does_not_outlive_its_run() {
    let world = World::new();
    let marker = format!("vantio-daemon-{}", std::process::id());
    let daemon = format!(
        "(setsid sh -c 'trap \"\" TERM HUP; exec -a {marker} sleep 3600' >/dev/null 2>&1 &) ; sleep 0.2"
    );
    world.run(CLOSED, &["/bin/bash", "-c", &daemon]).assert_success();
    let alive = || finish(Command::new("ps").args(["-eo", "args"])).stdout.contains(&marker);
    assert!(eventually(Duration::from_secs(5), || !alive()), "{marker} is alive");
}

#[test]
fn a_fork_bomb_ends_with_its_run() {
    let world = World::new();
    let bomb = compile(&world, "fork_bomb", include_str!("attacks/fork_bomb.c"));
    let outcome = world.run(CLOSED, &[&bomb, "2000"]);
    assert!(outcome.stdout.contains("forked"), "{}", outcome.describe());
    let alive = || finish(Command::new("ps").args(["-eo", "args"])).stdout.contains(&bomb);
    assert!(eventually(Duration::from_secs(10), || !alive()), "children are alive");
}

#[test]
fn memory_of_other_processes_is_closed() {
    let world = World::new();
    attack(&world, CLOSED, include_str!("attacks/memory.py"), &[]);
    world.assert_refused("proc.syscall", "ptrace");
    world.assert_refused("proc.syscall", "process_vm_readv");
}
