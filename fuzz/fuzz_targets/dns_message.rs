//! Any packet to the run's resolver, and any from upstream, is read or refused; what is
//! written is a message again.

#![no_main]
#![allow(dead_code, reason = "the resolver uses all of the room")]

use std::{net::IpAddr, time::Duration};

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/vantio-phantom/src/net/dns/message.rs"]
mod message;

use message::{Packet, Question, follow};

/// The longest datagram of a client that offers none.
const SHORT: usize = 512;

// The first two bytes are the length of the question.
fuzz_target!(|bytes: &[u8]| {
    let Some((length, packets)) = bytes.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(packets.len());
    let (asked, answered) = packets.split_at(length);
    match Question::read(asked) {
        Packet::Noise => {}
        Packet::Reply(reply) => is_message(&reply),
        Packet::Question(question) => answer(&question, answered),
    }
});

fn answer(question: &Question, answered: &[u8]) {
    if let Ok(name) = question.name() {
        assert!(!name.is_empty() && !name.ends_with('.') && name == name.to_lowercase());
    }
    let addresses: [IpAddr; 2] = [[192, 0, 2, 1].into(), [0xfe80, 0, 0, 0, 0, 0, 0, 1].into()];
    is_message(&question.addresses(&addresses, Duration::from_secs(1)));
    is_message(&question.pointer("localhost"));
    is_message(&question.refuse());
    let Some(upstream) = question.upstream(7) else { return };
    is_message(&upstream);
    let id = answered.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let Some(message) = question.accept(id, answered) else { return };
    let chain = follow(question, &message);
    assert!(chain.names.iter().all(|name| !name.ends_with('.')));
    let reply = question.pass_on(message);
    is_message(&reply);
    assert!(question.fit(reply, SHORT).len() <= SHORT);
}

fn is_message(bytes: &[u8]) {
    assert!(Message::from_vec(bytes).is_ok(), "{bytes:02x?}");
}
