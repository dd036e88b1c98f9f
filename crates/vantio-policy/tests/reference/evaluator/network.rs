//! Network rules: texts taken apart by string searches, addresses bit by bit.

use std::net::IpAddr;

/// A rule for hosts and ports.
#[derive(Clone, Debug)]
pub struct Rule {
    pub is_udp: bool,
    /// Lower case, without a trailing dot.
    pub host: String,
    ports: Option<String>,
    /// Whether `ports` are all from 1 to 65535.
    lists_every_port: bool,
}

impl Rule {
    /// Takes a text apart; names in other scripts are looked up in `a_labels`.
    pub fn new(text: &str, a_labels: &[(String, String)]) -> Self {
        let is_udp = text.starts_with("udp://");
        let text = text.strip_prefix("udp://").unwrap_or(text);
        let after_bracket = text.find(']').unwrap_or(0);
        let (host, ports) = match text[after_bracket..].rfind(':') {
            Some(colon) => (&text[..after_bracket + colon], Some(&text[after_bracket + colon + 1..])),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = a_labels.iter().find(|(own, _)| own == host).map_or(host, |(_, mapped)| mapped);
        let lists_every_port = ports.is_some_and(lists_every_port);
        Self { is_udp, host: host.to_ascii_lowercase(), ports: ports.map(str::to_owned), lists_every_port }
    }

    /// Without ports: 80 and 443 in an allow, every port in a deny.
    pub fn has_port(&self, port: u16, is_deny: bool) -> bool {
        match self.ports.as_deref() {
            None => is_deny || port == 80 || port == 443,
            Some("*") => true,
            Some(_) if self.lists_every_port => true,
            Some(ports) => ranges(ports).any(|(first, last)| (first..=last).contains(&port)),
        }
    }

    /// Whether the rule is for every port there is.
    pub fn has_every_port(&self, is_deny: bool) -> bool {
        match self.ports.as_deref() {
            None => is_deny,
            Some(ports) => ports == "*" || self.lists_every_port,
        }
    }

    pub fn is_for_addresses(&self) -> bool {
        self.host.starts_with('[') || is_ipv4(self.host.split('/').next().unwrap())
    }

    pub fn has_address(&self, address: IpAddr) -> bool {
        let host = self.host.replace(['[', ']'], "");
        let (base, length) =
            host.split_once('/').map_or((host.as_str(), None), |(base, length)| (base, Some(length)));
        let base: IpAddr = base.parse().unwrap();
        let (base_bits, address_bits) = (bits(base), bits(address));
        let length = length.map_or(base_bits.len(), |length| length.parse().unwrap());
        base_bits.len() == address_bits.len() && base_bits[..length] == address_bits[..length]
    }

    /// In a deny a name covers its subdomains.
    pub fn has_name(&self, name: &str, is_deny: bool) -> bool {
        if self.is_for_addresses() {
            return false;
        }
        let labels = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (name, host) = (labels(name), labels(&self.host));
        let is_below = |above: &[String]| name.len() > above.len() && name.ends_with(above);
        match host.split_first() {
            Some((first, [])) if first == "*" => true,
            Some((first, above)) if first == "*" => is_below(above),
            _ => name == host || is_deny && is_below(&host),
        }
    }
}

fn ranges(ports: &str) -> impl Iterator<Item = (u16, u16)> {
    ports.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        (first.parse().unwrap(), last.parse().unwrap())
    })
}

/// Whether a list is every port from 1 to 65535: then it means every port, 0 as well.
fn lists_every_port(ports: &str) -> bool {
    ports != "*" && {
        let mut is_listed = vec![false; 65536];
        ranges(ports).for_each(|(first, last)| is_listed[first.into()..=last.into()].fill(true));
        is_listed[1..].iter().all(|is_listed| *is_listed)
    }
}

fn is_ipv4(text: &str) -> bool {
    text.split('.').count() == 4 && text.split('.').all(|part| part.parse::<u8>().is_ok())
}

fn bits(address: IpAddr) -> Vec<bool> {
    octets(address).iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The addresses that a destination is judged as: the first is the one that names are
/// remembered for.
pub fn forms(address: IpAddr) -> Vec<IpAddr> {
    let octets = octets(address);
    let v4 = |octets: &[u8]| {
        let octets: [u8; 4] = octets.try_into().unwrap();
        if octets == [0; 4] { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from(octets) }
    };
    let hexadecimal: String =
        octets.iter().flat_map(|octet| format!("{octet:02x}").into_bytes()).map(char::from).collect();
    let starts = |text: &str| hexadecimal.starts_with(text);
    if octets.len() == 4 {
        return vec![v4(&octets)];
    }
    let zeros = |count: usize| "00".repeat(count);
    if starts(&format!("{}ffff", zeros(10))) {
        return vec![v4(&octets[12..])];
    }
    if hexadecimal == zeros(16) || hexadecimal == format!("{}01", zeros(15)) {
        return vec!["::1".parse().unwrap()];
    }
    if starts("2002") {
        return vec![address, v4(&octets[2..6])];
    }
    if starts(&zeros(12)) || starts(&format!("0064ff9b{}", zeros(8))) {
        return vec![address, v4(&octets[12..])];
    }
    vec![address]
}

/// Why a name may not lead to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Loopback, link-local, multicast, or the host's own: never.
    Always,
    /// Private, and other ranges that are not of the public internet: not by a name alone.
    Private,
}

/// The ranges that no name opens (RFC 6890 and its successors).
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
];
const PRIVATE: [&str; 15] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "fc00::/7",
    "fec0::/10",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
];

pub fn closed(address: IpAddr, host_addresses: &[IpAddr]) -> Option<Closed> {
    let is_in = |ranges: &[&str]| {
        ranges.iter().any(|range| {
            let rule =
                Rule { is_udp: false, host: (*range).to_owned(), ports: None, lists_every_port: false };
            rule.has_address(address)
        })
    };
    if is_in(&NEVER) || host_addresses.contains(&address) {
        Some(Closed::Always)
    } else {
        is_in(&PRIVATE).then_some(Closed::Private)
    }
}

/// Whether a name is lower-case A-labels with no dot at the end.
pub fn is_canonical(name: &str) -> bool {
    let is_label = |label: &str| {
        let characters = "abcdefghijklmnopqrstuvwxyz0123456789-_";
        (1..=63).contains(&label.len()) && label.chars().all(|character| characters.contains(character))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
