//! The run's resolver.
//!
//! A name that the oracle does not permit never leaves the machine: a question can carry a
//! secret. What permitted names were answered with is told to the oracle, for the connects
//! that follow.

mod chains;
mod hosts;
mod message;
pub(super) mod server;
mod upstream;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use vantio_core::{Effect, Intent, Target, Transport};

use self::{
    chains::Chains,
    hosts::Hosts,
    message::{Chain, Packet, Question, follow},
};
use super::Judge;
use crate::Ruling;

/// How a question arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// In a datagram: the reply has to fit one.
    Datagram,
    /// On a connection.
    Stream,
}

/// Answers the run's questions.
pub(super) struct Resolver {
    judge: Arc<Judge>,
    servers: Vec<SocketAddr>,
    hosts: Hosts,
    /// Held to write while a name's addresses are exchanged, so that no connect is judged
    /// between the old and the new ones.
    renewal: RwLock<()>,
    names: Mutex<Names>,
    chains: Mutex<Chains>,
}

impl Resolver {
    /// A resolver that asks `servers` in order.
    pub(super) fn new(judge: Arc<Judge>, servers: Vec<SocketAddr>) -> Self {
        let (renewal, names, chains) = (RwLock::default(), Mutex::default(), Mutex::default());
        Self { judge, servers, hosts: Hosts::read(), renewal, names, chains }
    }

    /// The reply to a packet; `None` when it deserves none.
    pub(super) fn answer(&self, packet: &[u8], carrier: Carrier, askers: &[u32]) -> Option<Vec<u8>> {
        let question = match Question::read(packet) {
            Packet::Noise => return None,
            Packet::Reply(reply) => return Some(reply),
            Packet::Question(question) => question,
        };
        let reply = self.resolve(&question, askers)?;
        let limit = match carrier {
            Carrier::Datagram => question.payload(),
            Carrier::Stream => usize::from(u16::MAX),
        };
        Some(question.fit(reply, limit))
    }

    /// Who may have asked from a port of the run.
    pub(super) fn askers(&self, transport: Transport, port: u16) -> Vec<u32> {
        self.judge.askers(transport, port)
    }

    /// Asks again for the names whose answers led to `ip` and have expired. The oracle then knows only the addresses that
    /// they have now; when nobody answers, none. What they led through is known as long as an answer does.
    pub(super) fn refresh(&self, ip: IpAddr) {
        let stale = self.judge.oracle.stale_names(ip);
        if stale.is_empty() {
            return;
        }
        let asked = self.chains().expired(&stale, Instant::now());
        let found: Vec<_> = asked.iter().filter_map(|name| self.lookup(name)).collect();
        let _renewal = self.renewal.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone: BTreeSet<String> = stale.into_iter().collect();
        gone.extend(asked.iter().flat_map(|name| self.chains().remove(name)));
        let others = self.chains().through(&gone, Instant::now());
        for name in &gone {
            self.judge.oracle.forget(name);
        }
        for chain in &found {
            self.learn(chain);
        }
        for chain in &others {
            self.tell(chain);
        }
    }

    fn chains(&self) -> MutexGuard<'_, Chains> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held, what the oracle knows of a name is either old or new.
    pub(super) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.renewal.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while somebody is asked about the name: whoever wants to know it asks again.
    fn resolve(&self, question: &Question, askers: &[u32]) -> Option<Vec<u8>> {
        if let Some(address) = question.reverse() {
            return Some(self.name_of(address, question));
        }
        let name = match question.name() {
            Ok(name) => name,
            Err(name) => {
                // Asked for the record's sake: such a name is never permitted.
                self.decide(&name, askers);
                return Some(question.refuse());
            }
        };
        if let Some(addresses) = self.hosts.own(&name) {
            return Some(question.addresses(&addresses, LOCAL_TTL));
        }
        match self.decide(&name, askers) {
            Ruling::Permit => Some(self.answer_permitted(question, name)),
            Ruling::Refuse | Ruling::Kill => Some(question.refuse()),
            Ruling::Wait => None,
        }
    }

    fn answer_permitted(&self, question: &Question, name: String) -> Vec<u8> {
        if let Some(addresses) = self.hosts.listed(&name) {
            let names = vec![name];
            self.learn(&Chain { names, addresses: addresses.to_vec(), ttl: LOCAL_TTL });
            return question.addresses(addresses, LOCAL_TTL);
        }
        let Ok(answer) = upstream::ask(&self.servers, question) else {
            return question.fail(ResponseCode::ServFail);
        };
        self.learn(&follow(question, &answer));
        question.pass_on(answer)
    }

    /// The addresses of a name that was permitted before.
    fn lookup(&self, name: &str) -> Option<Chain> {
        if let Some(addresses) = self.hosts.listed(name) {
            let names = vec![name.to_owned()];
            return Some(Chain { names, addresses: addresses.to_vec(), ttl: LOCAL_TTL });
        }
        let chains = [RecordType::A, RecordType::AAAA].map(|kind| {
            let question = Question::own(name, kind)?;
            Some(follow(&question, &upstream::ask(&self.servers, &question).ok()?))
        });
        chains.into_iter().flatten().reduce(Chain::join)
    }

    fn decide(&self, name: &str, askers: &[u32]) -> Ruling {
        self.judge.decide_all(askers, &Intent::new(Effect::NetDns, Target::Name(name)))
    }

    /// Remembers an answer.
    fn learn(&self, chain: &Chain) {
        if chain.addresses.is_empty() {
            return;
        }
        self.chains().insert(chain, Instant::now());
        self.tell(chain);
        if let Some(name) = chain.names.first() {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name, &chain.addresses);
        }
    }

    /// Tells the oracle. Names on the way are told as well: a deny of one of them reaches the addresses behind it.
    fn tell(&self, chain: &Chain) {
        for name in &chain.names {
            self.judge.oracle.learn(name, &chain.addresses, chain.ttl);
        }
    }

    /// Answers for addresses that the run has got by name; others are not asked for anywhere.
    fn name_of(&self, address: IpAddr, question: &Question) -> Vec<u8> {
        if question.kind() != RecordType::PTR {
            return question.fail(ResponseCode::NXDomain);
        }
        if address.is_loopback() {
            return question.pointer("localhost");
        }
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.of.get(&address) {
            Some(name) => question.pointer(name),
            None => question.fail(ResponseCode::NXDomain),
        }
    }
}

impl Chain {
    fn join(mut self, other: Self) -> Self {
        let new: Vec<_> = other.addresses.into_iter().filter(|ip| !self.addresses.contains(ip)).collect();
        self.addresses.extend(new);
        self.names
            .extend(other.names.into_iter().filter(|name| !self.names.contains(name)).collect::<Vec<_>>());
        self.ttl = self.ttl.min(other.ttl);
        self
    }
}

/// Which name gave an address; the oldest are forgotten.
#[derive(Default)]
struct Names {
    of: HashMap<IpAddr, String>,
    order: VecDeque<IpAddr>,
}

impl Names {
    fn insert(&mut self, name: &str, addresses: &[IpAddr]) {
        for address in addresses {
            if self.of.insert(*address, name.to_owned()).is_none() {
                self.order.push_back(*address);
            }
        }
        while self.order.len() > NAMES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.of.remove(&oldest);
            }
        }
    }
}

const LOCAL_TTL: Duration = Duration::from_mins(1);
const NAMES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
