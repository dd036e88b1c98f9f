//! From a disagreement to the least one.

use vantio_core::Verdict;
use vantio_policy::decide;

use crate::{
    evaluator::{Evaluator, Policy, Reply, World, guards::Event},
    question::Question,
};

/// A policy and an intent of which `decide` and the evaluator think differently.
#[derive(Clone, Debug)]
pub struct Case {
    pub policy: Policy,
    pub world: World,
    pub question: Question,
    /// What was permitted and carried out before.
    pub history: Vec<Event>,
}

impl Case {
    pub fn agrees(&self) -> bool {
        self.ask(Reply::is)
    }

    fn ask<T>(&self, compare: impl FnOnce(&Reply, &Verdict<'_>) -> T) -> T {
        let (program, mut state) = self.world.build(&self.policy);
        let mut evaluator = Evaluator::new(&self.policy, &self.world);
        for event in &self.history {
            state.settle(&program, &event.question.intent());
            evaluator.settle(event.clone());
        }
        let intent = self.question.intent();
        compare(&evaluator.reply(&intent), &decide(&program, &state, &intent))
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
        without_each(self, &mut cases, |case| &mut case.history);
        without_each(self, &mut cases, |case| &mut case.policy.guards.sources);
        without_each(self, &mut cases, |case| &mut case.policy.guards.sinks);
        without_each(self, &mut cases, |case| &mut case.policy.guards.order);
        without_each(self, &mut cases, |case| &mut case.policy.guards.thresholds);
        without_each(self, &mut cases, |case| &mut case.policy.guards.hold);
        without_each(self, &mut cases, |case| &mut case.policy.guards.budgets);
        without_each(self, &mut cases, |case| &mut case.policy.guards.reversibility);
        if self.policy.mode != "enforce" {
            let mut case = self.clone();
            case.policy.mode = "enforce";
            cases.push(case);
        }
        cases
    }

    /// What a person needs to look into it.
    pub fn describe(&self) -> String {
        let Self { policy, world, question, history } = self;
        let history = history.iter().map(|event| event.question.intent()).collect::<Vec<_>>();
        self.ask(|reply, verdict| {
            let (document, intent) = (policy.document(), question.intent());
            format!(
                "{document}\nworld: {world:?}\nbefore: {history:?}\nintent: {intent:?}\n\
                 decide: {verdict:?}\nreference: {reply:?}"
            )
        })
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
