//! Several runs at once on one workspace.

use std::fs;

use crate::common::{
    WORKSPACE, World,
    detached::{Detached, READY, WAIT},
    finish,
};

#[test]
fn each_sees_its_own_changes_and_the_second_commit_meets_conflicts() {
    let world = World::new();
    let shared = world.write("shared.txt", "original\n");
    let script = |name: &str| {
        format!(
            "{READY}; echo {name} > shared.txt; echo {name} > {name}.txt; echo ready; {WAIT}; cat shared.txt; ls *.txt | tr '\\n' ' '"
        )
    };
    let start = |name: &str| Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", &script(name)]);
    let (first, second) = (start("first"), start("second"));
    for run in [&first, &second] {
        run.wait_for("ready");
    }
    assert_eq!([first.state(), second.state()], ["live, detached", "live, detached"]);
    for (run, name) in [(&first, "first"), (&second, "second")] {
        run.go();
        run.wait_for_end();
        assert_eq!(run.logs(), format!("ready\n{name}\n{name}.txt shared.txt "));
    }
    assert_eq!(fs::read_to_string(&shared).unwrap(), "original\n");

    finish(&mut first.vantio("commit", &[])).assert_success();
    let late = finish(&mut second.vantio("commit", &[]));
    late.assert_code(4);
    assert!(late.describe().contains("shared.txt"), "{}", late.describe());
    assert_eq!(fs::read_to_string(&shared).unwrap(), "first\n");
    // What did not conflict is there; what did is settled by hand.
    assert!(world.workspace().join("second.txt").exists());
    finish(&mut second.vantio("commit", &["--theirs", "shared.txt"])).assert_success();
    assert_eq!(fs::read_to_string(&shared).unwrap(), "second\n");
}
