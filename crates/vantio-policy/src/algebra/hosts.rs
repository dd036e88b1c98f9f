//! Network patterns: whether one covers all that another does.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Sense, paths};
use crate::{
    address::Block,
    names,
    net::{EndpointPattern, Host, NetPattern, Ports},
};

/// Whether `outer` covers every target that `inner` does. `own` are the addresses of the
/// host, where they are known.
pub(super) fn covers(
    outer: &NetPattern,
    outer_sense: Sense,
    inner: &NetPattern,
    inner_sense: Sense,
    own: Option<&[IpAddr]>,
) -> bool {
    match (outer, inner) {
        (NetPattern::Unix(outer), NetPattern::Unix(inner)) => {
            paths::covers(outer, outer_sense, inner, inner_sense)
        }
        // As the judgement has it: only a deny of everything is about Unix sockets too.
        (NetPattern::Endpoint(outer), NetPattern::Unix(_)) => {
            outer_sense == Sense::Deny && outer.host == Host::Any && outer.ports.is_all() && !outer.is_udp
        }
        (NetPattern::Unix(_), NetPattern::Endpoint(_)) => false,
        (NetPattern::Endpoint(outer), NetPattern::Endpoint(inner)) => {
            endpoint_covers(outer, outer_sense, inner, inner_sense, own)
        }
    }
}

fn endpoint_covers(
    outer: &EndpointPattern,
    outer_sense: Sense,
    inner: &EndpointPattern,
    inner_sense: Sense,
    own: Option<&[IpAddr]>,
) -> bool {
    let covers_transport = match (outer_sense, inner_sense) {
        // A deny without `udp://` is about both transports.
        (Sense::Deny, _) => !outer.is_udp || inner.is_udp,
        (_, Sense::Deny) => false,
        _ => outer.is_udp == inner.is_udp,
    };
    // An allow permits to ask for a name whatever its ports and transport are; a deny
    // refuses it only for all of them.
    let covers_question = match (outer_sense, inner_sense, &inner.host) {
        (Sense::Deny, Sense::Allow | Sense::Listing, Host::Any | Host::Name(_) | Host::Below(_)) => {
            outer.ports.is_all() && !outer.is_udp
        }
        _ => true,
    };
    covers_transport
        && covers_question
        && ports_cover(&outer.ports, &inner.ports)
        && host_covers(&outer.host, outer_sense, &inner.host, inner_sense, own)
}

fn ports_cover(outer: &Ports, inner: &Ports) -> bool {
    let is_within =
        |(first, last): &(u16, u16)| outer.ranges().iter().any(|(from, to)| from <= first && last <= to);
    inner.ranges().iter().all(is_within)
}

fn host_covers(
    outer: &Host,
    outer_sense: Sense,
    inner: &Host,
    inner_sense: Sense,
    own: Option<&[IpAddr]>,
) -> bool {
    let (is_deny, is_inner_deny) = (outer_sense == Sense::Deny, inner_sense == Sense::Deny);
    match (outer, inner) {
        (Host::Any, Host::Block(block)) => is_deny || own.is_some_and(|own| is_public(block, own)),
        (Host::Any, _) => true,
        (Host::Block(outer), Host::Block(inner)) => outer.covers(inner),
        (Host::Name(outer), Host::Name(inner)) => {
            let covers_below = is_deny || !is_inner_deny;
            covers_below && (outer == inner || is_deny && names::is_below(inner, outer))
        }
        (Host::Name(outer), Host::Below(inner)) => {
            is_deny && (outer == inner || names::is_below(inner, outer))
        }
        // In a deny, the name itself and what is below it.
        (Host::Below(outer), Host::Name(inner)) => names::is_below(inner, outer),
        (Host::Below(outer), Host::Below(inner)) => outer == inner || names::is_below(inner, outer),
        _ => false,
    }
}

/// Whether a name may lead to every address of the block: a part of the public internet,
/// none of it the host's own.
fn is_public(block: &Block, own: &[IpAddr]) -> bool {
    let is_apart = |other: &Block| !other.covers(block) && !block.covers(other);
    let known = RESERVED_V4.iter().map(|(bits, length)| (IpAddr::V4(Ipv4Addr::from_bits(*bits)), *length));
    let known = known
        .chain(RESERVED_V6.iter().map(|(bits, length)| (IpAddr::V6(Ipv6Addr::from_bits(*bits)), *length)));
    known.filter_map(|(base, length)| Block::new(base, length)).all(|reserved| is_apart(&reserved))
        && !own.iter().any(|address| block.contains(*address))
}

/// Blocks that [`crate::address::reserved`] has, or that have some of them.
const RESERVED_V4: [(u32, u8); 12] = [
    (0x0000_0000, 8),
    (0x7f00_0000, 8),
    (0xa9fe_0000, 16),
    (0xe000_0000, 3),
    (0x0a00_0000, 8),
    (0xac10_0000, 12),
    (0xc0a8_0000, 16),
    (0x6440_0000, 10),
    (0xc000_0000, 22),
    (0xc612_0000, 15),
    (0xc633_6400, 24),
    (0xcb00_7100, 24),
];

/// All but the global unicast addresses (`2000::/3`), and what is reserved among those.
const RESERVED_V6: [(u128, u8); 8] = [
    (0, 3),
    (0x4 << 124, 2),
    (0x8 << 124, 2),
    (0xc << 124, 3),
    (0xe << 124, 4),
    (0xf << 124, 4),
    (0x2001_0db8 << 96, 32),
    (0x3fff << 112, 20),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::reserved;

    #[test]
    fn no_public_block_has_a_reserved_address() {
        let mut public = 0;
        for length in [8_u8, 12, 16, 20, 24, 32] {
            for sample in 0..4096_u32 {
                let base = IpAddr::V4(Ipv4Addr::from_bits(sample.wrapping_mul(0x0010_0401)));
                let Some(block) = Block::new(Block::masked(base, length), length) else { continue };
                if is_public(&block, &[]) {
                    public += 1;
                    assert_eq!(reserved(base, &[]), None, "{}", block.canonical());
                }
            }
        }
        for first in 0..=u16::MAX {
            for second in [0, 1, 0xdb8, 0xfff, 0xffff] {
                let base = IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 1));
                if is_public(&Block::single(base), &[]) {
                    public += 1;
                    assert_eq!(reserved(base, &[]), None, "{base}");
                }
            }
        }
        assert!(public > 1000);
        let own: IpAddr = [8, 8, 8, 8].into();
        assert!(!is_public(&Block::single(own), &[own]));
    }
}
