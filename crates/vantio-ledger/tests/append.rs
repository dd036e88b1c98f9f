//! Appending and reading back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use common::{agent, filled, open, place, refusal, run, verify};
use vantio_core::{Decision, Hash, Syscall, json::Value};
use vantio_ledger::{
    AgentSvid, Anomaly, Detail, Draft, Entry, Filter, Ledger, LedgerError, Options, ProofState, Reader,
    Recorded, Terms,
};

fn all(path: &std::path::Path) -> Vec<Entry> {
    Reader::open(path).unwrap().entries(&Filter::default()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn an_entry_reads_back_as_it_was_given() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let receipt = ledger.append(open(5)).unwrap();
    let entry = ledger.reader().unwrap().entry(0).unwrap().unwrap();
    let draft = open(5);
    let detail = entry.detail.clone().unwrap();
    let salted = |text: &str| Hash::of_parts(&[&detail.salt, text.as_bytes()]);
    let expected = Entry {
        index: 0,
        seq: 0,
        writer: None,
        time: entry.time,
        run_id: draft.run_id,
        pid: 7,
        op: "fs.open".into(),
        req_hash: salted("{\"n\":5,\"path\":\"/work/5\"}"),
        res_hash: salted("true"),
        policy_hash: draft.policy_hash,
        prev_hash: Hash::ZERO,
        this_hash: receipt.this_hash,
        shape: Value::object([("n", Value::Integer(5)), ("path", "path(depth=2,length=7)".into())]),
        decision: Some(Decision::Permit),
        anomaly: None,
        detail: Some(Detail { request: draft.request, response: draft.response, salt: detail.salt }),
    };
    assert_eq!(entry, expected);
    assert_eq!((receipt.seq, receipt.record_id), (0, None));
    assert_eq!(ledger.reader().unwrap().entry(1).unwrap(), None);
}

#[test]
fn an_entry_and_the_checkpoint_of_it_come_together() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.record(open(0)).unwrap(), Recorded::Queued);
    let receipt = ledger.append_with_checkpoint(open(1)).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!((receipt.seq, reader.size().unwrap()), (1, 2));
    let (note, head) = reader.newest_head().unwrap().unwrap();
    let keys = vec![reader.verifier_key().unwrap().unwrap()];
    assert_eq!((head.size(), note.verify(&keys).unwrap().len()), (2, 1));
    assert_eq!(reader.verify(&Terms { keys, checkpoint: None }).unwrap().signed, 1);
    ledger.tidy().unwrap();
    assert_eq!(ledger.append(open(2)).unwrap().seq, 2, "a tidy ledger goes on");
}

#[test]
fn the_tree_that_is_made_ahead_of_a_checkpoint_is_that_of_all_entries_whoever_wrote_them() {
    let (_folder, path) = place();
    // Past the borders of several tiles, at another distance from them each time.
    for round in 0..40 {
        let ledger = Ledger::open(&path).unwrap();
        ledger.append(open(round)).unwrap();
        let other = Ledger::open(&path).unwrap();
        for number in 0..round {
            let writer = if number % 3 == 0 { &other } else { &ledger };
            writer.append(open(number)).unwrap();
        }
        ledger.append_with_checkpoint(open(round)).unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    let keys = vec![reader.verifier_key().unwrap().unwrap()];
    let verified = reader.verify(&Terms { keys, checkpoint: None }).unwrap();
    assert_eq!((verified.signed, verified.checkpoints), (40, 40));
}

#[test]
fn the_hash_is_that_of_the_previous_hash_and_the_canonical_text_without_it() {
    let (_folder, path) = place();
    filled(&path, 2);
    let entries = all(&path);
    let Value::Object(mut members) = entries[1].to_json() else { panic!("an entry is an object") };
    for beside in ["this_hash", "detail"] {
        members.remove(&vantio_core::json::Key(beside.into()));
    }
    let canonical = Value::Object(members).to_canonical();
    assert_eq!(entries[1].prev_hash, entries[0].this_hash);
    assert_eq!(entries[1].this_hash, Hash::of_parts(&[&entries[0].this_hash.0, canonical.as_bytes()]));
}

#[test]
fn an_anomaly_has_every_field_of_the_record() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let error = (Options::default().clock_error)();
    let receipts: Vec<_> = (0..3).map(|number| ledger.append(refusal(number)).unwrap()).collect();
    let records: Vec<_> = all(&path).into_iter().map(|entry| (entry.time, entry.anomaly.unwrap())).collect();
    for (index, (time, record)) in records.iter().enumerate() {
        assert_eq!(Some(record.record_id), receipts[index].record_id);
        assert_eq!(record.agent_svid, agent().svid());
        let arguments = [3, u64::MAX, 16, 0, 0, index as u64];
        assert_eq!(record.syscall(), Syscall { number: 42, arguments });
        assert_eq!(record.oracle_decision, Decision::Collapse);
        assert_eq!((record.zk_proof.as_slice(), record.proof_state), (&[][..], ProofState::Pending));
        assert_eq!(record.truetime_commit.earliest, time.checked_sub(error.bound).unwrap());
        assert_eq!(record.truetime_commit.latest, time.checked_add(error.bound).unwrap());
    }
    assert!(records.windows(2).all(|pair| pair[0].1.record_id < pair[1].1.record_id));
    assert!(records.windows(2).all(|pair| pair[0].1.entropy_nonce != pair[1].1.entropy_nonce));
    assert_eq!(verify(&path).unwrap(), 3);
}

#[test]
fn the_anomalies_view_shows_records_by_identifier() {
    let (_folder, path) = place();
    let id = Ledger::open(&path).unwrap().append(refusal(9)).unwrap().record_id.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let row: (i64, String, u32, String, String) = connection
        .query_row(
            "SELECT seq, agent_svid, syscall_nr, oracle_decision, proof_state FROM anomalies WHERE record_id = ?1",
            [id.to_string()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .unwrap();
    let svid = agent().svid();
    let expected = (0, svid.spiffe_id(), 42, "Collapse", "pending");
    assert_eq!((row.0, row.1.as_str(), row.2, row.3.as_str(), row.4.as_str()), expected);
}

#[test]
fn recorded_entries_are_durable_within_the_window_without_a_flush() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.record(open(0)).unwrap(), Recorded::Queued);
    let deadline = Instant::now() + Duration::from_mins(1);
    while ledger.reader().unwrap().size().unwrap() == 0 {
        assert!(Instant::now() < deadline, "the entry never arrived");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn closing_the_last_handle_writes_what_is_queued() {
    let (_folder, path) = place();
    let options = Options { window: Duration::from_hours(1), ..Options::default() };
    let ledger = Ledger::open_with(&path, options).unwrap();
    let clone = ledger.clone();
    clone.record(open(0)).unwrap();
    drop((ledger, clone));
    assert_eq!(verify(&path).unwrap(), 1);
}

#[test]
fn entries_keep_the_order_in_which_one_thread_gave_them() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..50 {
        if number % 7 == 6 {
            ledger.append(open(number)).unwrap();
        } else {
            ledger.record(open(number)).unwrap();
        }
    }
    ledger.flush().unwrap();
    let entries = all(&path);
    let given: Vec<_> = (0..50).map(|number| open(number).request).collect();
    assert_eq!(entries.iter().map(|entry| entry.request().clone()).collect::<Vec<_>>(), given);
    assert!(entries.windows(2).all(|pair| pair[0].time < pair[1].time));
}

#[test]
fn many_threads_share_one_chain() {
    fn assert_shareable<T: Clone + Send + Sync>(_: &T) {}
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    assert_shareable(&ledger);
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (ledger, start) = (ledger.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                (0..25).map(|number| ledger.append(open(number)).unwrap().seq).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut seqs: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..200).collect::<Vec<_>>());
    assert_eq!(verify(&path).unwrap(), 200);
}

#[test]
fn what_finds_no_room_is_counted_in_an_entry() {
    let (_folder, path) = place();
    let options = Options {
        window: Duration::from_hours(1),
        patience: Duration::from_millis(1),
        queue_entries: 4,
        ..Options::default()
    };
    let ledger = Ledger::open_with(&path, options).unwrap();
    // Another process holds the write lock, so that the queue fills.
    let blocker = rusqlite::Connection::open(&path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcomes: Vec<_> = (0..40).map(|number| ledger.record(open(number)).unwrap()).collect();
    blocker.execute_batch("ROLLBACK").unwrap();
    ledger.flush().unwrap();

    let dropped = outcomes.iter().filter(|outcome| **outcome == Recorded::Dropped).count();
    assert!(dropped > 0, "{outcomes:?}");
    let entries = all(&path);
    let counted: Vec<_> = entries.iter().filter(|entry| entry.op == "ledger.dropped").collect();
    let total: i64 = counted.iter().map(|entry| count(entry.request())).sum();
    assert_eq!(total, dropped as i64);
    assert!(counted.iter().all(|entry| entry.run_id == run(1)));
    assert_eq!(entries.len() - counted.len(), 40 - dropped);
    assert_eq!(verify(&path).unwrap(), entries.len() as u64);
}

fn count(request: &Value) -> i64 {
    match request {
        Value::Object(members) => match members.values().next() {
            Some(Value::Integer(count)) => *count,
            other => panic!("not a count: {other:?}"),
        },
        other => panic!("not an object: {other:?}"),
    }
}

#[test]
fn filters_select_and_limits_cut() {
    let (_folder, path) = place();
    filled(&path, 600);
    let reader = Reader::open(&path).unwrap();
    let seqs = |filter: Filter| reader.entries(&filter).map(|entry| entry.unwrap().seq).collect::<Vec<_>>();
    let refused: Vec<u64> = (0..600).filter(|seq| seq % 3 == 2).collect();
    let decision = Some(Decision::Collapse);
    assert_eq!(seqs(Filter::default()), (0..600).collect::<Vec<_>>());
    assert_eq!(seqs(Filter { decision, ..Filter::default() }), refused);
    assert_eq!(seqs(Filter { op: Some("net.connect".into()), ..Filter::default() }), refused);
    assert_eq!(seqs(Filter { run_id: Some(run(2)), ..Filter::default() }), Vec::<u64>::new());
    assert_eq!(seqs(Filter { since_seq: 590, limit: Some(3), ..Filter::default() }), [590, 591, 592]);
    assert_eq!(seqs(Filter { limit: Some(300), ..Filter::default() }), (0..300).collect::<Vec<_>>());
    assert_eq!(seqs(Filter { limit: Some(256), ..Filter::default() }), (0..256).collect::<Vec<_>>());
    assert_eq!(seqs(Filter { limit: Some(0), ..Filter::default() }), Vec::<u64>::new());
    assert_eq!(seqs(Filter { since_seq: u64::MAX, ..Filter::default() }), Vec::<u64>::new());
}

#[test]
fn the_file_and_its_folder_are_the_owners_alone() {
    let (_folder, path) = place();
    filled(&path, 1);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    filled(&path, 1);
    assert_eq!(mode(&path), 0o600);
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "only the ledger and its key are left");
    let key = path.with_extension("key");
    assert_eq!(mode(&key), 0o600);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(Ledger::open(&path).unwrap_err().code(), "E_LEDGER_KEY", "others could have read it");
}

#[test]
fn drafts_without_a_canonical_form_are_refused_and_do_no_harm() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let nested = |depth| (0..depth).fold(Value::Null, |value, _| Value::Array(vec![value]));
    let anomaly = refusal(0).anomaly;
    let bad = [
        Draft { op: String::new(), ..open(0) },
        Draft { op: "FS.Open".into(), ..open(0) },
        Draft { op: "a".repeat(65), ..open(0) },
        Draft { request: Value::Integer(1 << 53), ..open(0) },
        Draft { response: Value::Integer(i64::MIN), ..open(0) },
        Draft { request: nested(64), ..open(0) },
        Draft { request: Value::from("x".repeat(4 << 20)), ..open(0) },
        Draft { decision: None, ..refusal(0) },
        Draft { decision: Some(Decision::Hold), anomaly, ..open(0) },
    ];
    for draft in bad {
        let error = ledger.append(draft.clone()).unwrap_err();
        assert!(matches!(error, LedgerError::Draft { .. }), "{error} for {}", draft.op);
    }
    let largest = Value::Integer((1 << 53) - 1);
    ledger.append(Draft { request: nested(63), response: largest, ..open(0) }).unwrap();
    assert_eq!(verify(&path).unwrap(), 1);
}

#[test]
fn strings_of_every_kind_survive() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let text: String = ('\0'..'\u{100}').chain(['\u{2028}', '\u{fffd}', '\u{10ffff}']).collect();
    let request = Value::object([(text.clone(), Value::from(text.clone())), (String::new(), Value::Null)]);
    ledger.append(Draft { request: request.clone(), ..open(0) }).unwrap();
    assert_eq!(verify(&path).unwrap(), 1);
    let agent_svid = AgentSvid::new(text, b"");
    let anomaly = Anomaly {
        agent_svid: agent_svid.clone(),
        syscall: Syscall::default(),
        seal: agent(),
        proof: Vec::new(),
    };
    ledger.append(Draft { anomaly: Some(anomaly), ..refusal(0) }).unwrap();
    let entries = all(&path);
    assert_eq!(*entries[0].request(), request);
    assert_eq!(entries[1].anomaly.as_ref().unwrap().agent_svid, agent_svid);
}

/// A refusal with a proof.
fn proved(proof: &[u8]) -> Draft {
    let draft = refusal(0);
    let anomaly = draft.anomaly.map(|anomaly| Anomaly { proof: proof.into(), ..anomaly });
    Draft { anomaly, ..draft }
}

#[test]
fn a_record_with_a_proof_that_nothing_can_verify_is_refused() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.append(proved(b"right")).unwrap_err().code(), "E_LEDGER_PROOF");
    assert_eq!(ledger.record(proved(b"right")).unwrap_err().code(), "E_LEDGER_PROOF");
    assert!(ledger.append(proved(b"")).is_ok(), "what is not proved is pending");
    assert_eq!(verify(&path).unwrap(), 1);
}

#[test]
fn a_record_is_proved_only_by_a_proof_that_verifies() {
    let (_folder, path) = place();
    // Stands in for the verifier of a prover's receipts.
    let verify_proof = |draft: &Draft| match draft.anomaly.as_ref().map(|anomaly| &anomaly.proof[..]) {
        Some(b"right") => Ok(()),
        _ => Err("it is of another decision"),
    };
    let ledger = Ledger::open_with(&path, Options { verify_proof, ..Options::default() }).unwrap();
    let refused = ledger.append(proved(b"wrong")).unwrap_err();
    assert!(refused.to_string().ends_with("it is of another decision"), "{refused}");
    ledger.append(proved(b"right")).unwrap();
    drop(ledger);
    let entries = all(&path);
    let record = entries[0].anomaly.as_ref().unwrap();
    assert_eq!((record.proof_state, record.zk_proof.as_slice()), (ProofState::Proved, &b"right"[..]));
    assert_eq!((entries.len(), verify(&path).unwrap()), (1, 1));
}
