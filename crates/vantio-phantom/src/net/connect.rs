//! `connect(2)`.
//!
//! Nothing here lets the kernel read the address a second time: every socket is connected
//! by the supervisor, through the caller's own open file.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, fstat, openat, readlinkat},
    io::{self, Errno},
};
use vantio_core::{Channel, Effect, Transport};

use super::{
    BOTH_WAYS, Core,
    address::{Address, encode, is_loopback},
    fetch, inside, inventory, options, outside, read_address,
    socket::{Facts, Sockets, State, state},
    unix,
};
use crate::{
    supervisor::request::{Reply, Request},
    sys::socket as raw,
};

/// Answers `connect(fd, address, length)`.
pub(super) fn connect(core: &Arc<Core>, request: &Request) -> io::Result<Reply> {
    let number = request.int(0);
    let bytes = read_address(request, request.argument(1), request.int(2));
    let file = fetch(request, number)?;
    let facts = core.sockets.facts(file.as_fd())?;
    let call = Call { number, bytes: bytes?, file, facts };
    match facts.domain {
        _ if facts.is_tcp() => core.later(request, move |core, request| call.connect_tcp(core, request)),
        libc::AF_INET | libc::AF_INET6 => call.connect_datagrams(core, request),
        libc::AF_UNIX => unix::connect(core, request, call.file, call.bytes),
        libc::AF_NETLINK => call.connect_netlink(),
        _ => Err(Errno::ACCESS),
    }
}

/// How a call that was interrupted ends: it starts again after a handler that wants this,
/// as the kernel has it for sockets without a timeout.
pub(super) fn interruption(request: &Request, file: BorrowedFd<'_>) -> Errno {
    let mut timeout = [0; 16];
    let has_timeout = match raw::option(file, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &mut timeout) {
        Ok(_) => timeout != [0; 16],
        Err(_) => true,
    };
    // The kernel hands a process's signal to its first thread unless that one blocks it. Of
    // another thread it is not known whether it will ever look, and without a signal to handle
    // the number would reach the program.
    let takes_signal = request.process().is_ok_and(|process| process == request.tid());
    if takes_signal && !has_timeout { raw::RESTART } else { Errno::INTR }
}

struct Call {
    number: i32,
    bytes: Vec<u8>,
    file: OwnedFd,
    facts: Facts,
}

impl Call {
    fn connect_tcp(self, core: &Core, request: &Request) -> io::Result<Reply> {
        let exchanged = match Address::parse(&self.bytes) {
            Address::Internet(address) => self.judge(core, request, address)?,
            // INVARIANT: no TCP socket connects to anything else; the kernel says why.
            _ => None,
        };
        let file = exchanged.as_ref().unwrap_or(&self.file);
        core.block(request, file.as_fd(), || raw::connect(file.as_fd(), &self.bytes).map(|()| 0))
    }

    /// Asks whether the connection may be made; returns the socket that makes it, if it is
    /// not the one that the caller had.
    fn judge(&self, core: &Core, request: &Request, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
        let state = state(self.file.as_fd())?;
        match state {
            // The first call after a connection was made in the background returns 0.
            State::Connected if peer(self.file.as_fd()) == Some(address) => return Ok(None),
            State::Connected | State::Listens => return Err(Errno::ISCONN),
            State::Closed | State::Connects => {}
        }
        let goes_inside = is_of_run(core, request, address);
        let channel = if goes_inside {
            Channel::Port(Transport::Tcp, address.port())
        } else {
            Channel::Peer(Transport::Tcp, address)
        };
        core.judge.expects(request, channel.clone(), BOTH_WAYS)?;
        if goes_inside {
            core.ask(request, Effect::NetConnect, inside(address))?;
        } else {
            core.resolver.refresh(address.ip());
            let _renewal = core.resolver.hold();
            core.ask(request, Effect::NetConnect, outside(Transport::Tcp, address))?;
        }
        let leads_out = |file: BorrowedFd<'_>| {
            if !goes_inside {
                core.judge.leads(file, channel.clone());
            }
        };
        leads_out(self.file.as_fd());
        match (state, self.facts.in_run) {
            (_, in_run) if in_run == goes_inside => Ok(None),
            (State::Connects, _) => Err(Errno::ALREADY),
            (_, true) => {
                let new = self.leave_run(request)?;
                leads_out(new.as_fd());
                Ok(Some(new))
            }
            (_, false) => {
                let new = core.sockets.of_run(self.facts.domain)?;
                exchange(request, self.number, self.file.as_fd(), new.as_fd())?;
                Ok(Some(new))
            }
        }
    }

    /// Exchanges a socket of the run, to which the program gave a local address before it
    /// connects to the outside, for one of the host.
    fn leave_run(&self, request: &Request) -> io::Result<OwnedFd> {
        let new = Sockets::of_host(self.facts.domain)?;
        options::copy(self.file.as_fd(), new.as_fd())?;
        if let Some(local) = local(self.file.as_fd())
            && local.port() != 0
        {
            let bound = raw::bind(new.as_fd(), &in_domain(self.facts.domain, local));
            // A mere port is a wish; an address that the host does not have is an error.
            if !local.ip().is_unspecified() {
                bound?;
            }
        }
        exchange(request, self.number, self.file.as_fd(), new.as_fd())?;
        Ok(new)
    }

    /// Sends nothing, so there is nothing to judge: what the socket sends later ends in the
    /// run's namespace.
    fn connect_datagrams(self, core: &Core, request: &Request) -> io::Result<Reply> {
        if !self.facts.in_run {
            return Err(Errno::ACCESS);
        }
        if let Address::Internet(address) = Address::parse(&self.bytes)
            && may_stay(address.ip())
        {
            core.judge.joins(request, Channel::Port(Transport::Udp, address.port()), BOTH_WAYS)?;
        }
        raw::connect(self.file.as_fd(), &self.bytes)?;
        Ok(Reply::Value(0))
    }

    /// Only towards the kernel, as for any program without privilege.
    fn connect_netlink(self) -> io::Result<Reply> {
        // struct sockaddr_nl: family, padding, port, groups.
        if self.bytes.get(4..12).is_some_and(|peer| peer != [0; 8]) {
            return Err(Errno::PERM);
        }
        raw::connect(self.file.as_fd(), &self.bytes)?;
        Ok(Reply::Value(0))
    }
}

/// Whether `address` is the run's own: its loopback, unless a rule opens that port of the
/// host and the run does not listen there itself; its dummy addresses; its resolver.
pub(super) fn is_of_run(core: &Core, request: &Request, address: SocketAddr) -> bool {
    let target = outside(Transport::Tcp, address);
    if is_loopback(address.ip()) {
        !core.would_permit(request, target) || inventory::run_listens(core, address)
    } else if DUMMIES.contains(&address.ip()) {
        true
    } else {
        address.port() == DNS && !core.would_permit(request, target)
    }
}

/// Whether a datagram sent there may reach a socket of the run: at its own addresses, or one of many that listen.
pub(crate) fn may_stay(ip: IpAddr) -> bool {
    let is_broadcast = match ip {
        // Of the run's own networks, or of all.
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets().starts_with(&[10, 255, 255]),
        IpAddr::V6(_) => false,
    };
    is_loopback(ip) || DUMMIES.contains(&ip) || ip.is_multicast() || is_broadcast
}

/// Puts `new`, with the options of `old`, in place of every descriptor of the caller's
/// process that refers to `old`.
pub(super) fn exchange(
    request: &Request,
    number: i32,
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
) -> io::Result<()> {
    options::copy(old, new)?;
    let link = format!("socket:[{}]", fstat(old)?.st_ino);
    let directory = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(request.proc(), format!("{}/{name}", request.tid().as_raw_pid()), flags, Mode::empty())
    };
    let (descriptors, information) = (directory("fd")?, directory("fdinfo")?);
    let mut is_exchanged = false;
    for entry in rustix::fs::Dir::read_from(&descriptors)? {
        let entry = entry?;
        let Some(found) = entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let target = readlinkat(&descriptors, entry.file_name(), Vec::new());
        if target.is_ok_and(|target| target.to_bytes() == link.as_bytes()) {
            request.replace(new, found, closes_on_exec(information.as_fd(), found))?;
            is_exchanged |= found == number;
        }
    }
    // Another thread closed it meanwhile.
    if is_exchanged { Ok(()) } else { Err(Errno::BADF) }
}

fn closes_on_exec(information: BorrowedFd<'_>, number: i32) -> bool {
    let file = openat(information, number.to_string(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let text = file.map(|file| std::io::read_to_string(std::fs::File::from(file)));
    let Ok(Ok(text)) = text else { return true };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_CLOEXEC as u32 != 0)
}

pub(super) fn local(file: BorrowedFd<'_>) -> Option<SocketAddr> {
    Some(canonical(rustix::net::getsockname(file).ok()?.try_into().ok()?))
}

fn peer(file: BorrowedFd<'_>) -> Option<SocketAddr> {
    Some(canonical(rustix::net::getpeername(file).ok()??.try_into().ok()?))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => (v4, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// The bytes of `address` for a socket of `domain`.
fn in_domain(domain: i32, address: SocketAddr) -> Vec<u8> {
    match address {
        SocketAddr::V4(v4) if domain == libc::AF_INET6 => {
            encode(SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()))
        }
        other => encode(other),
    }
}

/// The addresses that the run's namespace has so that it looks connected.
pub(crate) const DUMMIES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 255, 255, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x7661, 0x6e74, 0, 0, 0, 0, 1)),
];
pub(super) const DNS: u16 = 53;
