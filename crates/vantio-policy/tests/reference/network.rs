//! Addresses and names.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*, sample::select};
use vantio_core::{Effect, Endpoint, Intent, Target, Transport};
use vantio_policy::decide;

use crate::{build, list};

const NAMES: [&str; 6] = ["a.com", "x.a.com", "y.x.a.com", "ba.com", "com", "b.org"];

const ADDRESSES: [&str; 16] = [
    "8.8.8.8",
    "8.8.4.4",
    "10.0.0.1",
    "127.0.0.1",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "2606:4700::1",
    "fd00::1",
];

const HOSTS: [&str; 14] = [
    "*",
    "a.com",
    "*.a.com",
    "x.a.com",
    "*.com",
    "b.org",
    "8.8.8.8",
    "8.8.0.0/16",
    "10.0.0.0/8",
    "127.0.0.0/8",
    "0.0.0.0/0",
    "[::/0]",
    "[64:ff9b::/96]",
    "[2606:4700::]/32",
];

fn rule() -> impl Strategy<Value = String> {
    let scheme = select(vec!["", "", "udp://"]);
    let ports = select(vec!["", ":*", ":80", ":22,443", ":70-90"]);
    (scheme, select(HOSTS.to_vec()), ports).prop_map(|(scheme, host, ports)| format!("{scheme}{host}{ports}"))
}

/// A rule taken apart by nothing but string searches.
struct Rule<'a> {
    is_udp: bool,
    host: &'a str,
    ports: Option<&'a str>,
}

impl<'a> Rule<'a> {
    fn new(text: &'a str) -> Self {
        let is_udp = text.starts_with("udp://");
        let text = text.trim_start_matches("udp://");
        let after_bracket = text.find(']').unwrap_or(0);
        match text[after_bracket..].rfind(':') {
            Some(colon) => Self {
                is_udp,
                host: &text[..after_bracket + colon],
                ports: Some(&text[after_bracket + colon + 1..]),
            },
            None => Self { is_udp, host: text, ports: None },
        }
    }

    fn has_port(&self, port: u16, is_deny: bool) -> bool {
        match self.ports {
            None => is_deny || port == 80 || port == 443,
            Some("*") => true,
            Some(ports) => ports.split(',').any(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&port)
            }),
        }
    }

    fn is_block(&self) -> bool {
        self.host.starts_with('[') || self.host.starts_with(|first: char| first.is_ascii_digit())
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let host = self.host.replace(['[', ']'], "");
        let (base, length) =
            host.split_once('/').map_or((host.as_str(), None), |(base, length)| (base, Some(length)));
        let base: IpAddr = base.parse().unwrap();
        let (base_bits, address_bits) = (bits(base), bits(address));
        let length = length.map_or(base_bits.len(), |length| length.parse().unwrap());
        base_bits.len() == address_bits.len() && base_bits[..length] == address_bits[..length]
    }

    fn has_name(&self, name: &str, is_deny: bool) -> bool {
        let (labels, host) = (labels(name), labels(self.host));
        match host.split_first() {
            Some((&"*", [])) => true,
            Some((&"*", above)) => labels.len() > above.len() && labels.ends_with(above),
            _ => labels == host || is_deny && labels.len() > host.len() && labels.ends_with(&host),
        }
    }
}

fn labels(name: &str) -> Vec<&str> {
    name.split('.').collect()
}

fn bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}

/// What each of [`ADDRESSES`] is judged as, and whether a name may lead there.
fn forms(address: &str) -> Vec<(IpAddr, bool)> {
    let forms: &[(&str, bool)] = match address {
        "8.8.8.8" | "::ffff:8.8.8.8" => &[("8.8.8.8", true)],
        "8.8.4.4" => &[("8.8.4.4", true)],
        "10.0.0.1" | "::ffff:10.0.0.1" => &[("10.0.0.1", false)],
        "127.0.0.1" | "0.0.0.0" => &[("127.0.0.1", false)],
        "169.254.169.254" => &[("169.254.169.254", false)],
        "224.0.0.1" => &[("224.0.0.1", false)],
        "::1" | "::" => &[("::1", false)],
        "64:ff9b::808:808" => &[("64:ff9b::808:808", true), ("8.8.8.8", true)],
        "64:ff9b::a00:1" => &[("64:ff9b::a00:1", true), ("10.0.0.1", false)],
        "2002:7f00:1::1" => &[("2002:7f00:1::1", true), ("127.0.0.1", false)],
        "2606:4700::1" => &[("2606:4700::1", true)],
        "fd00::1" => &[("fd00::1", false)],
        other => panic!("{other}"),
    };
    forms.iter().map(|(form, is_public)| (form.parse().unwrap(), *is_public)).collect()
}

fn permits(
    allow: &[String],
    deny: &[String],
    is_udp: bool,
    address: &str,
    port: u16,
    names: &[&str],
) -> bool {
    let forms = forms(address);
    let denied = deny.iter().map(|text| Rule::new(text)).any(|rule| {
        (!rule.is_udp || is_udp)
            && rule.has_port(port, true)
            && if rule.is_block() {
                forms.iter().any(|(form, _)| rule.has_address(*form))
            } else {
                rule.host == "*" || names.iter().any(|name| rule.has_name(name, true))
            }
    });
    let rules: Vec<Rule> = allow.iter().map(|text| Rule::new(text)).collect();
    let applies = |rule: &&Rule| rule.is_udp == is_udp && rule.has_port(port, false);
    let allowed = forms.iter().all(|(form, is_public)| {
        let mut rules = rules.iter().filter(applies);
        rules.any(|rule| {
            if rule.is_block() {
                rule.has_address(*form)
            } else {
                *is_public && (rule.host == "*" || names.iter().any(|name| rule.has_name(name, false)))
            }
        })
    });
    allowed && !denied
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn connections_are_decided_as_the_reference_decides(
        allow in vec(rule(), 0..4),
        deny in vec(rule(), 0..3),
        is_udp in any::<bool>(),
        address in select(ADDRESSES.to_vec()),
        port in select(vec![22_u16, 80, 81, 443, 5432]),
        names in vec(select(NAMES.to_vec()), 0..3),
    ) {
        let source = format!("version: 1\nnet: {{allow: {}, deny: {}}}\n", list(&allow), list(&deny));
        let (program, mut state) = build(&source);
        let ip: IpAddr = address.parse().unwrap();
        for name in &names {
            state.learn_name(name, ip, 0);
        }
        let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        let endpoint = Endpoint { transport, address: SocketAddr::new(ip, port), in_run: false };
        let intent = Intent::new(Effect::NetConnect, Target::Endpoint(endpoint));
        let verdict = decide(&program, &state, &intent);
        prop_assert_eq!(verdict.is_permit(), permits(&allow, &deny, is_udp, address, port, &names), "{:?}", verdict);
    }

    #[test]
    fn names_are_resolved_as_the_reference_says(
        allow in vec(rule(), 0..4),
        deny in vec(rule(), 0..3),
        name in select(NAMES.to_vec()),
    ) {
        let source = format!("version: 1\nnet: {{allow: {}, deny: {}}}\n", list(&allow), list(&deny));
        let (program, state) = build(&source);
        let intent = Intent::new(Effect::NetDns, Target::Name(name));
        let by_name = |texts: &[String], is_deny: bool| {
            texts.iter().map(|text| Rule::new(text)).any(|rule| {
                let covers_all_ports = matches!(rule.ports, None | Some("*")) && !rule.is_udp;
                !rule.is_block() && rule.has_name(name, is_deny) && (!is_deny || covers_all_ports)
            })
        };
        let expected = by_name(&allow, false) && !by_name(&deny, true);
        prop_assert_eq!(decide(&program, &state, &intent).is_permit(), expected);
    }
}
