//! The power fails while a ledger is closed and another begins in its place.

use std::{collections::BTreeSet, path::Path};

use faulty_disk::{Cut, Random};
use vantio_ledger::{Filter, Ledger, LedgerError, Options, Reader, Terms, archive, archives};

use crate::{
    common::{harness::Outcome, open},
    world::{self, LEDGER, NOTES, World, memory, spoil_index},
};

/// How many images are tried.
const IMAGES: u64 = 300;

pub fn test() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let world = World::new();
    assert_eq!(world.refusals(&[2], 12), [""; 0]);
    let first = world.disk.record().changes.len();
    world.archive();
    assert_eq!(world.refusals(&[1], 12), [""; 0]);
    world.archive();
    assert_eq!(world.refusals(&[1], 6), [""; 0]);
    let record = world.disk.record();
    let images = IMAGES / world::step() as u64;
    for _ in 0..images {
        // Most of what happens is the closing.
        let place = first + random.below((record.changes.len() - first) as u64) as usize;
        let mut cut = Cut::new(&record, random.next());
        cut.advance(place);
        let image = memory().unwrap();
        cut.write_image(image.path(), 512).unwrap();
        spoil_index(image.path(), &mut random);
        let notes = String::from_utf8(cut.content(NOTES)).unwrap();
        assert_kept(&image.path().join(LEDGER), &notes, &format!("at change {place}, seed {seed}"));
    }
    Outcome::Passed(format!(
        "{images} losses of power while ledgers were closed, no acknowledged entry lost; seed {seed}"
    ))
}

/// Goes on as the next process would, and finds all entries in the ledger or in an archive.
fn assert_kept(path: &Path, notes: &str, circumstances: &str) {
    let ledger = match Ledger::open(path) {
        Err(LedgerError::Closed { .. }) => {
            let closed = archive(path, Options::default());
            closed.unwrap_or_else(|error| panic!("{circumstances}: it cannot be closed: {error:?}"));
            Ledger::open(path)
        }
        opened => opened,
    };
    let ledger = ledger.unwrap_or_else(|error| panic!("{circumstances}: it does not open: {error:?}"));
    ledger.append(open(0)).unwrap_or_else(|error| panic!("{circumstances}: it accepts nothing: {error:?}"));
    drop(ledger);
    // What was begun is ended by the next closing.
    archive(path, Options::default()).unwrap_or_else(|error| panic!("{circumstances}: {error:?}"));
    let archives = archives(path).unwrap_or_else(|error| panic!("{circumstances}: {error:?}"));
    let mut found = BTreeSet::new();
    for path in archives.iter().map(|archive| archive.path.as_path()).chain([path]) {
        let reader = Reader::open(path).unwrap();
        let keys = reader.verifier_key().unwrap().into_iter().collect();
        let verified = reader.verify(&Terms { keys, checkpoint: None });
        verified.unwrap_or_else(|error| panic!("{circumstances}: {}: {error:?}", path.display()));
        let entries = reader.entries(&Filter::default());
        found.extend(entries.map(|entry| entry.unwrap().this_hash.to_string()));
    }
    let entries = notes.lines().filter(|line| line.starts_with("entry ") && line.ends_with(';'));
    for hash in entries.filter_map(|line| line.split(' ').nth(2)) {
        assert!(found.contains(hash), "{circumstances}: the entry {hash} is in no ledger");
    }
}
