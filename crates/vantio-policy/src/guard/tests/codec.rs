//! Guards in bytes and back.

use alloc::vec::Vec;

use vantio_core::{Access, Effect, Reversibility};

use super::{entry, scope};
use crate::{
    DecodeError,
    codec::{Reader, guards},
    guard::model::{Backend, Event, Guards, HoldRule, KillSwitch, Measure, OrderRule, Then, Threshold},
};

fn sample() -> Guards {
    let fs = |targets: &[&str]| scope(&[Effect::FsOpen], Some(Access::Read), targets);
    Guards {
        sources: [
            entry(Some(0), fs(&["${workspace}/web/**"])),
            entry(Some(1), fs(&["~/.aws/**", "/k[a-z]*"])),
        ]
        .into(),
        sinks: [
            entry(None, scope(&[Effect::ToolCall], None, &["shell_exec"])),
            entry(Some(1), scope(&[Effect::NetConnect, Effect::NetDns], None, &["*", "unix:/run/x"])),
        ]
        .into(),
        sanitizers: [entry(Some(1), scope(&[Effect::ProcExec], None, &["redact", "/usr/bin/redact"]))].into(),
        order: [OrderRule {
            refuse: scope(&[Effect::NetConnect], None, &["git.example.com:443"]),
            unless_after: Event { scope: scope(&[Effect::ProcExec], None, &["/w/test.sh"]), exit: Some(0) },
            since: scope(&[Effect::FsOpen], Some(Access::Write), &["/w/src/**"]),
        }]
        .into(),
        thresholds: [Threshold {
            scope: scope(&[Effect::FsUnlink], None, &[]),
            measure: Measure::Distinct,
            limit: 100,
            within_ms: 10_000,
            then: Then::Hold,
        }]
        .into(),
        hold: [HoldRule {
            scope: scope(&[Effect::NetConnect], None, &["*.corp.example"]),
            approvers: ["ciso", "security-engineer"].map(Into::into).into(),
            timeout_ms: 300_000,
        }]
        .into(),
        reversibility: [(Effect::FsUnlink, Reversibility::Irreversible)].into(),
        kill_switch: KillSwitch {
            is_active: false,
            approvers: ["ciso".into()].into(),
            quorum: 2,
            window_ms: 9,
        },
        require: Some(Backend::Notify),
        ..super::guards()
    }
}

fn encoded(guards: &Guards) -> Vec<u8> {
    let mut bytes = Vec::new();
    guards::encode(guards, &mut bytes);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Guards, DecodeError> {
    let mut reader = Reader(bytes);
    let guards = guards::decode(&mut reader)?;
    if reader.0.is_empty() { Ok(guards) } else { Err(DecodeError::Trailing) }
}

#[test]
fn bytes_and_guards_are_one_to_one() {
    for guards in [Guards::default(), sample()] {
        assert_eq!(decode(&encoded(&guards)), Ok(guards));
    }
}

#[test]
fn only_canonical_bytes_are_guards() {
    let bytes = encoded(&sample());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end}");
    }
    assert!(decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        if let Ok(guards) = decode(&other) {
            assert_eq!(encoded(&guards), other, "bit {bit}");
            assert_ne!(guards, sample(), "bit {bit}");
        }
    }
}

#[test]
fn labels_that_nobody_has_and_lists_out_of_order_are_refused() {
    let refuses = |change: fn(&mut Guards)| {
        let mut guards = sample();
        change(&mut guards);
        decode(&encoded(&guards)).is_err()
    };
    assert!(refuses(|guards| guards.sinks[1].label = Some(2)));
    assert!(refuses(|guards| guards.sources[0].label = None));
    assert!(refuses(|guards| guards.labels.reverse()));
    assert!(refuses(|guards| guards.sources.reverse()));
    assert!(refuses(|guards| guards.sinks[0].scope.effects.clear()));
    assert!(refuses(|guards| guards.sinks[0].scope.effects = Vec::from([Effect::FsOpen])));
    assert!(refuses(|guards| guards.order[0].unless_after.scope.effects = Vec::from([Effect::FsOpen])));
    assert!(refuses(|guards| guards.thresholds =
        (0..257).map(|limit| Threshold { limit, ..guards.thresholds[0].clone() }).collect()));
}
