//! `vantio ledger witness`: others who remember how far the ledger went, and say so with their
//! signature (C2SP tlog-witness).

use std::{fs, io, path::PathBuf, time::Duration};

use vantio_ledger::{
    Ledger, Reader, Timestamp,
    note::{Algorithm, Signature, SignedNote, TreeHead, VerifierKey},
};

use super::{check::parsed, keep};
use crate::{
    arguments::Witness,
    failure::Failure,
    output,
    present::{self, shown, shown_path},
    store::{Store, open_ledger},
};

pub fn witness(store: &Store, command: &Witness, json: bool) -> Result<(), Failure> {
    match command {
        Witness::Add { url, key } => add(store, url, key),
        Witness::List => list(store, json),
        Witness::Ask => ask(store, json),
    }
}

/// A witness that this ledger asks.
struct Known {
    url: String,
    key: VerifierKey,
}

fn add(store: &Store, url: &str, text: &str) -> Result<(), Failure> {
    let asked = "ask the witness for its verifier key: the line NAME+ID+KEY of cosignature/v1";
    let key = parsed(text).map_err(|failure| failure.help(asked))?;
    if key.algorithm() != Algorithm::CosignatureV1 {
        return Err(
            Failure::misuse("E_LEDGER_KEY", "this key signs notes, it is not a witness's").help(asked)
        );
    }
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    if !is_url || url.contains(char::is_whitespace) {
        let message = format!("`{}` is not the address of a witness", shown(url));
        return Err(Failure::misuse("E_WITNESS", message).help("it begins with https:// or http://"));
    }
    let name = key.name().to_owned();
    let mut known = known(store)?;
    known.retain(|witness| witness.key.name() != key.name());
    known.push(Known { url: url.trim_end_matches('/').to_owned(), key });
    write(store, &known)?;
    present::print(format!("{} will be asked by `vantio ledger witness ask`\n", shown(&name)))
}

fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let known = known(store)?;
    if json {
        let witnesses = known.iter().map(|witness| {
            serde_json::json!({ "url": witness.url, "key": witness.key.to_string(), "name": witness.key.name() })
        });
        return present::print_json(serde_json::json!({ "witnesses": witnesses.collect::<Vec<_>>() }));
    }
    let lines = known.iter().map(|witness| format!("{}  {}\n", shown(&witness.url), witness.key));
    present::print(lines.collect::<String>())
}

/// Makes a checkpoint and asks every witness to sign it. What one does not sign is no reason not to
/// ask the next.
fn ask(store: &Store, json: bool) -> Result<(), Failure> {
    let known = known(store)?;
    if known.is_empty() {
        return Err(Failure::misuse("E_WITNESS", "there is no witness to ask")
            .help("`vantio ledger witness add URL KEY` names one"));
    }
    let reader = Reader::open_at(&store.ledger())?;
    let ledger = open_ledger(store)?;
    let note = ledger.checkpoint()?.ok_or_else(keep::nothing_yet)?;
    let head: TreeHead = note.text().parse().map_err(|error| Failure::new("E_LEDGER_CHECKPOINT", error))?;
    let mut answers = Vec::new();
    for witness in &known {
        let answer = cosigned(&reader, &ledger, witness, &note, &head);
        answers.push((witness, answer));
    }
    report(&answers, &head, json)
}

fn report(answers: &[(&Known, Result<u64, String>)], head: &TreeHead, json: bool) -> Result<(), Failure> {
    if json {
        let witnesses = answers.iter().map(|(witness, answer)| {
            serde_json::json!({ "name": witness.key.name(), "time": answer.as_ref().ok(), "error": answer.as_ref().err() })
        });
        let witnesses: Vec<_> = witnesses.collect();
        present::print_json(serde_json::json!({ "entries": head.size(), "witnesses": witnesses }))?;
    } else {
        let lines = answers.iter().filter_map(|(witness, answer)| {
            let time = Timestamp::from_second(answer.as_ref().ok()?.cast_signed()).ok()?;
            Some(format!(
                "{} has signed that there are {} entries, at {time}\n",
                witness.key.name(),
                head.size()
            ))
        });
        present::print(lines.collect::<String>())?;
    }
    let failed: Vec<String> = answers
        .iter()
        .filter_map(|(witness, answer)| {
            Some(format!("{}: {}", shown(witness.key.name()), answer.as_ref().err()?))
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new("E_WITNESS", format!("{} of {} witnesses did not sign", failed.len(), answers.len()))
        .because(failed.join("; "))
        .help("ask again later; a witness that refuses a proof has seen another log under this name"))
}

/// Has one witness sign the checkpoint, and keeps what it signed. Returns the witness's time.
fn cosigned(
    reader: &Reader,
    ledger: &Ledger,
    witness: &Known,
    note: &SignedNote,
    head: &TreeHead,
) -> Result<u64, String> {
    let mut old = 0;
    // Whoever asks with the wrong size is told the right one.
    for _ in 0..2 {
        let proof = reader.prove_growth_from(old).map_err(|error| error.to_string())?;
        match post(&witness.url, &proof.to_string())? {
            Answer::Signatures(lines) => {
                let (signature, time) = signature_of(witness, note, &lines)?;
                ledger.cosign(head.size(), &signature).map_err(|error| error.to_string())?;
                return Ok(time);
            }
            Answer::Knows(size) if size <= head.size() => old = size,
            Answer::Knows(size) => {
                return Err(format!("it has seen {size} entries, here are {}", head.size()));
            }
        }
    }
    Err("it names another size each time".to_owned())
}

/// The witness's own signature among those of its answer, verified.
fn signature_of(witness: &Known, note: &SignedNote, lines: &str) -> Result<(Signature, u64), String> {
    for line in lines.split_inclusive('\n') {
        let Ok(signature) = line.parse::<Signature>() else { continue };
        if !signature.claims(&witness.key) {
            continue;
        }
        let mut signed = SignedNote::new(note.text()).map_err(|error| error.to_string())?;
        signed.add(signature.clone()).map_err(|error| error.to_string())?;
        let keys = std::slice::from_ref(&witness.key);
        let verified = signed.verify(keys).map_err(|error| format!("its answer does not verify: {error}"))?;
        let time = verified.first().and_then(|verified| verified.time);
        return Ok((signature, time.ok_or("its signature has no time")?));
    }
    Err("its answer has no signature of the key that it was added with".to_owned())
}

enum Answer {
    /// Lines of signatures.
    Signatures(String),
    /// The size up to which the witness has seen the log.
    Knows(u64),
}

fn post(url: &str, body: &str) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let sent = agent.post(format!("{url}/add-checkpoint")).content_type("text/plain").send(body);
    let mut answer = sent.map_err(|error| format!("it cannot be reached: {error}"))?;
    let (status, is_size) = (
        answer.status().as_u16(),
        answer.headers().get("content-type").is_some_and(|kind| kind == "text/x.tlog.size"),
    );
    let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
    let text = text.map_err(|error| format!("its answer cannot be read: {error}"))?;
    match status {
        200 => Ok(Answer::Signatures(text)),
        409 if is_size => text
            .trim()
            .parse()
            .map(Answer::Knows)
            .map_err(|_| "it answers with a size that is none".to_owned()),
        403 => Err("it does not accept the key of this ledger".to_owned()),
        404 => Err("it does not know this ledger".to_owned()),
        409 => Err("it has seen another tree of this size".to_owned()),
        422 => Err("it refuses the proof: it has seen another log under this name".to_owned()),
        _ => Err(format!("it answers with status {status}")),
    }
}

fn file(store: &Store) -> PathBuf {
    store.witnesses()
}

fn known(store: &Store) -> Result<Vec<Known>, Failure> {
    let path = file(store);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|cause| unusable(store).because(cause))?,
    };
    let parse = |line: &str| {
        let (url, text) = line.split_once(' ')?;
        Some(Known { url: url.to_owned(), key: text.parse().ok()? })
    };
    text.lines()
        .map(|line| parse(line).ok_or_else(|| unusable(store).because("a line is not URL KEY")))
        .collect()
}

fn write(store: &Store, known: &[Known]) -> Result<(), Failure> {
    let lines: Vec<_> = known.iter().map(|witness| format!("{} {}\n", witness.url, witness.key)).collect();
    let written = output::replace(&file(store), |file| file.write_all(lines.concat().as_bytes()));
    written.map_err(|cause: io::Error| unusable(store).because(cause))
}

fn unusable(store: &Store) -> Failure {
    let message = format!("`{}` cannot be used", shown_path(&file(store)));
    Failure::new("E_STATE_FOLDER", message).help("`vantio ledger witness add URL KEY` writes it")
}

/// How long a witness may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// No witness has more to say (bytes).
const MAX_ANSWER: u64 = 64 << 10;
