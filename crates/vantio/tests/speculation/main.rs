//! A run that is held goes on as a fork of itself: approved, it has lost no time; denied, it never was.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod adopted;
mod agents;
mod attacks;
mod carried;
mod rounds;
mod terminals;
mod waits;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use common::{
    Outcome, World, eventually,
    held::{PATIENCE, assert_replayed, world},
    parse, start,
};
use serde_json::Value;

/// Everything is open, what is in `held` waits, and the run goes on meanwhile.
const POLICY: &str = r#"version: 1
fs: {read: [/], write: ["${workspace}", "${tmp}", /dev]}
exec: {allow: [/]}
net: {allow: ["127.0.0.1:1-65535"]}
hold:
  - {effect: [fs.open, fs.unlink, fs.rename, fs.mkdir, net.connect], target: "${workspace}/held/**"}
phantom: {speculate: auto}
"#;

fn policy() -> String {
    POLICY.replace(", net.connect]", "]")
}

/// As [`policy`], and a program waits as well.
fn held_program() -> String {
    policy().replace("phantom:", "  - {effect: [proc.exec], target: /usr/bin/rm}\nphantom:")
}

/// A run that may be held.
struct Run<'w> {
    world: &'w World,
    child: Child,
    streams: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

impl<'w> Run<'w> {
    fn new(world: &'w World, policy: &str, program: &[&str]) -> Self {
        Self::with_input(world, policy, program, Stdio::null())
    }

    fn with_input(world: &'w World, policy: &str, program: &[&str], input: Stdio) -> Self {
        let mut child = start(world.governed(policy, program).stdin(input));
        let streams =
            (read(child.stdout.take().map(Stream::Out)), read(child.stderr.take().map(Stream::Error)));
        Self { world, child, streams: Some(streams) }
    }

    fn python(world: &'w World, policy: &str, script: &str) -> Self {
        world.write("script.py", format!("{PRELUDE}{script}"));
        Self::new(world, policy, &["/usr/bin/python3", "-B", "script.py"])
    }

    fn shell(world: &'w World, policy: &str, script: &str) -> Self {
        Self::new(world, policy, &["/bin/sh", "-c", script])
    }

    /// The supervisor, and process 1 of the run, as the host numbers them.
    fn supervisor(&self) -> (u32, u32) {
        let supervisor = children(self.child.id())[0];
        (supervisor, children(supervisor)[0])
    }

    /// What there is of it: processes that are not gone, mounts, and descriptors of the supervisor.
    fn holds(&self) -> [usize; 3] {
        let (supervisor, init) = self.supervisor();
        let mounts = fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap().lines().count();
        [descendants(init), mounts, fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().count()]
    }

    /// Gives it a line to read.
    fn tell(&mut self) {
        self.say("");
    }

    fn say(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    fn end(mut self) -> Outcome {
        let mut status = None;
        let is_over = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(is_over, "the run does not end");
        let (stdout, stderr) = self.streams.take().unwrap();
        let outcome = Outcome {
            status: status.unwrap(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        };
        assert_replayed(self.world);
        outcome
    }

    /// Waits for its end, and fails unless it printed this.
    #[track_caller]
    fn prints(self, expected: &str) {
        let outcome = self.end();
        assert_eq!(outcome.stdout.trim(), expected.trim(), "{}", outcome.describe());
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Stream {
    Out(ChildStdout),
    Error(ChildStderr),
}

fn read(stream: Option<Stream>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        match stream.unwrap() {
            Stream::Out(mut stream) => stream.read_to_string(&mut text),
            Stream::Error(mut stream) => stream.read_to_string(&mut text),
        }
        .unwrap();
        text
    })
}

/// Every script begins with it: `attempt` opens a file and says what came of it.
const PRELUDE: &str = r"
import errno, mmap, os, select, signal, socket, subprocess, sys, threading, time

def attempt(name, flags=os.O_RDONLY):
    try:
        os.close(os.open(name, flags))
        return 'opened'
    except OSError as error:
        return os.strerror(error.errno)

def write(name, text):
    with open(name, 'w') as file:
        file.write(text)
";

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// How many processes there are below one, those that have ended and are not buried included.
fn descendants(pid: u32) -> usize {
    children(pid).into_iter().map(|child| 1 + descendants(child)).sum()
}

/// The first question that waits and of which this is told.
#[track_caller]
fn question(world: &World, meanwhile: &str) -> Value {
    let mut found = Value::Null;
    let is_there = eventually(PATIENCE, || {
        let list = parse(&world.ask(&["approvals", "--json"]));
        found.clone_from(&list["approvals"]);
        let told = |question: &&Value| {
            question["meanwhile"].as_str().is_some_and(|told| told.starts_with(meanwhile))
        };
        let question = list["approvals"].as_array().unwrap().iter().find(told).cloned();
        question.map(|question| found = question).is_some()
    });
    assert!(is_there, "{found:#}");
    found
}

/// The only question, once the run goes on as a fork.
#[track_caller]
fn going_on(world: &World) -> Value {
    question(world, "goes on speculatively (pid ")
}

/// Answers the only question once the run has gone on as a fork for a while.
#[track_caller]
fn answer_after(world: &World, delay: Duration, verb: &str) {
    let question = going_on(world);
    thread::sleep(delay);
    answer(world, verb, &question);
}

fn answer(world: &World, verb: &str, question: &Value) {
    world.ask(&[verb, question["id"].as_str().unwrap()]);
}

/// Fails unless the run waits without a fork, for this reason; then lets it go on.
#[track_caller]
fn waits_because(world: &World, why: &str) {
    let question = question(world, "waits: ");
    assert!(question["meanwhile"].as_str().unwrap().contains(why), "{question:#}");
    answer(world, "approve", &question);
}

/// Files of the run that are not there before it.
fn new_files(world: &World) -> Vec<String> {
    let changes = world.changes();
    changes.iter().map(|(kind, path)| format!("{kind} {}", shown(path, world))).collect()
}

fn shown(path: &Path, world: &World) -> String {
    path.strip_prefix(world.workspace()).unwrap_or(path).display().to_string()
}

/// What became of each fork, or whatever an entry of this operation says of its outcome.
fn entries(world: &World, op: &str) -> Vec<String> {
    let list = world.ask(&["ledger", "list", "--op", op, "--limit", "0", "--json"]);
    let lines = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|entry| entry["detail"]["request"]["outcome"].as_str().unwrap_or("-").to_owned()).collect()
}
