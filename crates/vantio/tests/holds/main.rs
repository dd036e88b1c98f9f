//! What a rule holds waits for an answer, and nothing else waits with it: real programs, asked about and answered as people
//! do it, without a terminal.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod calls;
mod datagrams;
mod lives;
mod reach;
mod socket;
mod together;

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
};

use common::{
    Outcome, World, eventually, finish,
    held::{PATIENCE, assert_replayed, world},
    parse, start,
};
use serde_json::Value;

/// Everything is open, and what is in `held` waits.
const POLICY: &str = r#"version: 1
fs: {read: [/], write: ["${workspace}", "${tmp}", /dev]}
exec: {allow: [/]}
hold:
  - {effect: [fs.open, fs.unlink, fs.rename, fs.mkdir], target: "${workspace}/held/**"}
"#;

/// A run that may wait.
struct Run<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Run<'w> {
    fn new(world: &'w World, policy: &str, program: &[&str]) -> Self {
        let mut command = world.governed(policy, program);
        Self { world, child: start(command.stdin(Stdio::piped())) }
    }

    fn shell(world: &'w World, policy: &str, script: &str) -> Self {
        Self::new(world, policy, &["/bin/sh", "-c", script])
    }

    fn python(world: &'w World, policy: &str, script: &str) -> Self {
        world.write("script.py", format!("import os, sys, threading\n{script}"));
        Self::new(world, policy, &["/usr/bin/python3", "-B", "script.py"])
    }

    /// Gives it a line to read.
    fn tell(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    fn end(mut self) -> Outcome {
        let mut streams = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let reader = thread::spawn(move || streams.1.read_to_string(&mut stderr).map(|_| stderr).unwrap());
        streams.0.read_to_string(&mut stdout).unwrap();
        let mut status = None;
        let is_over = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(is_over, "the run does not end");
        Outcome { status: status.unwrap(), stdout, stderr: reader.join().unwrap() }
    }

    /// Waits for its end, and fails unless it printed this and everything comes out the same from the ledger.
    #[track_caller]
    fn prints(self, expected: &str) -> Outcome {
        let world = self.world;
        let outcome = self.end();
        assert_eq!(outcome.stdout.trim(), expected.trim(), "{}", outcome.describe());
        assert_replayed(world);
        outcome
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The questions that wait, once there are so many.
#[track_caller]
fn questions(world: &World, count: usize) -> Vec<Value> {
    questions_when(world, |found| found.len() == count)
}

/// The questions that wait, once they are as they should be.
#[track_caller]
fn questions_when(world: &World, are_right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    let is_so = eventually(PATIENCE, || {
        let list = parse(&world.ask(&["approvals", "--json"]));
        found.clone_from(list["approvals"].as_array().unwrap());
        are_right(&found)
    });

    assert!(is_so, "{found:#?}");
    found
}

/// The only question that waits.
#[track_caller]
fn question(world: &World) -> Value {
    questions(world, 1).remove(0)
}

fn id(question: &Value) -> &str {
    question["id"].as_str().unwrap()
}

/// Answers the only question that waits.
#[track_caller]
fn answer(world: &World, verb: &str, arguments: &[&str]) -> Value {
    let question = question(world);
    world.ask(&[&[verb, id(&question)], arguments].concat());
    question
}

/// A command that must fail in this way.
#[track_caller]
fn fails(world: &World, arguments: &[&str], code: i32, says: &str) -> Outcome {
    let outcome = finish(&mut world.vantio(arguments));
    outcome.assert_code(code);
    assert!(outcome.stderr.contains(says), "{}", outcome.describe());
    outcome
}

/// The operations and verdicts that the ledger has of the last run, of entries with one of these operations.
fn entries(world: &World, ops: &[&str]) -> Vec<(String, String)> {
    let list = world.ask(&["ledger", "list", "--limit", "0", "--json"]);
    let lines = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let pairs = lines.map(|entry| (text(&entry["op"]), text(&entry["payload"]["decision"])));
    pairs.filter(|(op, _)| ops.contains(&op.as_str())).collect()
}

/// The command that signals a process.
fn signal(pid: u32, name: &str) {
    finish(Command::new("/bin/kill").args([format!("-{name}"), pid.to_string()])).assert_success();
}
