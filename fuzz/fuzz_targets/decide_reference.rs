//! `decide` equals the plain evaluator that the tests have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_fuzz::{dice::Dice, evaluator::Evaluator, generator};
use vantio_policy::decide;

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let (policy, world) = (generator::policy(&mut dice), generator::world(&mut dice));
    let (program, state) = world.build(&policy);
    let evaluator = Evaluator::new(&policy, &world);
    loop {
        let question = generator::question(&mut dice);
        let intent = question.intent();
        let (reply, verdict) = (evaluator.reply(&intent), decide(&program, &state, &intent));
        assert!(reply.is(&verdict), "{}{world:?}\n{intent:?}\n{verdict:?}\n{reply:?}", policy.document());
        if dice.is_empty() {
            break;
        }
    }
});
