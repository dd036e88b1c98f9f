//! What `vantio run --detach` says, and when.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{
    WORKSPACE, World,
    detached::{Detached, READY, WAIT, detached},
    eventually, finish, parse,
};

#[test]
fn the_id_is_all_that_standard_output_has_and_the_program_runs() {
    let world = World::new();
    let outcome = finish(&mut detached(&world.governed(WORKSPACE, &["/bin/sleep", "600"])));
    outcome.assert_success();
    let run = Detached::named(&world, outcome.stdout.strip_suffix('\n').unwrap());
    assert_eq!(run.state(), "live, detached");
    let started =
        finish(&mut detached(&world.vantio(["run", "--preset", "workspace", "--json", "--", "/bin/true"])));
    let told = parse(&started.stdout);
    assert_eq!((told["detached"].as_bool(), started.stdout.lines().count()), (Some(true), 1));
    let listed = world.ask(&["ps", "--all", "--json"]);
    assert!(listed.contains(told["run"].as_str().unwrap()), "{listed}");
}

#[test]
fn a_program_that_is_held_says_so_before_it_starts() {
    let world = World::new();
    let policy = format!("{WORKSPACE}hold: [{{effect: [proc.exec], target: /usr/bin/echo}}]\n");
    let said = world.path().join("said");
    let mut command = detached(&world.governed(&policy, &["/usr/bin/echo", "held"]));
    let mut starting = command.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
    let is_told = || std::fs::read_to_string(&said).unwrap().contains("waits for an answer before it starts");
    assert!(eventually(Duration::from_mins(1), is_told));
    world.ask(&["approve", "--all"]);
    assert!(starting.wait().unwrap().success());
    Detached::last(&world).wait_for("held");

    // Whoever interrupts the start hears that it goes on.
    let mut starting = command.spawn().unwrap();
    assert!(eventually(Duration::from_mins(1), || world.ask(&["approvals"]).contains("/usr/bin/echo")));
    finish(Command::new("/bin/kill").args(["-INT", &starting.id().to_string()])).assert_success();
    assert_eq!(starting.wait().unwrap().code(), Some(130));
    assert!(std::fs::read_to_string(&said).unwrap().contains("goes on in the background"));
    world.ask(&["kill", "last"]);
}

#[test]
fn what_cannot_start_fails_as_it_does_in_the_foreground() {
    let world = World::new();
    let run = |words: &[&str]| world.vantio([&["run"], words].concat());
    for (words, code) in [
        (&["--policy", "missing.yaml", "--", "/bin/true"][..], 125),
        (&["--preset", "workspace", "--backend", "kernel", "--", "/bin/true"], 125),
        (&["--preset", "workspace", "--", "/bin/missing"], 127),
        (&["--preset", "workspace", "--", "missing"], 127),
        (&["--preset", "workspace", "--", "/etc/passwd"], 126),
        (&["--preset", "workspace", "--json", "--", "/etc/passwd"], 126),
    ] {
        let (fore, back) = (finish(&mut run(words)), finish(&mut detached(&run(words))));
        fore.assert_code(code);
        back.assert_code(code);
        let without_run = |text: &str| {
            let mut told = text.to_owned();
            if let Ok(mut json) = serde_json::from_str::<serde_json::Value>(text) {
                json["run"] = "".into();
                told = json.to_string();
            }
            told
        };
        assert_eq!(without_run(&back.stderr), without_run(&fore.stderr), "{words:?}");
        assert_eq!(back.stdout, "", "{words:?}");
    }
}

#[test]
fn a_ledger_that_fails_fails_the_start() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    std::fs::write(world.state().join("ledger.db"), "no ledger").unwrap();
    let run = || world.governed(WORKSPACE, &["/bin/true"]);
    let (fore, back) = (finish(&mut run()), finish(&mut detached(&run())));
    fore.assert_code(125);
    back.assert_code(125);
    assert_eq!(back.stderr, fore.stderr);
    assert!(!back.stderr.is_empty());
}

#[test]
fn a_run_without_a_terminal_reads_nothing_and_has_none() {
    let world = World::new();
    let script = "wc -c; test -t 0 || test -t 1 || test -t 2 || echo none; echo error >&2; exit 3";
    let mut start = detached(&world.governed(WORKSPACE, &["/bin/sh", "-c", script]));
    let mut child = start.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The caller's input stays the caller's, and open.
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    let run = Detached::last(&world);
    run.wait_for("error");
    assert_eq!(run.logs(), "0\nnone\nerror\n");
    run.wait_for_end();
    drop(input);
}

#[test]
fn who_is_attached_sees_the_end_and_ends_as_the_run_did() {
    let world = World::new();
    let script = format!("{READY}; echo first; {WAIT}; echo x > new; echo last; exit 7");
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", &script]);
    run.wait_for("first");
    let mut attach = run.vantio("attach", &[]);
    let attached = attach.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    run.go();
    let outcome = attached.wait_with_output().unwrap();
    assert_eq!(outcome.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "first\nlast\n");
    let told = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(told.contains("change waits for review") && told.contains("vantio commit"), "{told}");
}

#[test]
fn a_killed_run_ends_for_who_is_attached() {
    let world = World::new();
    let run =
        Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "trap '' HUP TERM; echo ready; sleep 600"]);
    let mut attach = run.vantio("attach", &["--no-stdin"]);
    let mut attached = attach.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(crate::common::detached::line_of(attached.stdout.take().unwrap()), "ready\n");
    world.ask(&["kill", &run.id]);
    assert_eq!(attached.wait().unwrap().code(), Some(137));
    assert_eq!(run.state(), "ended (signal 9)");
    finish(&mut run.vantio("logs", &["--follow"])).assert_success();
}

#[test]
fn what_cannot_be_attached_to_says_where_to_look() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/true"]).assert_success();
    for command in ["attach", "logs"] {
        let outcome = finish(&mut world.vantio([command, "last"]));
        outcome.assert_code(1);
        assert!(outcome.stderr.contains("E_RUN_NOT_DETACHED") && outcome.stderr.contains("vantio diff"));
    }
    let run = Detached::start(&world, WORKSPACE, &["/bin/echo", "over"]);
    run.wait_for_end();
    let outcome = finish(&mut run.vantio("attach", &[]));
    outcome.assert_code(1);
    for word in ["E_RUN_ENDED", "vantio logs", "vantio diff"] {
        assert!(outcome.stderr.contains(word), "{}", outcome.describe());
    }
}
