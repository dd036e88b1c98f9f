//! Datagrams to the outside, and questions to the resolver.
//!
//! Whatever the run sends to a port that some rule opens reaches a door here. The oracle
//! judges each pair of ends once a second; what it permits leaves from a socket of the host.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::{self, Errno},
    net::AddressFamily,
};
use vantio_core::{Effect, Intent, Transport};

use super::{
    Judge,
    connect::DNS,
    datagram::{Datagram, Door},
    dns::{Carrier, Resolver},
    outside,
    socket::Sockets,
    thread::{Pool, spawn},
};
use crate::Ruling;

/// How many ports the rules may open to datagrams, in all.
pub(super) const PORTS_MAX: usize = 1024;

/// Opens the doors of `ports` and of the resolver, and starts the thread behind them.
pub(super) fn start(
    judge: Arc<Judge>,
    resolver: Arc<Resolver>,
    sockets: &Sockets,
    ports: Vec<u16>,
) -> std::io::Result<()> {
    let doors = sockets.in_run(move || {
        let mut doors = Vec::new();
        for port in ports.into_iter().filter(|port| *port != DNS).chain([DNS]) {
            for family in [AddressFamily::INET, AddressFamily::INET6] {
                doors.push(Arc::new(Door::open(family, port)?));
            }
        }
        Ok(doors)
    })?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, door) in doors.iter().enumerate() {
        epoll::add(&epoll, door.as_fd(), epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
    }
    let next = doors.len() as u64;
    let questions = Pool::new("net-dns", QUESTIONS_MAX);
    let (flows, ends) = (HashMap::new(), HashMap::new());
    let mut relay = Relay { judge, resolver, questions, epoll, doors, flows, ends, next };
    spawn("net-relay", move || relay.run())
}

/// The two ends of an exchange of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    inside: SocketAddr,
    outside: SocketAddr,
}

struct Flow {
    /// The socket of the host; none when the oracle refused.
    socket: Option<UdpSocket>,
    door: Arc<Door>,
    number: u64,
    judged: Instant,
    used: Instant,
}

struct Relay {
    judge: Arc<Judge>,
    resolver: Arc<Resolver>,
    questions: Pool,
    epoll: OwnedFd,
    doors: Vec<Arc<Door>>,
    flows: HashMap<Ends, Flow>,
    ends: HashMap<u64, Ends>,
    next: u64,
}

impl Relay {
    fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut swept = Instant::now();
        loop {
            let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
            let tick = Timespec { tv_sec: 1, tv_nsec: 0 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick)) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptor is ours: it cannot fail otherwise.
                Err(_) => return,
            }
            for event in events {
                let number = event.data.u64();
                match self.doors.get(number as usize).cloned() {
                    Some(door) => self.take_in(&door, &mut buffer),
                    None => self.take_back(number, &mut buffer),
                }
            }
            if swept.elapsed() >= Duration::from_secs(1) {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    fn take_in(&mut self, door: &Arc<Door>, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match door.receive(buffer) {
                Ok(datagram) if self.is_question(&datagram) => self.question(door, datagram),
                Ok(datagram) => self.forward(door, &datagram),
                Err(Errno::BADMSG) => {}
                Err(_) => return,
            }
        }
    }

    /// Whatever name server is asked, unless a rule opens the way to that one.
    fn is_question(&self, datagram: &Datagram) -> bool {
        datagram.to.port() == DNS && !self.judge.oracle.would_permit(&intent(datagram.to))
    }

    /// One question too many is lost, as in a network: the client asks again.
    fn question(&self, door: &Arc<Door>, datagram: Datagram) {
        let (door, resolver) = (Arc::clone(door), Arc::clone(&self.resolver));
        let _ = self.questions.submit(move || {
            let askers = resolver.askers(Transport::Udp, datagram.from.port());
            if let Some(reply) = resolver.answer(&datagram.payload, Carrier::Datagram, &askers) {
                let _ = door.send(&reply, datagram.from, datagram.to.ip());
            }
        });
    }

    fn forward(&mut self, door: &Arc<Door>, datagram: &Datagram) {
        let ends = Ends { inside: datagram.from, outside: datagram.to };
        // Where flows are tracked, whoever sends may have read something since.
        let keeps = self.judge.census.is_none();
        let is_judged = keeps && self.flows.get(&ends).is_some_and(|flow| flow.judged.elapsed() < JUDGED_FOR);
        if !is_judged {
            let Some(is_permitted) = self.judge(datagram) else { return };
            if self.flow(door, ends, is_permitted).is_err() {
                return;
            }
        }
        if let Some(flow) = self.flows.get_mut(&ends) {
            flow.used = Instant::now();
            if let Some(socket) = &flow.socket {
                // What a network would lose is lost.
                let _ = socket.send(&datagram.payload);
            }
        }
    }

    /// `None` while a name that gave the address is asked for again, or somebody about the datagram: it is lost, as in
    /// a network.
    fn judge(&self, datagram: &Datagram) -> Option<bool> {
        let address = datagram.to;
        let renewal = self.resolver.hold();
        if !self.judge.oracle.stale_names(address.ip()).is_empty() {
            drop(renewal);
            let resolver = Arc::clone(&self.resolver);
            let _ = self.questions.submit(move || resolver.refresh(address.ip()));
            return None;
        }
        let askers = self.judge.askers(Transport::Udp, datagram.from.port());
        match self.judge.decide_all(&askers, &intent(address)) {
            Ruling::Permit => Some(true),
            Ruling::Refuse | Ruling::Kill => Some(false),
            Ruling::Wait => None,
        }
    }

    /// Makes or renews the flow between two ends.
    fn flow(&mut self, door: &Arc<Door>, ends: Ends, is_permitted: bool) -> io::Result<()> {
        let judged = Instant::now();
        if let Some(flow) = self.flows.get_mut(&ends) {
            if flow.socket.is_some() == is_permitted {
                flow.judged = judged;
                return Ok(());
            }
            self.drop_flow(ends);
        }
        if self.flows.len() >= FLOWS_MAX
            && let Some(oldest) = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(ends, _)| *ends)
        {
            self.drop_flow(oldest);
        }
        let number = self.next;
        self.next += 1;
        let socket = if is_permitted {
            let socket = connect(ends.outside).map_err(|_| Errno::NETUNREACH)?;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            Some(socket)
        } else {
            None
        };
        self.ends.insert(number, ends);
        self.flows.insert(ends, Flow { socket, door: Arc::clone(door), number, judged, used: judged });
        Ok(())
    }

    fn take_back(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(ends) = self.ends.get(&number) else { return };
        let Some(flow) = self.flows.get_mut(ends) else { return };
        let Some(socket) = &flow.socket else { return };
        for _ in 0..BATCH {
            match socket.recv(buffer) {
                Ok(length) => {
                    flow.used = Instant::now();
                    let _ = flow.door.send(&buffer[..length], ends.inside, ends.outside.ip());
                }
                // Also where the other end refused: the error is taken, and the next datagram tries again.
                Err(_) => return,
            }
        }
    }

    fn sweep(&mut self) {
        let is_over = |flow: &Flow| {
            let limit = if flow.socket.is_some() { IDLE } else { JUDGED_FOR };
            flow.used.elapsed() > limit
        };
        let over: Vec<Ends> =
            self.flows.iter().filter(|(_, flow)| is_over(flow)).map(|(ends, _)| *ends).collect();
        for ends in over {
            self.drop_flow(ends);
        }
    }

    fn drop_flow(&mut self, ends: Ends) {
        if let Some(flow) = self.flows.remove(&ends) {
            self.ends.remove(&flow.number);
        }
    }
}

fn connect(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let local: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn intent(address: SocketAddr) -> Intent<'static> {
    let target = outside(Transport::Udp, address);
    Intent::new(Effect::NetConnect, target)
}

const FLOWS_MAX: usize = 1024;
const QUESTIONS_MAX: usize = 64;
const DATAGRAM_MAX: usize = 65_535;
const EVENTS: usize = 64;
/// Datagrams taken from one socket before the others have their turn.
const BATCH: usize = 64;
/// How long a verdict holds for a flow.
const JUDGED_FOR: Duration = Duration::from_secs(1);
/// How long a flow without datagrams is kept.
const IDLE: Duration = Duration::from_mins(1);
