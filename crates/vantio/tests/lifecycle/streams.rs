//! Standard streams, arguments, environment and exit codes pass through.

use crate::common::{WORKSPACE, World, finish, finish_with_input};

#[test]
fn exit_codes_are_the_programs() {
    let world = World::new();
    for code in [0, 1, 2, 77, 125, 255] {
        let script = format!("exit {code}");
        world.run(WORKSPACE, &["/bin/sh", "-c", &script]).assert_code(code);
    }
}

#[test]
fn a_signal_ends_with_128_and_its_number() {
    let world = World::new();
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("HUP", 1)] {
        let script = format!("kill -{name} $$");
        let outcome = world.run(WORKSPACE, &["/bin/sh", "-c", &script]);
        assert_eq!(outcome.status.code(), Some(128 + number), "{}", outcome.describe());
    }
}

#[test]
fn standard_input_is_passed_on() {
    let world = World::new();
    let input = b"line\n".repeat(200_000);
    let outcome = finish_with_input(&mut world.governed(WORKSPACE, &["/usr/bin/wc", "-c"]), &input);
    assert_eq!(outcome.assert_success().stdout, "1000000\n");
}

#[test]
fn standard_output_is_the_programs_alone() {
    let world = World::new();
    let script = "echo out; echo err >&2; echo x > file; cat ~/.netrc; exit 0";
    let outcome = world.run(WORKSPACE, &["/bin/sh", "-c", script]);
    assert_eq!(outcome.assert_success().stdout, "out\n");
    assert!(
        outcome.stderr.starts_with("err\n") || outcome.stderr.contains("\nerr\n"),
        "{}",
        outcome.describe()
    );
}

#[test]
fn a_closed_pipe_ends_the_program_as_it_would_without() {
    let world = World::new();
    let line =
        format!("{} run --preset workspace -- /usr/bin/yes | head -n 1", crate::common::binary().display());
    let outcome = finish(world.command("/bin/bash").args(["-o", "pipefail", "-c", &line]));
    assert_eq!(outcome.stdout, "y\n");
    outcome.assert_code(141);
}

#[test]
fn arguments_arrive_byte_by_byte() {
    let world = World::new();
    let arguments = ["/usr/bin/printf", "[%s]", "", "a b", "--json", "-x", "$HOME", "new\nline", "ünï"];
    assert_eq!(world.run(WORKSPACE, &arguments).stdout, world.bare(&arguments).stdout);
}

#[test]
fn identity_and_folders_are_as_on_the_host() {
    let world = World::new();
    let script = "id -u; id -g; pwd; umask; ulimit -n; cat /etc/hostname; stat -c %u:%g:%a . $HOME";
    let arguments = ["/bin/bash", "-c", script];
    assert_eq!(world.run(WORKSPACE, &arguments).stdout, world.bare(&arguments).stdout);
}

#[test]
fn json_is_the_last_line_of_standard_error() {
    let world = World::new();
    let mut command =
        world.vantio(["--json", "run", "--preset", "workspace", "--", "/bin/sh", "-c", "echo out"]);
    let outcome = finish(&mut command);
    assert_eq!(outcome.assert_success().stdout, "out\n");
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(serde_json::from_str::<serde_json::Value>(last).unwrap().is_object(), "{last}");
}
