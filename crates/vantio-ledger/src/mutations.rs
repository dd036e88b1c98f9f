//! Ten thousand entries, changed in twenty thousand ways: each is found, and the first bad entry named.
//!
//! Up to the first change a walk is the walk over the log as it was. So each begins at the nearest
//! place before it where that walk was remembered.

use std::{collections::HashMap, sync::Arc};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use vantio_core::{Decision, Hash, RunId, Syscall, json::Value};
use vantio_identity::{Svid, TrustDomain};

use crate::{
    AgentSvid, Anomaly, Draft, Filter, Ledger, Seal, Terms, VerifyError,
    entry::Line,
    export,
    note::TreeHead,
    tree::{Builder, FullTile, TILE_WIDTH, Tile, leaf_hash},
    verify::Audit,
};

const ENTRIES: usize = 10_000;
const MUTATIONS: usize = 20_000;
/// How many entries lie between two places where the walk is remembered.
const STRIDE: usize = 64;

struct Key(Svid);

impl Seal for Key {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// A log with everything that a verifier may have kept of it.
struct Log {
    lines: Vec<Vec<u8>>,
    walks: Vec<Audit>,
    tiles: HashMap<Tile, Vec<Hash>>,
}

impl Log {
    fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::open(&folder.path().join("identity"), "vantio.local").unwrap();
        let run_id = RunId::new(1_700_000_000_000, [7; 10]);
        let key = Arc::new(Key(domain.issue("a", run_id).unwrap()));
        let svid = AgentSvid::new(key.0.spiffe_id().as_str(), key.0.certificate());
        let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
        for number in 0..ENTRIES as u32 {
            let is_refused = number % 50 == 49;
            let seal: Arc<dyn Seal> = Arc::clone(&key) as _;
            let anomaly =
                Anomaly { agent_svid: svid.clone(), syscall: Syscall::default(), seal, proof: Vec::new() };
            let draft = Draft {
                run_id,
                pid: 7,
                op: "fs.open".into(),
                request: Value::object(
                    [("path", format!("/work/{number}"))].map(|(key, path)| (key, path.into())),
                ),
                response: Value::Bool(!is_refused),
                keeps_detail: true,
                policy_hash: Hash::of(b"policy"),
                decision: Some(if is_refused { Decision::Collapse } else { Decision::Permit }),
                anomaly: is_refused.then_some(anomaly),
            };
            while ledger.record(draft.clone()).unwrap() == crate::Recorded::Dropped {}
        }
        let head: TreeHead = ledger.checkpoint().unwrap().unwrap().text().parse().unwrap();
        let entries = ledger.reader().unwrap();
        let lines = entries.entries(&Filter::default()).filter(|entry| {
            // What had no room was tried again, so that only the count of it is too much.
            entry.as_ref().is_ok_and(|entry| entry.op == "fs.open")
        });
        let lines: Vec<_> = lines.map(|entry| (entry.unwrap().to_line() + "\n").into_bytes()).collect();
        assert_eq!((lines.len(), head.size()), (ENTRIES, ENTRIES as u64), "nothing was dropped");
        Self::remember(lines, head)
    }

    fn remember(lines: Vec<Vec<u8>>, head: TreeHead) -> Self {
        let terms = Terms { keys: Vec::new(), checkpoint: Some(head) };
        let mut audit = Audit::new(Vec::new(), &terms);
        let (mut walks, mut tiles, mut tree) = (Vec::new(), HashMap::new(), Builder::new());
        for (seq, line) in lines.iter().enumerate() {
            if seq % STRIDE == 0 {
                walks.push(audit.clone());
            }
            audit.step(|chain, seals| export::step(chain, seals, line), |_| None).unwrap();
            let leaf = leaf_hash(text(line).as_bytes());
            tree.push(leaf, |full| drop(tiles.insert(full.tile, full.hashes.to_vec())));
        }
        assert_eq!(audit.finish().unwrap().size, ENTRIES as u64);
        Self { lines, walks, tiles }
    }

    /// The line at `seq`, where there is one.
    fn next(&self, seq: usize) -> &[Vec<u8>] {
        &self.lines[seq.min(ENTRIES)..(seq + 1).min(ENTRIES)]
    }

    /// Verifies the log whose lines from `first` on are `changed`, or begin earlier.
    fn verify(&self, first: usize, changed: &[Vec<u8>]) -> VerifyError {
        let place = (first / STRIDE).min(self.walks.len() - 1);
        let before = &self.lines[place * STRIDE..first];
        let text = [before.concat(), changed.concat()].concat();
        let fault = |full: &FullTile<'_>| self.tile_fault(full);
        export::walk(&mut text.as_slice(), self.walks[place].clone(), fault).expect_err("it verifies")
    }

    fn tile_fault(&self, full: &FullTile<'_>) -> Option<VerifyError> {
        let known = self.tiles.get(&full.tile)?;
        let same = known.iter().zip(full.hashes).take_while(|(known, found)| known == found).count();
        let seq = full.tile.index() * u64::from(TILE_WIDTH) + same as u64;
        (same < known.len()).then(|| VerifyError::Tile { seq, tile: full.tile.to_string() })
    }

    /// The lines from `first` on, of which the first says something else, linked and hashed anew.
    fn forked(&self, first: usize) -> Vec<Vec<u8>> {
        let mut prev_hash = None;
        let relink = |line: &Vec<u8>| {
            let mut text = text(line);
            if let Some(hash) = prev_hash {
                let at = text.find("\"prev_hash\":\"").unwrap() + 13;
                text.replace_range(at..at + 64, &format!("{hash}"));
            } else {
                text = text.replacen("\"pid\":7", "\"pid\":8", 1);
            }
            let at = text.find("\"prev_hash\":\"").unwrap() + 13;
            let before: Hash = text[at..at + 64].parse().unwrap();
            let hash = Hash::of_parts(&[&before.0, text.as_bytes()]);
            prev_hash = Some(hash);
            (text.replacen(",\"time\":", &format!(",\"this_hash\":\"{hash}\",\"time\":"), 1) + "\n")
                .into_bytes()
        };
        self.lines[first..].iter().map(relink).collect()
    }
}

fn text(line: &[u8]) -> String {
    Line::scan(str::from_utf8(line).unwrap().trim_end()).unwrap().text
}

#[test]
fn every_change_is_found_and_the_first_bad_entry_named() {
    let log = Log::write();
    let mut runner = TestRunner::default();
    let mut draw = |below: usize| (0..below).new_tree(&mut runner).unwrap().current();
    for number in 0..MUTATIONS {
        let seq = draw(ENTRIES);
        let (kind, wanted, error) = match number % 100 {
            0..80 => {
                let mut line = log.lines[seq].clone();
                let place = draw(line.len());
                line[place] ^= 1 + draw(255) as u8;
                // The byte may have been the line feed before the next entry.
                let after = log.next(seq + 1);
                ("a changed byte", seq, log.verify(seq, &[&[line], after].concat()))
            }
            80..86 => ("a removal", seq, log.verify(seq, log.next(seq + 1))),
            86..92 => {
                let other = draw(ENTRIES);
                let (first, last) = (seq.min(other), seq.max(other).max(seq.min(other) + 1));
                if last == ENTRIES {
                    continue;
                }
                ("a swap", first, log.verify(first, &[log.lines[last].clone()]))
            }
            92..96 => {
                let twice = [log.lines[seq].clone(), log.lines[seq].clone()];
                ("a duplicate", seq + 1, log.verify(seq, &twice))
            }
            96..99 => ("a cut tail", seq, log.verify(seq, &[])),
            _ => {
                // Behind the last full tile only the checkpoint knows, which covers all.
                let is_in_tile = seq < ENTRIES - ENTRIES % usize::from(TILE_WIDTH);
                let wanted = if is_in_tile { seq } else { ENTRIES - 1 };
                ("a fork", wanted, log.verify(seq, &log.forked(seq)))
            }
        };
        assert_eq!(error.seq(), Some(wanted as u64), "{kind} at {seq}: {error}");
    }
}
