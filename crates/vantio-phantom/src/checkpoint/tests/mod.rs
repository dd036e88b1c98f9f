//! Random work in a real overlay, with checkpoints in between: every one can be gone back to, exactly.

#![allow(clippy::pedantic, clippy::unwrap_used)]

mod world;

use std::{fs, thread};

use proptest::prelude::*;

use super::{Cause, Options, Shadow, Standing, find, list, recover, restore, restore as going_back};
use crate::commit::Moment;
use world::{Operation, Tree, World};

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "x", "y", "h"]);
    // Few names, so that one thing often takes the place of another.
    let few = prop::sample::select(vec!["d", "e", "x", "d/x", "e/x"]).prop_map(str::to_owned);
    prop_oneof![few, prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Write(path, byte)),
        3 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Append(path, byte)),
        2 => path().prop_map(Operation::Hold),
        3 => any::<u8>().prop_map(Operation::WriteHeld),
        1 => path().prop_map(Operation::Truncate),
        2 => (path(), prop::sample::select(vec![0o700, 0o755, 0o600, 0o644])).prop_map(|(path, mode)| Operation::Mode(path, mode)),
        1 => path().prop_map(Operation::Touch),
        1 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Attribute(path, byte)),
        3 => path().prop_map(Operation::Unlink),
        3 => path().prop_map(Operation::MakeDirectory),
        2 => path().prop_map(Operation::RemoveDirectory),
        2 => path().prop_map(Operation::RemoveAll),
        5 => (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => (path(), path()).prop_map(|(from, to)| Operation::Exchange(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Operation::Link(from, to)),
        1 => path().prop_map(Operation::Symlink),
        1 => path().prop_map(Operation::Fifo),
        2 => Just(Operation::Forget),
        3 => Just(Operation::Checkpoint),
    ]
}

/// Does everything, and returns what the layer was at each checkpoint.
fn play(world: &World, operations: &[Operation]) -> Vec<(u64, Tree)> {
    let mut trees = Vec::new();
    let mut held = Vec::new();
    for operation in operations {
        if matches!(operation, Operation::Checkpoint) {
            let _gate = world.keeper.enter_alone();
            let taken = world.keeper.take(None, Cause::Asked, Standing::No).unwrap();
            trees.push((taken.id, world.upper()));
            if taken.id.is_multiple_of(2) {
                world.keeper.lay_ahead();
            }
        } else {
            // Much of what is random cannot be done.
            drop(world.perform(operation, &mut held));
        }
    }
    trees
}

/// In a thread whose mounts are its own; not at all where that is not permitted.
fn alone(work: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(work).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_checkpoint_can_be_gone_back_to(operations in prop::collection::vec(operation(), 1..40)) {
        can_go_back(&operations);
    }

    #[test]
    fn a_restore_that_is_cut_off_is_finished(operations in prop::collection::vec(operation(), 20..40), crashes in prop::collection::vec(0..60_usize, 1..4)) {
        alone(|| {
            let world = World::new();
            let trees = play(&world, &operations);
            world.unmount();
            let Some((id, tree)) = trees.first() else { return };
            let run = world.run();
            let at = |at: usize| move |moment: usize| if moment == at { Moment::Crash } else { Moment::Go };
            let mut is_begun = false;
            for crash in &crashes {
                let at = at(*crash);
                let options = Options { at_moment: Some(&at) };
                let result = if is_begun {
                    super::restore::finish(&run, options, &mut super::undo::Twins::default()).map(drop)
                } else {
                    restore(&run, *id, options).map(drop)
                };
                is_begun = result.is_err();
                if !is_begun { break; }
            }
            recover(&run).unwrap();
            let seen = world.upper();
            assert!(seen == *tree, "back at {id} after crashes\n{}", seen.difference(tree));
            assert_eq!(list(&run).unwrap().len(), 1);
            assert!(find(&run, "1").is_ok());
        });
    }
}

#[test]
fn a_symlink_with_two_names_keeps_both() {
    let link = Operation::Link("y".into(), "d".into());
    can_go_back(&[link, Operation::Checkpoint, Operation::Touch("d".into())]);
}

#[test]
fn a_kept_file_that_takes_the_place_of_a_directory_stays_what_it_was() {
    can_go_back(&[
        Operation::MakeDirectory("e".into()),
        Operation::Write("g".into(), 1),
        Operation::Checkpoint,
        Operation::RemoveDirectory("e".into()),
        Operation::Rename("g".into(), "e".into()),
        Operation::Write("e".into(), 2),
        Operation::Mode("e".into(), 0o600),
    ]);
}

#[test]
fn what_a_new_directory_brings_to_the_place_of_an_old_one_goes_again() {
    for renames in [Operation::Rename as fn(String, String) -> Operation, Operation::Exchange] {
        for is_gone in [false, true] {
            let mut operations = vec![Operation::MakeDirectory("e".into()), Operation::Checkpoint];
            if is_gone {
                operations.push(Operation::RemoveDirectory("e".into()));
                operations.push(Operation::Write("e".into(), 3));
            }
            operations.extend([
                Operation::MakeDirectory("n".into()),
                Operation::Write("n/f".into(), 1),
                renames("n".into(), "e".into()),
                Operation::Write("e/f".into(), 2),
            ]);
            can_go_back(&operations);
        }
    }
}

#[test]
fn a_refused_link_of_a_directory_is_forgotten() {
    can_go_back(&[
        Operation::MakeDirectory("q".into()),
        Operation::Checkpoint,
        Operation::Link("q".into(), "z".into()),
        Operation::RemoveDirectory("q".into()),
        // It may have the inode number that is free now.
        Operation::Write("f".into(), 1),
        Operation::Link("f".into(), "g".into()),
        Operation::Write("f".into(), 2),
        Operation::Write("q".into(), 3),
        Operation::Link("q".into(), "p".into()),
        Operation::Write("p".into(), 4),
    ]);
}

#[test]
fn the_mode_of_a_fifo_that_got_another_name_goes_back() {
    can_go_back(&[
        Operation::Fifo("g".into()),
        Operation::Checkpoint,
        Operation::Link("g".into(), "z".into()),
        Operation::Mode("z".into(), 0o755),
    ]);
}

/// Looks at every checkpoint from outside, then goes back to each.
fn can_go_back(operations: &[Operation]) {
    alone(|| {
        let world = World::new();
        let trees = play(&world, operations);
        world.unmount();
        let now = world.upper();
        for (id, tree) in &trees {
            let shadow = Shadow::new(&world.run(), Some(*id)).unwrap();
            let seen = Tree::of(shadow.run());
            assert!(seen == *tree, "shadow of {id}\n{}", seen.difference(tree));
        }
        let after = world.upper();
        assert!(after == now, "a look changed the run\n{}", after.difference(&now));
        for (id, tree) in trees.iter().rev() {
            going_back(&world.run(), *id, Options::default()).unwrap();
            let seen = world.upper();
            assert!(seen == *tree, "back at {id}\n{}", seen.difference(tree));
        }
    });
}

#[test]
fn what_is_closed_is_forgotten_and_what_is_open_is_copied() {
    alone(|| {
        let world = World::new();
        let held: Vec<_> = (0..3).map(|n| world.open(&format!("a/held{n}"), true).unwrap()).collect();
        assert!(!world.keeper.has_many_writers());
        for n in 0..300 {
            world.open(&format!("a/b/f{n}"), true).unwrap();
        }
        assert!(world.keeper.has_many_writers());
        world.keeper.forget_closed();
        assert!(!world.keeper.has_many_writers());
        let taken = world.keeper.take(None, Cause::Asked, Standing::No).unwrap();
        assert_eq!((taken.copied, taken.moving), (3, 0));
        drop(held);
        world.unmount();
    });
}

#[test]
fn a_checkpoint_that_was_laid_ahead_is_like_any_other() {
    alone(|| {
        let world = World::new();
        let take = || world.keeper.take(None, Cause::Asked, Standing::No).unwrap().id;
        let append = |byte| world.perform(&Operation::Append("x".into(), byte), &mut Vec::new()).unwrap();
        world.keeper.lay_ahead();
        assert_eq!(super::list(&world.run()).unwrap().len(), 0);
        append(1);
        assert_eq!(take(), 1);
        let before = world.upper();
        append(2);
        world.keeper.lay_ahead();
        world.keeper.lay_ahead();
        assert_eq!(take(), 2);
        append(3);
        world.keeper.lay_ahead();
        fs::remove_dir_all(super::shelf::folder(world.run().path()).join(".begun")).unwrap();
        assert_eq!(take(), 3);
        assert_eq!(super::list(&world.run()).unwrap().len(), 3);
        world.unmount();
        going_back(&world.run(), 1, Options::default()).unwrap();
        assert_eq!(world.upper(), before);
    });
}

fn cases() -> u32 {
    std::env::var("VANTIO_CHECKPOINT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

#[test]
#[ignore = "prints how long things take"]
fn figures() {
    alone(|| {
        let world = World::new();
        for n in 0..1000 {
            let path = format!("f{n}");
            world.perform(&Operation::Write(path, 200), &mut Vec::new()).unwrap();
        }
        let time = |what: &str, work: &mut dyn FnMut()| {
            let own = || -> f64 {
                let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
                text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
            };
            let (start, before) = (std::time::Instant::now(), own());
            work();
            let (wall, own) = (start.elapsed().as_secs_f64() * 1000.0, own() - before);
            println!("{what}: {wall:.2} ms, of which it ran {own:.2} ms");
        };
        let take = || drop(world.keeper.take(None, Cause::Asked, Standing::No).unwrap());
        time("first, 1000 files written before", &mut || take());
        time("second, nothing since", &mut || take());
        let change = |byte: u8| {
            for n in 0..1000 {
                world.perform(&Operation::Append(format!("f{n}"), byte), &mut Vec::new()).unwrap();
            }
        };
        time("change 1000 files, saving each", &mut || change(1));
        time("again, all saved", &mut || change(2));
        time("third, 1000 files changed", &mut || take());
        time("change 1000 files", &mut || change(3));
        let held: Vec<_> = (0..20).map(|n| world.open(&format!("f{n}"), false).unwrap()).collect();
        time("fourth, 1000 changed, 20 open", &mut || take());
        drop(held);
        for n in 0..300 {
            world.perform(&Operation::Append("f1".into(), n as u8), &mut Vec::new()).unwrap();
            if n % 100 == 0 {
                time("of 300", &mut || take());
            } else {
                take();
            }
        }
        change(9);
        world.unmount();
        let run = world.run();
        time("back over the last, 1000 files", &mut || {
            drop(going_back(&run, 304, Options::default()).unwrap())
        });
        time("a shadow of 3", &mut || drop(Shadow::new(&run, Some(3)).unwrap()));
        time("back over 301 to 3, 1000 files", &mut || {
            drop(going_back(&run, 3, Options::default()).unwrap())
        });
        time("back to 1", &mut || drop(going_back(&run, 1, Options::default()).unwrap()));
    });
}
