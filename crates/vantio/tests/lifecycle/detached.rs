//! The processes of a detached run die at random moments: nothing survives them.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::killed::{control_groups, delay, kills, leftovers, vantio_processes};
use crate::common::{
    WORKSPACE, World,
    detached::{Detached, detached},
    eventually, finish,
};

fn kill(pid: u32) {
    finish(Command::new("kill").args(["-KILL", &pid.to_string()]));
}

#[test]
fn a_run_whose_keeper_dies_is_hung_up() {
    let world = World::new();
    // Nobody reads any more what the shell would say of its children.
    let script =
        "exec 2>/dev/null; trap 'echo hung up > told; exit 5' HUP; echo ready; while :; do sleep 0.1; done";
    let run = Detached::start(&world, WORKSPACE, &["/bin/bash", "-c", script]);
    run.wait_for("ready");
    let [keeper, _] = run.processes();
    kill(keeper);
    run.wait_for_end();
    assert_eq!(run.state(), "ended (5)");
    assert!(world.changes().iter().any(|(_, path)| path.ends_with("told")));
    assert!(run.logs().contains("ready"));
    let refused = finish(&mut run.vantio("attach", &[]));
    assert!(refused.stderr.contains("E_RUN_ENDED"), "{}", refused.describe());
}

#[test]
fn a_run_that_ignores_the_hangup_goes_on_and_can_be_killed() {
    let world = World::new();
    let script = "trap '' HUP; echo ready; while :; do sleep 0.1; done";
    let run = Detached::start(&world, WORKSPACE, &["/bin/bash", "-c", script]);
    run.wait_for("ready");
    let [keeper, _] = run.processes();
    kill(keeper);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(run.state(), "live, detached");
    let refused = finish(&mut run.vantio("attach", &[]));
    refused.assert_code(1);
    assert!(refused.stderr.contains("E_KEEPER_ABSENT"), "{}", refused.describe());
    let followed = finish(&mut run.vantio("logs", &["--follow"]));
    followed.assert_code(1);
    assert_eq!(followed.stdout, "ready\n");
    assert!(followed.stderr.contains(&format!("vantio kill {}", &run.id[..8])), "{}", followed.describe());
    world.ask(&["kill", &run.id]);
    assert_eq!(run.state(), "ended (signal 9)");
}

#[test]
fn killing_any_process_of_a_detached_run_leaves_nothing_behind() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    for round in 0..kills() {
        let marker = format!("vantio-detached-{}-{round}", std::process::id());
        let script = format!(
            ": {marker}; while :; do echo x >> file; echo $RANDOM > new$RANDOM; (: {marker}; sleep 0.01) & done"
        );
        let run = Detached::start(&world, WORKSPACE, &["/bin/bash", "-c", &script]);
        thread::sleep(delay(round) / 4);
        let [keeper, _] = run.processes();
        let victims = vantio_processes(keeper);
        // Every process of Vantio gets its turn, and every now and then all of them.
        match victims.get(round as usize % (victims.len() + 1)) {
            Some(victim) => kill(*victim),
            None => victims.iter().for_each(|victim| kill(*victim)),
        }
        let clean = eventually(Duration::from_secs(20), || leftovers(&world, &marker).is_empty());
        assert!(clean, "round {round}, of {victims:?}: {:#?}", leftovers(&world, &marker));
        run.wait_for_end();
        // A command that sees a run die while it looks leaves it to the next.
        let removed = eventually(Duration::from_secs(10), || {
            run.state();
            !run.folder().join("terminal.sock").exists()
        });
        assert!(removed, "round {round}");
        finish(&mut world.vantio(["ledger", "verify"])).assert_success();
    }
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    let swept = eventually(Duration::from_secs(10), || control_groups(&world).is_empty());
    assert!(swept, "{:#?}", control_groups(&world));
}

#[test]
fn killing_any_process_while_a_run_is_detached_leaves_nothing_that_is_not_told() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    for round in 0..kills() {
        let marker = format!("vantio-starting-{}-{round}", std::process::id());
        let mut start =
            detached(&world.governed(WORKSPACE, &["/bin/sh", "-c", &format!(": {marker}; sleep 600")]));
        let mut starting = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(delay(round) / 4);
        let found = leftovers(&world, &marker);
        let pid = |line: &String| line.strip_prefix("process ")?.split(':').next()?.parse::<u32>().ok();
        let pids: Vec<u32> = found.iter().filter_map(pid).collect();
        if let Some(victim) = pids.get(round as usize % pids.len().max(1)) {
            kill(*victim);
        }
        let ended = eventually(Duration::from_secs(20), || starting.try_wait().unwrap().is_some());
        assert!(
            ended,
            "round {round}: the start hangs after {victim:?} of {found:#?}",
            victim = pids.first()
        );
        // What was started all the same is listed, and can be ended.
        let gone = eventually(Duration::from_secs(20), || {
            drop(finish(&mut world.vantio(["kill", "last"])));
            leftovers(&world, &marker).is_empty()
        });
        assert!(gone, "round {round}: {:#?}", leftovers(&world, &marker));
        finish(&mut world.vantio(["ledger", "verify"])).assert_success();
    }
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    let swept = eventually(Duration::from_secs(10), || control_groups(&world).is_empty());
    assert!(swept, "{:#?}", control_groups(&world));
}
