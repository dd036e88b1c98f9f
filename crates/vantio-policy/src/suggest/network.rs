//! From connections and questions for names to rules.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

use vantio_core::{Effect, Endpoint, Intent, Target, Transport};

use super::{Evidence, Observation};
use crate::{PolicyProgram, State, address, explain::Subject, names};

/// What was reached.
pub(super) struct Reached<'a> {
    host_addresses: &'a [IpAddr],
    /// By transport and port: names, and addresses that rules must name themselves.
    names: BTreeMap<(bool, u16), BTreeMap<String, Evidence>>,
    addresses: BTreeMap<String, Evidence>,
    asked: BTreeMap<String, Evidence>,
}

/// Whether a learning policy would have permitted a name at an endpoint.
type MayOpen<'a> = &'a dyn Fn(&str, Endpoint) -> bool;

impl<'a> Reached<'a> {
    pub(super) fn new(host_addresses: &'a [IpAddr]) -> Self {
        let (names, addresses, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { host_addresses, names, addresses, asked }
    }

    pub(super) fn see(&mut self, seen: &Observation) {
        match (&seen.subject, seen.effect) {
            (Subject::Name(name), Effect::NetDns) => {
                self.asked.entry(name.clone()).or_default().add(&Evidence::of(seen));
            }
            (Subject::Endpoint { endpoint, .. }, Effect::NetConnect) if !endpoint.in_run => {
                let is_udp = endpoint.transport == Transport::Udp;
                let named = self.names.entry((is_udp, endpoint.address.port())).or_default();
                for name in &seen.names {
                    named.entry(name.clone()).or_default().add(&Evidence::of(seen));
                }
                let (form, _) = address::forms(endpoint.address.ip());
                // A name alone does not open an address that is not of the public internet.
                if seen.names.is_empty() || address::reserved(form, self.host_addresses).is_some() {
                    let rule = address_rule(endpoint);
                    self.addresses.entry(rule).or_default().add(&Evidence::of(seen));
                }
            }
            _ => {}
        }
    }

    /// Rules with their evidence.
    pub(super) fn rules(mut self, may_open: MayOpen<'_>) -> Vec<(String, Evidence)> {
        let mut rules: Vec<(String, Evidence)> = Vec::new();
        let connected: BTreeSet<String> = self.names.values().flat_map(BTreeMap::keys).cloned().collect();
        self.asked.retain(|name, _| !connected.contains(name));
        for ((is_udp, port), mut named) in self.names {
            let scheme = if is_udp { "udp://" } else { "" };
            for domain in domains(&named) {
                let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
                let endpoint = Endpoint { transport, address: SocketAddr::new(PUBLIC, port), in_run: false };
                if !may_open(&format!("qjx7-vantio-probe.{domain}"), endpoint) {
                    continue;
                }
                let mut evidence = Evidence::default();
                named.retain(|name, own| {
                    let is_covered = names::is_below(name, &domain);
                    if is_covered {
                        evidence.add(own);
                    }
                    !is_covered
                });
                rules.push((format!("{scheme}*.{domain}:{port}"), evidence));
            }
            rules.extend(named.into_iter().map(|(name, own)| (format!("{scheme}{name}:{port}"), own)));
        }
        rules.extend(self.addresses);
        // A name that was only asked for: any rule about it answers.
        rules.extend(self.asked.into_iter().map(|(name, own)| (format!("{name}:443"), own)));
        rules
    }
}

/// Domains below which several different names were reached.
fn domains(named: &BTreeMap<String, Evidence>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in named.keys() {
        if let Some((_, parent)) = name.split_once('.').filter(|(_, parent)| parent.contains('.')) {
            *counts.entry(parent).or_default() += 1;
        }
    }
    let several = counts.into_iter().filter(|(_, count)| *count >= ENOUGH);
    several.map(|(domain, _)| domain.to_string()).collect()
}

/// Whether a policy permits to ask for a name, and to connect where it leads.
pub(super) fn permits(program: &PolicyProgram, state: &State, name: &str, endpoint: Endpoint) -> bool {
    let mut state = state.clone();
    state.learn_name(name, endpoint.address.ip(), u64::MAX);
    let asks = Intent::new(Effect::NetDns, Target::Name(name));
    let connects = Intent::new(Effect::NetConnect, Target::Endpoint(endpoint));
    [asks, connects].iter().all(|intent| crate::decide(program, &state, intent).is_permit())
}

/// The rule for just this address and port.
pub(super) fn address_rule(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.transport == Transport::Udp { "udp://" } else { "" };
    let (form, _) = address::forms(endpoint.address.ip());
    format!("{scheme}{}", SocketAddr::new(form, endpoint.address.port()))
}

/// Different names below a domain that are evidence for the rest of it.
const ENOUGH: usize = 3;

/// An address of the public internet.
const PUBLIC: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(93, 90, 23, 43));
