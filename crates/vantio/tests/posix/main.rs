//! What POSIX says of files holds inside a run as it does outside, by test suites that others wrote: pjdfstest for
//! what calls answer, fsx for what files then contain. Where it does not, `conformance/posix/differences.txt` says why.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use common::{CLOSED, World, finish, is_root};

const DIFFERENCES: &str = include_str!("../../../../conformance/posix/differences.txt");

/// The features that Linux has, and whom the tests act as where they are root.
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Where the tools of others are; without them there is nothing to test.
fn tools(test: &str) -> Option<PathBuf> {
    let tools = env::var_os("VANTIO_TEST_TOOLS").map(PathBuf::from);
    if tools.is_none() {
        // Not captured, unlike what is printed by `println`.
        let _ = writeln!(
            std::io::stdout(),
            "SKIP {test}: needs VANTIO_TEST_TOOLS; `cargo xtask test posix` sets it"
        );
    }
    tools
}

/// A world with a tool in its workspace, where those whom the tests act as can come to it.
fn world(tools: &Path, tool: &str) -> World {
    let world = if is_root() { World::open_to_all() } else { World::new() };
    let program = world.write(tool, "");
    fs::copy(tools.join(tool), program).unwrap();
    world
}

/// How each test of pjdfstest ended, by its name.
fn results(output: &str) -> BTreeMap<String, String> {
    let result = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, result) = (words.next()?, words.next()?);
        let is_one = matches!(result, "ok" | "FAILED" | "skipped") && words.next().is_none();
        is_one.then(|| (name.to_owned(), result.to_owned()))
    };
    output.lines().filter_map(result).collect()
}

/// The differences that are explained: a pattern, how its tests end outside and inside.
fn explained() -> Vec<[&'static str; 3]> {
    let who = if is_root() { "root" } else { "user" };
    let lines = DIFFERENCES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words[0] == who || words[0] == "any")
        .map(|words| [words[1], words[2], words[3]])
        .collect()
}

fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => name == pattern,
    }
}

#[test]
fn calls_answer_inside_a_run_as_they_do_outside() {
    let Some(tools) = tools("calls_answer_inside_a_run_as_they_do_outside") else { return };
    let [outside, inside] = [world(&tools, "pjdfstest"), world(&tools, "pjdfstest")].map(|world| {
        world.write("configuration.toml", CONFIGURATION);
        world
    });
    let arguments = |world: &World| {
        let folder = world.workspace().join("tested");
        fs::create_dir(&folder).unwrap();
        let words = ["./pjdfstest", "-c", "configuration.toml", "-p"].map(str::to_owned);
        words.into_iter().chain([folder.to_str().unwrap().to_owned()]).collect::<Vec<_>>()
    };
    let words = arguments(&outside);
    let expected =
        results(&finish(outside.command(outside.workspace().join("pjdfstest")).args(&words[1..])).stdout);
    assert!(expected.len() > 390, "{expected:?}");

    let words = arguments(&inside);
    let outcome = inside.run(CLOSED, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let found = results(&outcome.stdout);
    let differs = |(name, result): &(&String, &String)| found.get(*name) != Some(result);
    let differences: Vec<_> = expected.iter().filter(differs).collect();
    let explained = explained();
    let is_explained = |name: &str, outside: &str, [pattern, before, after]: &[&str; 3]| {
        is_like(name, pattern) && outside == *before && found.get(name).map(String::as_str) == Some(after)
    };
    for (name, outside) in &differences {
        let inside = found.get(*name);
        assert!(
            explained.iter().any(|reason| is_explained(name, outside, reason)),
            "{name}: outside {outside}, inside {inside:?}\n{}",
            outcome.describe()
        );
    }
    for reason in &explained {
        let is_used = differences.iter().any(|(name, outside)| is_explained(name, outside, reason));
        assert!(is_used, "nothing differs any more as {reason:?} says");
    }
    assert_eq!(found.len(), expected.len(), "{}", outcome.describe());
}

#[test]
fn files_contain_inside_a_run_what_was_written() {
    let Some(tools) = tools("files_contain_inside_a_run_what_was_written") else { return };
    for seed in ["5", "6"] {
        let [outside, inside] = [world(&tools, "fsx"), world(&tools, "fsx")];
        // The same operations for the same seed.
        let arguments = ["./fsx", "-q", "-N", "2000", "-S", seed, "file"];
        finish(outside.command(outside.workspace().join("fsx")).args(&arguments[1..])).assert_success();
        let expected = fs::read(outside.workspace().join("file")).unwrap();
        inside.run(CLOSED, &arguments).assert_success();
        inside.ask(&["commit", "last", "--hazards"]);
        let found = fs::read(inside.workspace().join("file")).unwrap();
        assert!(found == expected, "seed {seed}: {} bytes instead of {}", found.len(), expected.len());
    }
}
