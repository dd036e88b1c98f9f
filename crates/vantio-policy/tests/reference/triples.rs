//! `decide` equals the evaluator, over a million triples of policy, state and intent.

use std::{collections::BTreeMap, env, num::NonZero, thread};

use vantio_core::Decision;
use vantio_policy::{PolicyProgram, decide};

use crate::{
    dice::Dice,
    evaluator::{Evaluator, World, guards::Event},
    generator,
    shrink::Case,
};

/// Triples of a run; `VANTIO_TRIPLES` asks for another number.
const TRIPLES: u64 = 1_000_000;
/// Intents that each policy is asked.
const INTENTS: u64 = 200;
/// The first policy's seed; `VANTIO_SEED` asks for another.
const SEED: u64 = 0;

#[test]
fn decide_is_the_reference_over_a_million_triples() {
    let triples = number("VANTIO_TRIPLES").unwrap_or(TRIPLES);
    let first = number("VANTIO_SEED").unwrap_or(SEED);
    let seeds = first..first + triples.div_ceil(INTENTS);
    let workers = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let seen = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                let own = seeds.clone().skip(worker as usize).step_by(workers as usize);
                scope.spawn(|| own.map(compare).reduce(join).unwrap_or_default())
            })
            .collect();
        let seen = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        seen.reduce(join).unwrap_or_default()
    });
    let total: u64 = seen.values().sum();
    assert_eq!(total, triples.div_ceil(INTENTS) * INTENTS, "each triple was compared");
    println!("{total} triples: {seen:#?}");
    if total >= TRIPLES {
        assert_they_met(&seen, total);
    }
}

#[test]
fn programs_survive_their_bytes_and_order_means_nothing() {
    for seed in 0..1_000 {
        let policy = generator::policy(&mut Dice::new(seed));
        let world = World::default();
        let (program, _) = world.build(&policy);
        assert_eq!(PolicyProgram::decode(&program.encode()).as_ref(), Ok(&program), "seed {seed}");
        let mut turned = policy.clone();
        turned.rules.reverse();
        turned.rules.extend(policy.rules);
        assert_eq!(world.build(&turned).0.hash(), program.hash(), "seed {seed}");
    }
}

/// How often each decision had each reason.
type Seen = BTreeMap<String, u64>;

fn join(mut left: Seen, right: Seen) -> Seen {
    for (reason, count) in right {
        *left.entry(reason).or_default() += count;
    }
    left
}

/// Asks one policy in one world all its intents.
fn compare(seed: u64) -> Seen {
    let mut dice = Dice::new(seed);
    let (policy, world) = (generator::policy(&mut dice), generator::world(&mut dice));
    let (program, mut state) = world.build(&policy);
    let mut evaluator = Evaluator::new(&policy, &world);
    let mut counts = Seen::new();
    let mut history = Vec::new();
    for _ in 0..INTENTS {
        let mut question = generator::question(&mut dice);
        question.context.elapsed_ms = generator::time(&mut dice, &history);
        let intent = question.intent();
        let reply = evaluator.reply(&intent);
        if !reply.is(&decide(&program, &state, &intent)) {
            let case =
                Case { policy: policy.clone(), world: world.clone(), question: question.clone(), history };
            panic!("seed {seed}\n{}", case.shrink().describe());
        }
        *counts.entry(reply.kind()).or_default() += 1;
        if reply.decision == Decision::Permit && dice.chance(50) {
            state.settle(&program, &intent);
            let event = Event { at_ms: evaluator.now(&intent), question };
            evaluator.settle(event.clone());
            history.push(event);
        }
    }
    counts
}

/// A million triples of which hardly any matched a rule would show nothing.
fn assert_they_met(seen: &Seen, total: u64) {
    for kind in EXPECTED {
        let count = seen.get(*kind).copied().unwrap_or_default();
        assert!(count >= total / 10_000, "only {count} were `{kind}`");
    }
}

/// What a million triples must have brought about a hundred times at least.
const EXPECTED: &[&str] = &[
    "Permit fs.read",
    "Permit fs.write",
    "Permit exec.allow",
    "Permit net.allow",
    "Permit always",
    "Collapse fs.deny",
    "Collapse exec.deny",
    "Collapse net.deny",
    "Collapse always",
    "Collapse nothing in fs.read",
    "Collapse nothing in fs.write",
    "Collapse nothing in exec.allow",
    "Collapse nothing in net.allow",
    "Permit observed fs.deny",
    "Permit observed fs.read",
    "Permit observed fs.write",
    "Permit observed exec.allow",
    "Permit observed exec.deny",
    "Permit observed net.allow",
    "Permit observed net.deny",
    "KillSwitch",
    "Permit tools.allow",
    "Permit infer.models",
    "Collapse tools.deny",
    "Collapse nothing in tools.allow",
    "Collapse nothing in infer.models",
    "Collapse tainted",
    "Collapse order",
    "Collapse thresholds",
    "Collapse budget calls",
    "Collapse budget file_bytes",
    "Collapse budget network_bytes",
    "Collapse budget wall_ms",
    "Hold thresholds",
    "Hold hold",
    "Permit observed taint.sinks",
    "Permit observed order",
    "Permit observed thresholds",
    "Permit observed hold",
];

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
