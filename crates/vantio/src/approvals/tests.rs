//! The table of questions against a model, and answers as they are written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use vantio_core::{Access, Effect, Hash, Section, Target, json::Value};
use vantio_phantom::socket::line;
use vantio_policy::Bindings;

use super::{
    Answer, Asked, Reach, Reply,
    holds::Place,
    question::Said,
    table::{Due, GRACE, Table, WAITERS_MAX},
    wire::{Request, VERSION},
};

fn asked(number: u8) -> Asked {
    let target = Value::object([
        ("access", Value::from("write")),
        ("path", format!("/w/{number}").into()),
        ("subtree", false.into()),
    ]);
    Asked {
        effect: Effect::FsOpen,
        intent: super::intent_hash(Effect::FsOpen, &target, &[]),
        request: target,
        names: Vec::new(),
        section: Section::Hold,
        rule: "fs.open".to_owned(),
        approvers: Vec::new(),
        timeout_ms: 5000,
        bytes: 0,
    }
}

fn ask(table: &mut Table, tid: u32, number: u8, now: Instant) -> Place {
    let place = table.ask(Some(tid), asked(number), now, 0);
    if let Place::First(id) = &place {
        table.open(id);
    }
    place
}

fn answer(said: Said) -> Arc<Answer> {
    Answer::new("question", &asked(0), said).into()
}

/// What happens to a table.
#[derive(Clone, Debug)]
enum Step {
    Ask(u32, u8),
    Settle(u8, bool),
    Judge(u32, u8),
    UseUp(u32),
    Aside(u32),
    Leave(u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (tid, number) = (1..4_u32, 0..3_u8);
    prop_oneof![
        4 => (tid.clone(), number.clone()).prop_map(|(tid, number)| Step::Ask(tid, number)),
        2 => (number.clone(), any::<bool>()).prop_map(|(number, approves)| Step::Settle(number, approves)),
        3 => (tid.clone(), number).prop_map(|(tid, number)| Step::Judge(tid, number)),
        2 => tid.clone().prop_map(Step::UseUp),
        1 => tid.clone().prop_map(Step::Aside),
        1 => tid.prop_map(Step::Leave),
        2 => (1..3000_u64).prop_map(Step::Pass),
    ]
}

/// What the model knows of a thread and a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Waits,
    Away(u64),
    /// What was said, and whether a call was judged by it.
    Told(bool, bool),
}

/// The model: who waits for what, and until when each question is open.
#[derive(Default)]
struct Model {
    waiters: BTreeMap<(u32, u8), Waiter>,
    open: BTreeMap<u8, u64>,
    now: u64,
}

impl Model {
    fn waits(&self, number: u8) -> usize {
        let waits = |waiter: &Waiter| !matches!(waiter, Waiter::Told(..));
        self.waiters.iter().filter(|((_, asked), waiter)| *asked == number && waits(waiter)).count()
    }

    /// The questions whose time is over, and those that nobody waits for.
    fn pass(&mut self) -> (BTreeSet<u8>, BTreeSet<u8>) {
        let now = self.now;
        let grace = u64::try_from(GRACE.as_millis()).unwrap();
        self.waiters.retain(|_, waiter| !matches!(waiter, Waiter::Away(since) if now - *since >= grace));
        let over = self.open.iter().filter(|(_, deadline)| **deadline <= now).map(|(number, _)| *number);
        let over: BTreeSet<u8> = over.collect();
        let left = self.open.keys().filter(|number| !over.contains(number) && self.waits(**number) == 0);
        let left: BTreeSet<u8> = left.copied().collect();
        self.open.retain(|number, _| !over.contains(number) && !left.contains(number));
        for ((_, number), waiter) in &mut self.waiters {
            if over.contains(number) && !matches!(waiter, Waiter::Told(..)) {
                *waiter = Waiter::Told(false, false);
            }
        }
        (over, left)
    }
}

proptest! {
    #[test]
    fn the_table_does_as_its_model(steps in vec(step(), 1..60)) {
        let (mut table, mut model, start) = (Table::default(), Model::default(), Instant::now());
        let number_of = |key: Hash| (0..3).find(|number| asked(*number).key() == key).unwrap();
        for step in steps {
            let now = start + Duration::from_millis(model.now);
            match step {
                Step::Ask(tid, number) => {
                    match model.waiters.get(&(tid, number)) {
                        // It was told since it was judged: nobody is asked again.
                        Some(Waiter::Told(_, false)) => {
                            prop_assert_eq!(ask(&mut table, tid, number, now), Place::Alike);
                            continue;
                        }
                        // What a call was judged by is not asked about.
                        Some(Waiter::Told(_, true)) => continue,
                        _ => {}
                    }
                    let is_first = !model.open.contains_key(&number);
                    let place = ask(&mut table, tid, number, now);
                    prop_assert_eq!(matches!(place, Place::First(_)), is_first);
                    model.open.entry(number).or_insert(model.now + 5000);
                    model.waiters.insert((tid, number), Waiter::Waits);
                }
                Step::Settle(number, approves) => {
                    let id = table.list().find(|(open, ..)| number_of(open.asked.key()) == number).map(|(open, ..)| open.id.clone());
                    prop_assert_eq!(id.is_some(), model.open.contains_key(&number));
                    let Some(id) = id else { continue };
                    let open = table.claim(&id).unwrap();
                    prop_assert!(table.claim(&id).is_none());
                    prop_assert_eq!(table.waiting(&open), model.waits(number) as u64);
                    table.settle(&id, &answer(if approves { Said::Approve } else { Said::Deny }), now);
                    model.open.remove(&number);
                    for ((_, asked), waiter) in &mut model.waiters {
                        if *asked == number && !matches!(waiter, Waiter::Told(..)) {
                            *waiter = Waiter::Told(approves, false);
                        }
                    }
                }
                Step::Judge(tid, number) => {
                    let told = table.answer_of(tid, asked(number).key()).map(|answer| answer.approves());
                    let waiter = model.waiters.get_mut(&(tid, number));
                    let expected = match waiter {
                        Some(Waiter::Told(approves, is_used)) => {
                            *is_used = true;
                            Some(*approves)
                        }
                        _ => None,
                    };
                    prop_assert_eq!(told, expected);
                }
                Step::UseUp(tid) => {
                    table.use_up(tid);
                    model.waiters.retain(|(other, _), waiter| {
                        *other != tid || matches!(waiter, Waiter::Away(_) | Waiter::Told(_, false))
                    });
                }
                Step::Aside(tid) => {
                    table.step_aside(tid, now);
                    for ((other, _), waiter) in &mut model.waiters {
                        *waiter = match *waiter {
                            Waiter::Waits if *other == tid => Waiter::Away(model.now),
                            Waiter::Told(approves, _) if *other == tid => Waiter::Told(approves, false),
                            same => same,
                        };
                    }
                }
                Step::Leave(tid) => {
                    table.leave(tid);
                    model.waiters.retain(|(other, _), _| *other != tid);
                }
                Step::Pass(ms) => model.now += ms,
            }
            let now = start + Duration::from_millis(model.now);
            let (mut over, mut left) = (BTreeSet::new(), BTreeSet::new());
            for due in table.due(now) {
                match due {
                    Due::TimedOut(open) => {
                        over.insert(number_of(open.asked.key()));
                        table.settle(&open.id, &answer(Said::Nothing(5000)), now);
                    }
                    Due::Withdrawn(open) => {
                        left.insert(number_of(open.asked.key()));
                    }
                }
            }
            prop_assert_eq!((over, left), model.pass());
            for tid in 1..4 {
                let waits = model.waiters.iter().any(|((other, _), waiter)| *other == tid && *waiter == Waiter::Waits);
                prop_assert_eq!(table.is_settled(tid), !waits);
            }
            // An answer that nobody came back for is forgotten some day: the model does not say when.
            let is_kept = |tid: u32, number: u8| {
                let key = asked(number).key();
                table.keeps_for(tid, key)
            };
            model.waiters.retain(|(tid, number), waiter| !matches!(waiter, Waiter::Told(..)) || is_kept(*tid, *number));
        }
    }

    #[test]
    fn whatever_is_said_on_the_socket_is_understood_or_refused(bytes in vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let said = |said: &[u8]| line::decode::<Request>(VERSION, said);
        prop_assert!(said(&bytes).is_err() && said(text.as_bytes()).is_err());
        let reply = Reply {
            question: text.clone(),
            intent_hash: text.clone(),
            policy_hash: text.clone(),
            approves: true,
            reach: Reach::Pattern(text.clone()),
            who: Some(text.clone()),
            reason: Some(text),
        };
        let read = said(&line::encode(VERSION, Request::Answer(reply.clone())).unwrap()).unwrap();
        prop_assert!(matches!(read, Request::Answer(read) if read == reply));
    }

    #[test]
    fn an_answer_is_read_back_as_it_was_written(
        said in prop_oneof![Just(Said::Approve), Just(Said::Deny), (1..1_000_000_u64).prop_map(Said::Nothing)],
        reach in prop_oneof![Just(Reach::Once), Just(Reach::Session), Just(Reach::Pattern("/w/**".to_owned()))],
        who in proptest::option::of("[a-z]{1,8}"),
        reason in proptest::option::of(".{0,20}"),
        uid in proptest::option::of(any::<u32>()),
        waiting in 0..1000_u64,
    ) {
        let bindings = Bindings::default();
        let answer = Answer { who, uid, reason, waiting, ..Answer::new("12345678", &asked(1), said) };
        let answer = answer.reaching(reach, &bindings).unwrap();
        let written = answer.to_value();
        let read = Answer::of(&written, &bindings).unwrap();
        prop_assert_eq!(read.to_value().to_canonical(), written.to_canonical());
        prop_assert_eq!(read.in_words(), answer.in_words());
        prop_assert_eq!(read.reach, answer.reach);
    }
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let (mut table, now) = (Table::default(), Instant::now());
    for tid in 0..WAITERS_MAX {
        assert_ne!(ask(&mut table, u32::try_from(tid).unwrap(), 0, now), Place::None);
    }
    assert_eq!(ask(&mut table, 1000, 0, now), Place::None);
    assert_eq!(ask(&mut table, 1000, 1, now), Place::None);
    table.leave(0);
    assert_eq!(ask(&mut table, 1000, 0, now), Place::Alike);
}

#[test]
fn an_intent_is_named_by_all_that_a_person_sees_of_it() {
    let target = |path: &str, access: &str| {
        Value::object([("access", access.into()), ("path", path.into()), ("subtree", false.into())])
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let hash = |effect, path, access, known: &[&str]| {
        super::intent_hash(effect, &target(path, access), &names(known))
    };
    let one = hash(Effect::FsOpen, "/w/a", "read", &["a", "b"]);
    assert_eq!(one, hash(Effect::FsOpen, "/w/a", "read", &["b", "a"]));
    let others = [
        hash(Effect::FsUnlink, "/w/a", "read", &["a", "b"]),
        hash(Effect::FsOpen, "/w/b", "read", &["a", "b"]),
        hash(Effect::FsOpen, "/w/a", "write", &["a", "b"]),
        hash(Effect::FsOpen, "/w/a", "read", &["a"]),
    ];
    assert!(others.iter().all(|other| *other != one));
}

#[test]
fn what_is_opened_to_read_is_asked_about_so() {
    let intent = Target::Path { path: b"/w/a", access: Access::Read, subtree: false };
    let request = crate::oracle::target_value(&intent);
    assert_eq!(Asked { request, ..asked(0) }.access(), Access::Read);
    assert_eq!(asked(0).access(), Access::Write);
}
