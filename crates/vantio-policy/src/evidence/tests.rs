//! Evidence proves what the lists answer, and nothing else.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;

use proptest::prelude::*;
use vantio_core::{Access, Decision, Effect, Endpoint, Intent, Target, Transport};

use super::{EvidenceError, Proven, ProvenCause, evidence, verify_evidence};
use crate::{
    Bindings, Mode, PolicyProgram, State,
    lists::{
        self, Reason,
        tests::{ADDRESSES, NAMES, bindings, path, program},
    },
};

/// What the lists answer, as evidence says it.
fn expected(program: &PolicyProgram, state: &State, intent: &Intent<'_>) -> Proven {
    let answer = lists::answer(&*program.trie, &state.facts, intent);
    Proven {
        decision: if answer.is_permit { Decision::Permit } else { Decision::Collapse },
        cause: match answer.reason {
            Reason::Rule(section, index) => ProvenCause::Rule { section, index },
            Reason::Unmatched(section) => ProvenCause::Unmatched(section),
            Reason::Always(always) => ProvenCause::Always(always.text()),
        },
        mode: Mode::Enforce,
        has_guards: false,
    }
}

fn check(program: &PolicyProgram, state: &State, names: &[&str], intent: &Intent<'_>) -> Vec<u8> {
    let bytes = evidence(program, state, intent);
    let proven = verify_evidence(&bytes, program.hash(), &state.bindings, names, intent);
    assert_eq!(proven, Ok(expected(program, state, intent)), "{intent:?}");
    bytes
}

fn intents<'a>(from: &'a [u8], to: &'a [u8], address: IpAddr, name: &'static str) -> Vec<Intent<'a>> {
    let mut intents = Vec::new();
    for effect in [Effect::FsOpen, Effect::FsRmdir, Effect::FsStat, Effect::ProcExec] {
        for (access, subtree) in [(Access::Read, false), (Access::Write, false), (Access::Write, true)] {
            intents.push(Intent::new(effect, Target::Path { path: from, access, subtree }));
        }
    }
    for subtree in [false, true] {
        intents.push(Intent::new(Effect::FsRename, Target::Paths { from, to, subtree }));
    }
    intents.push(Intent::new(Effect::NetConnect, Target::Unix(from)));
    for transport in [Transport::Tcp, Transport::Udp] {
        let endpoint = Endpoint { transport, address: (address, 443).into(), in_run: false };
        intents.push(Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)));
    }
    intents.push(Intent::new(Effect::NetDns, Target::Name(name)));
    intents.push(Intent::new(Effect::ToolCall, Target::Named("ab")));
    intents.push(Intent::new(Effect::Infer, Target::Named("a/b")));
    intents.push(Intent::new(Effect::ProcSyscall, Target::Syscall("ptrace")));
    intents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn evidence_proves_what_the_lists_answer(
        program in program(),
        bindings in bindings(),
        from in path(),
        to in path(),
        address in prop::sample::select(ADDRESSES.to_vec()),
        name in prop::sample::select(NAMES.to_vec()),
    ) {
        let address: IpAddr = address.parse().unwrap();
        let mut state = State::new(&program, bindings);
        state.learn_name(name, address, 0);
        for intent in intents(&from, &to, address, name) {
            check(&program, &state, &[name], &intent);
        }
    }

    #[test]
    fn evidence_of_one_intent_never_proves_another_answer(
        program in program(),
        bindings in bindings(),
        from in path(),
        to in path(),
    ) {
        let address: IpAddr = "8.8.8.8".parse().unwrap();
        let state = State::new(&program, bindings);
        let intents = intents(&from, &to, address, "a.com");
        for shown in &intents {
            let bytes = evidence(&program, &state, shown);
            for asked in &intents {
                match verify_evidence(&bytes, program.hash(), &state.bindings, &[], asked) {
                    Ok(proven) => prop_assert_eq!(proven, expected(&program, &state, asked)),
                    Err(error) => {
                        prop_assert_eq!(error, EvidenceError::Incomplete);
                        prop_assert_ne!(shown, asked);
                    }
                }
            }
        }
    }

    #[test]
    fn evidence_of_another_policy_is_refused(one in program(), other in program(), path in path()) {
        prop_assume!(one.hash() != other.hash());
        let state = State::new(&one, Bindings::default());
        let intent =
            Intent::new(Effect::FsOpen, Target::Path { path: &path, access: Access::Read, subtree: false });
        let bytes = evidence(&one, &state, &intent);
        let result = verify_evidence(&bytes, other.hash(), &state.bindings, &[], &intent);
        prop_assert_eq!(result, Err(EvidenceError::OtherPolicy));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let intent = Intent::new(Effect::NetDns, Target::Name("a.com"));
        let bytes = [b"VEVI\0\x01".as_slice(), &bytes].concat();
        let result = verify_evidence(&bytes, vantio_core::Hash::ZERO, &Bindings::default(), &[], &intent);
        prop_assert!(result.is_err());
    }
}

/// A program of documents' rules.
fn rules(texts: &[(vantio_core::Section, String)]) -> PolicyProgram {
    let mut rules = [const { Vec::new() }; crate::rule::LISTS];
    for (section, text) in texts {
        let rule = crate::Rule::parse(*section, text, crate::names::lower_ascii).unwrap();
        rules[*section as usize].push(rule);
    }
    let rules = crate::rule::Rules::new(rules);
    PolicyProgram::new(crate::program::Parts { rules, ..crate::program::Parts::default() })
}

#[test]
fn every_changed_bit_is_refused() {
    use vantio_core::Section;
    let program = rules(&[
        (Section::FsRead, "/srv/**".into()),
        (Section::FsRead, "/srv/b[!x]?/*.o".into()),
        (Section::FsDeny, "**/.env".into()),
        (Section::FsDeny, "/srv/a*/key".into()),
        (Section::FsWrite, "/srv/out".into()),
        (Section::NetAllow, "a.com:80,443".into()),
        (Section::NetAllow, "10.0.0.0/8:1".into()),
    ]);
    let state = State::new(&program, Bindings::default());
    for (effect, target) in [
        (Effect::FsOpen, Target::Path { path: b"/srv/bcd/x.o", access: Access::Read, subtree: false }),
        (Effect::NetDns, Target::Name("a.com")),
    ] {
        let intent = Intent::new(effect, target);
        let bytes = check(&program, &state, &[], &intent);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let result = verify_evidence(&changed, program.hash(), &state.bindings, &[], &intent);
            assert!(result.is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let result = verify_evidence(&bytes[..length], program.hash(), &state.bindings, &[], &intent);
            assert!(result.is_err(), "length {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(verify_evidence(&longer, program.hash(), &state.bindings, &[], &intent).is_err());
    }
}

#[test]
fn evidence_grows_with_the_logarithm_of_the_rules() {
    use vantio_core::Section;
    let size = |count: usize| {
        let texts: Vec<_> =
            (0..count).map(|index| (Section::FsRead, format!("/data/set{index}/**"))).collect();
        let program = rules(&texts);
        let state = State::new(&program, Bindings::default());
        let target = Target::Path { path: b"/data/nothing/here", access: Access::Read, subtree: false };
        check(&program, &state, &[], &Intent::new(Effect::FsOpen, target)).len()
    };
    let (small, large) = (size(64), size(4096));
    assert!(large < small + 6 * 120, "{small} and {large} bytes");
}
