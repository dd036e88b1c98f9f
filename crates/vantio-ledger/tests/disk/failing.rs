//! A sync or a write fails, once or from then on.

use std::{thread, time::Duration};

use faulty_disk::{Cut, Fault, Random};

use crate::{
    common::{harness::Outcome, promises::Promises},
    world::{self, LEDGER, NOTES, World, memory, spoil_index, take_all},
};

/// Appends of each thread, of which there are three in two processes: far more operations than any
/// fault waits for.
const TIMES: u32 = 80;

/// A failure: of what, after how many that do not fail, and how often.
#[derive(Debug)]
struct Failure {
    fault: Fault,
    after: u64,
    times: u64,
}

pub fn syncs() -> Outcome {
    let places: Vec<u64> = (0..12).chain((12..120).step_by(9)).collect();
    test(&[Fault::Sync], &places, &["E_LEDGER_STORE", "E_LEDGER_IO"])
}

pub fn writes() -> Outcome {
    let places: Vec<u64> = (0..60).step_by(3).chain((60..600).step_by(36)).collect();
    test(&[Fault::Full, Fault::Write], &places, &["E_LEDGER_FULL", "E_LEDGER_STORE", "E_LEDGER_IO"])
}

fn test(faults: &[Fault], places: &[u64], codes: &[&str]) -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let (mut stopped, mut unharmed) = (0, 0);
    for after in places.iter().step_by(world::step()) {
        for fault in faults {
            for times in [1, u64::MAX] {
                let failure = Failure { fault: *fault, after: *after, times };
                let has_stopped = fail(&failure, codes, &format!("{failure:?}, seed {seed}"), &mut random);
                *(if has_stopped { &mut stopped } else { &mut unharmed }) += 1;
            }
        }
    }
    Outcome::Passed(format!(
        "{stopped} ledgers stopped, {unharmed} could do without what failed, no acknowledged entry lost; seed {seed}"
    ))
}

/// Whether the ledger stopped.
fn fail(failure: &Failure, codes: &[&str], circumstances: &str, random: &mut Random) -> bool {
    let world = World::new();
    world.disk.inject(failure.fault, failure.after, failure.times);
    let refusals = world.refusals(&[1, 2], TIMES);
    assert!(world.disk.repair() > 0, "{circumstances}: nothing failed");
    assert!(!refusals.is_empty() || failure.times == 1, "{circumstances}: nobody was told");
    for code in &refusals {
        assert!(codes.contains(&code.as_str()), "{circumstances}: {code}");
    }
    // On the disk as it is, and on what it may have had if the power failed then.
    let end = world.disk.record().changes.len();
    world.assert_kept(circumstances);
    assert_kept_without_power(&world, &[end, end, end], circumstances, random);
    !refusals.is_empty()
}

/// Programs are killed before they can learn of a failed sync, others go on, and the power fails.
pub fn kills() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let disks = 24 / world::step() as u64;
    for disk in 0..disks {
        let circumstances = format!("disk {disk}, seed {seed}");
        let world = World::new();
        world.disk.inject(Fault::Sync, 10 + random.below(60), 1);
        let mut writer = world.start(4, TIMES);
        while world.disk.failures() == 0 {
            let has_ended = writer.try_wait().unwrap().is_some();
            assert!(!has_ended || world.disk.failures() > 0, "{circumstances}: nothing failed");
            thread::sleep(Duration::from_micros(50));
        }
        world::kill_after(writer, Duration::from_micros(random.below(300)));
        let killed = world.disk.record().changes.len();
        assert_eq!(world.refusals(&[2], 20), [""; 0]);
        let places = world::places(&world.disk.record(), killed, 10, &mut random);
        assert_kept_without_power(&world, &places, &circumstances, &mut random);
    }
    Outcome::Passed(format!(
        "{disks} disks failed a sync that nobody learned of, no acknowledged entry lost; seed {seed}"
    ))
}

fn assert_kept_without_power(world: &World, places: &[usize], circumstances: &str, random: &mut Random) {
    let record = world.disk.record();
    let mut cut = Cut::new(&record, random.next());
    for place in places {
        cut.advance(*place);
        let mut promises = Promises::default();
        take_all(&mut promises, &cut.content(NOTES));
        let image = memory().unwrap();
        cut.write_image(image.path(), 512).unwrap();
        spoil_index(image.path(), random);
        promises.assert_kept(&image.path().join(LEDGER), circumstances);
    }
}
