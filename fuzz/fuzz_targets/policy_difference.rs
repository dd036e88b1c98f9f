//! A policy that is told to widen nothing permits nothing that the other does not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_fuzz::{
    dice::Dice,
    evaluator::{Policy, World, guards::Guards},
    generator,
    question::Aim,
};
use vantio_policy::{Change, decide, differences};

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let enforced = |policy: Policy| Policy { mode: "enforce", guards: Guards::default(), ..policy };
    let first = enforced(generator::policy(&mut dice));
    // Another with rules left out or added: two that have nothing in common differ always.
    let mut second = first.clone();
    for _ in 0..dice.below(4) {
        if !second.rules.is_empty() {
            second.rules.remove(dice.below(second.rules.len()));
        }
    }
    second.rules.extend(generator::policy(&mut dice).rules.into_iter().take(dice.below(3)));
    let mut world = World { is_killed: false, is_foreign: false, ..generator::world(&mut dice) };
    // What symbolic links bring is not told.
    world.bindings.aliases.clear();
    let ((less, old), (more, new)) = (world.build(&first), world.build(&second));
    let told = differences(&less, &more);
    if told.iter().any(|difference| difference.change == Change::Widens) {
        return;
    }
    for question in dice.some(1, 40, generator::question) {
        // Nor are all moves of folders.
        if matches!(question.aim, Aim::Path { subtree: true, .. } | Aim::Paths { subtree: true, .. })
            || question.effect == vantio_core::Effect::FsRmdir
        {
            continue;
        }
        let intent = question.intent();
        let verdict = decide(&more, &new, &intent);
        assert!(
            !verdict.is_permit() || decide(&less, &old, &intent).is_permit(),
            "{}\n{}\n{intent:?}\n{verdict:?}",
            first.document(),
            second.document()
        );
    }
});
