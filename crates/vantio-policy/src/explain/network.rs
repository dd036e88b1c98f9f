//! Rules about addresses and names.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use vantio_core::{Endpoint, Section, Transport};

use super::{Miss, Reason, Weighed};
use crate::{
    address::{self, Reserved},
    names,
    net::{EndpointPattern, Host, NetPattern},
    path::Kind,
    rule::Pattern,
};

/// A host fits, and a port or the like does not.
const HOST_FITS: u32 = 1000;

impl Weighed<'_, '_> {
    pub(super) fn name(&mut self, name: &str) {
        if !names::is_canonical(name) {
            return;
        }
        self.each(Section::NetDeny, None, |pattern| {
            let pattern = endpoint(pattern)?;
            covers_name(&pattern.host, name, Kind::Deny)?;
            if pattern.is_udp {
                return Err(Miss::new(Reason::OnlyUdp, HOST_FITS));
            }
            if pattern.ports.is_all() { Ok(()) } else { Err(Miss::new(Reason::SomePorts, HOST_FITS)) }
        });
        self.each(Section::NetAllow, None, |pattern| {
            covers_name(&endpoint(pattern)?.host, name, Kind::Allow)
        });
    }

    pub(super) fn endpoint(&mut self, target: &Endpoint) {
        if target.in_run {
            return;
        }
        let (first, carried) = address::forms(target.address.ip());
        let question = Question {
            first,
            carried,
            port: target.address.port(),
            is_udp: target.transport == Transport::Udp,
            names: self.state.names_of(first).map(String::from).collect(),
            reserved: address::reserved(first, &self.state.facts.host_addresses),
        };
        self.each(Section::NetDeny, None, |pattern| question.denied_by(endpoint(pattern)?));
        self.each(Section::NetAllow, None, |pattern| question.allowed_by(endpoint(pattern)?));
    }
}

/// A destination, with what is known about it.
struct Question {
    first: IpAddr,
    carried: Option<IpAddr>,
    port: u16,
    is_udp: bool,
    names: Vec<String>,
    reserved: Option<Reserved>,
}

impl Question {
    fn denied_by(&self, pattern: &EndpointPattern) -> Result<(), Miss> {
        match &pattern.host {
            Host::Any => {}
            Host::Block(block) => {
                let is_inside =
                    block.contains(self.first) || self.carried.is_some_and(|carried| block.contains(carried));
                if !is_inside {
                    return Err(Miss::new(Reason::OutsideBlock, 0));
                }
            }
            host => self.any_name(host, Kind::Deny)?,
        }
        if pattern.is_udp && !self.is_udp {
            return Err(Miss::new(Reason::OnlyUdp, HOST_FITS));
        }
        self.port(pattern)
    }

    fn allowed_by(&self, pattern: &EndpointPattern) -> Result<(), Miss> {
        match &pattern.host {
            Host::Any => {}
            Host::Block(block) => {
                if !block.contains(self.first) {
                    return Err(Miss::new(Reason::OutsideBlock, 0));
                }
            }
            host => self.any_name(host, Kind::Allow)?,
        }
        match (pattern.is_udp, self.is_udp) {
            (true, false) => return Err(Miss::new(Reason::OnlyUdp, HOST_FITS)),
            (false, true) => return Err(Miss::new(Reason::NotUdp, HOST_FITS)),
            _ => {}
        }
        self.port(pattern)?;
        match (&pattern.host, self.reserved) {
            (Host::Block(_), _) | (_, None) => Ok(()),
            (_, Some(reserved)) => Err(Miss::new(Reason::Reserved(what(reserved)), HOST_FITS)),
        }
    }

    fn any_name(&self, host: &Host, kind: Kind) -> Result<(), Miss> {
        let mut nearest = Miss::new(Reason::NoName, 0);
        for name in &self.names {
            match covers_name(host, name, kind) {
                Ok(()) => return Ok(()),
                Err(miss) if nearest.reason == Reason::NoName => nearest = miss,
                Err(miss) => nearest = nearest.nearer(miss),
            }
        }
        Err(nearest)
    }

    fn port(&self, pattern: &EndpointPattern) -> Result<(), Miss> {
        if pattern.ports.contains(self.port) {
            return Ok(());
        }
        let reason = Reason::Port { port: self.port, ports: pattern.ports.canonical() };
        Err(Miss::new(reason, HOST_FITS))
    }
}

fn endpoint(pattern: &Pattern) -> Result<&EndpointPattern, Miss> {
    match pattern {
        Pattern::Net(NetPattern::Endpoint(pattern)) => Ok(pattern),
        _ => Err(Miss::new(Reason::OtherKind, 0)),
    }
}

fn covers_name(host: &Host, name: &str, kind: Kind) -> Result<(), Miss> {
    if host.covers_name(name, kind) {
        return Ok(());
    }
    let (reason, own) = match host {
        Host::Block(_) => return Err(Miss::new(Reason::OtherKind, 0)),
        Host::Below(own) if own == name => (Reason::NotBelowName, own.as_str()),
        Host::Name(own) if names::is_below(name, own) => (Reason::OnlyItself, own.as_str()),
        Host::Below(own) | Host::Name(own) => (Reason::OtherName, own.as_str()),
        Host::Any => (Reason::OtherName, ""),
    };
    Err(Miss::new(reason, common_labels(own, name)))
}

/// How many labels two names share, from the right, the last one not counted.
fn common_labels(left: &str, right: &str) -> u32 {
    let pairs = left.rsplit('.').zip(right.rsplit('.'));
    pairs.take_while(|(left, right)| left == right).skip(1).fold(0, |count, _| count + 1)
}

const fn what(reserved: Reserved) -> &'static str {
    match reserved {
        Reserved::Loopback => "loopback",
        Reserved::LinkLocal => "link-local addresses",
        Reserved::Multicast => "multicast addresses",
        Reserved::OwnOfHost => "the host's own addresses",
        Reserved::Private => "private addresses: an address rule must permit them too",
    }
}
