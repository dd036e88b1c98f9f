//! Network patterns: names by label, addresses by block, ports, Unix sockets.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    address::{self, Block},
    names,
    path::{Kind, MAX_TEXT, PathPattern, PatternError},
};

/// A rule of `net.allow` or `net.deny`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NetPattern {
    Endpoint(EndpointPattern),
    Unix(PathPattern),
}

/// Hosts and ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointPattern {
    /// Whether it was written with `udp://`.
    pub(crate) is_udp: bool,
    pub(crate) host: Host,
    pub(crate) ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// `*`
    Any,
    /// A name, in A-labels.
    Name(String),
    /// `*.name`: one or more labels below it.
    Below(String),
    Block(Block),
}

/// Inclusive ranges, sorted, apart from each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ports(Vec<(u16, u16)>);

/// Why a text is not a network pattern. The strings are what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetError {
    #[error("a network rule is empty")]
    Empty,
    #[error("a network rule has white space or a control character in it")]
    WhiteSpace,
    #[error("a network rule is longer than {MAX_TEXT} bytes")]
    TooLong,
    #[error("a network rule has no scheme but `udp://`")]
    Scheme(String),
    #[error("a network rule names a host, not a path on it")]
    UrlPath(String),
    #[error("`{0}` is not a port")]
    Port(String),
    #[error("the port range `{0}` runs backwards")]
    ReversedPorts(String),
    #[error("`*` stands only for a whole name or its first label")]
    Wildcard,
    #[error("`{0}` is not a domain name")]
    Name(String),
    #[error("`{0}` is not an address in decimal notation")]
    Address(String),
    #[error("an IPv6 address is not in brackets")]
    Unbracketed(String),
    #[error("a bracket is not closed, or something stands after it")]
    Bracket,
    #[error("`{0}` is not a prefix length")]
    Length(String),
    #[error("an address block has host bits set")]
    HostBits(String),
    #[error("an IPv4-mapped address is written as IPv6")]
    Mapped(String),
    #[error("an unspecified address is no destination")]
    Unspecified(String),
    #[error("a name never opens loopback")]
    Localhost(String),
    #[error(transparent)]
    Path(#[from] PatternError),
}

impl NetPattern {
    pub(crate) fn parse(
        text: &str,
        kind: Kind,
        map_name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathPattern::parse(path)?));
        }
        if text.is_empty() {
            return Err(NetError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(NetError::TooLong);
        }
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(NetError::WhiteSpace);
        }
        let (is_udp, rest) = match text.split_once("://") {
            Some(("udp", rest)) => (true, rest),
            Some((scheme, rest)) => return Err(NetError::Scheme(without_scheme(scheme, rest))),
            None => (false, text),
        };
        let (host, ports) = split_ports(rest)?;
        let host = parse_host(host, map_name)?;
        let ports = match (ports, kind) {
            (Some(ports), _) => Ports::parse(ports)?,
            (None, Kind::Allow) => Ports(Vec::from([(80, 80), (443, 443)])),
            (None, Kind::Deny) => Ports::all(),
        };
        if kind == Kind::Allow && matches!(&host, Host::Name(name) if is_localhost(name)) {
            return Err(NetError::Localhost(format!("127.0.0.1:{}", ports.canonical())));
        }
        Ok(Self::Endpoint(EndpointPattern { is_udp, host, ports }))
    }

    /// The one text that every spelling of this rule in a list of its kind shares.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.canonical()),
            Self::Endpoint(EndpointPattern { is_udp, host, ports }) => {
                let scheme = if *is_udp { "udp://" } else { "" };
                // With its dot, the host of this name is not the scheme of sockets.
                let dot =
                    if !is_udp && matches!(host, Host::Name(name) if name == "unix") { "." } else { "" };
                format!("{scheme}{}{dot}:{}", host.canonical(), ports.canonical())
            }
        }
    }
}

impl Host {
    /// Whether the pattern is about names, and `name` is one of them. In a deny a
    /// name covers its subdomains.
    pub(crate) fn covers_name(&self, name: &str, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name || kind == Kind::Deny && names::is_below(name, own),
            Self::Below(own) => names::is_below(name, own),
            Self::Block(_) => false,
        }
    }

    fn canonical(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Name(name) => name.clone(),
            Self::Below(name) => format!("*.{name}"),
            Self::Block(block) => block.canonical(),
        }
    }
}

impl Ports {
    pub(crate) fn all() -> Self {
        Self(Vec::from([(0, u16::MAX)]))
    }

    pub(crate) fn is_all(&self) -> bool {
        self.0 == [(0, u16::MAX)]
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    pub(crate) fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, NetError> {
        if text == "*" {
            return Ok(Self::all());
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (parse_port(first)?, parse_port(last)?);
            if last < first {
                return Err(NetError::ReversedPorts(part.to_owned()));
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => {
                    previous.1 = previous.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        if merged == [(1, u16::MAX)] { Ok(Self::all()) } else { Ok(Self(merged)) }
    }

    pub(crate) fn canonical(&self) -> String {
        if self.is_all() {
            return "*".to_owned();
        }
        let ranges = self
            .0
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
        ranges.collect::<Vec<_>>().join(",")
    }
}

fn parse_port(text: &str) -> Result<u16, NetError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if is_decimal => Ok(port),
        _ => Err(NetError::Port(text.to_owned())),
    }
}

/// Splits `host`, `host:ports`, `[v6]`, `[v6]:ports` and `[v6]/length:ports`.
fn split_ports(text: &str) -> Result<(&str, Option<&str>), NetError> {
    let host_end = if text.starts_with('[') { text.find(']').ok_or(NetError::Bracket)? } else { 0 };
    let Some(colon) = text[host_end..].find(':').map(|offset| host_end + offset) else {
        return Ok((text, None));
    };
    let (host, ports) = (&text[..colon], &text[colon + 1..]);
    if ports.contains(':') {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        return match address.parse::<Ipv6Addr>() {
            Ok(_) if length.is_empty() => Err(NetError::Unbracketed(format!("[{address}]"))),
            Ok(_) => Err(NetError::Unbracketed(format!("[{address}/{length}]"))),
            Err(_) => Err(NetError::Port(ports.to_owned())),
        };
    }
    Ok((host, Some(ports)))
}

fn parse_host(text: &str, map_name: impl Fn(&str) -> Option<String>) -> Result<Host, NetError> {
    if text == "*" {
        return Ok(Host::Any);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(NetError::Bracket)?;
        return match (inside.split_once('/'), after.strip_prefix('/')) {
            (None, None) if after.is_empty() => parse_v6(inside, None),
            (None, Some(length)) => parse_v6(inside, Some(length)),
            (Some((address, length)), None) if after.is_empty() => parse_v6(address, Some(length)),
            _ => Err(NetError::Bracket),
        };
    }
    if let Some((address, length)) = text.split_once('/') {
        if !looks_numeric(address) {
            return Err(NetError::UrlPath(address.to_owned()));
        }
        return parse_v4(address, Some(length));
    }
    if looks_numeric(text) {
        return parse_v4(text, None);
    }
    let (is_below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
    if name.contains('*') {
        return Err(NetError::Wildcard);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let mapped = map_name(name).filter(|mapped| names::is_canonical(mapped) && !looks_numeric(mapped));
    let mapped = mapped.ok_or_else(|| NetError::Name(name.to_owned()))?;
    Ok(if is_below { Host::Below(mapped) } else { Host::Name(mapped) })
}

/// Whether a host ends in a number, which makes it an IPv4 address (WHATWG URL,
/// "ends in a number checker").
fn looks_numeric(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hexadecimal =
        is_hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hexadecimal || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_v4(text: &str, length: Option<&str>) -> Result<Host, NetError> {
    let address: Ipv4Addr = text.parse().map_err(|_| NetError::Address(text.to_owned()))?;
    parse_block(address.into(), length)
}

fn parse_v6(text: &str, length: Option<&str>) -> Result<Host, NetError> {
    let address: Ipv6Addr = text.parse().map_err(|_| NetError::Address(text.to_owned()))?;
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Err(NetError::Mapped(mapped.to_string()));
    }
    parse_block(address.into(), length)
}

fn parse_block(address: IpAddr, length: Option<&str>) -> Result<Host, NetError> {
    let width = address::width(address);
    let length: u8 = match length {
        None => width,
        Some(digits) => match digits.parse() {
            Ok(length) if length <= width && digits.bytes().all(|byte| byte.is_ascii_digit()) => length,
            _ => return Err(NetError::Length(digits.to_owned())),
        },
    };
    if address.is_unspecified() && length == width {
        let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
        return Err(NetError::Unspecified(loopback.to_owned()));
    }
    if let Some(block) = Block::new(address, length) {
        return Ok(Host::Block(block));
    }
    let fixed = Block::new(Block::masked(address, length), length).unwrap_or(Block::single(address));
    Err(NetError::HostBits(fixed.canonical()))
}

/// Whether a name means loopback.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || names::is_below(name, "localhost")
}

/// What `https://host/path` should have been.
fn without_scheme(scheme: &str, rest: &str) -> String {
    let host = rest.split('/').next().unwrap_or(rest);
    match scheme {
        _ if host.contains(':') => host.to_owned(),
        "https" | "wss" => format!("{host}:443"),
        "http" | "ws" => format!("{host}:80"),
        "ssh" => format!("{host}:22"),
        "git" => format!("{host}:9418"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, NetError> {
        NetPattern::parse(text, Kind::Allow, names::lower_ascii).map(|pattern| pattern.canonical())
    }

    #[test]
    fn spellings_become_one() {
        for (written, canonical) in [
            ("GitHub.com.", "github.com:80,443"),
            ("*.pypi.org:443", "*.pypi.org:443"),
            ("*", "*:80,443"),
            ("*:*", "*:*"),
            ("a.b:443,80,81-90,85", "a.b:80-90,443"),
            ("a.b:1-65535", "a.b:*"),
            ("10.0.0.0/8:5432", "10.0.0.0/8:5432"),
            ("10.0.0.1/32:1", "10.0.0.1:1"),
            ("[::1]:8080", "[::1]:8080"),
            ("[2001:DB8::]/32:443", "[2001:db8::/32]:443"),
            ("[2001:db8::/32]", "[2001:db8::/32]:80,443"),
            ("udp://10.0.0.53:53", "udp://10.0.0.53:53"),
            ("unix", "unix.:80,443"),
            ("unix.:22", "unix.:22"),
            ("udp://unix:53", "udp://unix:53"),
            ("unix:/run//postgresql/**", "unix:/run/postgresql/**"),
        ] {
            assert_eq!(parse(written).as_deref(), Ok(canonical), "{written}");
            assert_eq!(parse(canonical).as_deref(), Ok(canonical), "{canonical}");
        }
    }

    #[test]
    fn a_deny_without_port_covers_every_port() {
        let pattern = NetPattern::parse("example.com", Kind::Deny, names::lower_ascii).unwrap();
        assert_eq!(pattern.canonical(), "example.com:*");
    }

    #[test]
    fn mistakes_are_named_with_the_fix() {
        for (written, error) in [
            ("", NetError::Empty),
            ("https://github.com/x", NetError::Scheme("github.com:443".into())),
            ("github.com/x", NetError::UrlPath("github.com".into())),
            ("a.b:0", NetError::Port("0".into())),
            ("a.b:70000", NetError::Port("70000".into())),
            ("a.b:9-1", NetError::ReversedPorts("9-1".into())),
            ("a*.b", NetError::Wildcard),
            ("*.*.b", NetError::Wildcard),
            ("a..b", NetError::Name("a..b".into())),
            ("010.0.0.1", NetError::Address("010.0.0.1".into())),
            ("0x7f.1", NetError::Address("0x7f.1".into())),
            ("10.0.0.1/8", NetError::HostBits("10.0.0.0/8".into())),
            ("10.0.0.0/33", NetError::Length("33".into())),
            ("::1", NetError::Unbracketed("[::1]".into())),
            ("2001:db8::/32", NetError::Unbracketed("[2001:db8::/32]".into())),
            ("[::1", NetError::Bracket),
            ("[::ffff:10.0.0.1]:5", NetError::Mapped("10.0.0.1".into())),
            ("0.0.0.0:80", NetError::Unspecified("127.0.0.1".into())),
            ("localhost:8080", NetError::Localhost("127.0.0.1:8080".into())),
            ("unix:run/x", NetError::Path(PatternError::Anchor)),
        ] {
            assert_eq!(parse(written), Err(error), "{written}");
        }
    }
}
