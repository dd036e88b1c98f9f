//! Evidence proves what the lists answer; of bytes that are not evidence, nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Cause, Effect, Intent, Target, Verdict};
use vantio_fuzz::{
    dice::Dice,
    evaluator::{World, guards::Guards},
    generator,
};
use vantio_policy::{Proven, ProvenCause, decide_by_lists, evidence, verify_evidence};

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let mut policy = generator::policy(&mut dice);
    policy.guards = Guards::default();
    policy.mode = "enforce";
    let world = World { is_killed: false, is_foreign: false, ..generator::world(&mut dice) };
    let (program, state) = world.build(&policy);
    let question = generator::question(&mut dice);
    let intent = question.intent();
    let mut proof = evidence(&program, &state, &intent);
    let names: Vec<&str> = match intent.target {
        Target::Endpoint(endpoint) => state.names_of(endpoint.address.ip()).collect(),
        _ => Vec::new(),
    };
    let verify = |proof: &[u8], intent: &Intent<'_>| {
        verify_evidence(proof, program.hash(), &world.bindings, &names, intent)
    };
    let proven = verify(&proof, &intent).expect("evidence is evidence");
    assert!(is_same(&proven, &decide_by_lists(&program, &state, &intent)), "{proven:?} {intent:?}");
    // Evidence for one intent proves of another what is so, or nothing.
    let other = generator::question(&mut dice);
    let other = Intent { effect: Effect::FsOpen, ..other.intent() };
    if let Ok(claimed) = verify(&proof, &other) {
        assert!(is_same(&claimed, &decide_by_lists(&program, &state, &other)), "{claimed:?} {other:?}");
    }
    // Damaged evidence proves what is so, or nothing.
    while !dice.is_empty() && !proof.is_empty() {
        let at = (dice.below(256) * 256 + dice.below(256)) % proof.len();
        proof[at] ^= dice.below(256) as u8;
        if let Ok(claimed) = verify(&proof, &intent) {
            assert_eq!(claimed.decision, proven.decision);
            assert_eq!(claimed.cause, proven.cause);
        }
    }
});

fn is_same(proven: &Proven, verdict: &Verdict<'_>) -> bool {
    proven.decision == verdict.decision
        && match (proven.cause, verdict.cause) {
            (ProvenCause::Rule { section, .. }, Cause::Rule { section: own, .. })
            | (ProvenCause::Unmatched(section), Cause::Unmatched(own)) => section == own,
            (ProvenCause::Always(_), Cause::Always(_)) => true,
            _ => false,
        }
}
