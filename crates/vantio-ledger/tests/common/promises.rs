//! What a ledger acknowledged, and so must keep whatever happens to the process or the disk.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    process,
};

use vantio_core::json::Value;
use vantio_ledger::{
    Draft, Filter, Ledger, LedgerError, Options, Reader, Recorded, Terms, Verified, note::TreeHead,
};

use super::{open, refusal, run};

/// Entries and checkpoints that were acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// Hash and response of entries, by sequence number.
    entries: BTreeMap<u64, (String, String)>,
    /// Responses of entries that were given before an acknowledged one, and not waited for.
    before: BTreeSet<String>,
    /// The checkpoints.
    heads: Vec<TreeHead>,
}

impl Promises {
    /// Takes in a line of [`write`]; one that was cut, because its writer was killed, promises nothing.
    ///
    /// # Panics
    /// When two entries were given the same place.
    pub fn take(&mut self, line: &str) {
        let Some(line) = line.strip_suffix(";\n") else { return };
        if let Some(head) = line.strip_prefix("checkpoint ") {
            self.heads.push(head.replace('\t', "\n").parse().expect("a checkpoint is one"));
        } else if let Some(response) = line.strip_prefix("before ") {
            self.before.insert(response.into());
        } else if let Some(entry) = line.strip_prefix("entry ") {
            let (seq, rest) = entry.split_once(' ').unwrap();
            let (hash, response) = rest.split_once(' ').unwrap();
            let taken = self.entries.insert(seq.parse().unwrap(), (hash.into(), response.into()));
            assert_eq!(taken, None, "two entries were given the place {seq}");
        }
    }

    /// All of two.
    pub fn extend(&mut self, other: Self) {
        for (seq, entry) in other.entries {
            let taken = self.entries.insert(seq, entry);
            assert_eq!(taken, None, "two entries were given the place {seq}");
        }
        self.before.extend(other.before);
        self.heads.extend(other.heads);
    }

    /// The newest of the checkpoints.
    pub fn checkpoint(&self) -> Option<TreeHead> {
        self.heads.iter().max_by_key(|head| head.size()).cloned()
    }

    /// Hashes of entries, by sequence number.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &str)> {
        self.entries.iter().map(|(seq, (hash, _))| (*seq, hash.as_str()))
    }

    /// How many entries and checkpoints there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.heads.len())
    }

    /// Opens the ledger at `path` as the next process would, appends, and asserts that all of it
    /// verifies with its own key, and that every promise is kept.
    pub fn assert_kept(&self, path: &Path, circumstances: &str) {
        // Whoever opens it first recovers it: a writer, or a reader.
        if self.entries.len().is_multiple_of(2) && path.exists() {
            let reader = Reader::open(path);
            let reader =
                reader.unwrap_or_else(|error| panic!("{circumstances}: it cannot be read: {error:?}"));
            self.verify(&reader, circumstances);
        }
        let ledger = Ledger::open(path);
        let ledger = ledger.unwrap_or_else(|error| panic!("{circumstances}: it does not open: {error:?}"));
        let appended = ledger.append(open(0));
        appended.unwrap_or_else(|error| panic!("{circumstances}: it accepts no entry: {error:?}"));
        let reader = ledger.reader().unwrap();
        let verified = self.verify(&reader, circumstances);
        assert!(verified.size > self.entries.last_key_value().map_or(0, |(seq, _)| *seq), "{circumstances}");
        let entries: Vec<_> = reader.entries(&Filter::default()).map(Result::unwrap).collect();
        for (seq, (hash, response)) in &self.entries {
            let entry = &entries[usize::try_from(*seq).unwrap()];
            let found = (entry.seq, &entry.this_hash.to_string(), entry.response());
            assert_eq!(found, (*seq, hash, &Value::from(response.as_str())), "{circumstances}");
        }
        let responses: HashSet<_> = entries.iter().filter_map(|entry| entry.response().as_text()).collect();
        let lost = self.before.iter().find(|response| !responses.contains(response.as_str()));
        assert_eq!(lost, None, "{circumstances}: what was given before an acknowledged entry is lost");
        assert!(reader.verifier_key().unwrap().is_some(), "{circumstances}: its key is lost");
        for head in &self.heads {
            let kept = reader.checkpoint_of(head.size()).unwrap();
            let kept = kept.map(|note| note.text().parse::<TreeHead>().unwrap());
            assert_eq!(kept.as_ref(), Some(head), "{circumstances}: a checkpoint is lost");
        }
    }

    fn verify(&self, reader: &Reader, circumstances: &str) -> Verified {
        let keys = reader.verifier_key().unwrap().into_iter().collect();
        let verified = reader.verify(&Terms { keys, checkpoint: self.checkpoint() });
        verified.unwrap_or_else(|error| panic!("{circumstances}: {error:?}"))
    }
}

/// Appends to the ledger at `path` from so many threads, so many times each, and tells each
/// acknowledgement as a line, which ends where another was cut. Returns why it was refused to, for each thread that was.
///
/// # Panics
/// When the ledger accepts entries after it has failed.
pub fn write(path: &Path, threads: u32, times: u32, tell: impl Fn(&str) + Sync) -> Vec<LedgerError> {
    // So that checkpoints are made behind the writers' backs too.
    let ledger = match Ledger::open_with(path, Options { checkpoint_entries: 100, ..Options::default() }) {
        Ok(ledger) => ledger,
        Err(error) => return vec![error],
    };
    let write = |number| (0..times).try_for_each(|count| write_once(&ledger, number, count, &tell));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..threads).map(|number| scope.spawn(move || write(number).err())).collect();
        writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
    })
}

fn write_once(ledger: &Ledger, number: u32, count: u32, tell: &impl Fn(&str)) -> Result<(), LedgerError> {
    let draft = if count % 4 == 3 { refusal(count) } else { open(count) };
    let response = format!("{} {number} {count}", process::id());
    let unwaited = format!("unwaited {response}");
    let draft_before = Draft { run_id: run(2), response: Value::from(unwaited.as_str()), ..draft.clone() };
    let recorded = ledger.record(draft_before);
    let appended = ledger.append(Draft { response: Value::from(response.as_str()), ..draft });
    let has_failed = recorded.is_err();
    assert!(!has_failed || appended.is_err(), "an entry was accepted after another was refused");
    let receipt = appended.inspect_err(|_| {
        let again = ledger.append(open(count)).map_err(|error| error.code());
        assert_eq!(again, Err("E_LEDGER_FAILED"), "an entry was accepted after another was refused");
    })?;
    tell(&format!("\nentry {} {} {response};\n", receipt.seq, receipt.this_hash));
    if recorded? == Recorded::Queued {
        tell(&format!("\nbefore {unwaited};\n"));
    }
    if count % 8 == 2 {
        let note = ledger.checkpoint()?.expect("a ledger with entries has a checkpoint");
        tell(&format!("\ncheckpoint {};\n", note.text().replace('\n', "\t")));
    }
    Ok(())
}
