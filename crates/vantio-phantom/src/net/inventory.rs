//! What the kernel lists about sockets (`proc_net(5)`).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::PoisonError,
};

use rustix::io::{self, Errno};

use super::Core;

/// Whether a program of the run listens where `address` leads. True when that cannot be known.
///
/// The kernel's tables take milliseconds to read, so they are read only for ports on which the run
/// listened at some time.
pub(super) fn run_listens(core: &Core, address: SocketAddr) -> bool {
    let listened = core.listened.lock().unwrap_or_else(PoisonError::into_inner);
    if !listened.contains(&address.port()) {
        return false;
    }
    drop(listened);
    let tables = core.sockets.in_run(|| Ok([read("tcp")?, read("tcp6")?]));
    tables.map_or(true, |tables| tables.iter().any(|table| listens(table, address)))
}

/// Whether the run has a local socket of this abstract name.
pub(super) fn run_has_abstract(core: &Core, name: &[u8]) -> bool {
    core.sockets.in_run(|| read("unix")).is_ok_and(|table| has_abstract(&table, name))
}

/// Whether the host has a local socket of this abstract name.
pub(super) fn host_has_abstract(core: &Core, name: &[u8]) -> bool {
    core.host.call(|| read("unix")).is_ok_and(|table| has_abstract(&table, name))
}

/// A table of the calling thread's network namespace, from the host's `/proc`.
pub(super) fn read(name: &str) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/thread-self/net/{name}")).map_err(|_| Errno::IO)
}

fn listens(table: &[u8], address: SocketAddr) -> bool {
    let lines = table.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(listener).any(|listener| {
        let is_any = listener.ip().is_unspecified() || address.ip().is_unspecified();
        (is_any || listener.ip() == address.ip()) && listener.port() == address.port()
    })
}

/// `sl local_address rem_address st …`
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    address(local)
}

/// An address in a list of sockets: words of the machine's byte order, then the port.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words =
        ip.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk()?)),
        16 => IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Lines end in `inode name`, a name's NULs written as `@`.
fn has_abstract(table: &[u8], name: &[u8]) -> bool {
    let mut tail = b" @".to_vec();
    tail.extend(name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
    table.split(|byte| *byte == b'\n').any(|line| line.ends_with(&tail))
}

const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{linux::net::SocketAddrExt, unix::net},
    };

    use super::*;

    fn is_seen(listener: &str, asked: &str) -> bool {
        let listener = TcpListener::bind(listener).unwrap();
        let asked = SocketAddr::new(asked.parse().unwrap(), listener.local_addr().unwrap().port());
        ["tcp", "tcp6"].iter().any(|table| listens(&read(table).unwrap(), asked))
    }

    #[test]
    fn listeners_are_seen_by_the_addresses_they_answer() {
        assert!(is_seen("127.0.0.1:0", "127.0.0.1"));
        assert!(!is_seen("127.0.0.1:0", "127.0.0.2"));
        assert!(is_seen("127.0.0.1:0", "0.0.0.0"));
        assert!(is_seen("0.0.0.0:0", "127.0.0.1"));
        assert!(is_seen("[::]:0", "127.0.0.1"));
    }

    #[test]
    fn abstract_names_are_compared_whole() {
        let name = format!("vantio-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let _socket = net::UnixListener::bind_addr(&address).unwrap();
        let table = read("unix").unwrap();
        assert!(has_abstract(&table, name.as_bytes()));
        assert!(!has_abstract(&table, &name.as_bytes()[1..]));
        assert!(!has_abstract(&table, b""));
    }
}
