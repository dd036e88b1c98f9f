//! `sendto(2)`, `sendmsg(2)` and `sendmmsg(2)` with a destination.
//!
//! What is permitted is sent by the kernel: a datagram ends in the run's namespace, at the
//! relay, whatever destination the kernel reads. Only what goes to a local socket of the host
//! is sent from here.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::io::{self, Errno};
use vantio_core::{Channel, Effect, Transport};

use super::{
    Core, OUTWARDS,
    address::{Address, LENGTH_MAX, is_loopback},
    connect::{DNS, DUMMIES, may_stay},
    fetch, outside, read_address, unix,
};
use crate::{
    census::named,
    supervisor::request::{Reply, Request},
    sys::socket as raw,
};

/// Answers `sendto(fd, payload, length, flags, address, address_length)`.
pub(super) fn sendto(core: &Arc<Core>, request: &Request) -> io::Result<Reply> {
    let name = read_address(request, request.argument(4), request.int(5))?;
    let payload = Payload::Plain { pointer: request.argument(1), length: request.argument(2) };
    let sender = Sender::of(core, request)?;
    match sender.judge(core, request, &name)? {
        Way::Native => Ok(Reply::Continue),
        Way::Host(peer) => sender.deliver(core, request, peer, &payload, request.int(3)),
    }
}

/// Answers `sendmsg(fd, message, flags)`.
pub(super) fn sendmsg(core: &Arc<Core>, request: &Request) -> io::Result<Reply> {
    let header = Header::read(request, request.argument(1))?;
    let Some(name) = header.name(request)? else { return Ok(Reply::Continue) };
    let sender = Sender::of(core, request)?;
    match sender.judge(core, request, &name)? {
        Way::Native => Ok(Reply::Continue),
        Way::Host(peer) => sender.deliver(core, request, peer, &header.payload, request.int(2)),
    }
}

/// Answers `sendmmsg(fd, messages, count, flags)`: all are permitted, or none is sent.
pub(super) fn sendmmsg(core: &Arc<Core>, request: &Request) -> io::Result<Reply> {
    let count = u64::from(request.int(2) as u32).min(VECTOR_MAX);
    let mut sender = None;
    for index in 0..count {
        let address = request.argument(1).checked_add(index * MULTIPLE_HEADER).ok_or(Errno::FAULT)?;
        // The kernel sends what comes before a header that cannot be read.
        let Ok(header) = Header::read(request, address) else { break };
        let Ok(Some(name)) = header.name(request) else { continue };
        let sender = match &sender {
            Some(sender) => sender,
            None => sender.insert(Sender::of(core, request)?),
        };
        match sender.judge(core, request, &name)? {
            Way::Native => {}
            Way::Host(_) => return Err(Errno::ACCESS),
        }
    }
    Ok(Reply::Continue)
}

/// How a permitted message gets to its destination.
enum Way {
    Native,
    Host(unix::Peer),
}

struct Sender {
    file: OwnedFd,
    is_datagram: bool,
    is_local: bool,
}

impl Sender {
    fn of(core: &Core, request: &Request) -> io::Result<Self> {
        let file = fetch(request, request.int(0))?;
        let facts = core.sockets.facts(file.as_fd())?;
        let is_datagram = facts.kind == libc::SOCK_DGRAM;
        // A socket of the host that reached the agent by descriptor would send past the relay.
        if facts.is_internet() && is_datagram && !facts.in_run {
            return Err(Errno::ACCESS);
        }
        Ok(Self { file, is_datagram, is_local: facts.domain == libc::AF_UNIX })
    }

    fn judge(&self, core: &Core, request: &Request, name: &[u8]) -> io::Result<Way> {
        match Address::parse(name) {
            // A connection has its peer already; the kernel says so.
            _ if !self.is_datagram => {}
            Address::Path(path) if self.is_local => {
                return Ok(match unix::peer(core, request, &path)? {
                    unix::Peer::OfRun(_, name) => {
                        core.judge.joins(request, named(&name), OUTWARDS)?;
                        Way::Native
                    }
                    host @ unix::Peer::OfHost(_) => Way::Host(host),
                });
            }
            Address::Abstract(name) if self.is_local => {
                unix::check_abstract(core, request, &name)?;
                core.judge.joins(request, named(&[b"\0", name.as_slice()].concat()), OUTWARDS)?;
            }
            Address::Internet(address) if !self.is_local => {
                if !stays_inside(address) {
                    core.ask(request, Effect::NetConnect, outside(Transport::Udp, address))?;
                }
                if may_stay(address.ip()) {
                    core.judge.joins(request, Channel::Port(Transport::Udp, address.port()), OUTWARDS)?;
                }
            }
            _ => {}
        }
        Ok(Way::Native)
    }

    /// Sends one message to a socket of the host. Descriptors and credentials do not travel.
    fn deliver(
        self,
        core: &Arc<Core>,
        request: &Request,
        peer: unix::Peer,
        payload: &Payload,
        flags: i32,
    ) -> io::Result<Reply> {
        let bytes = payload.read(request)?;
        core.later(request, move |core, request| {
            let socket = peer.open()?;
            let name = unix::name_of(socket.as_fd())?;
            let flags = flags & libc::MSG_DONTWAIT;
            core.block(request, self.file.as_fd(), || {
                raw::send(self.file.as_fd(), &bytes, &name, &[], flags).map(|count| count as i64)
            })
        })
    }
}

/// Whether a datagram needs no rule: to the run's loopback and addresses, and to any name
/// server, in whose place the run's resolver answers.
fn stays_inside(address: SocketAddr) -> bool {
    is_loopback(address.ip()) || DUMMIES.contains(&address.ip()) || address.port() == DNS
}

/// What a message carries.
enum Payload {
    /// One buffer.
    Plain { pointer: u64, length: u64 },
    /// `struct iovec`s.
    Vector { pointer: u64, count: u64 },
    /// Control messages come with it.
    WithControl,
}

impl Payload {
    fn read(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match *self {
            Self::Plain { pointer, length } => append(request, &mut bytes, pointer, length)?,
            Self::Vector { pointer, count } => {
                if count > VECTOR_MAX {
                    return Err(Errno::MSGSIZE);
                }
                for index in 0..count {
                    let mut part = [0; 16];
                    request.read(pointer.checked_add(index * 16).ok_or(Errno::FAULT)?, &mut part)?;
                    append(request, &mut bytes, word(&part, 0), word(&part, 8))?;
                }
            }
            Self::WithControl => return Err(Errno::ACCESS),
        }
        Ok(bytes)
    }
}

fn append(request: &Request, bytes: &mut Vec<u8>, pointer: u64, length: u64) -> io::Result<()> {
    let start = bytes.len();
    let length = usize::try_from(length).map_err(|_| Errno::MSGSIZE)?;
    if length > PAYLOAD_MAX - start {
        return Err(Errno::MSGSIZE);
    }
    bytes.resize(start + length, 0);
    if length == 0 { Ok(()) } else { request.read(pointer, &mut bytes[start..]) }
}

/// The part of a `struct msghdr` that matters here.
struct Header {
    name: u64,
    name_length: i32,
    payload: Payload,
}

impl Header {
    fn read(request: &Request, address: u64) -> io::Result<Self> {
        let mut bytes = [0; 56];
        request.read(address, &mut bytes)?;
        let payload = match word(&bytes, 32) {
            0 => Payload::Vector { pointer: word(&bytes, 16), count: word(&bytes, 24) },
            _ => Payload::WithControl,
        };
        Ok(Self { name: word(&bytes, 0), name_length: word(&bytes, 8) as i32, payload })
    }

    /// The destination; the kernel reads no more of it than an address can have.
    fn name(&self, request: &Request) -> io::Result<Option<Vec<u8>>> {
        if self.name == 0 || self.name_length == 0 {
            return Ok(None);
        }
        read_address(request, self.name, self.name_length.min(LENGTH_MAX as i32)).map(Some)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word))
}

/// `UIO_MAXIOV`
const VECTOR_MAX: u64 = 1024;
/// `sizeof(struct mmsghdr)`
const MULTIPLE_HEADER: u64 = 64;
/// More than a local socket takes in one message by default.
const PAYLOAD_MAX: usize = 256 * 1024;
