//! Why a rule does not match.

use alloc::string::String;
use core::fmt;

/// Why a rule does not match, and how near it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// What is in the way.
    pub reason: Reason,
    /// How much of the rule fits, to put the nearest first.
    pub nearness: u32,
}

/// What is in the way of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This component of the path, from 1, is another one.
    Component {
        /// Its place in the path.
        number: usize,
        /// What the path has there.
        found: String,
        /// What the rule has there.
        expected: String,
    },
    /// The rule is about something below the path.
    Above,
    /// The rule ends in `**`: it covers what is below, not the folder itself.
    OnlyBelow,
    /// The rule ends in a wildcard, and so covers only the entries that match it.
    EntriesOnly,
    /// The rule covers the path, not everything below it.
    NotBelow,
    /// A variable of the rule has no value.
    Unbound(&'static str),
    /// A bare program name that `PATH` does not have.
    NotInPath,
    /// A bare program name that stands for another path.
    OtherProgram(String),
    /// Another name.
    OtherName,
    /// The rule covers its name alone, and this one is below it.
    OnlyItself,
    /// The rule is about names below its own.
    NotBelowName,
    /// No name is known to lead to the address, and the rule is about names.
    NoName,
    /// The address lies outside of the rule's block.
    OutsideBlock,
    /// The rule is about names or addresses, and the target is neither of it.
    OtherKind,
    /// The port is none of the rule's.
    Port {
        /// The target's.
        port: u16,
        /// The rule's.
        ports: String,
    },
    /// The rule is about certain ports only; a name is refused by a rule for all ports.
    SomePorts,
    /// Only `udp://` rules are about datagrams.
    NotUdp,
    /// A `udp://` rule is about datagrams only.
    OnlyUdp,
    /// A name that leads to such an address is not enough.
    Reserved(&'static str),
    /// A guard whose condition does not hold.
    Inactive(&'static str),
}

impl Miss {
    pub(crate) const fn new(reason: Reason, nearness: u32) -> Self {
        Self { reason, nearness }
    }

    /// The nearer of two.
    pub(crate) fn nearer(self, other: Self) -> Self {
        if other.nearness > self.nearness { other } else { self }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(formatter)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component { number, found, expected } => {
                write!(formatter, "component {number} is `{found}`, not `{expected}`")
            }
            Self::Above => formatter.write_str("it is about something below"),
            Self::OnlyBelow => formatter.write_str("`/**` covers only what is below"),
            Self::EntriesOnly => {
                formatter.write_str("a final wildcard covers the entries that match, not what is below them")
            }
            Self::NotBelow => formatter.write_str("it covers the entry, not everything below it"),
            Self::Unbound(variable) => write!(formatter, "`{variable}` has no value here"),
            Self::NotInPath => formatter.write_str("PATH has no program of that name"),
            Self::OtherProgram(path) => write!(formatter, "it stands for {path}"),
            Self::OtherName => formatter.write_str("it is another name"),
            Self::OnlyItself => formatter.write_str("it covers that name alone, not names below it"),
            Self::NotBelowName => formatter.write_str("it covers names below its own"),
            Self::NoName => formatter.write_str("no permitted name is known to lead to this address"),
            Self::OutsideBlock => formatter.write_str("the address is outside of it"),
            Self::OtherKind => formatter.write_str("it is about other targets"),
            Self::Port { port, ports } => write!(formatter, "port {port} is not among {ports}"),
            Self::SomePorts => formatter.write_str("it is about some ports only, and a name has none"),
            Self::NotUdp => formatter.write_str("datagrams need a `udp://` rule"),
            Self::OnlyUdp => formatter.write_str("it is about datagrams"),
            Self::Reserved(what) => write!(formatter, "a name does not open {what}"),
            Self::Inactive(why) => formatter.write_str(why),
        }
    }
}
