//! The presets, as documents and as what they permit.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use vantio_core::{Access, Cause, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};
use vantio_policy::{Bindings, PRESETS, PolicyProgram, State, compile, credentials, decide, preset};

struct Host {
    program: PolicyProgram,
    state: State,
}

fn host(name: &str) -> Host {
    let compiled = compile(preset(name).unwrap().as_bytes(), name).unwrap();
    let bindings = Bindings {
        workspace: b"/home/u/project".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let state = State::new(&compiled.program, bindings);
    Host { program: compiled.program, state }
}

impl Host {
    fn decide(&self, effect: Effect, target: Target<'_>) -> Verdict<'_> {
        decide(&self.program, &self.state, &Intent::new(effect, target))
    }

    fn open(&self, path: &str, access: Access) -> Verdict<'_> {
        self.decide(Effect::FsOpen, Target::Path { path: path.as_bytes(), access, subtree: false })
    }

    fn reads(&self, path: &str) -> bool {
        self.open(path, Access::Read).is_permit()
    }

    fn writes(&self, path: &str) -> bool {
        self.open(path, Access::Write).is_permit()
    }

    fn executes(&self, path: &str) -> bool {
        let target = Target::Path { path: path.as_bytes(), access: Access::Read, subtree: false };
        self.decide(Effect::ProcExec, target).is_permit()
    }

    fn renames(&self, from: &str, to: &str) -> bool {
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree: true };
        self.decide(Effect::FsRename, target).is_permit()
    }
}

#[test]
fn every_preset_compiles_under_its_own_name() {
    for name in PRESETS {
        assert_eq!(host(name).program.name(), Some(*name));
    }
    assert_eq!(preset("none"), None);
}

#[test]
fn no_preset_opens_a_credential_store() {
    for name in PRESETS {
        let host = host(name);
        for store in credentials::STORES {
            let path = store.pattern.replace('~', "/home/u").replace('*', "x");
            for access in [Access::Read, Access::Write] {
                let verdict = host.open(&path, access);
                let expected = Cause::Rule { section: Section::FsDeny, text: store.pattern };
                assert_eq!((verdict.is_permit(), verdict.cause), (false, expected), "{name}: {path}");
            }
            assert!(!host.reads(&format!("{path}/below")), "{name}: below {path}");
            assert!(!host.executes(&path), "{name}: {path}");
        }
    }
}

#[test]
fn programs_find_what_they_need() {
    for name in PRESETS {
        let host = host(name);
        for path in
            ["/", "/usr/lib/x.so", "/etc/passwd", "/proc/self/maps", "/home/u/.gitconfig", "/dev/null"]
        {
            assert!(host.reads(path), "{name}: {path}");
        }
        for path in ["/tmp/x", "/dev/null", "/dev/tty", "/dev/shm/x", "/dev/pts/3"] {
            assert!(host.writes(path), "{name}: {path}");
        }
        for path in
            ["/usr/bin/git", "/home/u/.cargo/bin/cargo", "/home/u/project/target/debug/x", "/tmp/a.out"]
        {
            assert!(host.executes(path), "{name}: {path}");
        }
        assert_eq!(host.writes("/etc/passwd"), matches!(*name, "open" | "learn"), "{name}");
        assert!(host.writes("/proc/7/comm"), "{name}");
        for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/power/state"] {
            assert!(!host.writes(path), "{name}: {path}");
        }
    }
}

#[test]
fn workspace_writes_its_folder_and_the_state_of_tools() {
    let host = host("workspace");
    for path in [
        "/home/u/project/src/main.rs",
        "/home/u/project/.git/config",
        "/home/u/project/.git/hooks/pre-commit",
        "/home/u/.claude.json",
        "/home/u/.claude.json.tmp.7",
        "/home/u/.codex/log/x",
        "/home/u/.cache/pip/x",
        "/var/tmp/x",
    ] {
        assert!(host.writes(path), "{path}");
    }
    for path in ["/home/u", "/home/u/x", "/home/u/.bashrc", "/usr/bin/x"] {
        assert!(!host.writes(path), "{path}");
    }
}

#[test]
fn workspace_lets_folders_be_moved_and_removed() {
    let host = host("workspace");
    assert!(host.renames("/home/u/project/old", "/home/u/project/new"));
    assert!(host.renames("/home/u/project/node_modules/.x-1", "/home/u/project/node_modules/x"));
    assert!(host.renames("/home/u/project/.git/hooks", "/home/u/project/x"));
    let target = Target::Path { path: b"/home/u/project/old", access: Access::Write, subtree: true };
    assert!(host.decide(Effect::FsRmdir, target).is_permit());
}

#[test]
fn read_only_writes_nothing_of_the_host() {
    let host = host("read-only");
    for path in ["/home/u/project/x", "/home/u/.cache/x", "/var/tmp/x"] {
        assert!(!host.writes(path), "{path}");
    }
}

#[test]
fn only_open_reaches_the_network_and_only_the_web() {
    for name in PRESETS {
        let host = host(name);
        let connects = |address: &str, transport| {
            let address: SocketAddr = address.parse().unwrap();
            let endpoint = Endpoint { transport, address, in_run: false };
            host.decide(Effect::NetConnect, Target::Endpoint(endpoint)).is_permit()
        };
        let is_open = *name == "open";
        assert_eq!(connects("93.184.216.34:443", Transport::Tcp), is_open);
        assert_eq!(host.decide(Effect::NetDns, Target::Name("example.com")).is_permit(), is_open);
        for address in ["93.184.216.34:22", "169.254.169.254:80", "127.0.0.1:80", "10.0.0.1:443", "[::1]:443"]
        {
            assert!(!connects(address, Transport::Tcp), "{name}: {address}");
        }
        assert!(!connects("93.184.216.34:443", Transport::Udp));
        assert!(!host.decide(Effect::NetConnect, Target::Unix(b"/run/docker.sock")).is_permit());
    }
}
