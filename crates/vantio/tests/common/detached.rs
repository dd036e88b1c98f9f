//! A run in the background that ends with the test, however the test ends.

use std::{
    fs,
    io::BufRead as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use super::{World, eventually, finish};

/// Begins and ends waiting, in a shell, until [`Detached::go`].
pub const READY: &str = "trap go=1 USR1";
pub const WAIT: &str = "while test -z \"$go\"; do sleep 0.05; done";

pub struct Detached<'w> {
    world: &'w World,
    /// What `vantio run --detach` printed.
    pub id: String,
}

impl<'w> Detached<'w> {
    /// Starts `program` under `policy`, without a terminal.
    #[track_caller]
    pub fn start(world: &'w World, policy: &str, program: &[&str]) -> Self {
        let outcome = finish(&mut detached(&world.governed(policy, program)));
        outcome.assert_success();
        Self::named(world, outcome.stdout.trim())
    }

    pub fn named(world: &'w World, id: &str) -> Self {
        assert!(!id.is_empty() && !id.contains(char::is_whitespace), "`{id}` is no run");
        Self { world, id: id.to_owned() }
    }

    /// The newest run.
    pub fn last(world: &'w World) -> Self {
        Self::named(world, world.runs().last().unwrap())
    }

    pub fn vantio(&self, command: &str, arguments: &[&str]) -> Command {
        self.world.vantio([&[command, &self.id], arguments].concat())
    }

    pub fn logs(&self) -> String {
        finish(&mut self.vantio("logs", &[])).assert_success().stdout.clone()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = eventually(Duration::from_mins(1), || self.logs().contains(text));
        assert!(found, "`{text}` is not in\n{}", self.logs());
    }

    /// Lets a program go on that waits with [`WAIT`] and has written something.
    pub fn go(&self) {
        let [_, runner] = self.processes();
        finish(Command::new("kill").args(["-USR1", &runner.to_string()])).assert_success();
    }

    pub fn folder(&self) -> PathBuf {
        let runs = fs::read_dir(self.world.state().join("runs")).unwrap().flatten();
        let is_ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(&self.id);
        runs.map(|run| run.path()).find(|path| is_ours(path.file_name().unwrap())).unwrap()
    }

    /// What `vantio ps` says of it.
    pub fn state(&self) -> String {
        let listed = self.world.ask(&["ps", "--all"]);
        let line = listed.lines().find(|line| line.starts_with(&self.id)).unwrap_or_default();
        line.split("  ")
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .nth(2)
            .unwrap_or_default()
            .to_owned()
    }

    #[track_caller]
    pub fn wait_for_end(&self) {
        let over = eventually(Duration::from_mins(1), || !self.state().starts_with("live"));
        assert!(over, "{} is {}", self.id, self.state());
    }

    /// Host pids of its keeper and its runner.
    pub fn processes(&self) -> [u32; 2] {
        let folder = self.folder().into_os_string().into_encoded_bytes();
        let mut found = None;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            if let [_, b"keep", runner, of, ..] = words[..]
                && of == folder
            {
                let keeper = entry.file_name().to_str().unwrap().parse().unwrap();
                found = Some([keeper, std::str::from_utf8(runner).unwrap().parse().unwrap()]);
            }
        }
        found.unwrap_or_else(|| panic!("{} has no keeper", self.id))
    }
}

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let mut kill = self.vantio("kill", &[]);
        let _ = kill.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The same run in the background: `command` is a `vantio run`.
pub fn detached(command: &Command) -> Command {
    let mut words = command.get_args();
    let mut detached = Command::new(command.get_program());
    detached.arg(words.next().unwrap()).arg("--detach").args(words);
    detached.env_clear().stdin(Stdio::null());
    detached.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        detached.current_dir(directory);
    }
    detached
}

/// Waits for a line of a program's output.
pub fn line_of(output: impl std::io::Read) -> String {
    let mut line = String::new();
    std::io::BufReader::new(output).read_line(&mut line).unwrap();
    line
}
