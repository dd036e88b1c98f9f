//! A sync or a write fails, once or from then on.

use faulty_disk::{Cut, Fault, Random};

use crate::{
    common::{harness::Outcome, promises::Promises},
    world::{self, LEDGER, NOTES, World, memory, spoil_index, take_all},
};

/// Appends of each of two threads: far more operations than any fault waits for.
const TIMES: u32 = 80;

pub fn syncs() -> Outcome {
    let places = (0..12).chain((12..120).step_by(9));
    test(&[Fault::Sync], places.collect(), &["E_LEDGER_STORE", "E_LEDGER_IO"])
}

pub fn writes() -> Outcome {
    let places = (0..60).step_by(2).chain((60..600).step_by(27));
    test(&[Fault::Full, Fault::Write], places.collect(), &["E_LEDGER_FULL", "E_LEDGER_STORE", "E_LEDGER_IO"])
}

fn test(faults: &[Fault], places: Vec<u64>, codes: &[&str]) -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let (mut refused, mut ignored) = (0, 0);
    for place in places.into_iter().step_by((100 / world::share()).max(1) as usize) {
        for fault in faults {
            for times in [1, u64::MAX] {
                let circumstances = format!("{fault:?} after {place}, {times} times, seed {seed}");
                match fail(*fault, place, times, codes, &circumstances, &mut random) {
                    true => refused += 1,
                    false => ignored += 1,
                }
            }
        }
    }
    Outcome::Passed(format!(
        "{refused} ledgers stopped, {ignored} could do without what failed, no acknowledged entry lost; seed {seed}"
    ))
}

/// Whether the ledger was refused something.
fn fail(
    fault: Fault,
    after: u64,
    times: u64,
    codes: &[&str],
    circumstances: &str,
    random: &mut Random,
) -> bool {
    let world = World::new();
    world.disk.inject(fault, after, times);
    let refusals = world.refusals(2, TIMES);
    let failed = world.disk.repair();
    assert!(failed > 0, "{circumstances}: nothing failed");
    assert!(!refusals.is_empty() || times == 1, "{circumstances}: nobody was told");
    for code in &refusals {
        assert!(codes.contains(&code.as_str()), "{circumstances}: {code}");
    }
    // On the disk as it is, and on what it may have had if the power failed then.
    let record = world.disk.record();
    world.assert_kept(circumstances);
    let mut cut = Cut::new(&record, random.next());
    cut.advance(record.changes.len());
    let mut promises = Promises::default();
    take_all(&mut promises, &cut.content(NOTES));
    for _ in 0..3 {
        let image = memory().unwrap();
        cut.write_image(image.path(), 512).unwrap();
        spoil_index(image.path(), random);
        promises.assert_kept(&image.path().join(LEDGER), circumstances);
    }
    !refusals.is_empty()
}
