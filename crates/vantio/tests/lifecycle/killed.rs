//! The supervisor dies at random moments: nothing survives it, and nothing acknowledged is lost.

use std::{
    env, fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::common::{WORKSPACE, World, binary, detached::line_of, eventually, finish};

/// How often, in the whole suite; `cargo xtask test --kills N` sets it.
pub fn kills() -> u32 {
    env::var("VANTIO_TEST_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(20)
}

/// What a run left on the host: processes that carry the marker, mounts and control groups that name the world.
pub fn leftovers(world: &World, marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command_line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        if command_line.contains(marker) {
            found.push(format!("process {}: {command_line}", entry.file_name().display()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let world = world.path().to_string_lossy();
    found.extend(mounts.lines().filter(|line| line.contains(&*world)).map(str::to_owned));
    found
}

/// Control groups of the world's runs that exist now.
pub fn control_groups(world: &World) -> Vec<String> {
    let mut find = Command::new("find");
    let listing = finish(find.args(["/sys/fs/cgroup", "-maxdepth", "6", "-type", "d", "-name", "vantio-*"]));
    let runs = fs::read_dir(world.state().join("runs")).unwrap().flatten();
    let runs: Vec<_> = runs.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
    let is_ours = |group: &&str| runs.iter().any(|run| group.ends_with(run));
    listing.stdout.lines().filter(is_ours).map(str::to_owned).collect()
}

/// A pseudo-random delay that another run of the suite does not repeat.
pub fn delay(round: u32) -> Duration {
    let nanoseconds = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    Duration::from_micros(u64::from(
        nanoseconds.wrapping_mul(2_654_435_761).wrapping_add(round * 7919) % 400_000,
    ))
}

/// Host pids of Vantio's own processes below a `vantio run`, with itself first: the caller's process, the supervisor,
/// init. What the run started is not among them.
pub fn vantio_processes(pid: u32) -> Vec<u32> {
    let mut processes = vec![pid];
    let mut next = 0;
    while let Some(parent) = processes.get(next) {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        processes.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    let own = binary().into_os_string().into_encoded_bytes();
    processes.retain(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(&own)));
    processes
}

#[test]
fn a_killed_supervisor_leaves_nothing_behind() {
    let world = World::new();
    // From here on there is a ledger to verify.
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    for round in 0..kills() {
        let marker = format!("vantio-kill-{}-{round}", std::process::id());
        // Writes, refusals and children, over and over, so that any moment is a busy one.
        let script = format!(
            ": {marker}; while :; do echo x >> file; echo $RANDOM > new$RANDOM; cat ~/.netrc 2>/dev/null; (: {marker}; sleep 0.01) & done"
        );
        let mut command = world.governed(WORKSPACE, &["/bin/bash", "-c", &script]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(delay(round));
        let victims = vantio_processes(child.id());
        // Every process of Vantio gets its turn.
        let turn = round as usize % victims.len();
        finish(Command::new("kill").args(["-KILL", &victims[turn].to_string()]));
        let ended = eventually(Duration::from_secs(20), || child.try_wait().unwrap().is_some());
        assert!(ended, "round {round}: the run goes on after {turn} of {victims:?} was killed");
        let clean = eventually(Duration::from_secs(20), || leftovers(&world, &marker).is_empty());
        assert!(clean, "round {round}, {turn} of {victims:?} killed: {:#?}", leftovers(&world, &marker));
        finish(&mut world.vantio(["ledger", "verify"])).assert_success();
    }
    // The next command sweeps what a dead run could not.
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    let swept = eventually(Duration::from_secs(10), || control_groups(&world).is_empty());
    assert!(swept, "{:#?}", control_groups(&world));
    world.ask(&["ps"]);
}

#[test]
fn a_refusal_that_the_agent_has_seen_is_in_the_ledger_after_a_kill() {
    let world = World::new();
    let refused = world.home().join(".netrc");
    fs::write(&refused, "machine").unwrap();
    let script = "cat ~/.netrc 2>/dev/null; echo seen; sleep 600";
    let mut command = world.governed(WORKSPACE, &["/bin/bash", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "seen\n");
    for victim in vantio_processes(child.id()) {
        finish(Command::new("kill").args(["-KILL", &victim.to_string()]));
    }
    child.wait().unwrap();
    world.assert_refused("fs.", ".netrc");
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}

#[test]
fn what_a_killed_run_changed_can_be_reviewed() {
    let world = World::new();
    let script = "echo half > file; echo ready; sleep 600";
    let mut command = world.governed(WORKSPACE, &["/bin/bash", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let file = world.workspace().join("file");
    assert!(!file.exists());
    assert!(eventually(Duration::from_secs(10), || world.changes() == [("added".to_owned(), file.clone())]));
    // The supervisor writes down the end before the run is anybody's.
    assert!(eventually(Duration::from_secs(10), || world
        .vantio(["discard", "last"])
        .status()
        .unwrap()
        .success()));
    assert!(!file.exists());
}

#[test]
fn vantio_kill_ends_a_run() {
    let world = World::new();
    let mut command = world
        .governed(WORKSPACE, &["/bin/bash", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    world.ask(&["kill", "last"]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

/// Starts a program, waits until it says that it is ready, and returns its run's id.
fn ready(world: &World) -> (Child, String) {
    let mut command = world.governed(WORKSPACE, &["/bin/bash", "-c", "echo x > file; echo ready; sleep 600"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    line_of(child.stdout.take().unwrap());
    (child, world.runs().remove(0))
}

#[test]
fn a_run_that_dies_while_a_command_waits_for_it_is_cleaned_up_by_that_command() {
    let world = World::new();
    let (mut child, id) = ready(&world);
    world.ask(&["checkpoint", "last"]);
    let [own, supervisor, ..] = vantio_processes(child.id())[..] else { panic!("no supervisor") };
    for pid in [own, supervisor] {
        finish(Command::new("kill").args(["-KILL", &pid.to_string()]));
    }
    child.wait().unwrap();
    // Its processes are not gone yet, as it seems to the command, which begins now.
    let held = fs::File::open(world.state().join("held").join(&id)).unwrap();
    assert!(eventually(Duration::from_secs(10), || held.try_lock().is_ok()));
    let command = world.vantio(["restore", "last", "1", "--kill"]).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    drop(held);
    assert!(command.wait_with_output().unwrap().status.success());

    let record = fs::read_to_string(world.state().join("runs").join(&id).join("run.json")).unwrap();
    assert!(record.contains("died"), "{record}");
    assert_eq!(control_groups(&world), Vec::<String>::new());
    assert!(world.ask(&["ledger", "list", "--run", &id]).contains("run.end"));
    assert_eq!(world.changes().len(), 1);
}

#[test]
fn a_run_whose_record_the_power_took_is_in_nobodys_way_and_can_be_dropped() {
    let world = World::new();
    for _ in 0..2 {
        world.run(WORKSPACE, &["/bin/sh", "-c", "echo $$ >> file"]).assert_success();
    }
    let [lost, other] = world.runs().try_into().unwrap();
    // A command held both when the power went.
    for id in [&lost, &other] {
        fs::write(world.state().join("held").join(id), "").unwrap();
    }
    fs::write(world.state().join("runs").join(&lost).join("run.json"), "").unwrap();

    let told = finish(&mut world.vantio(["ps"]));
    assert!(told.stderr.contains(&format!("drop it: vantio discard {lost}")), "{}", told.describe());
    assert_eq!(world.runs(), std::slice::from_ref(&other));
    assert!(!world.state().join("held").join(&other).exists(), "it was cleaned up");
    finish(&mut world.vantio(["diff", &lost])).assert_code(1);
    world.ask(&["discard", &lost]);
    assert_eq!(world.changes().len(), 1);
    assert_eq!(finish(&mut world.vantio(["ps"])).stderr, "");
    world.ask(&["ledger", "verify"]);
    assert!(world.ask(&["ledger", "list", "--run", &lost]).contains("phantom.discard"));
}
