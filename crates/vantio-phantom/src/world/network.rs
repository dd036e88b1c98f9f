//! The run's own network: one interface that leads nowhere.
//!
//! `lo` gets a dummy address of either family, so that resolvers which ask only for
//! configured families (`AI_ADDRCONFIG`) ask for both, and a local route for every address: a datagram
//! to anywhere arrives at a socket of the run, or is refused at once.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::{
    io,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
};

/// The address that the run's resolver is named by.
pub(crate) const OWN_IPV4: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);
/// The same, for the other family.
pub(crate) const OWN_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x7661, 0x6e74, 0, 0, 0, 0, 1);

/// Configures the calling thread's network namespace.
pub(crate) fn configure() -> io::Result<()> {
    let link = LinkHeader { flags: IFF_UP, change: IFF_UP };
    request(RTM_NEWLINK, &link.encode())?;
    request(RTM_NEWADDR, &address(AF_INET, 32, &OWN_IPV4.octets()))?;
    request(RTM_NEWROUTE, &local_default(AF_INET, Some(&OWN_IPV4.octets())))?;
    // A kernel without IPv6 has nothing to configure.
    let ipv6 = request(RTM_NEWADDR, &address(AF_INET6, 128, &OWN_IPV6.octets()))
        .and_then(|()| request(RTM_NEWROUTE, &local_default(AF_INET6, None)));
    match ipv6 {
        Err(io::Errno::AFNOSUPPORT | io::Errno::OPNOTSUPP | io::Errno::ACCESS) => Ok(()),
        other => other,
    }
}

struct LinkHeader {
    flags: u32,
    change: u32,
}

impl LinkHeader {
    /// `struct ifinfomsg` of `rtnetlink(7)`.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(LO_INDEX.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(self.change.to_ne_bytes());
        bytes
    }
}

/// `struct ifaddrmsg` with the address as local address.
fn address(family: u8, prefix: u8, octets: &[u8]) -> Vec<u8> {
    let mut bytes = vec![family, prefix, IFA_F_NODAD, 0];
    bytes.extend(LO_INDEX.to_ne_bytes());
    bytes.extend(attribute(IFA_ADDRESS, octets));
    bytes.extend(attribute(IFA_LOCAL, octets));
    bytes
}

/// `struct rtmsg`: every address is local, by way of `lo`.
fn local_default(family: u8, source: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL];
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(attribute(RTA_OIF, &LO_INDEX.to_ne_bytes()));
    if let Some(source) = source {
        bytes.extend(attribute(RTA_PREFSRC, source));
    }
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends one request and waits for the kernel's acknowledgement.
fn request(kind: u16, body: &[u8]) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (count, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // The header's sixteen bytes are followed by the error number, 0 for success.
    let code = answer[..count].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Errno::from_raw_os_error(-code)),
        None => Err(io::Errno::PROTO),
    }
}

// linux/rtnetlink.h, linux/if_addr.h
const LO_INDEX: u32 = 1;
const IFF_UP: u32 = 1;
const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const IFA_F_NODAD: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
