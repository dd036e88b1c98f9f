use std::{
    collections::HashMap,
    net::UdpSocket,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, rdata::A},
};

use super::*;
use crate::{Account, Ending, Oracle, Ruling};

/// Permits names below `example`, and remembers what it is told.
#[derive(Default)]
struct Names {
    asked: Mutex<Vec<String>>,
    learned: Mutex<HashMap<String, Vec<IpAddr>>>,
    stale: Mutex<Vec<String>>,
}

impl Oracle for Names {
    fn decide(&self, intent: &Intent<'_>) -> Ruling {
        let Target::Name(name) = intent.target else { return Ruling::Refuse };
        self.asked.lock().unwrap().push(name.to_owned());
        if name.ends_with(".example") { Ruling::Permit } else { Ruling::Refuse }
    }

    fn would_permit(&self, _: &Intent<'_>) -> bool {
        false
    }

    fn learn(&self, name: &str, addresses: &[IpAddr], _: Duration) {
        self.learned.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }

    fn stale_names(&self, _: IpAddr) -> Vec<String> {
        std::mem::take(&mut self.stale.lock().unwrap())
    }

    fn forget(&self, name: &str) {
        self.learned.lock().unwrap().remove(name);
    }

    fn end(&self, _: Ending) -> Account {
        Account::Unwritten
    }
}

/// A name server that answers everything with 192.0.2.N, N counting the questions.
fn upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            let count = counter.fetch_add(1, Ordering::SeqCst) as u8 + 1;
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name.clone();
            if message.queries[0].query_type == RecordType::A {
                message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, count))));
            }
            socket.send_to(&message.to_vec().unwrap(), client).unwrap();
        }
    });
    (address, asked)
}

fn resolver(servers: Vec<SocketAddr>) -> (Resolver, Arc<Names>) {
    let oracle = Arc::new(Names::default());
    let judge = Judge { census: None, oracle: oracle.clone(), kill: Arc::new(|_| ()) };
    (Resolver::new(Arc::new(judge), servers), oracle)
}

fn ask(resolver: &Resolver, name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let reply = resolver.answer(&message.to_vec().unwrap(), Carrier::Datagram, &[0]).unwrap();
    Message::from_vec(&reply).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_permitted_name_is_asked_upstream_and_learned() {
    let (server, asked) = upstream();
    let (resolver, oracle) = resolver(vec![server]);
    let reply = ask(&resolver, "Www.Example.", RecordType::A);
    assert_eq!(reply.answers[0].data, RData::A(A::new(192, 0, 2, 1)));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let expected = HashMap::from([("www.example".to_owned(), vec![ip("192.0.2.1")])]);
    assert_eq!(*oracle.learned.lock().unwrap(), expected);
}

#[test]
fn other_names_never_leave() {
    let (server, asked) = upstream();
    let (resolver, oracle) = resolver(vec![server]);
    for name in ["secret.attacker.test.", "example.", "a\\.example.", "."] {
        assert_eq!(ask(&resolver, name, RecordType::TXT).metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(oracle.asked.lock().unwrap().len(), 4);
}

#[test]
fn the_machine_itself_needs_no_rule() {
    let (resolver, oracle) = resolver(vec![]);
    let reply = ask(&resolver, "localhost.", RecordType::AAAA);
    assert_eq!(reply.answers.len(), 1);
    assert!(oracle.asked.lock().unwrap().is_empty());
}

#[test]
fn addresses_have_the_names_that_gave_them() {
    let (server, asked) = upstream();
    let (resolver, _) = resolver(vec![server]);
    ask(&resolver, "www.example.", RecordType::A);
    let known = ask(&resolver, "1.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(known.answers.len(), 1);
    let unknown = ask(&resolver, "9.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// An answer for `names`, the first of which was asked for, that has expired already or holds for an hour.
fn chain(names: &[&str], address: &str, holds: bool) -> Chain {
    let ttl = Duration::from_secs(if holds { 3600 } else { 0 });
    Chain { names: names.iter().map(|name| (*name).to_owned()).collect(), addresses: vec![ip(address)], ttl }
}

#[test]
fn a_stale_name_is_asked_again() {
    let (server, _) = upstream();
    let (resolver, oracle) = resolver(vec![server]);
    resolver.learn(&chain(&["www.example"], "198.51.100.1", false));
    oracle.stale.lock().unwrap().push("www.example".into());
    resolver.refresh(ip("198.51.100.1"));
    assert_eq!(oracle.learned.lock().unwrap()["www.example"], [ip("192.0.2.1")]);
}

#[test]
fn a_stale_name_that_nobody_answers_for_is_forgotten() {
    let (resolver, oracle) = resolver(vec![]);
    resolver.learn(&chain(&["www.example", "way.test"], "192.0.2.1", false));
    oracle.stale.lock().unwrap().extend(["www.example".into(), "way.test".into()]);
    resolver.refresh(ip("192.0.2.1"));
    assert!(oracle.learned.lock().unwrap().is_empty());
}

#[test]
fn a_name_on_the_way_is_never_asked_for_and_lives_as_long_as_an_answer_leads_through_it() {
    let (server, asked) = upstream();
    let (resolver, oracle) = resolver(vec![server]);
    resolver.learn(&chain(&["a.example", "way.test"], "198.51.100.1", false));
    resolver.learn(&chain(&["b.example", "way.test"], "198.51.100.1", true));
    for _ in 0..3 {
        oracle.stale.lock().unwrap().extend(["a.example".into(), "way.test".into()]);
        resolver.refresh(ip("198.51.100.1"));
        let learned = oracle.learned.lock().unwrap();
        assert_eq!(learned["way.test"], [ip("198.51.100.1")]);
        assert_eq!(learned["b.example"], [ip("198.51.100.1")]);
    }
    // Once for the name that had expired: for both kinds of address.
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_server_that_is_gone_is_a_failure_not_an_absence() {
    let (resolver, _) = resolver(vec![]);
    assert_eq!(ask(&resolver, "www.example.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn an_address_forgets_the_oldest_names_only() {
    let mut names = super::Names::default();
    for number in 0..=NAMES_MAX as u32 {
        names.insert("a.example", &[std::net::Ipv4Addr::from(number).into()]);
    }
    assert_eq!(names.of.len(), NAMES_MAX);
    assert!(!names.of.contains_key(&ip("0.0.0.0")));
}
