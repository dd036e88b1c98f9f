//! What is kept elsewhere, or given to others: checkpoints, keys, proofs, a public log.

use std::path::Path;

use vantio_ledger::{Ledger, Published, Reader};

use super::{check::kept, no_entry};
use crate::{
    arguments::Prove,
    failure::Failure,
    present::{self, shown_path},
};

/// As text it is for a file, to be given to verify later.
pub fn checkpoint(ledger: &Ledger, json: bool) -> Result<(), Failure> {
    let note = ledger.checkpoint()?.ok_or_else(nothing_yet)?;
    if !json {
        return present::print(note.to_string());
    }
    let lines: Vec<&str> = note.text().lines().collect();
    present::print_json(serde_json::json!({
        "log": lines.first(), "entries": lines.get(1).and_then(|size| size.parse::<u64>().ok()),
        "root": lines.get(2), "checkpoint": note.to_string(),
    }))
}

pub fn nothing_yet() -> Failure {
    Failure::new("E_LEDGER_UNCOVERED", "the ledger has no entries yet")
        .help("the first governed run makes some")
}

/// The verifier key, as C2SP signed-note writes it.
pub fn key(reader: &Reader, json: bool) -> Result<(), Failure> {
    let key = reader.verifier_key()?.ok_or_else(|| {
        Failure::new("E_LEDGER_KEY", "the key of this ledger is not here")
            .help("it is made with the ledger; restore `ledger.key` beside `ledger.db` from a copy")
    })?;
    if json {
        return present::print_json(serde_json::json!({ "key": key.to_string(), "log": key.name() }));
    }
    present::print(format!("{key}\n"))
}

/// Prints a proof; it is a file for `verify --proof`.
pub fn prove(reader: &Reader, arguments: &Prove, json: bool) -> Result<(), Failure> {
    let (proof, mut told) = match (arguments.seq, arguments.since.as_deref()) {
        (Some(seq), _) if seq >= reader.size()? => return Err(no_entry(seq)),
        (Some(seq), _) => (reader.prove(seq)?.to_string(), serde_json::json!({ "seq": seq })),
        (None, Some(path)) => {
            let keys: Vec<_> = reader.verifier_key()?.into_iter().collect();
            let old = kept(path, &keys)?;
            let told = serde_json::json!({ "since": old.size() });
            (reader.prove_growth(&old)?.to_string(), told)
        }
        (None, None) => return Ok(()),
    };
    if !json {
        return present::print(proof);
    }
    told["proof"] = proof.into();
    present::print_json(told)
}

/// Writes the public log.
pub fn publish(reader: &Reader, folder: &Path, json: bool) -> Result<(), Failure> {
    let Published { head, files } = reader.publish(folder)?;
    if json {
        return present::print_json(serde_json::json!({
            "log": head.origin(), "entries": head.size(), "files": files,
        }));
    }
    present::print(format!(
        "published: {} in {} ({files} files written)\n",
        present::entries(head.size()),
        shown_path(folder)
    ))
}
