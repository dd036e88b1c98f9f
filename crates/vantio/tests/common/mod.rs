//! A small world for each test: a home, a workspace, a state folder, and the `vantio` command on them.

#![allow(dead_code, reason = "each suite uses its own part")]

pub mod detached;
pub mod held;
pub mod manifest;
pub mod server;
pub mod terminal;

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

pub use manifest::Manifest;

/// What no command of these suites may exceed; a hang becomes a failure that names the command.
const PATIENCE: Duration = Duration::from_mins(2);

/// The policy of most tests: the preset's own text, so that a test can change a line of it.
pub const WORKSPACE: &str = include_str!("../../../vantio-policy/presets/workspace.yaml");

/// A policy that opens the system and the workspace, and nothing else: not even reading beside the workspace.
pub const CLOSED: &str = r#"version: 1
name: closed
fs:
  read: [/usr, /etc, /bin, /sbin, /lib, /lib64, /proc, /dev, /sys, "${workspace}"]
  write: ["${workspace}", "${tmp}", /dev]
exec: {allow: [/usr, /bin, /sbin, /lib, /lib64, "${workspace}"]}
"#;

/// A home, a workspace and a state folder of a test's own.
pub struct World {
    directory: TempDir,
}

/// What nobody may open, such as the folders that an overlay works in, could not be removed by its owner.
impl Drop for World {
    fn drop(&mut self) {
        if !rustix::process::getuid().is_root() {
            drop(Command::new("chmod").args(["-R", "u+rwX"]).arg(self.path()).stderr(Stdio::null()).status());
        }
    }
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// One refusal of a run, as `vantio why --json` tells it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub effect: String,
    pub target: String,
    pub reason: String,
}

impl World {
    pub fn new() -> Self {
        Self::below(&scratch())
    }

    /// A world that others than its owner can come to, for suites that act as them.
    pub fn open_to_all() -> Self {
        let world = Self::below(Path::new("/var/tmp"));
        for folder in [world.path(), &world.workspace()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        world
    }

    fn below(folder: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("world-").tempdir_in(folder).unwrap();
        let world = Self { directory };
        for path in [world.home(), world.workspace(), world.outside()] {
            fs::create_dir(path).unwrap();
        }
        world
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// The folder that runs start in and that the workspace preset lets them write.
    pub fn workspace(&self) -> PathBuf {
        self.path().join("workspace")
    }

    /// A folder that no policy of these suites opens.
    pub fn outside(&self) -> PathBuf {
        self.path().join("outside")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file of the workspace, its folders included.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.workspace().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A secret outside of everything that is open to a run.
    pub fn secret(&self) -> PathBuf {
        let path = self.outside().join("secret");
        fs::write(&path, SECRET).unwrap();
        path
    }

    /// Everything but the state folder.
    pub fn manifest(&self) -> Manifest {
        Manifest::of_except(self.path(), Path::new("state")).unwrap().without_root()
    }

    /// A command in the workspace with this world's environment and nothing of the caller's.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.workspace()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home()).env("VANTIO_STATE", self.state()).env("PATH", search_path());
        command.env("LANG", "C.UTF-8").env("TERM", "xterm-256color").env("USER", "tester");
        command
    }

    pub fn vantio<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(binary());
        command.args(arguments);
        command
    }

    /// The command that runs `program` under the text of a policy.
    pub fn governed(&self, policy: &str, program: &[&str]) -> Command {
        let file = self.path().join("policy.yaml");
        if fs::read_to_string(&file).ok().as_deref() != Some(policy) {
            fs::write(&file, policy).unwrap();
        }
        let mut command = self.vantio(["run", "--policy"]);
        command.arg(file).arg("--").args(program);
        command
    }

    pub fn run(&self, policy: &str, program: &[&str]) -> Outcome {
        finish(&mut self.governed(policy, program))
    }

    pub fn bare(&self, program: &[&str]) -> Outcome {
        let path = which(program[0]);
        finish(self.command(path).args(&program[1..]))
    }

    /// Runs a `vantio` command that must succeed, and gives its standard output.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let outcome = finish(&mut self.vantio(arguments));
        assert!(outcome.status.success(), "vantio {arguments:?}: {outcome:?}");
        outcome.stdout
    }

    /// The ids of all runs, as `vantio ps --all --json` has them.
    pub fn runs(&self) -> Vec<String> {
        let listed = parse(&self.ask(&["ps", "--all", "--json"]));
        let id = |run: &Value| run["id"].as_str().unwrap().to_owned();
        listed["runs"].as_array().unwrap().iter().map(id).collect()
    }

    /// The changes that `vantio diff last --json` tells, as (kind, path).
    pub fn changes(&self) -> Vec<(String, PathBuf)> {
        let mut changes = Vec::new();
        visit(&parse(&self.ask(&["diff", "last", "--json"])), &mut |object| {
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            if let (Some(kind), Some(path)) = (text("kind"), text("path")) {
                changes.push((kind.to_owned(), PathBuf::from(path)));
            }
        });
        changes
    }

    /// The refusals of the last run.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        visit(&parse(&self.ask(&["why", "last", "--json"])), &mut |object| {
            let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
            if let (Some(effect), Some(target)) = (text("effect"), text("target")) {
                refusals.push(Refusal { effect, target, reason: text("reason").unwrap_or_default() });
            }
        });
        refusals
    }

    /// Fails unless the last run has a refusal whose effect starts with `effect` and whose target contains `target`,
    /// with a reason.
    #[track_caller]
    pub fn assert_refused(&self, effect: &str, target: &str) {
        let refusals = self.refusals();
        let found = refusals
            .iter()
            .find(|refusal| refusal.effect.starts_with(effect) && refusal.target.contains(target));
        let found = found.unwrap_or_else(|| panic!("no refusal of {effect} {target} in {refusals:#?}"));
        assert!(!found.reason.is_empty(), "{found:?} gives no reason");
    }
}

/// What a secret holds; recognisable in any output.
pub const SECRET: &str = "the-secret-that-must-not-leave";

impl Outcome {
    /// The exit code, or 128 and the signal as a shell tells it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    #[track_caller]
    pub fn assert_success(&self) -> &Self {
        assert!(self.status.success(), "{}", self.describe());
        self
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "{}", self.describe());
        self
    }

    /// Fails when the secret stands in what was printed.
    #[track_caller]
    pub fn assert_no_secret(&self) -> &Self {
        assert!(!self.stdout.contains(SECRET) && !self.stderr.contains(SECRET), "{}", self.describe());
        self
    }

    pub fn describe(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn finish(command: &mut Command) -> Outcome {
    finish_with_input(command, b"")
}

/// Runs `command` to its end, with `input` on its standard input when there is any.
#[track_caller]
pub fn finish_with_input(command: &mut Command, input: &[u8]) -> Outcome {
    let shown = format!("{command:?}");
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let [stdout, stderr] = [read_all(child.stdout.take()), read_all(child.stderr.take())];
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything is no failure of the test.
        let _ = stdin.write_all(input);
    }
    let status = wait(&mut child).unwrap_or_else(|| panic!("still running after {PATIENCE:?}: {shown}"));
    Outcome { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Waits until `condition` holds; false when it does not within `patience`.
pub fn eventually(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The command under test.
pub fn binary() -> PathBuf {
    env::var_os("VANTIO_BIN").map_or_else(|| env!("CARGO_BIN_EXE_vantio").into(), PathBuf::from)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True when the test needs root and is not run by it, which it says.
pub fn needs_root(test: &str) -> bool {
    if !is_root() {
        // Past the test harness, which shows the output of failed tests only; `cargo xtask test` counts these lines.
        let _ = writeln!(std::io::stdout(), "SKIP {test}: needs root");
    }
    !is_root()
}

/// Where worlds are made: never below `/tmp`, which a run has its own of.
fn scratch() -> PathBuf {
    let directory =
        env::var_os("VANTIO_TEST_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    fs::create_dir_all(&directory).unwrap();
    fs::canonicalize(directory).unwrap()
}

/// System programs only: nothing from the home of whoever runs the suites.
pub fn search_path() -> &'static str {
    "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

pub fn which(program: &str) -> PathBuf {
    if program.contains('/') {
        return PathBuf::from(program);
    }
    let found = search_path()
        .split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed; `cargo xtask test` installs it"))
}

/// Compiles a C program into the workspace of `world`, each source once a process.
pub fn compile(world: &World, name: &str, source: &str) -> String {
    static COMPILED: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    let _one_at_a_time = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = world.path().join(format!("{name}.c"));
    fs::write(&file, source).unwrap();
    let program = world.workspace().join(name);
    let mut cc = world.command("/usr/bin/cc");
    cc.args(["-O1", "-w", "-pthread", "-o"]).arg(&program).arg(&file);
    finish(&mut cc).assert_success();
    program.to_string_lossy().into_owned()
}

/// A process of the host that ends with the test, however the test ends.
pub struct Helper(pub Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `command` in a process group of its own, so that a test can signal all of it.
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap()
}

/// One JSON document, or one a line.
pub fn parse(text: &str) -> Value {
    let lines = || text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    serde_json::from_str(text).unwrap_or_else(|_| Value::Array(lines()))
}

/// Calls `see` with every object in `value`.
pub fn visit(value: &Value, see: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, see)),
        Value::Object(members) => {
            see(members);
            members.values().for_each(|member| visit(member, see));
        }
        _ => {}
    }
}
