//! A folder to work in, a state folder and a home of their own, and the command.

#![allow(dead_code, reason = "not every test file needs all of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use insta::internals::SettingsBindDropGuard;
use tempfile::TempDir;

/// Where a test runs the command.
pub struct World {
    root: TempDir,
    state: OsString,
    _filters: SettingsBindDropGuard,
}

impl World {
    pub fn new() -> Self {
        // A run has a /tmp of its own, so the world is elsewhere.
        let scratch = env::var_os("VANTIO_TEST_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let root = tempfile::Builder::new().prefix("cli-").tempdir_in(scratch).unwrap();
        // The search for a policy ends at the home folder: here it is the one above `work`.
        for folder in ["work", "home"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::create_dir(root.path().join("work/.git")).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = root.path().join("state").into();
        Self { root, state, _filters: filters() }
    }

    /// The same world with another state folder.
    pub fn with_state(mut self, state: &str) -> Self {
        self.state = state.into();
        self
    }

    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub fn state(&self) -> PathBuf {
        self.state.clone().into()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// What a run leaves in the state folder when it changed nothing.
    pub fn fake_run(&self, id: &str, state: &str) {
        let folder = self.state().join("runs").join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(self.state(), fs::Permissions::from_mode(0o700)).unwrap();
        let record = serde_json::json!({
            "format": 1, "id": id, "name": null, "command": ["true"], "directory": "/w", "workspace": "/w",
            "policy": { "preset": "workspace" }, "policy_hash": "0".repeat(64), "mode": "enforce",
            "commit": "review", "backend": "notify", "started_ns": 0, "ended": 1, "state": state,
            "outcome": { "exited": 0 }, "pending": 0,
        });
        fs::write(folder.join("run.json"), record.to_string()).unwrap();
    }

    /// Runs the command; its status and both outputs, with this world's paths replaced.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(Path::new(env!("CARGO_BIN_EXE_vantio"))).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let status = output.status.code().map_or_else(|| "none".into(), |code| code.to_string());
        self.mask(&format!("exit {status}\n{stdout}{stderr}"))
    }

    /// Runs a script of bash, where `$VANTIO` is the command; its standard output.
    pub fn shell(&self, script: &str) -> String {
        let output = self.command(Path::new("bash")).args(["-c", script]).output().unwrap();
        self.mask(&String::from_utf8_lossy(&output.stdout))
    }

    /// Runs the command as on a machine that has nothing but the files of `work`; its status, and
    /// both outputs.
    pub fn elsewhere(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_vantio")));
        let output = command.args(arguments).env("VANTIO_STATE", "/nowhere").output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// Starts the command, and leaves it running.
    pub fn start(&self, arguments: &[&str], stdout: Stdio) -> Started {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_vantio")));
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Started(child)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.work())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.root.path().join("home"))
            .env("TZ", "UTC")
            .env("VANTIO", env!("CARGO_BIN_EXE_vantio"))
            .env("VANTIO_STATE", &self.state);
        command
    }

    fn mask(&self, text: &str) -> String {
        let names =
            [(self.work(), "[WORK]"), (self.root.path().join("state"), "[STATE]"), (self.home(), "[HOME]")];
        names.iter().fold(text.to_owned(), |text, (path, name)| {
            let canonical = path.canonicalize().unwrap_or_else(|_| path.clone());
            text.replace(canonical.to_str().unwrap(), name)
        })
    }
}

/// A command that runs.
pub struct Started(Child);

impl Started {
    /// Reads its output up to a line.
    pub fn wait_for(&mut self, line: &str) {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|found| found == line), "it ended without `{line}`");
    }

    /// Kills the command itself, and nothing else.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Its exit status; `None` when it still runs after `patience`.
    pub fn end(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What differs from run to run, in snapshots.
fn filters() -> SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b01[0-9a-f]{6}-[0-9a-f]{4}(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?\b", "[RUN]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[HASH]");
    settings.add_filter(r"\b\d\d:\d\d:\d\d\b", "[TIME]");
    // It counts from the root, and where the world lies differs.
    settings.add_filter(r"\bcomponent \d+\b", "component [N]");
    settings.add_filter(r#""pid":\d+,"#, "");
    settings.add_filter(r#""(seq|time_ms)":\d+"#, "\"$1\":0");
    settings.bind_to_scope()
}
