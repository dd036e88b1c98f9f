//! How a label came to where it is.

use alloc::{format, string::String, vec::Vec};

use vantio_core::{Effect, Transport};

use super::channel::Channel;

/// One step of a label's way, from its source on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A source gave it.
    Source {
        /// By what: an open, a connect, a program's start.
        effect: Effect,
        /// Of what: a path, an address, a name.
        target: Vec<u8>,
        /// To which process.
        pid: u32,
        /// Which program that was, by its path.
        program: Vec<u8>,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// It went through a channel.
    Through(Channel),
    /// It reached a process, through a channel or from its parent.
    Process {
        /// Which.
        pid: u32,
        /// Its program, by its path.
        program: Vec<u8>,
    },
    /// It was given to a process of which nobody knows where it comes from.
    Orphan {
        /// Which.
        pid: u32,
        /// Its program, by its path.
        program: Vec<u8>,
    },
}

/// The steps in one line: ``read `~/.aws/credentials` by `cat` (pid 41) at 12:03:07 → pipe → `curl` (pid 42)``.
/// `home` is written as `~`; `clock` writes a time in milliseconds since the Unix epoch.
pub fn describe(steps: &[Step], home: &[u8], clock: impl Fn(u64) -> String) -> String {
    let texts: Vec<String> = steps.iter().map(|step| step_text(step, home, &clock)).collect();
    texts.join(" → ")
}

fn step_text(step: &Step, home: &[u8], clock: &impl Fn(u64) -> String) -> String {
    match step {
        Step::Source { effect, target, pid, program, at_ms } => {
            let target = match effect {
                Effect::FsOpen => format!("read {}", path_text(target, home)),
                Effect::NetConnect => format!("received from {}", escaped(target)),
                Effect::ProcExec => format!("executed {}", path_text(target, home)),
                other => format!("{other} `{}`", escaped(target)),
            };
            format!("{target} by {} at {}", process_text(*pid, program), clock(*at_ms))
        }
        Step::Through(channel) => channel_text(channel, home),
        Step::Process { pid, program } => process_text(*pid, program),
        Step::Orphan { pid, program } => {
            format!("{}, whose parent is not known", process_text(*pid, program))
        }
    }
}

fn process_text(pid: u32, program: &[u8]) -> String {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if name.is_empty() { format!("pid {pid}") } else { format!("`{}` (pid {pid})", escaped(name)) }
}

pub(super) fn channel_text(channel: &Channel, home: &[u8]) -> String {
    match channel {
        Channel::Path(path) => path_text(path, home),
        Channel::Pipe(_) => "pipe".into(),
        Channel::Socket(_) => "socket".into(),
        Channel::SocketPairs => "socket pair".into(),
        Channel::Named(name) => match name.strip_prefix(b"\0") {
            Some(name) => format!("socket `@{}`", escaped(name)),
            None => format!("socket {}", path_text(name, home)),
        },
        Channel::Port(Transport::Tcp, port) => format!("port {port} of the run"),
        Channel::Port(Transport::Udp, port) => format!("udp port {port} of the run"),
        Channel::Peer(Transport::Tcp, address) => format!("{address}"),
        Channel::Peer(Transport::Udp, address) => format!("udp://{address}"),
        Channel::HostSocket(path) => format!("host socket {}", path_text(path, home)),
        Channel::Terminals => "terminal".into(),
        Channel::SystemV => "System V object".into(),
        Channel::Memory(_) => "nameless file".into(),
        Channel::Inside(_) => "process memory".into(),
        Channel::InFlight => "handed-on descriptor".into(),
    }
}

fn path_text(path: &[u8], home: &[u8]) -> String {
    let home = home.strip_suffix(b"/").unwrap_or(home);
    let below = path.strip_prefix(home).filter(|rest| !home.is_empty() && rest.starts_with(b"/"));
    match below {
        Some(rest) => format!("`~{}`", escaped(rest)),
        None => format!("`{}`", escaped(path)),
    }
}

/// Bytes as one line of text.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
