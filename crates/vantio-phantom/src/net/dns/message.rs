//! Questions and replies as bytes: nothing here looks anything up.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, PTR, opt::EdnsOption},
    },
};

/// What a packet that reached the resolver is.
#[derive(Debug)]
pub(super) enum Packet {
    /// No question; nothing is answered.
    Noise,
    /// Answered as it is.
    Reply(Vec<u8>),
    /// A question.
    Question(Question),
}

/// A question of the run.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    /// As asked: a client may compare upper and lower case.
    query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: Option<Client>,
}

/// What a client says about itself in EDNS (RFC 6891).
#[derive(Clone, Copy, Debug)]
struct Client {
    payload: u16,
    dnssec_ok: bool,
}

impl Question {
    /// Reads a packet.
    pub(super) fn read(packet: &[u8]) -> Packet {
        let Some(&[id_high, id_low, flags, _, _, questions, ..]) = packet.first_chunk::<HEADER>() else {
            return Packet::Noise;
        };
        if flags & IS_REPLY != 0 {
            return Packet::Noise;
        }
        let failed = |code| {
            let op_code = OpCode::from_u8(flags >> 3 & 0xf);
            let reply = Message::error_msg(u16::from_be_bytes([id_high, id_low]), op_code, code);
            reply.to_vec().map_or(Packet::Noise, Packet::Reply)
        };
        if packet[4] != 0 || questions != 1 {
            return failed(ResponseCode::FormErr);
        }
        let Ok(message) = Message::from_vec(packet) else { return failed(ResponseCode::FormErr) };
        let Some(query) = message.queries.first().cloned() else { return failed(ResponseCode::FormErr) };
        let question = Self {
            id: message.metadata.id,
            query,
            recursion_desired: message.metadata.recursion_desired,
            checking_disabled: message.metadata.checking_disabled,
            edns: message
                .edns
                .as_ref()
                .map(|edns| Client { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok }),
        };
        let code = match message.metadata.op_code {
            OpCode::Query if message.edns.is_some_and(|edns| edns.version() > 0) => ResponseCode::BADVERS,
            OpCode::Query if question.is_transfer() => ResponseCode::Refused,
            OpCode::Query => return Packet::Question(question),
            _ => ResponseCode::NotImp,
        };
        Packet::Reply(question.fail(code))
    }

    /// A question of the supervisor's own.
    pub(super) fn own(name: &str, kind: RecordType) -> Option<Self> {
        let mut name = Name::from_ascii(name).ok()?;
        name.set_fqdn(true);
        let query = Query::query(name, kind);
        Some(Self { id: 0, query, recursion_desired: true, checking_disabled: false, edns: None })
    }

    /// The name as rules see it: lower case, no trailing dot. `Err` has a readable form of one
    /// that is no host or service name.
    pub(super) fn name(&self) -> Result<String, String> {
        canonical(&self.query.name).ok_or_else(|| self.query.name.to_ascii())
    }

    pub(super) fn kind(&self) -> RecordType {
        self.query.query_type
    }

    /// The address that a reverse name stands for.
    pub(super) fn reverse(&self) -> Option<IpAddr> {
        let network = self.query.name.parse_arpa_name().ok()?;
        let is_whole = network.prefix_len() == if network.addr().is_ipv4() { 32 } else { 128 };
        is_whole.then(|| network.addr())
    }

    /// The longest reply that a datagram to this client may be.
    pub(super) fn payload(&self) -> usize {
        self.edns.map_or(PAYLOAD_MIN, |client| usize::from(client.payload).max(PAYLOAD_MIN))
    }

    /// What is asked upstream: the name and type, and nothing else that the client said.
    pub(super) fn upstream(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled;
        let name = self.query.name.to_lowercase();
        message.add_query(Query::query(name, self.query.query_type));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_UPSTREAM);
        edns.set_dnssec_ok(self.edns.is_some_and(|client| client.dnssec_ok));
        message.set_edns(edns);
        message.to_vec().ok()
    }

    /// Reads what came from upstream; `None` when it does not answer this question.
    pub(super) fn accept(&self, id: u16, packet: &[u8]) -> Option<Message> {
        if packet.first_chunk::<HEADER>()?[4..6] != [0, 1] {
            return None;
        }
        let message = Message::from_vec(packet).ok()?;
        let [query] = message.queries.as_slice() else { return None };
        let is_answer = message.metadata.id == id
            && message.metadata.message_type == MessageType::Response
            && message.metadata.op_code == OpCode::Query
            && query.name == self.query.name
            && query.query_type == self.query.query_type
            && query.query_class == DNSClass::IN;
        is_answer.then_some(message)
    }

    /// The upstream's answer, for this client.
    pub(super) fn pass_on(&self, answer: Message) -> Vec<u8> {
        let mut reply = self.reply(answer.metadata.response_code);
        reply.metadata.authentic_data = answer.metadata.authentic_data;
        reply.add_answers(answer.answers);
        reply.add_authorities(answer.authorities);
        reply.add_additionals(answer.additionals);
        self.encode(&reply)
    }

    /// Those of `addresses` that are of the kind asked for.
    pub(super) fn addresses(&self, addresses: &[IpAddr], ttl: Duration) -> Vec<u8> {
        let mut reply = self.reply(ResponseCode::NoError);
        for address in addresses {
            let data = match (address, self.kind()) {
                (IpAddr::V4(v4), RecordType::A) => RData::A(A(*v4)),
                (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(AAAA(*v6)),
                _ => continue,
            };
            reply.add_answer(Record::from_rdata(self.query.name.clone(), ttl.as_secs() as u32, data));
        }
        self.encode(&reply)
    }

    /// The name of an address.
    pub(super) fn pointer(&self, name: &str) -> Vec<u8> {
        let mut reply = self.reply(ResponseCode::NoError);
        if let Ok(mut name) = Name::from_ascii(name) {
            name.set_fqdn(true);
            reply.add_answer(Record::from_rdata(self.query.name.clone(), 0, RData::PTR(PTR(name))));
        }
        self.encode(&reply)
    }

    /// A failure without further words.
    pub(super) fn fail(&self, code: ResponseCode) -> Vec<u8> {
        self.encode(&self.reply(code))
    }

    /// The name is not permitted: it does not exist, and an extended error says why
    /// (RFC 8914, section 4.16).
    pub(super) fn refuse(&self) -> Vec<u8> {
        let mut reply = self.reply(ResponseCode::NXDomain);
        if let Some(edns) = &mut reply.edns {
            let text = [&BLOCKED.to_be_bytes(), BLOCKED_TEXT.as_bytes()].concat();
            edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, text));
        }
        self.encode(&reply)
    }

    /// `bytes`, or what tells the client to ask by TCP when they are more than `limit`.
    pub(super) fn fit(&self, bytes: Vec<u8>, limit: usize) -> Vec<u8> {
        if bytes.len() <= limit {
            return bytes;
        }
        let code = Message::from_vec(&bytes).map_or(ResponseCode::ServFail, |m| m.metadata.response_code);
        let mut reply = self.reply(code);
        reply.metadata.truncation = true;
        self.encode(&reply)
    }

    fn reply(&self, code: ResponseCode) -> Message {
        let mut reply = Message::response(self.id, OpCode::Query);
        reply.metadata.response_code = code;
        reply.metadata.recursion_desired = self.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.checking_disabled = self.checking_disabled;
        reply.add_query(self.query.clone());
        if let Some(client) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD_UPSTREAM);
            edns.set_dnssec_ok(client.dnssec_ok);
            reply.set_edns(edns);
        }
        reply
    }

    fn encode(&self, reply: &Message) -> Vec<u8> {
        reply.to_vec().unwrap_or_else(|_| {
            let failure = Message::error_msg(self.id, OpCode::Query, ResponseCode::ServFail);
            failure.to_vec().unwrap_or_default()
        })
    }

    /// Questions for more than one set of records (RFC 8482), and of other classes.
    fn is_transfer(&self) -> bool {
        let is_many = matches!(
            self.query.query_type,
            RecordType::ANY | RecordType::AXFR | RecordType::IXFR | RecordType::ZERO | RecordType::OPT
        );
        is_many || self.query.query_class != DNSClass::IN
    }
}

/// The addresses that an answer gives a name, the names on the way there (that one first), and
/// for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Follows the aliases of an answer from the name that was asked.
pub(super) fn follow(question: &Question, answer: &Message) -> Chain {
    let mut owners = vec![question.query.name.to_lowercase()];
    let (mut addresses, mut ttl) = (Vec::new(), TTL_MAX);
    let mut next = 0;
    while let Some(owner) = owners.get(next).cloned() {
        for record in answer.answers.iter().filter(|record| record.name.to_lowercase() == owner) {
            match &record.data {
                RData::A(A(ip)) => addresses.push(IpAddr::V4(*ip)),
                RData::AAAA(AAAA(ip)) => addresses.push(IpAddr::V6(*ip)),
                RData::CNAME(target) => {
                    let target = target.0.to_lowercase();
                    if owners.len() < CHAIN_MAX && !owners.contains(&target) {
                        owners.push(target);
                    }
                }
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        next += 1;
    }
    addresses.sort_unstable();
    addresses.dedup();
    let names = owners.iter().filter_map(canonical).collect();
    Chain { names, addresses, ttl: Duration::from_secs(ttl.max(TTL_MIN).into()) }
}

/// Lower-case letters, digits, hyphens and underscores in labels; `None` for other names.
fn canonical(name: &Name) -> Option<String> {
    let labels: Option<Vec<String>> = name.iter().map(label).collect();
    Some(labels?.join(".")).filter(|name| !name.is_empty())
}

fn label(bytes: &[u8]) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !bytes.iter().all(is_plain) {
        return None;
    }
    String::from_utf8(bytes.to_ascii_lowercase()).ok()
}

const HEADER: usize = 12;
const IS_REPLY: u8 = 0x80;
const PAYLOAD_MIN: usize = 512;
/// The size that avoids fragments (RFC 9715, section 3.2, and DNS flag day 2020).
const PAYLOAD_UPSTREAM: u16 = 1232;
/// Extended DNS Error (RFC 8914): option code, the info code "Blocked", what people read.
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const BLOCKED_TEXT: &str = "the policy does not permit this name";
const CHAIN_MAX: usize = 16;
/// A client that has just been answered can connect even where the answer is not to be kept.
const TTL_MIN: u32 = 2;
const TTL_MAX: u32 = 86_400;

#[cfg(test)]
mod tests;
