//! `vantio ledger verify`

use std::{fs, path::Path};

use vantio_ledger::{
    GrowthProof, LedgerError, Location, Proved, Reader, Signer, Terms, UnprovenError, Verified, VerifyError,
    note::{SignedNote, TreeHead, VerifierKey},
    to_serde, verify_proof,
};

use crate::{
    arguments::Verify,
    failure::Failure,
    present::{self, shown, shown_path},
};

/// Verifies the ledger here.
pub fn ledger(place: &Location, arguments: &Verify, json: bool) -> Result<(), Failure> {
    let reader = &Reader::open_at(place).map_err(unsound)?;
    let mut keys = keys(&arguments.key)?;
    if keys.is_empty() {
        keys.extend(reader.verifier_key()?);
    }
    let against = arguments.against.as_deref().map(|path| Ok::<_, Failure>((path, kept(path, &keys)?)));
    let against = against.transpose()?;
    let checkpoint = against.as_ref().map(|(_, head)| head.clone());
    let verified = reader.verify(&Terms { keys, checkpoint }).map_err(|error| unverified(&error))?;
    let [before, after] = reader.neighbours().map_err(unsound)?;
    if json {
        let mut told = to_json(&verified, against.as_ref().map(|(_, head)| head));
        told["continues"] = before.into();
        told["continued_by"] = after.into();
        return present::print_json(told);
    }
    let Verified { size, head, root, checkpoints, signed, seals } = verified;
    let mut lines = vec![format!("verified: {}\n", present::entries(size))];
    lines.push(match (checkpoints, signed) {
        (0, _) => "checkpoints: none yet\n".to_owned(),
        (_, 0) => format!("checkpoints: {checkpoints}, their signatures not verified without a key\n"),
        _ => format!("checkpoints: {checkpoints}, {signed} signed by the key\n"),
    });
    lines.push(format!("sealed anomaly records: {seals}\n"));
    lines.extend(against.map(|(path, kept)| {
        let path = shown_path(path);
        format!("contains the checkpoint of {path}: its first {}\n", present::entries(kept.size()))
    }));
    lines.extend(before.map(|key| format!("continues: {}\n", shown(&key))));
    lines.extend(after.map(|key| format!("closed, continued by: {}\n", shown(&key))));
    lines.push(format!("head: {head}\nroot: {root}\n"));
    present::print(lines.concat())
}

fn to_json(verified: &Verified, against: Option<&TreeHead>) -> serde_json::Value {
    serde_json::json!({
        "verified": true, "entries": verified.size, "head": verified.head.to_string(),
        "root": verified.root.to_string(), "checkpoints": verified.checkpoints, "signed": verified.signed,
        "seals": verified.seals, "against": against.map(TreeHead::size),
    })
}

/// What is no ledger any more is not as it was written, as one that says something else.
fn unsound(error: LedgerError) -> Failure {
    match error {
        LedgerError::Damaged { .. } | LedgerError::NotALedger { .. } | LedgerError::Unprotected { .. } => {
            Failure::unverified(error.code(), &error).help(error.help())
        }
        other => other.into(),
    }
}

fn unverified(error: &VerifyError) -> Failure {
    Failure::unverified(error.code(), format!("the ledger does not verify: {error}")).help(error.help())
}

/// Verifies a proof, with nothing but its file and keys.
pub fn proof(arguments: &Verify, json: bool) -> Result<(), Failure> {
    let keys = keys(&arguments.key)?;
    if keys.is_empty() {
        let message = "a proof says nothing without the key of its log";
        return Err(Failure::misuse("E_LEDGER_KEY", message)
            .help("add --key KEY, with what `vantio ledger key` printed where the log is"));
    }
    let path = arguments.proof.as_deref().unwrap_or(Path::new(""));
    let text = read(path)?;
    if text.starts_with("old ") {
        return growth(arguments, path, &text, &keys, json);
    }
    let parsed = text.parse().map_err(UnprovenError::from);
    let proved =
        parsed.and_then(|proof| verify_proof(&proof, &keys)).map_err(|error| unproven(path, &error))?;
    print_proved(&proved, json)
}

fn print_proved(proved: &Proved, json: bool) -> Result<(), Failure> {
    let Proved { entry, head, signers } = proved;
    if json {
        return present::print_json(serde_json::json!({
            "verified": true, "log": head.origin(), "entries": head.size(),
            "signers": signers.iter().map(signer_json).collect::<Vec<_>>(), "entry": to_serde(&entry.to_json()),
        }));
    }
    let verdict = entry.decision.map_or("-", |decision| decision.name());
    present::print(
        [
            format!("verified: entry {} of the {} of {}\n", entry.index, head.size(), shown(head.origin())),
            signed_by(signers),
            format!("time: {}\nrun: {}\nop: {}\nverdict: {verdict}\n", entry.time, entry.run_id, entry.op),
            format!("policy: {}\nasked: {}\n", entry.policy_hash, shown(&entry.shape.to_canonical())),
        ]
        .concat(),
    )
}

fn growth(
    arguments: &Verify,
    path: &Path,
    text: &str,
    keys: &[VerifierKey],
    json: bool,
) -> Result<(), Failure> {
    let Some(old) = arguments.against.as_deref() else {
        let message = "this proof says that a log continues the one of a checkpoint";
        return Err(
            Failure::misuse("E_LEDGER_CHECKPOINT", message).help("add --against FILE with that checkpoint")
        );
    };
    let old = kept(old, keys)?;
    let proof: Result<GrowthProof, UnprovenError> = text.parse();
    let verified =
        proof.and_then(|proof| proof.verify(&old, keys)).map_err(|error| unproven(path, &error))?;
    let (head, signers) = verified;
    if json {
        return present::print_json(serde_json::json!({
            "verified": true, "log": head.origin(), "entries": head.size(), "against": old.size(),
            "signers": signers.iter().map(signer_json).collect::<Vec<_>>(),
        }));
    }
    let text = format!(
        "verified: the {} entries of {} continue the {} known\n",
        head.size(),
        shown(head.origin()),
        old.size()
    );
    present::print(text + &signed_by(&signers))
}

fn signer_json(signer: &Signer) -> serde_json::Value {
    serde_json::json!({ "name": signer.name, "time": signer.time })
}

pub fn signed_by(signers: &[Signer]) -> String {
    let line = |signer: &Signer| {
        let time = signer.moment().map_or_else(String::new, |time| format!(" at {time}"));
        format!("signed by: {}{time}\n", shown(&signer.name))
    };
    signers.iter().map(line).collect()
}

fn unproven(path: &Path, error: &UnprovenError) -> Failure {
    let message = format!("`{}` does not verify: {error}", shown_path(path));
    Failure::unverified(error.code(), message).help(error.help())
}

/// The tree of a checkpoint that was kept; its signature is verified where there is a key.
pub fn kept(path: &Path, keys: &[VerifierKey]) -> Result<TreeHead, Failure> {
    let wrong = |cause: String| {
        let message = format!("`{}` is not a checkpoint of this log", shown_path(path));
        Failure::misuse("E_LEDGER_CHECKPOINT", message)
            .because(cause)
            .help("`vantio ledger checkpoint > FILE` writes one; keep its lines as they are")
    };
    let note: SignedNote = read(path)?.parse().map_err(|error| wrong(format!("{error}")))?;
    if !keys.is_empty() {
        note.verify(keys).map_err(|error| wrong(error.to_string()))?;
    }
    note.text().parse().map_err(|error| wrong(format!("{error}")))
}

/// Verifier keys as they are typed.
pub fn keys(texts: &[String]) -> Result<Vec<VerifierKey>, Failure> {
    texts.iter().map(|text| key(text)).collect()
}

/// The log's verifier key as it is typed.
fn key(text: &str) -> Result<VerifierKey, Failure> {
    parsed(text).map_err(|failure| failure.help("give the line that `vantio ledger key` prints"))
}

/// Any verifier key as it is typed.
pub fn parsed(text: &str) -> Result<VerifierKey, Failure> {
    text.trim().parse().map_err(|error: vantio_ledger::note::KeyError| {
        Failure::misuse("E_LEDGER_KEY", format!("`{}` is not a key", shown(text))).because(error)
    })
}

pub fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|cause| {
        let message = format!("`{}` cannot be read", shown_path(path));
        Failure::misuse("E_INPUT", message).because(cause).help("give the path of a text file")
    })
}
