//! What a run sees of the host's changes: in a live view, and in a snapshot.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod commits;
mod copies;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use common::{WORKSPACE, World};

/// The workspace preset with this view.
pub(crate) fn viewing(view: &str) -> String {
    WORKSPACE.replace("phantom:\n", &format!("phantom:\n  view: {view}\n"))
}

/// A shell in a run that says `paused` wherever its script says `pause`, and then waits.
pub(crate) struct Paused {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Paused {
    /// Starts it, up to its first `pause`.
    pub(crate) fn start(world: &World, view: &str, script: &str) -> Self {
        let script = format!("pause() {{ echo paused; read -r _; }}\n{script}");
        let mut command = world.governed(&viewing(view), &["/bin/bash", "-uc", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut run = Self { child, input, output };
        assert_eq!(run.line(), "paused");
        run
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Goes on; the words up to the end.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.input.write_all(b"\n").unwrap();
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Kills the command, and with it the supervisor and the run.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The folder of the newest run.
pub(crate) fn folder(world: &World) -> PathBuf {
    let runs = fs::read_dir(world.state().join("runs")).unwrap().flatten().map(|run| run.path());
    runs.filter(|run| run.is_dir()).max().unwrap()
}

/// Looks at what the host changes meanwhile.
const LOOK: &str = "pause; cat changed; ls removed added dir 2>/dev/null; cat dir/deep/f; true";

fn change(world: &World) {
    let at = |name: &str| world.workspace().join(name);
    world.write("changed", "new\n");
    fs::remove_file(at("removed")).unwrap();
    world.write("added", "");
    world.write("dir/more", "");
    // Replaced by another file, as editors do.
    world.write("dir/deep/f.new", "new\n");
    fs::rename(at("dir/deep/f.new"), at("dir/deep/f")).unwrap();
}

fn prepare(world: &World) {
    for (name, content) in [("changed", "old\n"), ("removed", ""), ("dir/deep/f", "old\n"), ("dir/kept", "")]
    {
        world.write(name, content);
    }
}

#[test]
fn a_snapshot_stands_still() {
    let world = World::new();
    prepare(&world);
    let run = Paused::start(&world, "snapshot", LOOK);
    change(&world);
    assert_eq!(run.end(), ["old", "removed", "dir:", "deep", "kept", "old"]);
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    assert!(!folder(&world).join("snapshot").exists());
}

#[test]
fn a_live_view_has_what_the_host_has_now() {
    let world = World::new();
    prepare(&world);
    let run = Paused::start(&world, "live", LOOK);
    change(&world);
    assert_eq!(run.end(), ["new", "added", "dir:", "deep", "kept", "more", "new"]);
}

#[test]
fn beside_the_workspace_a_snapshot_is_live() {
    let world = World::new();
    fs::write(world.path().join("beside"), "old\n").unwrap();
    let run = Paused::start(&world, "snapshot", "pause; cat ../beside");
    fs::write(world.path().join("beside"), "new\n").unwrap();
    assert_eq!(run.end(), ["new"]);
}

#[test]
fn the_first_entry_says_what_was_seen() {
    let world = World::new();
    world.run(&viewing("snapshot"), &["/bin/true"]).assert_success();
    let list = world.ask(&["ledger", "list", "--op", "run.start", "--json"]);
    assert!(list.contains(r#""view":"snapshot""#), "{list}");
    let shown = world.ask(&["policy", "show", "--effective", &policy(&world)]);
    assert!(shown.contains(r#"view: "snapshot""#), "{shown}");
}

fn policy(world: &World) -> String {
    world.path().join("policy.yaml").to_string_lossy().into_owned()
}
