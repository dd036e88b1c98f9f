//! What the processes of a detached run keep of whoever started it: nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::common::{WORKSPACE, World, binary, detached::Detached, finish};

fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .collect()
}

#[test]
fn nothing_of_the_caller_stays_open() {
    let world = World::new();
    world.governed(WORKSPACE, &["/bin/true"]);
    let open = world.path().join("open");
    fs::write(&open, "").unwrap();
    // That this comes to its end shows that nobody holds its standard streams, nor descriptor 7.
    let script = format!(
        "umask 027; exec 7>&1 8<{}; {} run --policy {} --detach -- /bin/sh -c 'umask; sleep 600'",
        open.display(),
        binary().display(),
        world.path().join("policy.yaml").display(),
    );
    let mut shell = world.command("/bin/sh");
    let outcome = finish(shell.args(["-c", &script]).env("A_SECRET", "in-the-environment"));
    let run = Detached::named(&world, outcome.assert_success().stdout.trim());
    let [keeper, runner] = run.processes();
    for pid in [keeper, runner] {
        let held = descriptors(pid);
        assert!(!held.contains(&open.to_string_lossy().into_owned()), "{held:#?}");
    }
    let environment = fs::read(format!("/proc/{keeper}/environ")).unwrap();
    assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
    let session = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!([session(keeper), session(runner)], [keeper, runner]);
    let directory = fs::read_link(format!("/proc/{keeper}/cwd")).unwrap();
    assert_eq!(directory, world.workspace());
    // The program's own are the caller's, as in the foreground.
    run.wait_for("0027");
}

#[test]
fn the_socket_and_the_log_are_the_users_own() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "echo written; sleep 600"]);
    run.wait_for("written");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = run.folder();
    assert_eq!([mode(&folder.join("terminal.sock")), mode(&folder.join("output"))], [0o600, 0o700]);
    for piece in fs::read_dir(folder.join("output")).unwrap().flatten() {
        assert_eq!(mode(&piece.path()), 0o600);
    }
    world.ask(&["kill", &run.id]);
    assert!(!folder.join("terminal.sock").exists());
}
