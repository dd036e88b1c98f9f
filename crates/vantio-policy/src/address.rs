//! Internet addresses: blocks of them, the forms one address is judged in, and
//! which addresses a name may not lead to.

use alloc::{format, string::String};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses in CIDR notation (RFC 4632), host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    base: IpAddr,
    length: u8,
}

impl Block {
    /// `None` when the length is too large or a host bit is set.
    pub(crate) fn new(base: IpAddr, length: u8) -> Option<Self> {
        (length <= width(base) && Self::masked(base, length) == base).then_some(Self { base, length })
    }

    /// The block of one address.
    pub(crate) fn single(address: IpAddr) -> Self {
        Self { base: address, length: width(address) }
    }

    /// `address` with everything after `length` bits cleared.
    pub(crate) fn masked(address: IpAddr, length: u8) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }

    /// The first address.
    pub(crate) const fn base(&self) -> IpAddr {
        self.base
    }

    /// How many leading bits the addresses share.
    pub(crate) const fn length(&self) -> u8 {
        self.length
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && Self::masked(address, self.length) == self.base
    }

    /// Whether every address of `other` is one of this block.
    #[cfg(feature = "document")]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.base)
    }

    /// `10.0.0.0/8`, `127.0.0.1`, `[2001:db8::/32]`, `[::1]`.
    pub(crate) fn canonical(&self) -> String {
        let is_single = self.length == width(self.base);
        match self.base {
            IpAddr::V4(v4) if is_single => format!("{v4}"),
            IpAddr::V4(v4) => format!("{v4}/{}", self.length),
            IpAddr::V6(v6) if is_single => format!("[{v6}]"),
            IpAddr::V6(v6) => format!("[{v6}/{}]", self.length),
        }
    }
}

/// Bits of an address.
pub(crate) const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The addresses that a destination is judged as: itself, and the IPv4 address that
/// a NAT64, 6to4 or IPv4-compatible address carries. An IPv4-mapped address is
/// that IPv4 address, an unspecified one is loopback.
pub(crate) fn forms(address: IpAddr) -> (IpAddr, Option<IpAddr>) {
    let v6 = match address {
        IpAddr::V4(v4) => return (specified(v4), None),
        IpAddr::V6(v6) => v6,
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return (specified(v4), None);
    }
    if v6.is_unspecified() {
        return (Ipv6Addr::LOCALHOST.into(), None);
    }
    if v6.is_loopback() {
        return (v6.into(), None);
    }
    (v6.into(), carried(v6).map(specified))
}

fn specified(v4: Ipv4Addr) -> IpAddr {
    if v4.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { v4.into() }
}

/// The IPv4 address in a NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible
/// (RFC 4291, section 2.5.5.1) address.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let last = Ipv4Addr::from_bits(bits as u32);
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0, 0, _, _] => Some(last),
        [0x2002, ..] => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        _ => None,
    }
}

/// Why a name may not lead to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Loopback,
    LinkLocal,
    Multicast,
    OwnOfHost,
    /// Private and other ranges that are not of the public internet.
    Private,
}

/// What `address` is reserved for, `None` for an address of the public internet.
pub(crate) fn reserved(address: IpAddr, host_addresses: &[IpAddr]) -> Option<Reserved> {
    let by_range = match address {
        IpAddr::V4(v4) => reserved_v4(v4),
        IpAddr::V6(v6) => reserved_v6(v6),
    };
    match by_range {
        Some(Reserved::Private) | None if host_addresses.contains(&address) => Some(Reserved::OwnOfHost),
        other => other,
    }
}

/// The special-purpose registry of RFC 6890 and its successors.
fn reserved_v4(v4: Ipv4Addr) -> Option<Reserved> {
    match v4.octets() {
        [0 | 127, ..] => Some(Reserved::Loopback),
        [169, 254, ..] => Some(Reserved::LinkLocal),
        [224..=255, ..] => Some(Reserved::Multicast),
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(Reserved::Private),
        _ => None,
    }
}

fn reserved_v6(v6: Ipv6Addr) -> Option<Reserved> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Some(Reserved::Loopback),
        [0xfe80..=0xfebf, ..] => Some(Reserved::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Reserved::Multicast),
        // Unique local, site-local, NAT64 of one's own network, discard-only,
        // documentation.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..]
        | [0x64, 0xff9b, 1, ..]
        | [0x100, 0, 0, 0, ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, 0..=0xfff, ..] => Some(Reserved::Private),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_contain_their_own_family_only() {
        let block = Block::new(ip("10.0.0.0"), 8).unwrap();
        assert!(block.contains(ip("10.255.0.1")));
        assert!(!block.contains(ip("11.0.0.1")));
        assert!(!block.contains(ip("::ffff:10.0.0.1")));
        assert!(Block::new(ip("0.0.0.0"), 0).unwrap().contains(ip("8.8.8.8")));
        assert_eq!(Block::new(ip("10.0.0.1"), 8), None);
        assert_eq!(Block::new(ip("::"), 129), None);
        assert_eq!(Block::new(ip("2001:db8::"), 32).unwrap().canonical(), "[2001:db8::/32]");
    }

    #[test]
    fn addresses_that_carry_ipv4_are_judged_as_both() {
        assert_eq!(forms(ip("::ffff:10.0.0.1")), (ip("10.0.0.1"), None));
        assert_eq!(forms(ip("64:ff9b::a9fe:a9fe")), (ip("64:ff9b::a9fe:a9fe"), Some(ip("169.254.169.254"))));
        assert_eq!(forms(ip("2002:7f00:1::")), (ip("2002:7f00:1::"), Some(ip("127.0.0.1"))));
        assert_eq!(forms(ip("::10.0.0.1")), (ip("::10.0.0.1"), Some(ip("10.0.0.1"))));
        assert_eq!(forms(ip("0.0.0.0")), (ip("127.0.0.1"), None));
        assert_eq!(forms(ip("::")), (ip("::1"), None));
        assert_eq!(forms(ip("::1")), (ip("::1"), None));
        assert_eq!(forms(ip("2606:4700::1")), (ip("2606:4700::1"), None));
    }

    #[test]
    fn reserved_ranges_are_known() {
        for (address, expected) in [
            ("127.8.8.8", Some(Reserved::Loopback)),
            ("169.254.169.254", Some(Reserved::LinkLocal)),
            ("fe80::1", Some(Reserved::LinkLocal)),
            ("255.255.255.255", Some(Reserved::Multicast)),
            ("ff02::fb", Some(Reserved::Multicast)),
            ("100.100.100.200", Some(Reserved::Private)),
            ("fd00:ec2::254", Some(Reserved::Private)),
            ("172.32.0.1", None),
            ("93.184.216.34", None),
            ("8.8.8.8", Some(Reserved::OwnOfHost)),
            ("10.9.9.9", Some(Reserved::OwnOfHost)),
        ] {
            assert_eq!(reserved(ip(address), &[ip("8.8.8.8"), ip("10.9.9.9")]), expected, "{address}");
        }
    }
}
