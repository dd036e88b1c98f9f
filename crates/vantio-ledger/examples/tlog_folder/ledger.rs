//! A ledger, growing.

use std::{error::Error, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use vantio_core::{Decision, Hash, RunId, json::Value as Field};
use vantio_ledger::{Draft, Ledger, Reader, note::TreeHead};

use crate::tree::{picked, texts};

/// One entry, a full tile, and what a run leaves.
const SIZES: [u64; 5] = [1, 256, 257, 1000, 1300];

/// Writes the log as a reader of the ledger publishes and proves it.
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir(folder)?;
    let state = tempfile::tempdir()?;
    let ledger = Ledger::open(&state.path().join("ledger.db"))?;
    let mut heads: Vec<TreeHead> = Vec::new();
    for size in SIZES {
        let appended = heads.last().map_or(0, TreeHead::size);
        let pending: Result<Vec<_>, _> = (appended..size).map(|seq| ledger.submit(draft(seq))).collect();
        for entry in pending? {
            entry.wait()?;
        }
        ledger.checkpoint()?.ok_or("no checkpoint was made")?;
        let reader = ledger.reader()?;
        heads.push(reader.publish(&folder.join(size.to_string()))?.head);
        fs::write(folder.join(format!("{size}.json")), proofs(&reader, &heads)?.to_string())?;
        for seq in [0, size - 1] {
            fs::write(folder.join(format!("{size}-{seq}.tlog-proof")), reader.prove(seq)?.to_string())?;
        }
        let key = reader.verifier_key()?.ok_or("the ledger has no key")?;
        fs::write(folder.join("key"), format!("{key}\n"))?;
    }
    Ok(())
}

/// The opening of a file.
fn draft(seq: u64) -> Draft {
    Draft {
        run_id: RunId::new(1_700_000_000_000, [7; 10]),
        pid: 12,
        op: "fs.open".into(),
        request: Field::object([("path", Field::from(format!("/home/alice/{seq}/notes.txt")))]),
        response: Field::object([("rule", Field::from("fs.read: /home/alice/**"))]),
        keeps_detail: true,
        policy_hash: Hash::of(b"a policy program"),
        decision: Some(Decision::Permit),
        anomaly: None,
    }
}

fn proofs(reader: &Reader, heads: &[TreeHead]) -> Result<Value, Box<dyn Error>> {
    let mut inclusions = Vec::new();
    for seq in picked(heads.last().map_or(0, TreeHead::size)) {
        inclusions.push(json!({ "index": seq, "hashes": texts(&reader.prove(seq)?.hashes) }));
    }
    let mut consistencies = Vec::new();
    for old in heads {
        let (hashes, root) = (texts(&reader.prove_growth(old)?.hashes), STANDARD.encode(old.root().0));
        consistencies.push(json!({ "old": old.size(), "old_root": root, "hashes": hashes }));
    }
    Ok(json!({ "inclusion": inclusions, "consistency": consistencies }))
}
