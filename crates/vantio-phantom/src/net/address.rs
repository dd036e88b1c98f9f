//! Socket addresses as the kernel reads them (`sockaddr(3type)`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The most bytes an address has: `sizeof(struct sockaddr_storage)`.
pub(crate) const LENGTH_MAX: usize = 128;

/// What the bytes of an address mean, whatever the socket they are given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `AF_UNSPEC`: dissolves an association.
    Unspecified,
    /// An internet address; IPv4-mapped IPv6 is unmapped.
    Internet(SocketAddr),
    /// A local socket in the file system.
    Path(Vec<u8>),
    /// A local socket in the abstract name space, without the leading NUL.
    Abstract(Vec<u8>),
    /// No internet or local socket accepts these bytes as a destination.
    Other,
}

impl Address {
    /// Reads the bytes of an address.
    ///
    /// INVARIANT: whatever an internet socket would connect to is [`Address::Internet`],
    /// even where the family does not fit the socket: a socket can change from IPv6 to
    /// IPv4 (`IPV6_ADDRFORM`) after it was looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Some(family) = bytes.first_chunk() else { return Self::Other };
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_UNSPEC => Self::Unspecified,
            libc::AF_INET => parse_v4(bytes).map_or(Self::Other, Self::Internet),
            libc::AF_INET6 => parse_v6(bytes).map_or(Self::Other, Self::Internet),
            libc::AF_UNIX => parse_unix(&bytes[2..]),
            _ => Self::Other,
        }
    }
}

/// Whether connecting there reaches the machine itself: the unspecified address does.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// The bytes of an internet address.
pub(crate) fn encode(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(V6_LENGTH);
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend((libc::AF_INET as u16).to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(V4_LENGTH, 0);
        }
        SocketAddr::V6(v6) => {
            bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// The bytes of a local address by path; `None` when it does not fit.
pub(crate) fn encode_path(path: &[u8]) -> Option<Vec<u8>> {
    (path.len() <= UNIX_PATH_MAX).then(|| [&(libc::AF_UNIX as u16).to_ne_bytes(), path].concat())
}

fn parse_v4(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; V4_LENGTH] = bytes.first_chunk()?;
    let [_, _, high, low, a, b, c, d, ..] = *bytes;
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

fn parse_v6(bytes: &[u8]) -> Option<SocketAddr> {
    let start: &[u8; V6_LENGTH_SHORT] = bytes.first_chunk()?;
    let port = u16::from_be_bytes([start[2], start[3]]);
    let flow = u32::from_be_bytes([start[4], start[5], start[6], start[7]]);
    let ip = Ipv6Addr::from(*start[8..].first_chunk::<16>()?);
    // The scope is read only where it is there (RFC 2133 had none).
    let scope = bytes[V6_LENGTH_SHORT..].first_chunk().map_or(0, |scope| u32::from_ne_bytes(*scope));
    Some(match ip.to_ipv4_mapped() {
        Some(v4) => (v4, port).into(),
        None => SocketAddrV6::new(ip, port, flow, scope).into(),
    })
}

fn parse_unix(name: &[u8]) -> Address {
    match name {
        [] => Address::Other,
        _ if name.len() > UNIX_PATH_MAX => Address::Other,
        [0, rest @ ..] => Address::Abstract(rest.to_vec()),
        _ => Address::Path(name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
    }
}

const V4_LENGTH: usize = 16;
/// `SIN6_LEN_RFC2133`: what the kernel demands of an IPv6 address.
const V6_LENGTH_SHORT: usize = 24;
const V6_LENGTH: usize = 28;
const UNIX_PATH_MAX: usize = 108;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v6(ip: &str, length: usize) -> Address {
        let bytes = encode(SocketAddr::new(ip.parse().unwrap(), 443));
        Address::parse(&bytes[..length])
    }

    #[test]
    fn an_ipv6_address_may_lack_its_scope() {
        assert_eq!(v6("2001:db8::1", 28), Address::Internet("[2001:db8::1]:443".parse().unwrap()));
        assert_eq!(v6("2001:db8::1", 24), Address::Internet("[2001:db8::1]:443".parse().unwrap()));
        assert_eq!(v6("2001:db8::1", 23), Address::Other);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        assert_eq!(v6("::ffff:192.0.2.1", 28), Address::Internet("192.0.2.1:443".parse().unwrap()));
        assert_eq!(v6("::192.0.2.1", 28), Address::Internet("[::192.0.2.1]:443".parse().unwrap()));
    }

    #[test]
    fn a_scope_is_kept() {
        let address = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 22, 0, 3));
        assert_eq!(Address::parse(&encode(address)), Address::Internet(address));
    }

    #[test]
    fn a_short_ipv4_address_is_none() {
        let bytes = encode("192.0.2.1:80".parse().unwrap());
        assert_eq!(Address::parse(&bytes[..15]), Address::Other);
    }

    #[test]
    fn local_names_end_where_the_kernel_ends_them() {
        let parse = |name: &[u8]| Address::parse(&[&1_u16.to_ne_bytes(), name].concat());
        assert_eq!(parse(b"/run/a\0/b"), Address::Path(b"/run/a".to_vec()));
        assert_eq!(parse(b"\0a\0b"), Address::Abstract(b"a\0b".to_vec()));
        assert_eq!(parse(b""), Address::Other);
        assert_eq!(parse(&[b'x'; 108]), Address::Path(vec![b'x'; 108]));
        assert_eq!(parse(&[b'x'; 109]), Address::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..=LENGTH_MAX)) {
            Address::parse(&bytes);
        }

        #[test]
        fn internet_addresses_survive_encoding(ip: IpAddr, port: u16) {
            prop_assert_eq!(
                Address::parse(&encode(SocketAddr::new(ip, port))),
                Address::Internet(SocketAddr::new(ip.to_canonical(), port))
            );
        }
    }
}
