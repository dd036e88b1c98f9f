//! What a run wrote, read later or meanwhile.

use std::{process::Stdio, time::Duration};

use crate::common::{
    WORKSPACE, World,
    detached::{Detached, READY, WAIT, line_of},
    eventually, finish, parse,
};

#[test]
fn logs_are_read_whole_or_from_near_the_end() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "seq 5; echo error >&2; printf tail"]);
    run.wait_for_end();
    assert_eq!(run.logs(), "1\n2\n3\n4\n5\nerror\ntail");
    let tail = |lines| finish(&mut run.vantio("logs", &["--tail", lines])).assert_success().stdout.clone();
    assert_eq!(["0", "1", "2", "99"].map(tail), ["", "tail", "error\ntail", &run.logs()]);
    let json = parse(&finish(&mut run.vantio("logs", &["--json"])).stdout);
    assert_eq!((json["output"].as_str(), json["left_out"].as_u64()), (Some(&*run.logs()), Some(0)));
}

#[test]
fn following_ends_with_the_run() {
    let world = World::new();
    let script = format!("{READY}; echo one; echo two; {WAIT}; echo three; exit 4");
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", &script]);
    run.wait_for("two");
    let mut follow = run.vantio("logs", &["--follow", "--tail", "1"]);
    let mut following = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = following.stdout.take().unwrap();
    let mut text = [0; 4];
    std::io::Read::read_exact(&mut output, &mut text).unwrap();
    assert_eq!(&text, b"two\n");
    assert!(following.try_wait().unwrap().is_none());
    run.go();
    assert_eq!(line_of(output), "three\n");
    assert!(following.wait().unwrap().success());
    run.wait_for_end();
    let after = finish(&mut run.vantio("logs", &["--follow"]));
    assert_eq!(after.assert_success().stdout, "one\ntwo\nthree\n");
}

#[test]
fn following_a_run_whose_command_was_killed_fails() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "echo written; sleep 600"]);
    run.wait_for("written");
    // Without its keeper the program would be hung up on, and its end be written down.
    let [keeper, command] = run.processes().map(|pid| pid.to_string());
    let kill = ["-KILL", &command, &keeper];
    finish(std::process::Command::new("/bin/kill").args(kill)).assert_success();
    run.wait_for_end();
    let follow = finish(&mut run.vantio("logs", &["--follow"]));
    follow.assert_code(1);
    assert_eq!((follow.stdout.as_str(), follow.stderr.contains("E_RUN_LOST")), ("written\n", true));
}

#[test]
fn the_last_of_much_output_is_kept_and_the_rest_said_to_be_gone() {
    let world = World::new();
    let script = "yes 123456789012345678901234567890 | head -n 1000000; echo the end";
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", script]);
    run.wait_for_end();
    let outcome = finish(&mut run.vantio("logs", &[]));
    outcome.assert_success();
    assert!(outcome.stdout.ends_with("7890\nthe end\n"));
    assert!(outcome.stderr.contains("bytes are gone"), "{}", outcome.stderr);
    let kept = outcome.stdout.len();
    assert!((12 << 20..=16 << 20).contains(&kept), "{kept} bytes are kept");
    let on_disk = finish(std::process::Command::new("du").arg("-sk").arg(run.folder().join("output")));
    let kilobytes: u64 = on_disk.stdout.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes <= 17 << 10, "{kilobytes} kB on disk");
}

#[test]
fn output_without_end_is_read_to_where_it_is() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/usr/bin/yes"]);
    run.wait_for("y\ny");
    for arguments in [&["--tail", "1"][..], &[], &["--json"]] {
        let outcome = finish(&mut run.vantio("logs", arguments));
        outcome.assert_success();
        assert!(outcome.stdout.contains('y'), "{arguments:?}");
    }
    world.ask(&["kill", &run.id]);
}

#[test]
fn somebody_who_does_not_read_holds_nothing_up() {
    let world = World::new();
    let script = format!("{READY}; echo begin; {WAIT}; yes 123456789 | head -n 3000000; echo done > done");
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", &script]);
    run.wait_for("begin");
    // It reads the first line and stops reading.
    let mut attach = run.vantio("attach", &["--no-stdin"]);
    let mut attached = attach.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    run.go();
    run.wait_for_end();
    let changes = finish(&mut run.vantio("diff", &["--json"])).stdout;
    assert!(changes.contains("/done"), "{changes}");
    attached.kill().unwrap();
    attached.wait().unwrap();
}

#[test]
fn nothing_is_kept_of_a_discarded_run() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/echo", "a-word-that-was-written"]);
    run.wait_for_end();
    assert!(run.logs().contains("a-word-that-was-written"));
    world.ask(&["discard", &run.id]);
    let found = || {
        finish(
            std::process::Command::new("grep")
                .args(["-rl", "a-word-that-was-written"])
                .arg(run.folder().join("output")),
        )
    };
    assert!(eventually(Duration::from_secs(10), || !found().status.success()));
    assert!(finish(&mut run.vantio("logs", &[])).stderr.contains("E_NO_LOGS"));
}
