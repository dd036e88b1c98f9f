//! A disk says that it has what it will lose. Nothing helps then; but it is found out.

use std::path::Path;

use faulty_disk::{Cut, Fault, Random};
use vantio_ledger::{
    Filter, Ledger, LedgerError, Reader, Terms,
    note::{TreeHead, VerifierKey},
};

use crate::{
    common::{harness::Outcome, open, promises::Promises},
    world::{self, LEDGER, NOTES, World, memory, spoil_index, take_all},
};

/// How many disks lie, and how many images are made of each.
const DISKS: u64 = 20;
const IMAGES: u64 = 15;

/// What became of a ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It does not open, or accepts nothing.
    Refused,
    /// The checkpoint that was kept elsewhere shows what is lost.
    Revealed,
    /// All that the checkpoint covers is there.
    Whole,
}

pub fn test() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let mut fates = Vec::new();
    for disk in 0..DISKS {
        let world = World::new();
        // It tells the truth at first, but for one.
        world.disk.inject(Fault::Lie, if disk == 0 { 0 } else { random.below(150) }, u64::MAX);
        assert_eq!(world.refusals(&[2], 50), [""; 0]);
        let key = Reader::open(&world.backing_ledger()).unwrap().verifier_key().unwrap().unwrap();
        let record = world.disk.record();
        let mut cut = Cut::new(&record, random.next());
        for place in world::places(&record, 0, IMAGES, &mut random) {
            cut.advance(place);
            let image = memory().unwrap();
            cut.write_image(image.path(), 4096).unwrap();
            spoil_index(image.path(), &mut random);
            let mut promises = Promises::default();
            take_all(&mut promises, &cut.content(NOTES));
            fates.push(examine(
                &image.path().join(LEDGER),
                &promises,
                &key,
                &format!("disk {disk}, seed {seed}"),
            ));
        }
    }
    let count = |fate| fates.iter().filter(|found| **found == fate).count();
    let (refused, revealed, whole) = (count(Fate::Refused), count(Fate::Revealed), count(Fate::Whole));
    assert!(revealed > 0 && whole > 0, "{revealed} were revealed, {whole} whole: nothing was tried");
    Outcome::Passed(format!(
        "of {} ledgers {refused} were refused as damaged, {revealed} revealed by a checkpoint kept elsewhere, \
         {whole} whole up to it; seed {seed}",
        fates.len()
    ))
}

fn examine(path: &Path, promises: &Promises, key: &VerifierKey, circumstances: &str) -> Fate {
    let terms = Terms { keys: vec![key.clone()], checkpoint: promises.checkpoint() };
    let size = terms.checkpoint.as_ref().map_or(0, TreeHead::size);
    let ledger = match Ledger::open(path).and_then(|ledger| ledger.append(open(0)).map(|_| ledger)) {
        Ok(ledger) => ledger,
        Err(error) => {
            assert_damage(&error, circumstances);
            return Fate::Refused;
        }
    };
    let reader = ledger.reader().unwrap();
    if let Err(error) = reader.verify(&terms) {
        // It stays so, however long the ledger gets.
        let grown = (0..=size).try_for_each(|number| ledger.record(open(number as u32)).map(drop));
        let grown = grown.and_then(|()| ledger.flush());
        let later = reader.verify(&terms);
        assert!(later.is_err(), "{circumstances}: what was lost is forgotten: {error}, {grown:?}");
        return Fate::Revealed;
    }
    let entries = reader.entries(&Filter::default()).map(|entry| entry.unwrap().this_hash.to_string());
    let found: Vec<_> = entries.collect();
    for (seq, hash) in promises.entries().filter(|(seq, _)| *seq < size) {
        assert_eq!(found[seq as usize], hash, "{circumstances}: entry {seq} is lost, and nothing shows it");
    }
    Fate::Whole
}

/// What a ledger says that was damaged, and not that the program does not know what to do.
fn assert_damage(error: &LedgerError, circumstances: &str) {
    let cause = match error {
        LedgerError::Failed { cause } => cause,
        other => other,
    };
    let codes =
        ["E_LEDGER_DAMAGED", "E_LEDGER_ENTRY", "E_LEDGER_FORMAT", "E_LEDGER_KEY", "E_LEDGER_UNPROTECTED"];
    assert!(codes.contains(&cause.code()), "{circumstances}: not a clear word about damage: {error:?}");
}
