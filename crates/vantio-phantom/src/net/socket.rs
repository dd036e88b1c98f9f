//! What kind of socket a descriptor is, and TCP sockets of either namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::{self, Errno},
    net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with},
};

use super::thread::Room;
use crate::sys::{
    process,
    socket::{option, set_option},
};

/// What the kernel says a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `AF_*`
    pub(crate) domain: i32,
    /// `SOCK_*`
    pub(crate) kind: i32,
    protocol: i32,
    /// Whether it belongs to the run's network namespace.
    pub(crate) in_run: bool,
}

impl Facts {
    /// Whether it is a TCP socket.
    pub(crate) fn is_tcp(self) -> bool {
        self.is_internet() && self.kind == libc::SOCK_STREAM && self.protocol == libc::IPPROTO_TCP
    }

    /// Whether it speaks IPv4 or IPv6.
    pub(crate) fn is_internet(self) -> bool {
        matches!(self.domain, libc::AF_INET | libc::AF_INET6)
    }
}

/// A state of the TCP connection behind a socket (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Neither connected nor listening.
    Closed,
    /// Waits for connections.
    Listens,
    /// A connection is being made.
    Connects,
    /// Connected, or on the way back.
    Connected,
}

/// The state of a TCP socket.
pub(crate) fn state(fd: BorrowedFd<'_>) -> io::Result<State> {
    let mut info = [0];
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    Ok(match info {
        [2] => State::Connects,
        [7] => State::Closed,
        [10] => State::Listens,
        _ => State::Connected,
    })
}

/// Makes sockets of the host's network namespace and of the run's, and tells them apart.
pub(crate) struct Sockets {
    room: Room,
    cookie: u64,
}

impl Sockets {
    /// Starts a thread in `network`, the run's namespace.
    pub(crate) fn start(network: OwnedFd) -> std::io::Result<Self> {
        let room = Room::open("net-run", move || process::enter(network.as_fd(), libc::CLONE_NEWNET))?;
        let probe = room.call(|| tcp(AddressFamily::INET))?;
        let cookie = cookie(probe.as_fd())?;
        if cookie == self::cookie(tcp(AddressFamily::INET)?.as_fd())? {
            return Err(std::io::Error::other("the run shares the host's network namespace"));
        }
        Ok(Self { room, cookie })
    }

    /// Does `work` in the run's network namespace.
    pub(crate) fn in_run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.room.call(work)
    }

    /// Looks at a descriptor; `ENOTSOCK` for anything else.
    pub(crate) fn facts(&self, fd: BorrowedFd<'_>) -> io::Result<Facts> {
        Ok(Facts {
            domain: int(fd, libc::SO_DOMAIN)?,
            kind: int(fd, libc::SO_TYPE)?,
            protocol: int(fd, libc::SO_PROTOCOL)?,
            in_run: cookie(fd)? == self.cookie,
        })
    }

    /// A TCP socket of the host's namespace.
    pub(crate) fn of_host(domain: i32) -> io::Result<OwnedFd> {
        tcp(family(domain)?)
    }

    /// A TCP socket of the run's namespace.
    pub(crate) fn of_run(&self, domain: i32) -> io::Result<OwnedFd> {
        let family = family(domain)?;
        self.room.call(move || tcp(family))
    }
}

/// Sets an option whose value is an `int`.
pub(crate) fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option(fd, level, name, &value.to_ne_bytes())
}

fn tcp(family: AddressFamily) -> io::Result<OwnedFd> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))
}

fn family(domain: i32) -> io::Result<AddressFamily> {
    match domain {
        libc::AF_INET => Ok(AddressFamily::INET),
        libc::AF_INET6 => Ok(AddressFamily::INET6),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

fn int(fd: BorrowedFd<'_>, name: i32) -> io::Result<i32> {
    let mut value = [0; 4];
    option(fd, libc::SOL_SOCKET, name, &mut value)?;
    Ok(i32::from_ne_bytes(value))
}

/// What names the network namespace of a socket, for as long as the machine runs.
fn cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut value = [0; 8];
    option(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut value)?;
    Ok(u64::from_ne_bytes(value))
}

// include/uapi/asm-generic/socket.h, since Linux 5.14.
const SO_NETNS_COOKIE: i32 = 71;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn the_state_of_a_socket_is_the_kernels() {
        let fresh = Sockets::of_host(libc::AF_INET).unwrap();
        assert_eq!(state(fresh.as_fd()), Ok(State::Closed));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(state(listener.as_fd()), Ok(State::Listens));
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(state(stream.as_fd()), Ok(State::Connected));
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(state(datagrams.as_fd()).is_err());
    }

    #[test]
    fn only_internet_families_speak_tcp() {
        assert_eq!(Sockets::of_host(libc::AF_UNIX).err(), Some(Errno::AFNOSUPPORT));
    }
}
