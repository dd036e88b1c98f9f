//! Targets read back from the ledger: the inverse of [`target`](super::describe::target).

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::{Access, Endpoint, Target, Transport, json::Value};

use super::describe;

/// A target that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restated {
    Path { path: Vec<u8>, access: Access, subtree: bool },
    Paths { from: Vec<u8>, to: Vec<u8>, subtree: bool },
    Endpoint(Endpoint),
    Name(String),
    Unix(Vec<u8>),
    Process(u32),
    Syscall(String),
    Named(String),
}

impl Restated {
    /// The target of a request; `None` for what has none. No verdict depends on what it becomes.
    pub fn of(request: &Value) -> Option<Self> {
        let Value::Object(members) = request else { return None };
        let members = members.iter().map(|(key, value)| (key.0.as_str(), value));
        let members: Vec<_> = members.filter(|(key, _)| *key != describe::BECOMES).collect();
        let restated = match *members.as_slice() {
            [("access", Value::String(access)), ("path", path), ("subtree", Value::Bool(subtree))] => {
                Self::Path { path: bytes(path)?, access: self::access(access)?, subtree: *subtree }
            }
            [("from", from), ("subtree", Value::Bool(subtree)), ("to", to)] => {
                Self::Paths { from: bytes(from)?, to: bytes(to)?, subtree: *subtree }
            }
            [
                ("address", Value::String(address)),
                ("in_run", Value::Bool(in_run)),
                ("transport", Value::String(transport)),
            ] => Self::Endpoint(Endpoint {
                transport: self::transport(transport)?,
                address: address.parse::<SocketAddr>().ok()?,
                in_run: *in_run,
            }),
            [("name", Value::String(name))] => Self::Name(name.clone()),
            [("unix", path)] => Self::Unix(bytes(path)?),
            [("process", Value::Integer(pid))] => Self::Process(u32::try_from(*pid).ok()?),
            [("syscall", Value::String(name))] => Self::Syscall(name.clone()),
            [("named", Value::String(name))] => Self::Named(name.clone()),
            _ => return None,
        };
        // Whatever has another spelling was not written by the oracle.
        let Value::Object(written) = describe::target(&restated.target()) else { return None };
        let written = written.iter().map(|(key, value)| (key.0.as_str(), value));
        written.eq(members).then_some(restated)
    }

    /// The target itself.
    pub fn target(&self) -> Target<'_> {
        match self {
            Self::Path { path, access, subtree } => Target::Path { path, access: *access, subtree: *subtree },
            Self::Paths { from, to, subtree } => Target::Paths { from, to, subtree: *subtree },
            Self::Endpoint(endpoint) => Target::Endpoint(*endpoint),
            Self::Name(name) => Target::Name(name),
            Self::Unix(path) => Target::Unix(path),
            Self::Process(pid) => Target::Process(*pid),
            Self::Syscall(name) => Target::Syscall(name),
            Self::Named(name) => Target::Named(name),
        }
    }
}

fn access(name: &str) -> Option<Access> {
    [Access::Read, Access::Write].into_iter().find(|access| describe::access_name(*access) == name)
}

fn transport(name: &str) -> Option<Transport> {
    let known = [Transport::Tcp, Transport::Udp];
    known.into_iter().find(|transport| describe::transport_name(*transport) == name)
}

/// Text, or bytes that are none: the inverse of [`describe::bytes`].
pub fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        object => STANDARD.decode(object.text("base64")?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vantio_core::{Becomes, Effect, Intent};

    use super::*;

    fn path() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["(/[a-z.é\"\\\\\\n]{1,8}){0,4}".prop_map(String::into_bytes), any::<Vec<u8>>()]
    }

    fn restated() -> impl Strategy<Value = Restated> {
        let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
        let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
        let endpoint = (transport, any::<SocketAddr>(), any::<bool>());
        prop_oneof![
            (path(), access, any::<bool>()).prop_map(|(path, access, subtree)| Restated::Path {
                path,
                access,
                subtree
            }),
            (path(), path(), any::<bool>()).prop_map(|(from, to, subtree)| Restated::Paths {
                from,
                to,
                subtree
            }),
            endpoint.prop_map(|(transport, address, in_run)| {
                // Neither is part of what a policy judges, nor of the text of every address.
                let address = SocketAddr::new(address.ip(), address.port());
                Restated::Endpoint(Endpoint { transport, address, in_run })
            }),
            any::<String>().prop_map(Restated::Name),
            path().prop_map(Restated::Unix),
            any::<u32>().prop_map(Restated::Process),
            any::<String>().prop_map(Restated::Syscall),
            any::<String>().prop_map(Restated::Named),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_down_is_read_back(restated in restated(), mode in any::<Option<u32>>()) {
            let becomes = mode.map(Becomes::Mode);
            let intent = Intent { becomes, ..Intent::new(Effect::FsOpen, restated.target()) };
            prop_assert_eq!(Restated::of(&describe::request(&intent)), Some(restated.clone()));
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_target() {
        let text = |text: &str| Value::from(text);
        let encoded = |text: &str| Value::object([("base64", Value::from(text))]);
        let unix = |path| Value::object([("unix", path)]);
        assert_eq!(Restated::of(&unix(encoded("/w=="))), Some(Restated::Unix(vec![0xff])));
        let others = [
            Value::Null,
            Value::object::<&str>([]),
            unix(encoded("L3c=")),
            unix(encoded("?")),
            Value::object([("process", Value::Integer(-1))]),
            Value::object([("name", text("a")), ("unix", text("/a"))]),
            Value::object([("access", text("run")), ("path", text("/")), ("subtree", false.into())]),
            Value::object([
                ("address", text("[0::1]:1")),
                ("in_run", false.into()),
                ("transport", text("tcp")),
            ]),
        ];
        for other in others {
            assert_eq!(Restated::of(&other), None, "{}", other.to_canonical());
        }
    }
}
