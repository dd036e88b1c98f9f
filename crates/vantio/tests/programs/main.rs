//! Programs that nobody changed do under Vantio what they do without, and their writes are in the diff and nowhere else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod tools;

use std::path::Path;

use common::{Outcome, WORKSPACE, World, finish};

/// Runs a shell script bare in one world and governed in another that was laid out alike: the same standard output and
/// exit code, and on the host no change. Gives both worlds.
#[track_caller]
fn same(layout: impl Fn(&World), policy: &str, script: &str) -> (World, World) {
    let [bare, governed] = [World::new(), World::new()];
    layout(&bare);
    layout(&governed);
    let shell = ["/bin/bash", "-uc", script];
    let expected = finish(with_settings(bare.command(shell[0]).args(&shell[1..])));
    let before = governed.manifest();
    let actual = finish(with_settings(&mut governed.governed(policy, &shell)));
    assert_eq!(
        told(&actual, &governed),
        told(&expected, &bare),
        "{}\n\nbare: {}",
        actual.describe(),
        expected.describe()
    );
    let policy = Path::new("policy.yaml");
    let differences = before.without(policy).differences(&governed.manifest().without(policy));
    assert_eq!(differences, Vec::<String>::new(), "the run changed the host");
    for (kind, path) in governed.changes() {
        let inside = [governed.workspace(), governed.home(), "/var/tmp".into(), "/tmp".into()];
        assert!(inside.iter().any(|root| path.starts_with(root)), "{kind} {}", path.display());
    }
    (bare, governed)
}

/// Settings without which two runs of a tool differ by themselves.
fn with_settings(command: &mut std::process::Command) -> &mut std::process::Command {
    for variable in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        command.env(variable, "2024-05-06T07:08:09Z");
    }
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Tester")
            .env(format!("GIT_{who}_EMAIL"), "tester@example.com");
    }
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("npm_config_update_notifier", "false")
}

/// What a program told its caller, without the names of the worlds.
fn told(outcome: &Outcome, world: &World) -> (i32, String) {
    (outcome.code(), outcome.stdout.replace(&*world.path().to_string_lossy(), "WORLD"))
}

/// A policy of the workspace preset that also permits `servers`.
fn permitting(servers: &[String]) -> String {
    let list: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    WORKSPACE.replace("net:\n  allow: []", &format!("net:\n  allow: [{}]", list.join(", ")))
}

/// The folder of the Rust toolchain that this suite was built with.
fn toolchain() -> String {
    let staged = std::env::var("VANTIO_TEST_TOOLCHAIN").ok();
    staged.unwrap_or_else(|| {
        let mut rustc = std::process::Command::new("rustc");
        finish(rustc.args(["--print", "sysroot"])).assert_success().stdout.trim().to_owned()
    })
}
