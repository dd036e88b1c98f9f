//! A terminal with a person at it: a window of a terminal multiplexer.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Outcome, WORKSPACE, World, binary, eventually, finish};

/// A terminal multiplexer of a test's own, with one window that runs one command.
pub struct Terminal<'w> {
    world: &'w World,
    socket: String,
}

impl<'w> Terminal<'w> {
    /// Runs `command` through a shell in a window of 90 columns and 30 rows; the window stays when it ends.
    pub fn open(world: &'w World, command: &str) -> Self {
        // Each its own: a server that was told to end still answers for a moment.
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let socket = world.path().join(format!("tmux-{}", OPENED.fetch_add(1, Ordering::Relaxed)));
        let terminal = Self { world, socket: socket.to_string_lossy().into_owned() };
        let hold = format!("trap : INT; {command}; echo \"[exit $?]\"; sleep 600");
        terminal.tmux(&["new-session", "-d", "-x", "90", "-y", "30", &hold]).assert_success();
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal
    }

    /// The same under Vantio.
    pub fn governed(world: &'w World, program: &str) -> Self {
        Self::open(world, &governed(world, program))
    }

    pub fn tmux(&self, arguments: &[&str]) -> Outcome {
        let mut tmux = self.world.command("/usr/bin/tmux");
        finish(tmux.args(["-f", "/dev/null", "-S", &self.socket]).args(arguments))
    }

    pub fn send(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat()).assert_success();
    }

    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J"]).stdout
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = eventually(Duration::from_mins(1), || self.screen().contains(text));
        assert!(found, "`{text}` never appeared on\n{}", self.screen());
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// `program` under Vantio, as a person would type it.
pub fn governed(world: &World, program: &str) -> String {
    governed_by(world, WORKSPACE, program)
}

/// As [`governed`], by this policy.
pub fn governed_by(world: &World, rules: &str, program: &str) -> String {
    let policy = world.path().join("policy.yaml");
    fs::write(&policy, rules).unwrap();
    format!("{} run --policy {} -- {program}", binary().display(), policy.display())
}
