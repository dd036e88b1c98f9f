//! `socket(2)`, `bind(2)` and `listen(2)`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, PoisonError},
};

use rustix::io::{self, Errno};
use vantio_core::{Channel, Effect, Target, Transport};

use super::{
    BOTH_WAYS, Core,
    address::Address,
    connect::{exchange, local},
    fetch, inside, options, read_address,
    socket::{Facts, Sockets, State, state},
    unix,
};
use crate::{
    census::named,
    supervisor::request::{Reply, Request},
    sys::socket as raw,
};

/// Answers `socket(domain, type, protocol)` for the stream sockets of the internet families:
/// one of TCP is made in the host's namespace, before anybody knows whether it will need to be
/// the run's.
pub(super) fn socket(request: &Request) -> io::Result<Reply> {
    let [domain, kind, protocol] = [0, 1, 2].map(|index| request.int(index));
    let flags = kind & !SOCK_TYPE_MASK;
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::INVAL);
    }
    if kind & SOCK_TYPE_MASK != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
        // Programs try other protocols before TCP, and go on without them.
        return Err(Errno::PROTONOSUPPORT);
    }
    let fd = Sockets::of_host(domain)?;
    if flags & libc::SOCK_NONBLOCK != 0 {
        io::ioctl_fionbio(&fd, true)?;
    }
    Ok(Reply::Inject { fd, close_on_exec: flags & libc::SOCK_CLOEXEC != 0, is_read_only: false })
}

/// Answers `bind(fd, address, length)`.
pub(super) fn bind(core: &Arc<Core>, request: &Request) -> io::Result<Reply> {
    let number = request.int(0);
    let bytes = read_address(request, request.argument(1), request.int(2));
    let file = fetch(request, number)?;
    let facts = core.sockets.facts(file.as_fd())?;
    let bytes = bytes?;
    if !facts.is_tcp() {
        return match Address::parse(&bytes) {
            Address::Path(path) if facts.domain == libc::AF_UNIX => {
                unix::bind(core, request, file.as_fd(), &bytes, &path)
            }
            Address::Abstract(_) | Address::Other
                if facts.domain == libc::AF_UNIX && bytes.get(2) > Some(&0) =>
            {
                Err(Errno::INVAL)
            }
            // A socket of the host that reached the agent by descriptor.
            _ if facts.is_internet() && !facts.in_run => Err(Errno::ACCESS),
            _ if facts.is_internet() => {
                may_bind(core, request, port(&bytes))?;
                let file = core.sockets.in_run(move || raw::bind(file.as_fd(), &bytes).map(|()| file))?;
                joins_bound(core, request, &file, facts)?;
                Ok(Reply::Value(0))
            }
            // Never left to the kernel, which would look at the descriptor again.
            _ => {
                raw::bind(file.as_fd(), &bytes)?;
                joins_bound(core, request, &file, facts)?;
                Ok(Reply::Value(0))
            }
        };
    }
    if state(file.as_fd())? != State::Closed {
        return Err(Errno::INVAL);
    }
    let address = match Address::parse(&bytes) {
        Address::Internet(address) => address,
        // An old way to write the unspecified address; anything else fails below.
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port(&bytes)),
    };
    core.judge.expects(request, Channel::Port(Transport::Tcp, address.port()), BOTH_WAYS)?;
    core.ask(request, Effect::NetBind, inside(address))?;
    may_bind(core, request, address.port())?;
    if facts.in_run {
        core.sockets.in_run(move || raw::bind(file.as_fd(), &bytes))?;
    } else {
        let new = core.sockets.of_run(facts.domain)?;
        options::copy(file.as_fd(), new.as_fd())?;
        // There, for this thread may lack the privilege to bind a low port.
        let new = core.sockets.in_run(move || raw::bind(new.as_fd(), &bytes).map(|()| new))?;
        exchange(request, number, file.as_fd(), new.as_fd())?;
    }
    Ok(Reply::Value(0))
}

/// `EACCES` where the caller may not bind a port, as the kernel has it: what binds for it may.
fn may_bind(core: &Core, request: &Request, port: u16) -> io::Result<()> {
    let is_low = (1..core.privileged_below).contains(&port);
    if is_low && !is_root(request) { Err(Errno::ACCESS) } else { Ok(()) }
}

/// Answers `listen(fd, backlog)`. Never left to the kernel: Landlock does not see a socket
/// that listens without having been bound.
pub(super) fn listen(core: &Core, request: &Request) -> io::Result<Reply> {
    let number = request.int(0);
    let file = fetch(request, number)?;
    let facts = core.sockets.facts(file.as_fd())?;
    if facts.is_tcp() {
        let address = local(file.as_fd()).unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
        core.judge.expects(request, Channel::Port(Transport::Tcp, address.port()), BOTH_WAYS)?;
        core.ask(request, Effect::NetListen, inside(address))?;
    }
    let file = if facts.is_tcp() && !facts.in_run {
        if state(file.as_fd())? != State::Closed {
            return Err(Errno::INVAL);
        }
        let new = core.sockets.of_run(facts.domain)?;
        exchange(request, number, file.as_fd(), new.as_fd())?;
        new
    } else {
        file
    };
    rustix::net::listen(&file, request.int(1))?;
    if facts.is_tcp()
        && let Some(address) = local(file.as_fd())
    {
        // An unbound socket has its port only now.
        core.listened.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port());
        core.judge.joins(request, Channel::Port(Transport::Tcp, address.port()), BOTH_WAYS)?;
    }
    Ok(Reply::Value(0))
}

/// What comes to the name or port that a socket was just given comes to the caller.
fn joins_bound(core: &Core, request: &Request, file: &OwnedFd, facts: Facts) -> io::Result<()> {
    if core.judge.census.is_none() {
        return Ok(());
    }
    let channel = if facts.domain == libc::AF_UNIX {
        let bound = rustix::net::SocketAddrUnix::try_from(rustix::net::getsockname(file)?).ok();
        bound.and_then(|name| Some(named(&[b"\0", name.abstract_name()?].concat())))
    } else {
        local(file.as_fd()).map(|address| Channel::Port(Transport::Udp, address.port()))
    };
    channel.map_or(Ok(()), |channel| core.judge.joins(request, channel, BOTH_WAYS))
}

/// Answers `setsockopt(fd, level, option, value, length)`: a routing header would lead the
/// packets of a permitted connection past an address of the program's choice (RFC 8754).
pub(super) fn set_option(core: &Core, request: &Request) -> io::Result<Reply> {
    let [level, option] = [1, 2].map(|index| request.int(index));
    if level == libc::IPPROTO_IPV6 && matches!(option, libc::IPV6_RTHDR | IPV6_2292PKTOPTIONS) {
        let _ = core.ask(request, Effect::ProcSyscall, Target::Syscall("setsockopt of a routing header"));
        return Err(Errno::PERM);
    }
    // A source route does the same (RFC 791).
    if level == libc::IPPROTO_IP && option == libc::IP_OPTIONS {
        let _ = core.ask(request, Effect::ProcSyscall, Target::Syscall("setsockopt of a source route"));
        return Err(Errno::PERM);
    }
    Ok(Reply::Continue)
}

/// The first port that an unprivileged program of this host may bind.
pub(super) fn privileged_below() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn is_root(request: &Request) -> bool {
    // Real, effective, saved and file user.
    let users = request.status_field("Uid:");
    users.is_some_and(|users| users.split_whitespace().nth(1) == Some("0"))
}

fn port(bytes: &[u8]) -> u16 {
    bytes.get(2..4).and_then(|port| port.first_chunk()).map_or(0, |port| u16::from_be_bytes(*port))
}

const SOCK_TYPE_MASK: i32 = 0xf;
// include/uapi/linux/in6.h
const IPV6_2292PKTOPTIONS: i32 = 6;
