//! A rule more in a deny, or one fewer in an allow, permits nothing more; `learn` and
//! `monitor` permit what `enforce` does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Decision, Section};
use vantio_fuzz::{
    dice::Dice,
    evaluator::{Policy, World},
    generator,
    question::Question,
};
use vantio_policy::decide;

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let (policy, world) = (generator::policy(&mut dice), generator::world(&mut dice));
    let world = World { is_killed: false, is_foreign: false, ..world };
    let mut narrower = Policy { mode: "enforce", ..policy.clone() };
    let more = generator::policy(&mut dice);
    narrower.rules.extend(more.rules.into_iter().filter(|(section, _)| is_deny(*section)));
    let left_out = dice.below(narrower.rules.len().max(1));
    if narrower.rules.get(left_out).is_some_and(|(section, _)| !is_deny(*section)) {
        narrower.rules.remove(left_out);
    }
    let modes = ["monitor", "learn", "enforce"].map(|mode| Policy { mode, ..policy.clone() });
    let questions = dice.some(1, 40, generator::question);
    let [monitor, learn, enforce, narrower] =
        [&modes[0], &modes[1], &modes[2], &narrower].map(|policy| answers(policy, &world, &questions));
    for (index, question) in questions.iter().enumerate() {
        assert!(!narrower[index] || enforce[index], "a narrower policy permits {question:?}");
        assert!(!enforce[index] || learn[index], "`learn` refuses {question:?}");
        assert!(!learn[index] || monitor[index], "`monitor` refuses {question:?}");
    }
});

fn is_deny(section: Section) -> bool {
    matches!(section, Section::FsDeny | Section::ExecDeny | Section::NetDeny | Section::ToolsDeny)
}

fn answers(policy: &Policy, world: &World, questions: &[Question]) -> Vec<bool> {
    let (program, state) = world.build(policy);
    let permits =
        |question: &Question| decide(&program, &state, &question.intent()).decision == Decision::Permit;
    questions.iter().map(permits).collect()
}
