//! Both policies must permit what a nested run does, wherever its processes go.

use std::fs;

use crate::{
    INNER, OUTER,
    common::{World, binary, finish},
    requests, run, run_under, world,
};

#[test]
fn a_nested_run_is_governed_by_both_policies_and_the_outer_one_by_its_own() {
    let world = world(INNER);
    let script = "nest child 'echo a > sub/a; echo b > b; cat secret; cat kept; id; true'; cat secret; echo c > c; id -u > d";
    let outcome = run(&world, script);
    outcome.assert_success();
    assert_eq!(outcome.stdout, "hidden\n");
    let mut changed: Vec<_> = world.changes().into_iter().map(|(_, path)| path).collect();
    changed.sort();
    assert_eq!(changed, ["c", "d", "sub/a"].map(|name| world.workspace().join(name)));
    for (effect, target) in [("fs.open", "/b"), ("fs.open", "/secret"), ("proc.exec", "/usr/bin/id")] {
        world.assert_refused(effect, target);
    }
    let refusals = world.refusals();
    let of =
        |name: &str| refusals.iter().find(|refusal| refusal.target.ends_with(name)).unwrap().reason.clone();
    assert!(of("/secret").starts_with("nested run 1 (child): "), "{refusals:#?}");
    assert!(
        !of("/kept").starts_with("nested"),
        "the inner policy permits it, and the outer one does not: {refusals:#?}"
    );

    let nested = &requests(&world, "run.nest")[0];
    assert_eq!((nested["name"].as_str(), nested["number"].as_u64()), (Some("child"), Some(1)));
    assert_eq!(nested["within"], serde_json::Value::Null);
    finish(&mut world.vantio(["replay", "last"])).assert_success();
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}

#[test]
fn the_policy_of_the_folder_which_the_outer_run_has_hinders_no_nested_run_that_names_its_own() {
    let world = world(INNER);
    world.write("vantio.yaml", format!("{OUTER}limits: {{open_files: 500}}\nphantom: {{view: snapshot}}\n"));
    let inner =
        format!("{} run --policy inner.yaml -- sh -c 'cat kept; ulimit -n'; true", binary().display());
    let outcome = finish(&mut world.vantio(["run", "--", "sh", "-c", &inner]));
    assert_eq!(outcome.stdout, "500\n", "{}", outcome.describe());
    world.assert_refused("fs.open", "/kept");
}

#[test]
fn a_wider_policy_gains_nothing() {
    let world = world("version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/]}\nnet: {allow: ['*:*']}\n");
    let beside = world.outside().join("made");
    let outcome =
        run(&world, &format!("nest child 'cat kept; echo x > {}; echo y > sub/y'; true", beside.display()));
    outcome.assert_success();
    assert_eq!(outcome.stdout, "");
    assert_eq!(world.changes().len(), 1, "{:?}", world.changes());
}

#[test]
fn what_a_nested_run_starts_stays_in_it_however_it_is_started() {
    let world = world(INNER);
    // Sessions, orphans, subshells, a server that outlives its starter, another program language.
    let script = r#"nest child '
        setsid sh -c "cat secret; sh -c \"cat secret\""
        (setsid sh -c "sleep 0.3; cat secret; echo x > orphan" & ) & wait
        nohup bash -c "exec -a other cat secret" 2>/dev/null
        python3 -B -c "import os, threading
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(3, 100)
        def look():
            try: print(open(\"secret\").read())
            except OSError as error: print(\"closed\", error.errno)
        thread = threading.Thread(target=look); thread.start(); thread.join()
    else: os._exit(0)
else: os.wait()"
        true'; sleep 1; cat secret"#;
    let outcome = run(&world, script);
    assert!(outcome.stdout.starts_with("closed 13"), "{}", outcome.describe());
    assert_eq!(outcome.stdout.matches("hidden").count(), 1, "{}", outcome.describe());
    assert!(!world.changes().iter().any(|(_, path)| path.ends_with("orphan")));
}

#[test]
fn a_run_within_a_nested_run_is_under_all_three_and_runs_beside_are_not() {
    let world = world(INNER);
    let more = "version: 1\nfs: {read: [/], write: [\"${workspace}/sub\", \"${workspace}/beside\", /dev], deny: [\"${workspace}/inner.yaml\"]}\nexec: {allow: [/]}\n";
    world.write("more.yaml", more);
    let script = "
        nest child 'inner=more.yaml nest grandchild \"cat inner.yaml; cat secret; echo g > sub/g; echo x > beside; true\"; cat inner.yaml > sub/read'
        inner=more.yaml nest second 'cat secret; echo s > beside; cat inner.yaml; true'";
    let outcome = run(&world, script);
    outcome.assert_success();
    // The second one is under its own policy, which has no word about the secret.
    assert_eq!(outcome.stdout, "hidden\n", "{}", outcome.describe());
    let mut changed: Vec<_> = world.changes().into_iter().map(|(_, path)| path).collect();
    changed.sort();
    assert_eq!(changed, ["beside", "sub/g", "sub/read"].map(|name| world.workspace().join(name)));
    let nested = requests(&world, "run.nest");
    let within: Vec<_> = nested.iter().map(|entry| entry["within"].as_u64()).collect();
    assert_eq!(within, [None, Some(1), None]);
}

#[test]
fn the_outer_run_counts_what_its_nested_runs_do_and_they_count_for_themselves() {
    let world =
        world(&format!("{INNER}thresholds: [{{effect: fs.unlink, count: 2, within: 1m, then: collapse}}]\n"));
    let outer = format!("{OUTER}thresholds: [{{effect: fs.unlink, count: 5, within: 1m, then: collapse}}]\n");
    let outcome = run_under(
        &world,
        &outer,
        "touch sub/{1..9}; nest child 'rm sub/1; rm sub/2; rm sub/3; rm sub/4'; rm sub/5; rm sub/6; rm sub/7; rm sub/8; ls sub | wc -l",
    );
    // Each permits up to its count: two of the nested run, and of the outer one three more.
    let left: u32 = outcome.stdout.trim().parse().unwrap();
    assert!((4..=5).contains(&left), "{}", outcome.describe());
    finish(&mut world.vantio(["replay", "last"])).assert_success();
}

#[test]
fn a_policy_that_cannot_be_kept_for_a_part_of_a_run_is_refused() {
    for (line, word) in [
        (
            "taint: {sources: [{label: secret, fs: [\"${workspace}/secret\"]}], sinks: [{label: secret, net: ['*']}]}\n",
            "labels",
        ),
        ("limits: {memory: 100MiB}\n", "limits"),
        ("ledger: {details: drop}\n", "details"),
        ("phantom: {view: snapshot}\n", "snapshot"),
        ("phantom: {commit: never}\n", "commit"),
    ] {
        let world = world(&format!("{INNER}{line}"));
        let outcome = run(&world, "nest child 'cat secret'");
        outcome.assert_code(125);
        assert!(
            outcome.stderr.contains("E_NESTED_POLICY") && outcome.stderr.contains(word),
            "{}",
            outcome.describe()
        );
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn a_run_that_follows_labels_has_no_nested_ones() {
    let world = world(INNER);
    let outer = format!(
        "{OUTER}taint: {{sources: [{{label: secret, fs: [\"${{workspace}}/secret\"]}}], sinks: [{{label: secret, net: ['*']}}]}}\n"
    );
    let outcome = run_under(&world, &outer, "nest child 'cat secret'");
    assert!(!outcome.status.success() && outcome.stdout.is_empty(), "{}", outcome.describe());
}

#[test]
fn a_host_that_is_not_within_a_run_is_not_fooled_by_a_name_and_a_variable() {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    };
    let world = World::new();
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(b"vantio").unwrap());
    // Somebody else's test may have it: then that one is who answers.
    let served = listener.ok().map(|listener| {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mark = format!("[{},{}]", u64::MAX, u64::MAX);
            let answer =
                format!("{{\"version\":1,\"says\":{{\"nested\":{{\"number\":1,\"mark\":{mark}}}}}}}\n");
            drop(std::io::Write::write_all(&mut stream, answer.as_bytes()));
        })
    });
    fs::write(world.path().join("policy.yaml"), OUTER).unwrap();
    let mut command = world.governed(OUTER, &["/bin/sh", "-c", "echo x > made"]);
    let outcome =
        finish(command.env("VANTIO", "1").env("VANTIO_RUN_ID", "01a222b0-0000-7000-8000-000000000000"));
    outcome.assert_success();
    assert!(!world.workspace().join("made").exists(), "it ran without a phantom");
    assert_eq!(world.changes().len(), 1);
    drop(served);
}
