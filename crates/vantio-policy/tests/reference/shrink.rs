//! From a disagreement to the least one.

use vantio_policy::decide;

use crate::{
    evaluator::{Evaluator, Policy, World},
    question::Question,
};

/// A policy and an intent of which `decide` and the evaluator think differently.
#[derive(Clone, Debug)]
pub struct Case {
    pub policy: Policy,
    pub world: World,
    pub question: Question,
}

impl Case {
    pub fn agrees(&self) -> bool {
        let (program, state) = self.world.build(&self.policy);
        let intent = self.question.intent();
        Evaluator::new(&self.policy, &self.world).reply(&intent).is(&decide(&program, &state, &intent))
    }

    /// Leaves out what can be left out, one thing at a time, until nothing can.
    pub fn shrink(mut self) -> Self {
        while let Some(smaller) = self.smaller().into_iter().find(|case| !case.agrees()) {
            self = smaller;
        }
        self
    }

    fn smaller(&self) -> Vec<Self> {
        let mut cases = Vec::new();
        without_each(self, &mut cases, |case| &mut case.policy.rules);
        without_each(self, &mut cases, |case| &mut case.world.bindings.aliases);
        without_each(self, &mut cases, |case| &mut case.world.bindings.programs);
        without_each(self, &mut cases, |case| &mut case.world.bindings.host_addresses);
        without_each(self, &mut cases, |case| &mut case.world.answers);
        if self.policy.mode != "enforce" {
            let mut case = self.clone();
            case.policy.mode = "enforce";
            cases.push(case);
        }
        cases
    }

    /// What a person needs to look into it.
    pub fn describe(&self) -> String {
        let (program, state) = self.world.build(&self.policy);
        let intent = self.question.intent();
        let verdict = decide(&program, &state, &intent);
        let reply = Evaluator::new(&self.policy, &self.world).reply(&intent);
        let Self { policy, world, .. } = self;
        format!(
            "{}\nworld: {world:?}\nintent: {intent:?}\ndecide: {verdict:?}\nreference: {reply:?}",
            policy.document()
        )
    }
}

/// One case for each element of a list, without it.
fn without_each<T>(case: &Case, cases: &mut Vec<Case>, list: impl Fn(&mut Case) -> &mut Vec<T>) {
    let length = list(&mut case.clone()).len();
    for index in 0..length {
        let mut smaller = case.clone();
        list(&mut smaller).remove(index);
        cases.push(smaller);
    }
}
