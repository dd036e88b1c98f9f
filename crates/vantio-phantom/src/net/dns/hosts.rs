//! Names that need no server: those of `hosts(5)` and the machine's own.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The names that the host's own files give.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: HashMap<String, Vec<IpAddr>>,
    machine: String,
}

impl Hosts {
    /// Reads the host's `/etc/hosts`; without one there are no such names.
    pub(super) fn read() -> Self {
        let text = fs::read("/etc/hosts").unwrap_or_default();
        let machine = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        Self { names: parse(&String::from_utf8_lossy(&text)), machine }
    }

    /// Addresses of the machine itself, which anybody may know.
    pub(super) fn own(&self, name: &str) -> Option<[IpAddr; 2]> {
        let is_own = name == "localhost" || name.ends_with(".localhost") || name == self.machine;
        is_own.then_some([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
    }

    /// What `/etc/hosts` says of a name.
    pub(super) fn listed(&self, name: &str) -> Option<&[IpAddr]> {
        self.names.get(name).map(Vec::as_slice)
    }
}

fn parse(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        for name in words {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            names.entry(name).or_default().push(address);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_hosts_is_read_as_the_c_library_does() {
        let text = "# comment\n192.0.2.1 A.example a # b\n2001:db8::1\ta.example.\nbad c\n192.0.2.2\n";
        let addresses = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let expected = HashMap::from([
            ("a.example".to_owned(), addresses(&["192.0.2.1", "2001:db8::1"])),
            ("a".to_owned(), addresses(&["192.0.2.1"])),
        ]);
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn the_machine_knows_itself() {
        let hosts = Hosts { names: HashMap::new(), machine: "box".into() };
        for (name, expected) in
            [("localhost", true), ("a.localhost", true), ("box", true), ("localhost.com", false), ("", false)]
        {
            assert_eq!(hosts.own(name).is_some(), expected, "{name}");
        }
    }
}
