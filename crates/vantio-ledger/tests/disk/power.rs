//! The power fails at any moment.

use std::{fs, panic::catch_unwind, path::PathBuf, thread, time::Duration};

use faulty_disk::{Cut, Random, Record};

use crate::{
    common::{harness::Outcome, promises::Promises},
    world::{self, LEDGER, NOTES, World, memory, spoil_index, take_all},
};

/// How many images are tried.
const IMAGES: u64 = 500;

pub fn test() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let world = World::new();
    live(&world);
    let record = world.disk.record();
    let images = IMAGES * world::share() / 100;
    let places = world::places(&record, 0, images, &mut Random::new(seed));
    let (even, odd): (Vec<_>, Vec<_>) = places.iter().partition(|place| place.is_multiple_of(2));
    thread::scope(|scope| {
        for (half, places) in [even, odd].into_iter().enumerate() {
            let record = &record;
            scope.spawn(move || try_images(record, &places, seed.wrapping_add(half as u64)));
        }
    });
    let mut promises = Promises::default();
    let mut cut = Cut::new(&record, seed);
    cut.advance(record.changes.len());
    take_all(&mut promises, &cut.content(NOTES));
    let (entries, checkpoints) = promises.counts();
    Outcome::Passed(format!(
        "{images} losses of power in {} changes, {entries} acknowledged entries and {checkpoints} checkpoints, \
         none lost; seed {seed}",
        record.changes.len()
    ))
}

/// How many disks lose their power twice, and how many images are made of each.
const DISKS: u64 = 10;
const SECOND_IMAGES: u64 = 20;

/// What is on a disk after the power has failed is continued, and it fails again.
pub fn twice() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let world = World::new();
    assert_eq!(world.refusals(&[2], 40), [""; 0]);
    world::kill_after(world.start(4, u32::MAX), Duration::from_millis(40));
    let record = world.disk.record();
    let mut cut = Cut::new(&record, random.next());
    let disks = DISKS / world::step() as u64;
    for place in world::places(&record, 0, disks, &mut random) {
        cut.advance(place);
        let image = memory().unwrap();
        cut.write_image(image.path(), 512).unwrap();
        spoil_index(image.path(), &mut random);
        fs::write(image.path().join(NOTES), cut.content(NOTES)).unwrap();
        let again = World::on(image);
        let first = again.disk.record().changes.len();
        let writers = [again.start(2, 10), again.start(2, u32::MAX)];
        for writer in writers {
            world::kill_after(writer, Duration::from_millis(30));
        }
        let record = again.disk.record();
        try_images(&record, &world::places(&record, first, SECOND_IMAGES, &mut random), random.next());
    }
    Outcome::Passed(format!(
        "{} second losses on {disks} disks, none of an acknowledged entry; seed {seed}",
        disks * SECOND_IMAGES
    ))
}

/// Everything that a ledger goes through: it is made, closed, opened by two, killed, recovered.
fn live(world: &World) {
    assert_eq!(world.refusals(&[4], 30), [""; 0]);
    assert_eq!(world.refusals(&[2, 2], 30), [""; 0]);
    world::kill_after(world.start(8, u32::MAX), Duration::from_millis(40));
    assert_eq!(world.refusals(&[2], 40), [""; 0]);
    world.assert_kept("before any loss");
}

fn try_images(record: &Record, places: &[usize], seed: u64) {
    let mut cut = Cut::new(record, seed);
    let mut random = Random::new(seed ^ 1);
    for (number, place) in places.iter().enumerate() {
        cut.advance(*place);
        let again = cut.clone();
        let image = memory().unwrap();
        let sector = if number.is_multiple_of(2) { 512 } else { 4096 };
        cut.write_image(image.path(), sector).unwrap();
        spoil_index(image.path(), &mut random);
        let mut promises = Promises::default();
        take_all(&mut promises, &cut.content(NOTES));
        let circumstances =
            format!("after a loss of power at change {place}, sectors of {sector}, seed {seed}");
        let ledger = image.path().join(LEDGER);
        let kept = catch_unwind(|| promises.assert_kept(&ledger, &circumstances));
        assert!(kept.is_ok(), "the image is in {}", keep(again, sector).display());
    }
}

/// The image as it was, for whoever looks into it: what writers do differs from run to run.
fn keep(mut cut: Cut<'_>, sector: usize) -> PathBuf {
    let folder = tempfile::tempdir().unwrap().keep();
    cut.write_image(&folder, sector).unwrap();
    folder
}
