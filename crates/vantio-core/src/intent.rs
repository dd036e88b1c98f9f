//! What an agent is about to do, in canonical form.

use core::net::SocketAddr;

use crate::{Effect, Labels};

/// An action that has not happened yet.
///
/// Canonicalising is the plane's duty: a path is absolute, resolved through an
/// opened descriptor, without `.`/`..`/empty components; a name is a lower-case
/// A-label sequence without a trailing dot; an IPv4-mapped address is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'a> {
    /// The kind of action.
    pub effect: Effect,
    /// What it acts on.
    pub target: Target<'a>,
    /// What that becomes, where the effect leaves it open.
    pub becomes: Option<Becomes<'a>>,
    /// The thread that asks, as the host numbers it; 0 when unknown.
    pub pid: u32,
    /// The system call behind the intent, when there is one.
    pub syscall: Option<Syscall>,
    /// What is known about the moment.
    pub context: Context,
}

impl<'a> Intent<'a> {
    /// An intent of which nothing more is known.
    pub const fn new(effect: Effect, target: Target<'a>) -> Self {
        let context = Context { labels: Labels::NONE, elapsed_ms: 0, bytes: 0 };
        Self { effect, target, becomes: None, pid: 0, syscall: None, context }
    }
}

/// What a target becomes. No rule reads it: it is written down, and an approval is for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Becomes<'a> {
    /// A file of this many bytes: the rest is cut off, or zeros are added.
    Length(u64),
    /// What has these permission bits; for what is made, with the type bits of `mknod(2)` if it was that, and before
    /// the mask of whoever makes it takes some away.
    Mode(u32),
    /// What belongs to this user and group; `None` for one that stays.
    Owner {
        /// The user.
        user: Option<u32>,
        /// The group.
        group: Option<u32>,
    },
    /// What has these times.
    Times {
        /// Of the last access.
        accessed: Time,
        /// Of the last modification.
        modified: Time,
    },
    /// What has an extended attribute with this value; `None` for no longer.
    Attribute {
        /// Its name, with its namespace.
        name: &'a [u8],
        /// Its value.
        value: Option<&'a [u8]>,
    },
    /// A symbolic link that leads there.
    Link(&'a [u8]),
}

/// One of the times of a file, as `utimensat(2)` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// It stays.
    Kept,
    /// That of the call.
    Now,
    /// Since 1970-01-01 00:00:00 UTC.
    At {
        /// Whole seconds.
        seconds: i64,
        /// What is left, 0 to 999,999,999.
        nanoseconds: i64,
    },
}

/// What the oracle knows about the moment of an intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The taint labels of the process that asks.
    pub labels: Labels,
    /// Milliseconds since the run began, on a clock that never goes back.
    pub elapsed_ms: u64,
    /// Bytes that would be overwritten or sent, where the plane can tell; else 0.
    pub bytes: u64,
}

/// A raw system call: number and six arguments, as the process gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Syscall {
    /// Number in the table of the calling architecture.
    pub number: u32,
    /// The six arguments, before execution.
    pub arguments: [u64; 6],
}

/// What a file is opened for. Writing includes creating and truncating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Content or a listing is read.
    Read,
    /// Content, metadata or an entry is changed.
    Write,
}

/// The object of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// One path. `subtree` holds for a directory that is removed, renamed or
    /// covered, so that everything below it is judged with it.
    Path {
        /// Canonical absolute path.
        path: &'a [u8],
        /// What for.
        access: Access,
        /// Whether the judgement covers everything below.
        subtree: bool,
    },
    /// Two paths: the old and the new name of a rename or hard link.
    Paths {
        /// Canonical absolute path of the existing name.
        from: &'a [u8],
        /// Canonical absolute path of the new name.
        to: &'a [u8],
        /// Whether the judgement covers everything below both.
        subtree: bool,
    },
    /// A network address.
    Endpoint(Endpoint),
    /// A domain name, lower-case A-labels, no trailing dot.
    Name(&'a str),
    /// A host Unix socket by its canonical path.
    Unix(&'a [u8]),
    /// A process, as numbered inside the run (0 for one outside it).
    Process(u32),
    /// A system call that is refused as such, by name.
    Syscall(&'a str),
    /// A tool, model or heap type by name.
    Named(&'a str),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Transmission Control Protocol (RFC 9293).
    Tcp,
    /// User Datagram Protocol (RFC 768).
    Udp,
}

/// Where a connection or datagram would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// TCP or UDP.
    pub transport: Transport,
    /// Destination; IPv4-mapped IPv6 already unmapped.
    pub address: SocketAddr,
    /// True when the destination is the run's own loopback, which reaches
    /// nothing outside the phantom.
    pub in_run: bool,
}
