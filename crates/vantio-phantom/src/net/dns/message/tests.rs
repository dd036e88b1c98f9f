use hickory_proto::rr::rdata::{CNAME, TXT};
use proptest::prelude::*;

use super::*;

fn query(name: &str, kind: RecordType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    query_of(Name::from_ascii(name).unwrap(), kind, change)
}

fn query_of(name: Name, kind: RecordType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    change(&mut message);
    message.to_vec().unwrap()
}

fn with_edns(message: &mut Message) {
    message.set_edns(Edns::new());
}

fn question(name: &str, kind: RecordType) -> Question {
    asked(&query(name, kind, with_edns))
}

fn asked(packet: &[u8]) -> Question {
    match Question::read(packet) {
        Packet::Question(question) => question,
        other => panic!("{other:?}"),
    }
}

fn reply_code(packet: &[u8]) -> ResponseCode {
    match Question::read(packet) {
        Packet::Reply(reply) => Message::from_vec(&reply).unwrap().metadata.response_code,
        other => panic!("{other:?}"),
    }
}

fn record(name: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
}

fn alias(name: &str, target: &str) -> Record {
    record(name, 300, RData::CNAME(CNAME(Name::from_ascii(target).unwrap())))
}

fn v4(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

#[test]
fn a_question_is_judged_in_lower_case_and_answered_as_it_was_written() {
    let question = question("WwW.ExAmPle.com.", RecordType::A);
    assert_eq!(question.name(), Ok("www.example.com".into()));
    let reply = Message::from_vec(&question.addresses(&["192.0.2.1".parse().unwrap()], LONG)).unwrap();
    assert_eq!(reply.queries[0].name.to_ascii(), "WwW.ExAmPle.com.");
    assert_eq!(reply.answers[0].name.to_ascii(), "WwW.ExAmPle.com.");
    assert_eq!(reply.metadata.id, 4711);
    assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
}

#[test]
fn names_that_are_no_host_names_are_told_apart() {
    let odd = |labels: &[&[u8]]| {
        let mut name = Name::from_labels(labels.iter().copied()).unwrap();
        name.set_fqdn(true);
        asked(&query_of(name, RecordType::A, with_edns)).name().is_err()
    };
    assert!(odd(&[b"git.hub", b"com"]));
    assert!(odd(&[b"*", b"example", b"com"]));
    assert!(odd(&[b"a b", b"com"]));
    assert!(odd(&[b"\xc3\xa9", b"com"]));
    assert!(odd(&[]));
    assert!(!odd(&[b"_sip", b"_tcp", b"example", b"com"]));
}

#[test]
fn a_refusal_says_blocked_to_those_who_understand_it() {
    let refusal = Message::from_vec(&question("secret.example.", RecordType::A).refuse()).unwrap();
    assert_eq!(refusal.metadata.response_code, ResponseCode::NXDomain);
    let edns = refusal.edns.unwrap();
    let Some(EdnsOption::Unknown(15, data)) = edns.option(EXTENDED_ERROR.into()) else { panic!("{edns:?}") };
    assert_eq!(data[..2], [0, 15]);

    let plain = asked(&query("secret.example.", RecordType::A, |_| ()));
    let refusal = Message::from_vec(&plain.refuse()).unwrap();
    assert_eq!((refusal.metadata.response_code, refusal.edns), (ResponseCode::NXDomain, None));
}

#[test]
fn what_is_no_plain_question_is_refused_by_the_book() {
    let with = |change: fn(&mut Message)| reply_code(&query("example.com.", RecordType::A, change));
    assert_eq!(reply_code(&query("example.com.", RecordType::ANY, |_| ())), ResponseCode::Refused);
    assert_eq!(reply_code(&query("example.com.", RecordType::AXFR, |_| ())), ResponseCode::Refused);
    assert_eq!(with(|m| m.queries[0].query_class = DNSClass::CH), ResponseCode::Refused);
    assert_eq!(with(|m| m.metadata.op_code = OpCode::Notify), ResponseCode::NotImp);
    assert_eq!(with(|m| m.queries.clear()), ResponseCode::FormErr);
    assert_eq!(with(|m| m.queries.push(m.queries[0].clone())), ResponseCode::FormErr);
    let newer = |message: &mut Message| {
        let mut edns = Edns::new();
        edns.set_version(1);
        message.set_edns(edns);
    };
    assert_eq!(u16::from(with(newer)), u16::from(ResponseCode::BADVERS));
}

#[test]
fn replies_and_scraps_get_no_answer() {
    let reply = query("example.com.", RecordType::A, |m| m.metadata.message_type = MessageType::Response);
    assert!(matches!(Question::read(&reply), Packet::Noise));
    assert!(matches!(Question::read(&reply[..11]), Packet::Noise));
    assert!(matches!(Question::read(&[]), Packet::Noise));
}

#[test]
fn nothing_but_name_and_type_goes_upstream() {
    let packet = query("ExAmple.com.", RecordType::TXT, |message| {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        edns.options_mut().insert(EdnsOption::Unknown(65001, b"secret".to_vec()));
        message.set_edns(edns);
        message.add_additional(record("secret.example.", 0, v4(1)));
    });
    let upstream = Message::from_vec(&asked(&packet).upstream(7).unwrap()).unwrap();
    assert_eq!(upstream.metadata.id, 7);
    assert_eq!(upstream.queries[0].name.to_ascii(), "example.com.");
    assert!(upstream.additionals.is_empty());
    let edns = upstream.edns.unwrap();
    assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
}

#[test]
fn an_answer_is_passed_on_whole() {
    let question = question("example.com.", RecordType::TXT);
    let mut answer = Message::from_vec(&question.upstream(9).unwrap()).unwrap();
    answer.metadata.message_type = MessageType::Response;
    answer.add_answer(record("example.com.", 60, RData::TXT(TXT::new(vec!["a".into()]))));
    let answer = question.accept(9, &answer.to_vec().unwrap()).unwrap();
    assert!(question.accept(8, &answer.to_vec().unwrap()).is_none());
    let reply = Message::from_vec(&question.pass_on(answer.clone())).unwrap();
    assert_eq!((reply.metadata.id, reply.answers), (4711, answer.answers));
}

#[test]
fn aliases_are_followed_from_the_name_that_was_asked() {
    let question = question("a.example.", RecordType::A);
    let mut answer = Message::response(0, OpCode::Query);
    answer.add_answers([
        record("C.example.", 30, v4(3)),
        record("stranger.example.", 1, v4(66)),
        alias("b.example.", "c.EXAMPLE."),
        alias("a.example.", "b.example."),
        alias("c.example.", "a.example."),
        record("c.example.", 40, v4(2)),
    ]);
    let expected = Chain {
        names: ["a.example", "b.example", "c.example"].map(String::from).to_vec(),
        addresses: ["192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap()).to_vec(),
        ttl: Duration::from_secs(30),
    };
    assert_eq!(follow(&question, &answer), expected);
}

#[test]
fn a_long_reply_is_cut_for_a_datagram() {
    let question = question("example.com.", RecordType::A);
    let addresses: Vec<IpAddr> = (0..100).map(|last| [192, 0, 2, last].into()).collect();
    let whole = question.addresses(&addresses, LONG);
    assert_eq!(question.fit(whole.clone(), usize::from(u16::MAX)), whole);
    let cut = question.fit(whole, question.payload());
    assert!(cut.len() <= 512);
    let cut = Message::from_vec(&cut).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty());
}

#[test]
fn reverse_names_stand_for_addresses() {
    let reverse = |name: &str| question(name, RecordType::PTR).reverse();
    assert_eq!(reverse("1.2.0.192.in-addr.arpa."), Some([192, 0, 2, 1].into()));
    assert_eq!(reverse("2.0.192.in-addr.arpa."), None);
    assert_eq!(reverse("example.com."), None);
    let v6 = format!("1.{}ip6.arpa.", "0.".repeat(31));
    assert_eq!(reverse(&v6), Some("::1".parse().unwrap()));
}

proptest! {
    #[test]
    fn any_packet_is_read_without_panic(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        Question::read(&packet);
    }

    #[test]
    fn a_damaged_question_is_read_without_panic(at in 0_usize..60, byte: u8) {
        let mut packet = query("www.example.com.", RecordType::HTTPS, with_edns);
        let at = at % packet.len();
        packet[at] = byte;
        if let Packet::Question(question) = Question::read(&packet) {
            question.refuse();
            question.accept(4711, &packet);
        }
    }
}

const LONG: Duration = Duration::from_mins(10);
