//! A disk says that it has what it will lose. Nothing helps then; but it is found out.

use faulty_disk::{Cut, Fault, Random};
use vantio_ledger::{Filter, Ledger, LedgerError, Reader, Terms, note::VerifierKey};

use crate::{
    common::{harness::Outcome, open, promises::Promises},
    world::{self, LEDGER, NOTES, World, memory, spoil_index, take_all},
};

/// How many disks lie, and how many images are made of each.
const DISKS: u64 = 12;
const IMAGES: u64 = 15;

/// What became of the ledgers.
#[derive(Default)]
struct Seen {
    /// It does not open, or does not go on.
    refused: u32,
    /// The checkpoint that was kept elsewhere shows it.
    revealed: u32,
    /// All that the checkpoint covers is there.
    whole: u32,
}

pub fn test() -> Outcome {
    if let Some(skipped) = world::unavailable() {
        return skipped;
    }
    let seed = world::seed();
    let mut random = Random::new(seed);
    let mut seen = Seen::default();
    for disk in 0..DISKS * world::share() / 100 {
        let world = World::new();
        // It tells the truth at first, but for one.
        let truths = if disk == 0 { 0 } else { random.below(150) };
        world.disk.inject(Fault::Lie, truths, u64::MAX);
        assert_eq!(world.refusals(2, 50), [""; 0]);
        let key = Reader::open(&world.backing_ledger()).unwrap().verifier_key().unwrap().unwrap();
        let record = world.disk.record();
        let mut places: Vec<_> =
            (0..IMAGES).map(|_| random.below(record.changes.len() as u64 + 1) as usize).collect();
        places.sort_unstable();
        let mut cut = Cut::new(&record, random.next());
        for place in places {
            cut.advance(place);
            let image = memory().unwrap();
            cut.write_image(image.path(), 4096).unwrap();
            spoil_index(image.path(), &mut random);
            let mut promises = Promises::default();
            take_all(&mut promises, &cut.content(NOTES));
            println!("lie after {truths}, change {place}, seed {seed}");
            seen.examine(&image.path().join(LEDGER), &promises, &key);
        }
    }
    let Seen { refused, revealed, whole } = seen;
    assert!(revealed > 0 && whole > 0, "{revealed} were revealed, {whole} whole: nothing was tried");
    Outcome::Passed(format!(
        "of {} ledgers {refused} were refused as damaged, {revealed} revealed by a checkpoint kept elsewhere, \
         {whole} whole up to it; seed {seed}",
        refused + revealed + whole
    ))
}

impl Seen {
    fn examine(&mut self, path: &std::path::Path, promises: &Promises, key: &VerifierKey) {
        let terms = Terms { keys: vec![key.clone()], checkpoint: promises.checkpoint() };
        let ledger = match Ledger::open(path).and_then(|ledger| ledger.append(open(0)).map(|_| ledger)) {
            Ok(ledger) => ledger,
            Err(error) => {
                assert_damage(&error);
                self.refused += 1;
                return;
            }
        };
        let reader = ledger.reader().unwrap();
        match reader.verify(&terms) {
            Err(error) => {
                self.revealed += 1;
                // It stays so, however long the ledger gets.
                let size = terms.checkpoint.as_ref().map_or(0, |head| head.size());
                for number in 0..size {
                    ledger.record(open(number as u32)).unwrap();
                }
                let _ = ledger.flush();
                let later = reader.verify(&terms);
                assert!(later.is_err(), "what was lost is forgotten: {error}, then {later:?}");
            }
            Ok(_) => {
                self.whole += 1;
                let covered = terms.checkpoint.map_or(0, |head| head.size());
                let found: Vec<_> = reader
                    .entries(&Filter::default())
                    .map(|entry| entry.unwrap().this_hash.to_string())
                    .collect();
                for (seq, hash) in promises.entries().filter(|(seq, _)| *seq < covered) {
                    assert_eq!(found[seq as usize], hash, "entry {seq} is lost, and nothing shows it");
                }
            }
        }
    }
}

/// What a ledger says that was damaged, and not that the program does not know what to do.
fn assert_damage(error: &LedgerError) {
    let cause = match error {
        LedgerError::Failed { cause } => cause,
        other => other,
    };
    let codes =
        ["E_LEDGER_DAMAGED", "E_LEDGER_ENTRY", "E_LEDGER_FORMAT", "E_LEDGER_KEY", "E_LEDGER_UNPROTECTED"];
    assert!(codes.contains(&cause.code()), "not a clear word about damage: {error:?}");
}
