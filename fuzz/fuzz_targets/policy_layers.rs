//! Layers together refuse what a deny of any one of them refuses, and permit what a list
//! permits only where every layer that has such a list does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Cause, Decision, Section};
use vantio_fuzz::{
    dice::Dice,
    evaluator::{Policy, World, guards::Guards},
    generator,
};
use vantio_policy::{
    State, compile, decide,
    layers::{Layer, LayerKind, merge},
};

const KINDS: [LayerKind; 4] =
    [LayerKind::Managed, LayerKind::CommandLine, LayerKind::Project, LayerKind::User];

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let world = World { is_killed: false, is_foreign: false, ..generator::world(&mut dice) };
    let policies = dice.some(1, 3, generator::policy).into_iter();
    let layers: Vec<Layer> = policies
        .map(|policy| {
            let policy = Policy { mode: "enforce", guards: Guards::default(), ..policy };
            let compiled = compile(policy.document().as_bytes(), "policy.yaml").expect("a policy");
            Layer { kind: dice.pick(&KINDS), name: "policy.yaml".to_owned(), compiled }
        })
        .collect();
    let Ok(merged) = merge(&layers, &world.bindings) else { return };
    let state_of = |program| {
        let mut state = State::new(program, world.bindings.clone());
        for (name, address) in &world.answers {
            state.learn_name(name, *address, 0);
        }
        state
    };
    let whole = state_of(&merged.program);
    let states: Vec<State> = layers.iter().map(|layer| state_of(&layer.compiled.program)).collect();
    for question in dice.some(1, 30, generator::question) {
        let intent = question.intent();
        let verdict = decide(&merged.program, &whole, &intent);
        if verdict.decision != Decision::Permit {
            continue;
        }
        for (layer, state) in layers.iter().zip(&states) {
            let program = &layer.compiled.program;
            let own = decide(program, state, &intent);
            let is_refused = match own.cause {
                Cause::Rule { section, .. } => own.decision == Decision::Collapse && is_deny(section),
                Cause::Unmatched(section) => {
                    !matches!(section, Section::FsRead) && !program.rules(section).is_empty()
                }
                _ => false,
            };
            assert!(!is_refused, "{layers:?}\n{intent:?}\n{verdict:?}\n{own:?}");
        }
    }
});

fn is_deny(section: Section) -> bool {
    matches!(section, Section::FsDeny | Section::ExecDeny | Section::NetDeny | Section::ToolsDeny)
}
