//! What the sockets of a run are connected to.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet, VecDeque},
    mem,
    net::SocketAddr,
    sync::Mutex,
};

use rustix::io;
use vantio_core::{Channel, Transport};

use super::lock;
use crate::net::{inventory::address, may_stay};

/// Reads the kernel's lists of the sockets in the run's network namespace (`proc_net(5)`).
pub(crate) trait Tables: Send + Sync {
    /// The list `tcp`, `tcp6`, `udp`, `udp6` or `unix`.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
}

/// What the supervisor connected sockets to, by their inodes: the kernel's lists do not say it, or not in the run's
/// network namespace.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Known>);

#[derive(Default)]
struct Known {
    channels: HashMap<u64, Vec<Channel>>,
    order: VecDeque<u64>,
    /// Whether something had to be forgotten.
    is_full: bool,
}

impl Registry {
    /// The socket leads to `channel` from now on.
    pub(crate) fn add(&self, inode: u64, channel: Channel) {
        let mut known = lock(&self.0);
        let channels = known.channels.entry(inode).or_default();
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        if channels.len() == 1 {
            known.order.push_back(inode);
        }
        if known.order.len() > KNOWN_MAX * 4 {
            known.is_full = true;
            if let Some(oldest) = known.order.pop_front() {
                known.channels.remove(&oldest);
            }
        }
    }

    /// Where many are known, those go that nobody holds. A call may not have given back yet what was added last.
    pub(super) fn forget_all_but(&self, held: &HashSet<u64>) {
        let known = &mut *lock(&self.0);
        let Some(older) = known.order.len().checked_sub(RECENT).filter(|older| *older > KNOWN_MAX) else {
            return;
        };
        for (index, inode) in mem::take(&mut known.order).into_iter().enumerate() {
            if index >= older || held.contains(&inode) {
                known.order.push_back(inode);
            } else {
                known.channels.remove(&inode);
            }
        }
    }

    fn of(&self, inode: u64) -> Option<Vec<Channel>> {
        lock(&self.0).channels.get(&inode).cloned()
    }

    fn is_full(&self) -> bool {
        lock(&self.0).is_full
    }
}

/// What each socket of the run is, at one moment.
pub(super) struct Sockets<'a> {
    registry: &'a Registry,
    internet: HashMap<u64, Vec<Channel>>,
    /// Local sockets; with the names they have. A name with a line break can make another line of the list: it takes
    /// nothing from what the kernel says of a socket, and only adds to it.
    local: HashMap<u64, Vec<Option<Channel>>>,
    tables: Option<&'a dyn Tables>,
    /// The sockets of lists that are known to be whole, once one is in none.
    whole: OnceCell<Option<HashSet<u64>>>,
}

/// What a socket leads to.
pub(super) enum Ways {
    /// These channels, both ways.
    To(Vec<Channel>),
    /// Whatever there is: it is not known.
    Unknown,
}

impl<'a> Sockets<'a> {
    pub(super) fn read(tables: Option<&'a dyn Tables>, registry: &'a Registry) -> io::Result<Self> {
        let mut internet = HashMap::new();
        for (name, transport) in INTERNET {
            let table = read(tables, name)?;
            internet.extend(lines(&table).map(|line| (line.inode, line.channels(transport))));
        }
        let mut local: HashMap<u64, Vec<Option<Channel>>> = HashMap::new();
        for (inode, name) in local_lines(&read(tables, "unix")?) {
            local.entry(inode).or_default().push(name);
        }
        Ok(Self { registry, internet, local, tables, whole: OnceCell::new() })
    }

    pub(super) fn ways(&self, inode: u64) -> Ways {
        if let Some(channels) = self.registry.of(inode) {
            return Ways::To(channels);
        }
        if let Some(channels) = self.internet.get(&inode) {
            return Ways::To(channels.clone());
        }
        let names = self.local.get(&inode);
        // What a connected socket without a name of its own was connected to may have been forgotten, and so may a
        // connection of the host's.
        if self.registry.is_full() && names.is_none_or(|names| names.contains(&None)) {
            return Ways::Unknown;
        }
        match names {
            Some(names) => {
                Ways::To(names.iter().map(|name| name.clone().unwrap_or(Channel::SocketPairs)).collect())
            }
            // In no list: never bound or connected, or of another family. What is put into it comes out of it.
            None if self.is_in_no_list(inode) => Ways::To(vec![Channel::Socket(inode)]),
            None => Ways::Unknown,
        }
    }

    /// A list is read in parts, and when a socket is closed meanwhile the kernel may leave another one out. Only lists that say
    /// the same twice, and nothing doubly, have left out nothing.
    fn is_in_no_list(&self, inode: u64) -> bool {
        let whole = self.whole.get_or_init(|| {
            let mut before = listed(self.tables).ok()?;
            for _ in 0..ATTEMPTS {
                let again = listed(self.tables).ok()?;
                if before == again && again.windows(2).all(|pair| pair[0] != pair[1]) {
                    return Some(again.into_iter().map(|(inode, _)| inode).collect());
                }
                before = again;
            }
            None
        });
        whole.as_ref().is_some_and(|whole| !whole.contains(&inode))
    }
}

fn read(tables: Option<&dyn Tables>, name: &str) -> io::Result<Vec<u8>> {
    tables.map_or_else(|| Ok(Vec::new()), |tables| tables.read(name))
}

/// What all lists have, ordered: a socket and what tells its line from others.
fn listed(tables: Option<&dyn Tables>) -> io::Result<Vec<(u64, String)>> {
    let mut listed = Vec::new();
    for (name, _) in INTERNET {
        let table = read(tables, name)?;
        let key = |line: Line| (line.inode, format!("{name} {} {}", line.local, line.remote));
        listed.extend(lines(&table).map(key));
    }
    let table = read(tables, "unix")?;
    listed.extend(local_lines(&table).map(|(inode, name)| (inode, format!("{name:?}"))));
    listed.sort_unstable();
    Ok(listed)
}

const INTERNET: [(&str, Transport); 4] =
    [("tcp", Transport::Tcp), ("tcp6", Transport::Tcp), ("udp", Transport::Udp), ("udp6", Transport::Udp)];
/// How often lists are read that do not stand still.
const ATTEMPTS: usize = 8;

/// One line of a list of internet sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) inode: u64,
}

impl Line {
    fn channels(&self, transport: Transport) -> Vec<Channel> {
        let mut channels = vec![Channel::Port(transport, self.local.port())];
        if self.remote.port() != 0 {
            channels.push(if may_stay(self.remote.ip()) {
                Channel::Port(transport, self.remote.port())
            } else {
                Channel::Peer(transport, self.remote)
            });
        }
        channels
    }
}

/// The sockets in a list of `tcp`, `tcp6`, `udp` or `udp6`.
pub(crate) fn lines(table: &[u8]) -> impl Iterator<Item = Line> {
    let lines = table.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| {
        // sl local_address rem_address st queues timer retransmits uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = fields.get(9)?.parse().ok()?;
        Some(Line { local: address(fields.get(1)?)?, remote: address(fields.get(2)?)?, inode })
    })
}

fn local_lines(table: &[u8]) -> impl Iterator<Item = (u64, Option<Channel>)> {
    table.split(|byte| *byte == b'\n').filter_map(local_line)
}

/// `Num: RefCount Protocol Flags Type St Inode Path`
fn local_line(line: &[u8]) -> Option<(u64, Option<Channel>)> {
    let (mut field, mut rest) = (line, line);
    for _ in 0..7 {
        rest = rest.trim_ascii_start();
        (field, rest) = rest.split_at(rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len()));
    }
    let inode = std::str::from_utf8(field).ok()?.parse().ok()?;
    Some((inode, rest.strip_prefix(b" ").map(named)))
}

/// The channel of a local name, be it a path or, behind a NUL, an abstract one: as the kernel lists it, which writes a
/// NUL as `@`, and a line break as itself. Names that are listed alike are one channel.
pub(crate) fn named(name: &[u8]) -> Channel {
    let line = name.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut listed: Vec<u8> = line.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }).collect();
    if let Some(first) = listed.first_mut().filter(|first| **first == b'@') {
        *first = 0;
    }
    Channel::Named(listed)
}

/// Connections of which one run remembers where they lead, before those that are closed are forgotten. Four times as many
/// are never remembered.
const KNOWN_MAX: usize = 65_536;
/// Of these none is taken for closed.
const RECENT: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_on_both_ports() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let inode = rustix::fs::fstat(&stream).unwrap().st_ino;
        let table = std::fs::read("/proc/self/net/tcp").unwrap();
        let line = lines(&table).find(|line| line.inode == inode).unwrap();
        assert_eq!((line.local, line.remote), (stream.local_addr().unwrap(), listener.local_addr().unwrap()));
        let port = |port| Channel::Port(Transport::Tcp, port);
        assert_eq!(line.channels(Transport::Tcp), [port(line.local.port()), port(line.remote.port())]);
        let outside = Line { remote: "192.0.2.1:443".parse().unwrap(), ..line };
        assert!(outside.channels(Transport::Udp).contains(&Channel::Peer(Transport::Udp, outside.remote)));
    }

    #[test]
    fn local_sockets_have_names_or_none() {
        let line = |tail: &str| format!("0000000000000000: 00000003 00000000 00000000 0001 03 12345{tail}");
        let name = |tail: &str| local_line(line(tail).as_bytes());
        let is = |listed: &[u8]| Some((12345, Some(Channel::Named(listed.to_vec()))));
        assert_eq!(name(""), Some((12345, None)));
        assert_eq!(name(" /run/a b"), is(b"/run/a b"));
        assert_eq!(name("  a "), is(b" a "));
        assert_eq!(name(" "), is(b""));
        assert_eq!(name(" @name"), is(b"\0name"));
        assert_eq!(local_line(b"Num       RefCount Protocol Flags    Type St Inode Path"), None);
    }

    /// What the kernel's list has for a socket of this abstract name is what a connection to it is told to lead to.
    #[test]
    fn a_name_is_listed_as_it_is_told() {
        use std::os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener},
        };
        struct Own;
        impl Tables for Own {
            fn read(&self, name: &str) -> io::Result<Vec<u8>> {
                std::fs::read(format!("/proc/self/net/{name}")).map_err(|_| io::Errno::IO)
            }
        }
        let registry = Registry::default();
        for tail in [&b"plain"[..], b"with\0nul", b"with\nbreak", b" ", b"\n", b"\0", b"@"] {
            let mut name = format!("vantio-test-{}", std::process::id()).into_bytes();
            name.extend(tail);
            let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
            let sockets = Sockets::read(Some(&Own), &registry).unwrap();
            let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
            let Ways::To(channels) = sockets.ways(inode) else { panic!("{name:?} is not known") };
            assert_eq!(channels, [named(&[b"\0", &name[..]].concat())], "{name:?}");
        }
    }

    /// Lists of local sockets, one after the other; the last stays.
    struct Lists(AtomicUsize, Vec<&'static str>);

    impl Tables for Lists {
        fn read(&self, name: &str) -> io::Result<Vec<u8>> {
            if name != "unix" {
                return Ok(Vec::new());
            }
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            let inodes = self.1.get(turn).or(self.1.last()).unwrap().split(' ');
            let lines: Vec<_> = inodes.map(|inode| format!("0: 2 0 0 1 1 {inode} @{inode}")).collect();
            Ok(lines.join("\n").into_bytes())
        }
    }

    #[test]
    fn who_is_in_no_list_is_so_only_where_lists_are_whole() {
        let registry = Registry::default();
        let is_alone = |lists: &[&'static str], inode| {
            let lists = Lists(AtomicUsize::new(0), lists.to_vec());
            let sockets = Sockets::read(Some(&lists), &registry).unwrap();
            matches!(sockets.ways(inode), Ways::To(channels) if channels == [Channel::Socket(inode)])
        };
        assert!(is_alone(&["1 2 3"], 7));
        assert!(is_alone(&["1 2 3", "1 2", "1 3"], 7));
        // Another was closed, and this one left out.
        assert!(!is_alone(&["1 2 3", "1 2 3 7", "2 3 7"], 7));
        // One was opened and closed meanwhile: others were read twice, and this one left out.
        assert!(!is_alone(&["1 2 2 3"], 7));
        let restless: Vec<_> = ["1", "2"].into_iter().cycle().take(20).collect();
        assert!(!is_alone(&restless, 7));
    }

    #[test]
    fn a_line_that_a_name_makes_only_adds() {
        struct Forged;
        impl Tables for Forged {
            fn read(&self, name: &str) -> io::Result<Vec<u8>> {
                let table = b"0: 2 0 0 1 1 7 @real\n0: 2 0 0 1 1 8 @a\n0: 2 0 0 1 1 7 @x\n";
                Ok(if name == "unix" { table.to_vec() } else { Vec::new() })
            }
        }
        let registry = Registry::default();
        let sockets = Sockets::read(Some(&Forged), &registry).unwrap();
        let Ways::To(channels) = sockets.ways(7) else { panic!("not known") };
        assert_eq!(channels, [named(b"\0real"), named(b"\0x")]);
    }

    #[test]
    fn what_is_forgotten_leads_anywhere() {
        let registry = Registry::default();
        for inode in 0..=4 * KNOWN_MAX as u64 {
            registry.add(inode, Channel::SocketPairs);
        }
        assert!(registry.is_full() && registry.of(0).is_none());
        assert!(matches!(Sockets::read(None, &registry).unwrap().ways(0), Ways::Unknown));
    }

    #[test]
    fn sockets_that_nobody_holds_are_forgotten_first() {
        let registry = Registry::default();
        for inode in 0..(KNOWN_MAX + 2 * RECENT) as u64 {
            registry.add(inode, Channel::SocketPairs);
        }
        registry.forget_all_but(&HashSet::from([0, 7]));
        assert!(!registry.is_full() && registry.of(0).is_some() && registry.of(7).is_some());
        assert!(registry.of(1).is_none() && registry.of((KNOWN_MAX + 2 * RECENT) as u64 - 1).is_some());
    }
}
