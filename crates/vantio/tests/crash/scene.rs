//! A tree, a run that changed it, and what the host may look like afterwards.

use std::{collections::HashMap, fs, os::fd::AsFd as _, path::PathBuf, process::Command};

use crash_points::{Point, Report};
use vantio_phantom::{changes::RunFolder, commit};

use crate::common::{Manifest, World, finish, is_root};

/// What stands before, and what a run does to it.
pub struct Tree {
    before: &'static str,
    script: &'static str,
    /// What only a run of root can do: rename a directory of the host.
    script_of_root: &'static str,
}

/// Every kind of change, few of each.
pub const SMALL: Tree = Tree {
    before: "mkdir -p d/sub gone/deep ren opaque/sub; echo 1 > d/mod; echo 2 > d/del; echo 4 > gone/deep/f; echo 5 > h1; ln h1 h2
        echo 6 > file; mkdir dir; echo 7 > dir/in; echo 8 > meta; chmod 644 meta; echo 9 > ren/f; echo o > opaque/sub/o; ln -s a sym
        echo x > attr; setfattr -n user.k -v old attr; echo l > l1; ln l1 l2; truncate -s 1M sparse; touch -d @1000000000 d gone dir ren .",
    script: "echo more >> d/mod; rm d/del; rm -r gone; echo in place > h1; rm file; mkdir file; echo n > file/n; rm -r dir; echo f > dir
        chmod 600 meta; mkdir -p new/a; echo z > new/a/c; ln new/a/c link; ln -s q added; ln -sfn b sym; chmod 700 d/sub; mkfifo pipe
        rm -r opaque; mkdir opaque; echo p > opaque/p; setfattr -n user.k -v new attr; chmod 400 attr; rm l2; ln h2 h3
        printf x | dd of=sparse bs=1 seek=500000 conv=notrunc status=none",
    script_of_root: "mv ren d/ren2; echo x >> d/ren2/f",
};

/// A text that changes in four places, of which the host changes another after the run.
pub const TEXT: Tree = Tree {
    before: "seq 40 > text; chmod 644 text; mkdir d; echo 1 > d/a; ln text linked; seq 40 > both; touch -d @1000000000 d .",
    script: "sed 's/^2$/two/; s/^20$/twenty/; s/^39$/last/' text > t; cat t > text; sed 's/^2$/two/; s/^39$/last/' both > t; cat t > both; rm t
        echo 2 > d/a; echo 3 > d/b; chmod 600 both",
    script_of_root: "true",
};

/// Files that a run writes, replaces, renames, removes and makes.
pub const WRITTEN: Tree = Tree {
    before: "echo 1 > mod; echo 2 > both; ln both named; echo 3 > gone; echo 4 > old; echo 5 > meta; chmod 644 meta; echo 6 > swapped
        touch -d @1000000000 .",
    script: "echo more >> mod; echo in place > both; rm gone; mv old renamed; chmod 600 meta; rm swapped; echo new > swapped; mkdir n; echo x > n/x",
    script_of_root: "true",
};

/// 2,000 of them.
pub const LARGE: Tree = Tree {
    before: "for d in $(seq 20); do mkdir -p t/$d/sub; for f in $(seq 60); do echo $d $f > t/$d/$f; done; ln t/$d/1 t/$d/link; ln -s x t/$d/sym; done
        mkdir ren; echo 1 > ren/f; touch -d @1000000000 t t/*",
    script: "for d in $(seq 20); do cd t/$d; for f in $(seq 1 20); do echo more >> $f; done; rm $(seq 21 40); chmod 600 $(seq 41 50)
        for f in $(seq 30); do echo $f > new$f; done; ln new1 newlink; ln -sfn y sym; mkdir -p a/b; for f in $(seq 10); do echo $f > a/b/$f; done
        rm -r sub; echo x > sub; rm 60; mkdir 60; echo y > 60/z; setfattr -n user.k -v v 55; mkfifo pipe; cd ../..; done",
    script_of_root: "mv ren ren2; echo x >> ren2/f",
};

/// What the host looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Before,
    After,
}

/// A run whose changes wait.
pub struct Scene {
    pub world: World,
    tree: &'static str,
    rest: &'static str,
    policy: String,
    before: Manifest,
    after: Vec<String>,
    state: PathBuf,
    elsewhere: Option<tempfile::TempDir>,
    /// Each run writes its files anew, at its own time.
    is_repeated: bool,
    /// A run that was killed may not have begun: then nothing is pending, and the host is as before.
    may_not_begin: bool,
}

impl Scene {
    pub fn new(tree: &Tree) -> Self {
        Self::with(tree, "review", None)
    }

    /// The state folder is on another file system than the tree.
    pub fn elsewhere(tree: &Tree) -> Self {
        Self::with(tree, "review", Some(tempfile::tempdir_in("/dev/shm").unwrap()))
    }

    /// The policy commits by itself; the run is still to come.
    pub fn automatic(tree: &Tree) -> Self {
        let mut scene = Self::with(tree, "review", None);
        scene.ask(&["discard", "last"]);
        scene.policy = policy("auto");
        scene.is_repeated = true;
        scene.may_not_begin = true;
        scene.after = scene.after.iter().map(|line| without(line, "mtime")).collect();
        scene
    }

    fn with(tree: &Tree, commit: &str, other: Option<tempfile::TempDir>) -> Self {
        let world = World::new();
        let state = other.as_ref().map_or_else(|| world.state(), |other| other.path().join("state"));
        let mut shell = world.command("/bin/bash");
        finish(shell.args(["-ec", tree.before])).assert_success();
        let before = Manifest::of(&world.workspace()).unwrap();
        let rest = if is_root() { tree.script_of_root } else { "true" };
        let policy = policy(commit);
        let mut scene = Self {
            world,
            tree: tree.script,
            rest,
            policy,
            before,
            after: Vec::new(),
            state,
            elsewhere: other,
            is_repeated: false,
            may_not_begin: false,
        };
        // File systems take change times from a clock that lags.
        std::thread::sleep(std::time::Duration::from_millis(25));
        finish(&mut scene.run()).assert_success();
        if scene.elsewhere.is_none() {
            scene.ask(&["commit", "last", "--hazards"]);
            scene.after = scene.now();
            scene.undo();
        } else {
            scene.is_repeated = true;
            scene.after = Self::new(tree).after.iter().map(|line| without(line, "mtime")).collect();
        }
        scene
    }

    /// The host goes on after the run.
    pub fn edit_host(&mut self, script: &str) {
        let mut shell = self.world.command("/bin/bash");
        finish(shell.args(["-ec", script])).assert_success();
        self.before = Manifest::of(&self.world.workspace()).unwrap();
    }

    /// The tree without what a commit gives files anew: numbers and times.
    pub fn lines(&self) -> Vec<String> {
        self.now().iter().map(|line| without(&without(line, "ino"), "mtime")).collect()
    }

    /// What waits, as `vantio diff --json` has it.
    pub fn changes(&self) -> Vec<serde_json::Value> {
        let json: serde_json::Value = serde_json::from_str(&self.ask(&["diff", "last", "--json"])).unwrap();
        json["changes"].as_array().unwrap().clone()
    }

    /// Takes every commit back, which must leave nothing, and checks that the host is as before.
    #[track_caller]
    pub fn undo_all(&mut self) {
        let folder = RunFolder::new(self.folder(), 0);
        let root = fs::File::open("/").unwrap();
        while commit::undoable(&folder).unwrap().is_some() {
            let report = commit::undo(&folder, root.as_fd()).unwrap();
            assert_eq!(report.stayed, Vec::<Vec<u8>>::new());
        }
        self.assert_before("after an undo");
        self.shorten();
    }

    /// The command that runs the script.
    pub fn run(&self) -> Command {
        let script = format!("{}\n{}", self.tree, self.rest);
        let mut command = self.world.governed(&self.policy, &["/bin/bash", "-ec", &script]);
        command.env("VANTIO_STATE", &self.state);
        command
    }

    fn vantio(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.vantio(arguments);
        command.env("VANTIO_STATE", &self.state);
        command
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        finish(&mut self.vantio(arguments)).assert_success().stdout.clone()
    }

    /// Runs a command that may fail.
    pub fn attempt(&self, arguments: &[&str]) -> String {
        finish(&mut self.vantio(arguments)).stdout
    }

    /// What the host has in a file of the tree.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.world.workspace().join(name)).ok()
    }

    /// What a command says on standard error.
    pub fn told(&self, arguments: &[&str]) -> String {
        finish(&mut self.vantio(arguments)).stderr
    }

    pub fn killed_at(&self, arguments: &[&str], point: Point) -> Report {
        crash_points::run(&self.vantio(arguments), Some(point)).unwrap()
    }

    /// How many calls a command makes that can change a file; what it did is undone.
    pub fn calls(&mut self, arguments: &[&str]) -> usize {
        let calls = crash_points::run(&self.vantio(arguments), None).unwrap().calls.len();
        self.settle("not killed");
        calls
    }

    /// Has the next command clean up, and fails unless the host is exactly as before or exactly as after, with everything pending or nothing; then makes
    /// it as before.
    #[track_caller]
    pub fn settle(&mut self, what: &str) -> State {
        let is_before =
            || self.before.differences(&Manifest::of(&self.world.workspace()).unwrap()).is_empty();
        if self.pending() == 0 && !(self.may_not_begin && is_before()) {
            let now = self.now();
            assert!(now == self.after, "{what}: nothing is pending\n{:#?}", differences(&self.after, &now));
            self.undo();
            self.shorten();
            return State::After;
        }
        self.assert_before(what);
        self.shorten();
        State::Before
    }

    #[track_caller]
    pub fn assert_before(&self, what: &str) {
        let now = Manifest::of(&self.world.workspace()).unwrap();
        let differences = if self.elsewhere.is_none() {
            self.before.differences(&now)
        } else {
            // What comes back from another file system has another number.
            differences(&numberless(&self.before), &numberless(&now))
        };
        if !differences.is_empty() {
            let pending = finish(&mut self.vantio(&["diff", "last"])).stdout;
            panic!("{what}: the host is not as before\n{differences:#?}\npending:\n{pending}");
        }
    }

    pub fn is_discarded(&self) -> bool {
        !self.folder().join("layers.json").exists()
    }

    /// What is left in the folder of a discarded run beside its record.
    pub fn leftovers(&self) -> String {
        let names = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !["run.json", "undo"].contains(&name.as_str()));
        names.sort();
        names.join(" ")
    }

    /// Of how many commits the run keeps what an undo needs.
    pub fn kept_for_undo(&self) -> usize {
        fs::read_dir(self.folder().join("undo")).unwrap().count()
    }

    fn pending(&self) -> usize {
        self.changes().len()
    }

    /// The tree without what a commit gives files anew: their numbers.
    fn now(&self) -> Vec<String> {
        let lines = numberless(&Manifest::of(&self.world.workspace()).unwrap()).into_iter();
        lines.map(|line| if self.is_repeated { without(&line, "mtime") } else { line }).collect()
    }

    #[track_caller]
    fn undo(&self) {
        let folder = RunFolder::new(self.folder(), 0);
        let root = fs::File::open("/").unwrap();
        let report = commit::undo(&folder, root.as_fd()).unwrap();
        assert_eq!(report.stayed, Vec::<Vec<u8>>::new());
        self.assert_before("after an undo");
    }

    fn folder(&self) -> PathBuf {
        let mut folders: Vec<_> = fs::read_dir(self.state.join("runs")).unwrap().flatten().collect();
        folders.retain(|entry| entry.file_type().unwrap().is_dir());
        folders.iter().map(fs::DirEntry::path).max().unwrap()
    }

    /// Each recovery notes anew what it put back, of which only the last counts, and a killed command leaves the
    /// ledger's log as it is. Both would slow down what follows.
    fn shorten(&self) {
        let ledger = rusqlite::Connection::open(self.state.join("ledger.db")).unwrap();
        ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let file = self.folder().join("base.jsonl");
        let Ok(text) = fs::read_to_string(&file) else { return };
        if text.len() < 300_000 {
            return;
        }
        let mut last: HashMap<String, &str> = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            last.insert(json["path"].to_string(), line);
        }
        let lines: Vec<_> = last.into_values().collect();
        fs::write(file, lines.join("\n") + "\n").unwrap();
    }
}

fn policy(commit: &str) -> String {
    format!(
        "version: 1\nfs: {{read: [/], write: ['${{workspace}}', '${{tmp}}', /dev]}}\nexec: {{allow: [/]}}\nphantom: {{commit: {commit}}}\n"
    )
}

/// The lines of a manifest without the files' numbers.
fn numberless(manifest: &Manifest) -> Vec<String> {
    Manifest::default().differences(manifest).iter().map(|line| without(line, "ino")).collect()
}

/// A line of a manifest without the field `name`.
fn without(line: &str, name: &str) -> String {
    let words = line.split(' ').collect::<Vec<_>>();
    let at = words.iter().position(|word| *word == name).unwrap_or(words.len());
    let kept = words.iter().enumerate().filter(|(index, _)| *index != at && *index != at + 1);
    kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

fn differences(wanted: &[String], found: &[String]) -> Vec<String> {
    let missing = wanted.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}"));
    let extra = found.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(extra).take(40).collect()
}
