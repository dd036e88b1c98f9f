//! How nested runs start and end.

use crate::{INNER, common::finish, requests, run, world};

#[test]
fn a_nested_run_is_its_command() {
    let world = world(INNER);
    let script = r#"
        nest a 'exit 7'; echo $?
        nest b 'kill -TERM $$'; echo $?
        echo in | nest c 'cat; echo err >&2'
        V=$(printf %s "$VANTIO_RUN_ID"); nest d "test \$VANTIO_RUN_ID = $V && echo \$VANTIO_NESTED_RUN"
    "#;
    let outcome = run(&world, script);
    outcome.assert_success();
    assert_eq!(outcome.stdout, "7\n143\nin\n4\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("err"));
}

#[test]
fn a_run_is_not_probed_as_a_host() {
    let world = world(INNER);
    let script = format!("{0} doctor --json; nest a '{0} doctor'", crate::common::binary().display());
    let outcome = run(&world, &script);
    outcome.assert_success();
    assert!(outcome.stdout.contains("agents can be run here, within this run"), "{}", outcome.describe());
    let told = crate::common::parse(outcome.stdout.lines().next().unwrap());
    assert_eq!(told["inside"], world.runs()[0].as_str());
    assert!(world.refusals().is_empty(), "{:?}", world.refusals());
}

#[test]
fn what_cannot_be_executed_says_so() {
    let world = world(INNER);
    let vantio = crate::common::binary();
    let script = format!(
        "{0} run --policy inner.yaml -- ./absent; echo $?; {0} run --policy inner.yaml -- ./secret; echo $?; \
         {0} run --policy inner.yaml -- /usr/bin/id; echo $?; {0} run --detach --policy inner.yaml -- true; echo $?",
        vantio.display()
    );
    let outcome = run(&world, &script);
    assert_eq!(outcome.stdout, "127\n126\n126\n125\n", "{}", outcome.describe());
    for told in ["`./absent` does not exist in the run", "`./secret` may not be executed"] {
        assert!(outcome.stderr.contains(told), "{}", outcome.describe());
    }
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("permit: a rule of the policy that this nested run was started with"), "{why}");
}

#[test]
fn descriptors_of_the_outer_run_stay_behind() {
    let world = world(INNER);
    let outcome = run(&world, "exec 7< secret; nest child 'cat <&7; ls /proc/self/fd | wc -l'; cat <&7");
    assert_eq!(outcome.stdout.matches("hidden").count(), 1, "{}", outcome.describe());
}

#[test]
fn many_live_at_once() {
    let world = world(INNER);
    let script = "for n in $(seq 12); do nest run$n \"sleep 0.2; echo $n > sub/\\$VANTIO_NESTED_RUN; cat secret\" & done; wait; ls sub | wc -l; cat secret";
    let outcome = run(&world, script);
    assert_eq!(outcome.stdout, "12\nhidden\n", "{}", outcome.describe());
    assert_eq!(requests(&world, "run.nest").len(), 12);
    finish(&mut world.vantio(["commit", "last"])).assert_success();
}
