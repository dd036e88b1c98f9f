//! Datagrams to any address of the run, and replies that come from the address asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::{self, Errno},
    net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with},
};

use super::{
    address::{Address, LENGTH_MAX, encode},
    socket::set_int,
};
use crate::sys::socket as raw;

/// A socket that takes every datagram to one port, in one address family.
pub(super) struct Door {
    socket: OwnedFd,
    port: u16,
}

/// A datagram and its two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) payload: Vec<u8>,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Door {
    /// Opens the port in the calling thread's network namespace.
    pub(super) fn open(family: AddressFamily, port: u16) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
        let any: IpAddr = if family == AddressFamily::INET6 {
            set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
            set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            // So that a reply may come from an address that the namespace only routes to itself.
            set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            set_int(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            Ipv4Addr::UNSPECIFIED.into()
        };
        bind(&socket, &SocketAddr::new(any, port))?;
        let bound = rustix::net::getsockname(&socket)?;
        let port = SocketAddr::try_from(bound)?.port();
        Ok(Self { socket, port })
    }

    /// Takes a datagram that waits. `EAGAIN` when none does; one that cannot be understood is
    /// `EBADMSG`.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let (mut name, mut control) = ([0; LENGTH_MAX], [0; CONTROL]);
        let received = raw::receive(self.socket.as_fd(), buffer, &mut name, &mut control)?;
        let Address::Internet(from) = Address::parse(&name[..received.name]) else {
            return Err(Errno::BADMSG);
        };
        let to = destination(&control[..received.control]).ok_or(Errno::BADMSG)?;
        if received.truncated {
            return Err(Errno::BADMSG);
        }
        let payload = buffer[..received.payload].to_vec();
        Ok(Datagram { payload, from, to: SocketAddr::new(to, self.port) })
    }

    /// Sends `payload` to `to` as if from the address `from`.
    pub(super) fn send(&self, payload: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT;
        raw::send(self.socket.as_fd(), payload, &encode(to), &source(from), flags).map(drop)
    }
}

impl AsFd for Door {
    /// For polling only.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address a datagram was sent to, from its control messages (`cmsg(3)`).
fn destination(mut control: &[u8]) -> Option<IpAddr> {
    loop {
        let header: &[u8; HEADER] = control.first_chunk()?;
        let length = usize::from_ne_bytes(*header.first_chunk()?);
        let kind = (int(&header[8..])?, int(&header[12..])?);
        let data = control.get(HEADER..length)?;
        match kind {
            // struct in_pktinfo: interface, local address, destination.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                return Some(Ipv4Addr::from(*data.get(8..)?.first_chunk::<4>()?).into());
            }
            // struct in6_pktinfo: destination, interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                return Some(Ipv6Addr::from(*data.first_chunk::<16>()?).into());
            }
            _ => control = control.get(length.next_multiple_of(8)..)?,
        }
    }
}

/// The control message that sets a datagram's source address.
fn source(from: IpAddr) -> Vec<u8> {
    let (level, kind, data) = match from {
        IpAddr::V4(v4) => (libc::IPPROTO_IP, libc::IP_PKTINFO, [&[0; 4], &v4.octets()[..], &[0; 4]].concat()),
        IpAddr::V6(v6) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [&v6.octets()[..], &[0; 4]].concat()),
    };
    let mut control = (HEADER + data.len()).to_ne_bytes().to_vec();
    control.extend(level.to_ne_bytes());
    control.extend(kind.to_ne_bytes());
    control.extend(data);
    control.resize(control.len().next_multiple_of(8), 0);
    control
}

fn int(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// `sizeof(struct cmsghdr)`
const HEADER: usize = 16;
const CONTROL: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use proptest::prelude::*;

    use super::*;

    fn exchange(family: AddressFamily, local: &str, asked: &str) {
        let door = Door::open(family, 0).unwrap();
        let client = UdpSocket::bind(local).unwrap();
        let to = SocketAddr::new(asked.parse().unwrap(), door.port);
        client.send_to(b"question", to).unwrap();
        let mut buffer = [0; 64];
        let datagram = loop {
            match door.receive(&mut buffer) {
                Err(Errno::AGAIN) => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        let from = client.local_addr().unwrap();
        assert_eq!(datagram, Datagram { payload: b"question".to_vec(), from, to });
        door.send(b"answer", from, to.ip()).unwrap();
        assert_eq!(client.recv_from(&mut buffer).unwrap(), (6, to));
    }

    #[test]
    fn a_reply_comes_from_the_address_asked() {
        exchange(AddressFamily::INET, "127.0.0.1:0", "127.0.0.9");
        exchange(AddressFamily::INET6, "[::1]:0", "::1");
    }

    proptest! {
        #[test]
        fn control_messages_are_read_as_written(ip: IpAddr, noise in prop::collection::vec(any::<u8>(), 0..64)) {
            if let IpAddr::V6(v6) = ip {
                prop_assert_eq!(destination(&source(v6.into())), Some(ip));
            }
            destination(&noise);
        }
    }
}
