//! An explanation has the verdict that `decide` has, and names the rule that decided.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Cause, Section};
use vantio_fuzz::{dice::Dice, generator};
use vantio_policy::{PolicyProgram, decide, explain, judge};

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let (policy, world) = (generator::policy(&mut dice), generator::world(&mut dice));
    let (program, state) = world.build(&policy);
    let questions = dice.some(1, 20, generator::question);
    for question in &questions {
        let intent = question.intent();
        let explanation = explain(&program, &state, &intent);
        assert_eq!(explanation.verdict, decide(&program, &state, &intent));
        assert_eq!(explanation.judged, judge(&program, &state, &intent));
        let is_list = |section: &Section| PolicyProgram::SECTIONS.contains(section);
        if let Cause::Rule { section, text } = explanation.judged.cause
            && is_list(&section)
        {
            let mut weighed = explanation.considered.iter();
            assert!(weighed.any(|rule| rule.section == section && rule.rule == text), "{explanation:?}");
        }
    }
});
