//! Intents that own what they are about.

use std::net::{IpAddr, SocketAddr};

use vantio_core::{Access, Context, Effect, Endpoint, Intent, Target, Transport};

/// An intent with its own texts.
#[derive(Clone, Debug)]
pub struct Question {
    pub effect: Effect,
    pub aim: Aim,
    pub context: Context,
}

/// A target with its own texts.
#[derive(Clone, Debug)]
pub enum Aim {
    Path { path: Vec<u8>, access: Access, subtree: bool },
    Paths { from: Vec<u8>, to: Vec<u8>, subtree: bool },
    Endpoint { is_udp: bool, address: IpAddr, port: u16, in_run: bool },
    Name(String),
    Unix(Vec<u8>),
    Process(u32),
    Syscall,
    Named(String),
}

impl Question {
    pub fn intent(&self) -> Intent<'_> {
        let target = match &self.aim {
            Aim::Path { path, access, subtree } => Target::Path { path, access: *access, subtree: *subtree },
            Aim::Paths { from, to, subtree } => Target::Paths { from, to, subtree: *subtree },
            Aim::Endpoint { is_udp, address, port, in_run } => Target::Endpoint(Endpoint {
                transport: if *is_udp { Transport::Udp } else { Transport::Tcp },
                address: SocketAddr::new(*address, *port),
                in_run: *in_run,
            }),
            Aim::Name(name) => Target::Name(name),
            Aim::Unix(path) => Target::Unix(path),
            Aim::Process(number) => Target::Process(*number),
            Aim::Syscall => Target::Syscall("ptrace"),
            Aim::Named(name) => Target::Named(name),
        };
        Intent { context: self.context, ..Intent::new(self.effect, target) }
    }
}
