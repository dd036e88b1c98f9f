//! From learning to enforcing: what a program did while it was watched becomes a policy, and under that policy the same
//! program does the same again and is refused nothing.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod policies;
mod tools;

use std::{fs, path::PathBuf, process::Command};

use common::{Outcome, World, finish, parse};
use serde_json::Value;

/// The preset to learn with: its own text, so that a test can add a server.
const LEARN: &str = include_str!("../../../vantio-policy/presets/learn.yaml");

/// The learning preset with servers that the program may reach.
fn learning(servers: &[String]) -> String {
    let list: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    LEARN.replace("  allow: []", &format!("  allow: [{}]", list.join(", ")))
}

/// What came of a round.
struct Round {
    world: World,
    /// The suggestion, as `vantio policy suggest --json` has it.
    suggestion: Value,
    enforced: Outcome,
}

impl Round {
    fn document(&self) -> &str {
        self.suggestion["document"].as_str().unwrap()
    }

    /// The rules of a list.
    fn rules(&self, section: &str) -> Vec<&str> {
        let rules = self.suggestion["rules"].as_array().unwrap();
        let own = rules.iter().filter(|rule| rule["section"] == section);
        own.map(|rule| rule["rule"].as_str().unwrap()).collect()
    }
}

/// Learns from a program, and runs it again under what was suggested: the same exit code and output, the same changes,
/// and nothing refused.
#[track_caller]
fn closes(world: World, policy: &str, program: &[&str], settings: impl Fn(&mut Command)) -> Round {
    let before = world.manifest();
    let run = |policy: &str| {
        let mut command = world.governed(policy, program);
        settings(&mut command);
        finish(&mut command)
    };
    let learned = run(policy);
    learned.assert_success();
    let refused: Vec<Value> =
        refusals(&world).into_iter().filter(|refusal| refusal["observed"] == false).collect();
    assert_eq!(refused, Vec::<Value>::new(), "refused while learning");
    let changes = world.changes();
    let suggestion = parse(&world.ask(&["policy", "suggest", "last", "--json"]));
    let document = suggestion["document"].as_str().unwrap().to_owned();

    let enforced = run(&document);
    let told = |outcome: &Outcome| (outcome.code(), timeless(&outcome.stdout));
    assert_eq!(told(&enforced), told(&learned), "{document}\n{}", enforced.describe());
    assert_eq!(refusals(&world), Vec::<Value>::new(), "{document}");
    assert_eq!(steady(world.changes()), steady(changes), "{document}");
    let policy = PathBuf::from("policy.yaml");
    let differences = before.without(&policy).differences(&world.manifest().without(&policy));
    assert_eq!(differences, Vec::<String>::new(), "a run changed the host");
    Round { world, suggestion, enforced }
}

fn refusals(world: &World) -> Vec<Value> {
    parse(&world.ask(&["why", "last", "--json"]))["refusals"].as_array().unwrap().clone()
}

/// Changes without those whose names have a time, a process number or the like in them.
fn steady(changes: Vec<(String, PathBuf)>) -> Vec<(String, PathBuf)> {
    let is_steady = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.contains("-debug-")
            && !path.starts_with("/tmp")
            && !path.to_string_lossy().contains("/incremental/")
    };
    changes.into_iter().filter(|(_, path)| is_steady(path)).collect()
}

/// What was printed, without how long something took.
fn timeless(text: &str) -> String {
    let is_time = |word: &&str| word.ends_with('s') && word.starts_with(|first: char| first.is_ascii_digit());
    text.split(' ').filter(|word| !is_time(&word.trim_end())).collect::<Vec<_>>().join(" ")
}

/// Lays out files of a workspace.
fn with_files(files: &[(&str, &str)]) -> World {
    let world = World::new();
    for (name, text) in files {
        world.write(name, text);
    }
    world
}

/// Writes a file of the world's home.
fn at_home(world: &World, name: &str, text: &str) {
    let path = world.home().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
