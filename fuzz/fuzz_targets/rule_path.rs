//! Any text is a path pattern or an error; a pattern has one canonical text, and it
//! covers what the plain evaluator says that it covers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Access, Effect, Intent, Section, Target};
use vantio_fuzz::{
    bindings,
    evaluator::{Evaluator, Policy, World},
    read_rule, split,
};
use vantio_policy::{State, decide};

/// Longer patterns and paths have no more ways to go wrong, and trying all takes long.
const LONG: usize = 48;

fuzz_target!(|bytes: &[u8]| {
    let Some((text, path)) = split(bytes) else { return };
    let Some(program) = read_rule(Section::FsWrite, text) else { return };
    if text.len() > LONG || path.len() > LONG {
        return;
    }
    let state = State::new(&program, bindings());
    let policy =
        Policy { mode: "enforce", rules: vec![(Section::FsWrite, text.to_owned())], ..Policy::default() };
    let world = World { bindings: bindings(), ..World::default() };
    let evaluator = Evaluator::new(&policy, &world);
    for subtree in [false, true] {
        let target = Target::Path { path, access: Access::Write, subtree };
        let intent = Intent::new(Effect::FsOpen, target);
        let (reply, verdict) = (evaluator.reply(&intent), decide(&program, &state, &intent));
        assert!(reply.is(&verdict), "{reply:?} {verdict:?}");
    }
});
