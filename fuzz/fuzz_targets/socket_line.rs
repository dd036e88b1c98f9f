//! Whatever is said on a run's sockets is understood, and then said alike, or refused.

#![no_main]
#![allow(dead_code, reason = "each side uses its own part of the room")]

use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use vantio_phantom::socket::line;

#[path = "../../crates/vantio/src/approvals/wire.rs"]
mod approvals;
#[path = "../../crates/vantio/src/checkpoints/wire.rs"]
mod checkpoints;
#[path = "../../crates/vantio-phantom/src/keeper/wire.rs"]
mod keeper;
#[path = "../../crates/vantio/src/nested/wire.rs"]
mod nested;

// The first byte says who listens.
fuzz_target!(|bytes: &[u8]| {
    let Some((who, said)) = bytes.split_first() else { return };
    match who % 9 {
        0 => heard::<approvals::Request>(approvals::VERSION, said),
        1 => heard::<approvals::Response>(approvals::VERSION, said),
        2 => heard::<checkpoints::Question>(checkpoints::VERSION, said),
        3 => heard::<checkpoints::Answer>(checkpoints::VERSION, said),
        4 => heard::<keeper::Ask>(keeper::VERSION, said),
        5 => heard::<keeper::Reply>(keeper::VERSION, said),
        6 => heard::<nested::Ask>(nested::VERSION, said),
        7 => heard::<nested::Answer>(nested::VERSION, said),
        _ => frames(said),
    }
});

fn heard<T: Serialize + DeserializeOwned>(version: u64, said: &[u8]) {
    let Ok(first) = line::decode::<T>(version, said) else { return };
    let again = line::encode(version, first).expect("what was read can be written");
    let Ok(second) = line::decode::<T>(version, &again) else { panic!("what was written is refused") };
    assert_eq!(line::encode(version, second).expect("and again"), again);
}

fn frames(said: &[u8]) {
    let mut inbox = keeper::Inbox::default();
    let mut rest = said;
    for piece in said.chunks(7) {
        inbox.push(piece);
        loop {
            match inbox.frame() {
                Ok(Some(frame)) => {
                    let sent = frame.encode();
                    assert_eq!(&rest[..sent.len()], &sent[..]);
                    rest = &rest[sent.len()..];
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
