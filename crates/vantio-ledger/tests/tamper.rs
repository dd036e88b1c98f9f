//! Whatever is changed after the fact is found, and the first bad entry named.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{agent, filled, first_bad, open, place, refusal, run, vandal, verify};
use proptest::{collection, prelude::*};
use rusqlite::{Connection, types::Value as Cell};
use std::{path::Path, sync::Arc};
use vantio_core::{Decision, Hash, json::Value};
use vantio_ledger::{
    AgentSvid, Draft, Entry, Filter, Ledger, LedgerError, Reader, Seal, Terms, VerifyError, verify_export,
};

const COLUMNS: [&str; 7] = ["run_id", "op", "decision", "record_id", "this_hash", "body", "detail"];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Value::Integer),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            collection::vec((any::<String>(), inner), 0..4).prop_map(Value::object),
        ]
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let decision = prop_oneof![
        Just(None),
        Just(Some(Decision::Permit)),
        Just(Some(Decision::Collapse)),
        Just(Some(Decision::KillSwitch)),
        Just(Some(Decision::Hold)),
    ];
    let parts = (any::<u8>(), any::<u32>(), "[a-z0-9._-]{1,64}", json(), json(), decision, any::<bool>());
    parts.prop_map(|(number, pid, op, request, response, decision, is_anomaly)| {
        let is_final = !matches!(decision, None | Some(Decision::Hold));
        let anomaly = refusal(pid).anomaly.filter(|_| is_anomaly && is_final);
        let policy_hash = Hash::of(&[number]);
        Draft {
            run_id: run(number),
            pid,
            op,
            request,
            response,
            keeps_detail: true,
            policy_hash,
            decision,
            anomaly,
        }
    })
}

fn write(path: &Path, drafts: &[Draft]) {
    let ledger = Ledger::open(path).unwrap();
    for draft in drafts {
        ledger.record(draft.clone()).unwrap();
    }
    ledger.flush().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_drafted_verifies_and_exports(drafts in collection::vec(draft(), 0..20)) {
        let (_folder, path) = place();
        write(&path, &drafts);
        let reader = Reader::open(&path).unwrap();
        let verified = reader.verify(&Terms::default()).unwrap();
        prop_assert_eq!(verified.size, drafts.len() as u64);
        let mut lines = Vec::new();
        prop_assert_eq!(reader.export(&mut lines).unwrap(), verified.size);
        let exported = verify_export(&mut lines.as_slice(), &Terms::default()).unwrap();
        prop_assert_eq!((exported.size, exported.head, exported.root), (verified.size, verified.head, verified.root));
        for entry in reader.entries(&Filter::default()) {
            let entry = entry.unwrap();
            prop_assert_eq!(Entry::from_line(&entry.to_line()), Ok(entry));
        }
    }

    #[test]
    fn a_changed_byte_of_any_cell_is_found(
        drafts in collection::vec(draft(), 1..6),
        changes in collection::vec((any::<prop::sample::Index>(), 0..COLUMNS.len(), any::<prop::sample::Index>(), 1_u8..), 40),
    ) {
        let (_folder, path) = place();
        write(&path, &drafts);
        let connection = vandal(&path);
        for (row, column, position, flip) in changes {
            let (seq, column) = (row.index(drafts.len()) as u64, COLUMNS[column]);
            let old = cell(&connection, seq, column);
            set(&connection, seq, column, &mutate(column, &old, position, flip));
            prop_assert_eq!(first_bad(&path), Some(seq), "column {}", column);
            set(&connection, seq, column, &old);
        }
    }

    #[test]
    fn a_changed_byte_of_an_export_is_found(
        drafts in collection::vec(draft(), 1..6),
        changes in collection::vec((any::<prop::sample::Index>(), 1_u8..), 40),
    ) {
        let (_folder, path) = place();
        write(&path, &drafts);
        let mut lines = Vec::new();
        Reader::open(&path).unwrap().export(&mut lines).unwrap();
        for (position, flip) in changes {
            let position = position.index(lines.len());
            let line = lines[..position].split(|byte| *byte == b'\n').count() as u64 - 1;
            lines[position] ^= flip;
            prop_assert_eq!(verify_export(&mut lines.as_slice(), &Terms::default()).unwrap_err().seq(), Some(line));
            if let Ok(text) = str::from_utf8(&lines) {
                let line = text.split('\n').nth(line as usize).unwrap();
                prop_assert!(Entry::from_line(line).is_err(), "{}", line);
            }
            lines[position] ^= flip;
        }
    }
}

fn cell(connection: &Connection, seq: u64, column: &str) -> Cell {
    let query = format!("SELECT {column} FROM entries WHERE seq = ?1");
    connection.query_row(&query, [seq as i64], |row| row.get(0)).unwrap()
}

fn set(connection: &Connection, seq: u64, column: &str, value: &Cell) {
    let is_blob = ["run_id", "record_id", "this_hash"].contains(&column);
    let cast = if is_blob { "?2" } else { "CAST(?2 AS TEXT)" };
    let update = format!("UPDATE entries SET {column} = {cast} WHERE seq = ?1");
    assert_eq!(connection.execute(&update, (seq as i64, value)).unwrap(), 1);
}

/// Flips bits of one byte; what is empty becomes something.
fn mutate(column: &str, old: &Cell, position: prop::sample::Index, flip: u8) -> Cell {
    let mut bytes = match old {
        Cell::Text(text) => text.clone().into_bytes(),
        Cell::Blob(bytes) => bytes.clone(),
        _ if column == "record_id" => return Cell::Blob(vec![flip; 16]),
        _ => return Cell::Text("Permit".into()),
    };
    let position = position.index(bytes.len());
    bytes[position] ^= flip;
    Cell::Blob(bytes)
}

#[test]
fn a_removed_entry_is_named() {
    for seq in [0, 4, 8] {
        let (_folder, path) = place();
        filled(&path, 10);
        vandal(&path).execute("DELETE FROM entries WHERE seq = ?1", [seq]).unwrap();
        assert_eq!(first_bad(&path), Some(seq as u64));
        vandal_renumbers(&path, seq);
        assert_eq!(first_bad(&path), Some(seq as u64), "renumbered");
    }
}

fn vandal_renumbers(path: &Path, seq: i64) {
    let connection = Connection::open(path).unwrap();
    for later in seq + 1..10 {
        connection.execute("UPDATE entries SET seq = ?1 WHERE seq = ?2", [later - 1, later]).unwrap();
    }
}

#[test]
fn a_swapped_pair_is_named() {
    let (_folder, path) = place();
    filled(&path, 10);
    let swap = "UPDATE entries SET seq = -1 WHERE seq = 3; UPDATE entries SET seq = 3 WHERE seq = 6;\
                UPDATE entries SET seq = 6 WHERE seq = -1";
    vandal(&path).execute_batch(swap).unwrap();
    assert_eq!(first_bad(&path), Some(3));
}

#[test]
fn an_entry_that_was_added_is_named() {
    let (_folder, path) = place();
    filled(&path, 4);
    let copy = "INSERT INTO entries SELECT 4, run_id, op, decision, NULL, this_hash, body, detail \
                FROM entries WHERE seq = 3";
    vandal(&path).execute(copy, ()).unwrap();
    assert_eq!(first_bad(&path), Some(4));
}

#[test]
fn lines_of_an_export_removed_or_swapped_are_named() {
    let (_folder, path) = place();
    filled(&path, 6);
    let mut lines = Vec::new();
    Reader::open(&path).unwrap().export(&mut lines).unwrap();
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    let first_bad = |order: &[usize]| {
        let text = order.iter().flat_map(|index| lines[*index]).copied().collect::<Vec<u8>>();
        verify_export(&mut text.as_slice(), &Terms::default()).map_err(|error| error.seq())
    };
    assert_eq!(first_bad(&[0, 1, 3, 4, 5]), Err(Some(2)));
    assert_eq!(first_bad(&[0, 2, 1, 3, 4, 5]), Err(Some(1)));
    assert_eq!(first_bad(&[0, 1, 1, 2]), Err(Some(2)));
    assert_eq!(first_bad(&[1, 2, 3]), Err(Some(0)));
    assert_eq!(first_bad(&[0, 1, 2]).map(|verified| verified.size), Ok(3));
}

const PREV_HASH: &str = "\"prev_hash\":\"";

/// An export of two entries whose second was edited and hashed anew.
fn forged(edit: impl Fn(&str) -> String) -> VerifyError {
    let (_folder, path) = place();
    filled(&path, 2);
    let reader = Reader::open(&path).unwrap();
    let [first, second] = [0, 1].map(|seq| reader.entry(seq).unwrap().unwrap());
    let sealed = |hash: Hash| format!("\"this_hash\":\"{hash}\",");
    let line = edit(&second.to_line().replace(&sealed(second.this_hash), ""));
    let body = format!("{{{}", &line[line.find("\"op\"").unwrap()..]);
    let prev_hash: Hash = body[body.find(PREV_HASH).unwrap() + PREV_HASH.len()..][..64].parse().unwrap();
    let hash = Hash::of_parts(&[&prev_hash.0, body.as_bytes()]);
    let line = line.replace("\"time\":", &format!("{}\"time\":", sealed(hash)));
    let lines = format!("{}\n{line}\n", first.to_line());
    verify_export(&mut lines.as_bytes(), &Terms::default()).unwrap_err()
}

#[test]
fn a_forged_entry_needs_more_than_a_new_hash() {
    const NOT_CANONICAL: &str = "it is not an entry in canonical JSON";
    let cases = [
        ("\"v\":2", "\"v\":3".to_owned(), "it has format 3; this program knows format 2"),
        ("\"request\":{\"n\":1", "\"request\":{\"n\":2".into(), "`req_hash` does not match its detail"),
        ("\"response\":true", "\"response\":false".into(), "`res_hash` does not match its detail"),
        ("\"seq\":1", "\"seq\":7".into(), "entry 7 stands in its place"),
        ("\"pid\":7", "\"pid\": 7".into(), NOT_CANONICAL),
        ("\"pid\":7", "\"pid\":7.0".into(), NOT_CANONICAL),
        ("\"pid\":7", "\"pid\":7,\"pie\":8".into(), NOT_CANONICAL),
        ("\"pid\":7", "\"pid\":-7".into(), "field `pid` has no valid value"),
        ("\"Permit\"", "\"Allow\"".into(), "field `decision` has no valid value"),
        ("\"op\":\"fs.open\"", "\"op\":\"FS\"".into(), "field `op` has no valid value"),
        ("\"time\":\"20", "\"time\":\"19".into(), "its time is not after the one before it"),
    ];
    for (from, to, message) in cases {
        let error = forged(|line| line.replacen(from, &to, 1));
        assert_eq!(error.to_string(), format!("entry 1: {message}"), "{to}");
    }
    let unlinked = forged(|body| {
        let start = body.find(PREV_HASH).unwrap() + PREV_HASH.len();
        format!("{}{}{}", &body[..start], Hash::of(b"other"), &body[start + 64..])
    });
    assert_eq!(unlinked.to_string(), "entry 1: it does not follow from the entry before it");
}

/// The line of a refusal, whose SVID's key another does not have, with another's seal.
#[test]
fn a_record_sealed_by_another_key_is_named() {
    struct Other;
    impl Seal for Other {
        fn sign(&self, message: &[u8]) -> [u8; 64] {
            let mut signature = agent().sign(message);
            signature[0] ^= 1;
            signature
        }
    }
    let (_folder, path) = place();
    filled(&path, 2);
    let mut draft = refusal(2);
    draft.anomaly.as_mut().unwrap().seal = Arc::new(Other);
    Ledger::open(&path).unwrap().append(draft).unwrap();
    let error = verify(&path).unwrap_err();
    assert_eq!(error.to_string(), "entry 2: the SVID in its anomaly record did not sign it");
}

#[test]
fn a_record_of_an_agent_that_its_certificate_does_not_name_is_found() {
    let (_folder, path) = place();
    let mut draft = refusal(0);
    let certificate = STANDARD.decode(agent().svid().certificate_base64()).unwrap();
    for (svid, message) in [
        (AgentSvid::new("spiffe://vantio.local/agent/b", &certificate), "is of another agent"),
        (AgentSvid::new("spiffe://vantio.local/agent/a", b"no certificate"), "names no key"),
    ] {
        let _ = std::fs::remove_dir_all(path.parent().unwrap());
        draft.anomaly.as_mut().unwrap().agent_svid = svid;
        Ledger::open(&path).unwrap().append(draft.clone()).unwrap();
        let message = format!("entry 0: the SVID in its anomaly record {message}");
        assert_eq!(verify(&path).unwrap_err().to_string(), message);
    }
}

/// The newest checkpoint of a ledger, to be kept elsewhere.
fn kept(path: &Path) -> Terms {
    let note = Reader::open(path).unwrap().newest_checkpoint().unwrap().unwrap();
    Terms { checkpoint: Some(note.text().parse().unwrap()), ..Terms::default() }
}

#[test]
fn the_stored_checkpoint_finds_a_truncated_tail() {
    let (_folder, path) = place();
    filled(&path, 10);
    vandal(&path).execute("DELETE FROM entries WHERE seq >= 7", ()).unwrap();
    let error = verify(&path).unwrap_err();
    assert!(matches!(error, VerifyError::Truncated { seq: 7, size: 10 }), "{error}");
}

#[test]
fn a_kept_checkpoint_finds_a_truncated_tail_and_tree() {
    let (_folder, path) = place();
    filled(&path, 10);
    let terms = kept(&path);
    let cut = "DELETE FROM entries WHERE seq >= 7; DELETE FROM tiles; DELETE FROM checkpoints";
    vandal(&path).execute_batch(cut).unwrap();
    restore_triggers(&path);
    assert_eq!(verify(&path).unwrap(), 7, "by itself it holds");
    let error = Reader::open(&path).unwrap().verify(&terms).unwrap_err();
    assert!(matches!(error, VerifyError::Truncated { seq: 7, size: 10 }), "{error}");
}

#[test]
fn a_kept_checkpoint_finds_a_rewritten_log() {
    let (_folder, path) = place();
    filled(&path, 10);
    let terms = kept(&path);
    let (_other_folder, other) = place();
    filled(&other, 12);
    let reader = Reader::open(&other).unwrap();
    assert_eq!(reader.verify(&Terms::default()).unwrap().size, 12);
    let error = reader.verify(&terms).unwrap_err();
    assert!(matches!(error, VerifyError::Rewritten { seq: 9 }), "{error}");
    let mut lines = Vec::new();
    reader.export(&mut lines).unwrap();
    let error = verify_export(&mut lines.as_slice(), &terms).unwrap_err();
    assert!(matches!(error, VerifyError::Rewritten { seq: 9 }), "{error}");
}

#[test]
fn a_log_that_grew_holds_against_its_checkpoint() {
    let (_folder, path) = place();
    filled(&path, 10);
    let terms = kept(&path);
    filled(&path, 5);
    let verified = Reader::open(&path).unwrap().verify(&terms).unwrap();
    assert_eq!((verified.size, verified.checkpoints), (15, 2), "the one that was kept is not counted again");
    let mut lines = Vec::new();
    Reader::open(&path).unwrap().export(&mut lines).unwrap();
    assert_eq!(verify_export(&mut lines.as_slice(), &terms).unwrap().size, 15);
}

#[test]
fn a_log_rewritten_with_its_hashes_is_not_that_of_its_tiles() {
    let (_folder, path) = place();
    filled(&path, 600);
    let (_other_folder, other) = place();
    filled(&other, 600);
    let connection = vandal(&path);
    connection.execute("ATTACH ?1 AS other", [other.to_str().unwrap()]).unwrap();
    connection.execute_batch("DELETE FROM entries; INSERT INTO entries SELECT * FROM other.entries").unwrap();
    let error = verify(&path).unwrap_err();
    assert!(matches!(&error, VerifyError::Tile { seq: 0, tile } if tile == "tile/0/000"), "{error}");
}

#[test]
fn a_tile_or_a_checkpoint_that_was_changed_is_found() {
    for (change, code) in [
        ("UPDATE tiles SET hashes = zeroblob(8192) WHERE id = 1", "E_LEDGER_REWRITTEN"),
        ("UPDATE tiles SET root = zeroblob(32) WHERE id = 0", "E_LEDGER_REWRITTEN"),
        ("DELETE FROM tiles WHERE id = 1", "E_LEDGER_REWRITTEN"),
        ("UPDATE checkpoints SET note = replace(note, 'vantio.local', 'elsewhere')", "E_LEDGER_CHECKPOINT"),
        ("UPDATE checkpoints SET note = 'no note'", "E_LEDGER_CHECKPOINT"),
        ("UPDATE checkpoints SET size = size - 1", "E_LEDGER_CHECKPOINT"),
    ] {
        let (_folder, path) = place();
        filled(&path, 600);
        let key = Reader::open(&path).unwrap().verifier_key().unwrap().unwrap();
        let terms = Terms { keys: vec![key], checkpoint: None };
        let verified = Reader::open(&path).unwrap().verify(&terms).unwrap();
        assert_eq!((verified.checkpoints, verified.signed, verified.seals), (1, 1, 200));
        vandal(&path).execute(change, ()).unwrap();
        let error = Reader::open(&path).unwrap().verify(&terms).unwrap_err();
        assert_eq!(error.code(), code, "{change}: {error}");
    }
}

#[test]
fn a_checkpoint_by_another_key_is_found() {
    let (_folder, path) = place();
    filled(&path, 3);
    let (_other_folder, other) = place();
    filled(&other, 3);
    let key = Reader::open(&other).unwrap().verifier_key().unwrap().unwrap();
    let error =
        Reader::open(&path).unwrap().verify(&Terms { keys: vec![key], checkpoint: None }).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_CHECKPOINT", "{error}");
}

#[test]
fn a_running_ledger_notices_that_its_tail_was_cut() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..3 {
        ledger.append(open(number)).unwrap();
    }
    vandal(&path).execute("DELETE FROM entries WHERE seq = 2", ()).unwrap();
    let error = ledger.append(open(3)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_DAMAGED", "{error}");
}

#[test]
fn an_index_that_hides_entries_or_makes_some_up_is_found() {
    for change in [
        "DELETE FROM blocks WHERE key = 'net.connect' AND block = 1",
        "DELETE FROM blocks WHERE block = 2 AND typeof(key) = 'blob'",
        "INSERT INTO blocks VALUES ('net.connect', 3)",
        "UPDATE blocks SET key = 'KillSwitch' WHERE key = 'Collapse' AND block = 0",
        "UPDATE blocks SET key = CAST(key AS TEXT) WHERE typeof(key) = 'blob'",
    ] {
        let (_folder, path) = place();
        filled(&path, 180);
        verify(&path).unwrap();
        assert!(vandal(&path).execute(change, ()).unwrap() > 0);
        restore_triggers(&path);
        let error = verify(&path).unwrap_err();
        assert_eq!((error.code(), error.seq()), ("E_LEDGER_DAMAGED", None), "{change}: {error}");
    }
}

#[test]
fn a_list_does_not_pass_over_what_is_gone() {
    let (_folder, path) = place();
    filled(&path, 180);
    vandal(&path).execute("DELETE FROM entries WHERE seq = 100", ()).unwrap();
    let reader = Reader::open(&path).unwrap();
    for newest in [false, true] {
        // The entry itself was no refusal.
        let filter = Filter { decision: Some(Decision::Collapse), newest, ..Filter::default() };
        let error = reader.entries(&filter).find_map(Result::err).expect("an error");
        assert_eq!(error.code(), "E_LEDGER_DAMAGED", "{error}");
    }
}

#[test]
fn a_changed_last_entry_is_not_continued() {
    let (_folder, path) = place();
    filled(&path, 4);
    vandal(&path).execute("UPDATE entries SET body = replace(body, 'depth=2', 'depth=3')", ()).unwrap();
    restore_triggers(&path);
    let error = Ledger::open(&path).unwrap_err();
    assert!(matches!(error, LedgerError::Entry { seq: 3, .. }), "{error}");
}

/// Puts the protection back as an attacker would, from another ledger.
fn restore_triggers(path: &Path) {
    let (_folder, other) = place();
    filled(&other, 0);
    let other = Connection::open(&other).unwrap();
    let mut triggers = other.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let connection = Connection::open(path).unwrap();
    for sql in triggers.query_map((), |row| row.get::<_, String>(0)).unwrap() {
        connection.execute(&sql.unwrap(), ()).unwrap();
    }
}

#[test]
fn entries_that_were_changed_are_not_read() {
    let (_folder, path) = place();
    filled(&path, 4);
    vandal(&path).execute("UPDATE entries SET detail = replace(detail, '/work/1', '/work/9')", ()).unwrap();
    let reader = Reader::open(&path).unwrap();
    let read: Vec<_> = reader.entries(&Filter::default()).map(|entry| entry.map(|entry| entry.seq)).collect();
    assert!(matches!(read[..], [Ok(0), Err(LedgerError::Entry { seq: 1, .. }), Ok(2), Ok(3)]), "{read:?}");
    assert_eq!(reader.export(&mut Vec::new()).unwrap_err().code(), "E_LEDGER_ENTRY");
}

#[test]
fn a_running_ledger_notices_that_its_file_was_replaced() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ledger.append(open(0)).unwrap();
    std::fs::rename(&path, path.with_extension("old")).unwrap();
    filled(&path, 1);
    let error = ledger.append(open(1)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_DAMAGED", "{error}");
}

#[test]
fn update_delete_and_replace_are_refused() {
    let (_folder, path) = place();
    filled(&path, 5);
    let connection = Connection::open(&path).unwrap();
    let same =
        "SELECT seq, run_id, op, decision, record_id, this_hash, body, detail FROM entries WHERE seq = 2";
    for statement in [
        "UPDATE entries SET op = 'x' WHERE seq = 2".to_owned(),
        "UPDATE OR IGNORE entries SET seq = 9 WHERE seq = 4".to_owned(),
        "DELETE FROM entries WHERE seq = 4".to_owned(),
        "DELETE FROM entries".to_owned(),
        format!("INSERT OR REPLACE INTO entries {same}"),
        format!("REPLACE INTO entries {same}"),
        format!("INSERT INTO entries {same} ON CONFLICT DO UPDATE SET op = 'x'"),
        "INSERT INTO entries SELECT 99, run_id, op, decision, NULL, this_hash, body, detail FROM entries WHERE seq = 1"
            .to_owned(),
        "DELETE FROM anomalies".to_owned(),
        "UPDATE anomalies SET proof_state = 'proved'".to_owned(),
    ] {
        assert!(connection.execute(&statement, ()).is_err(), "{statement}");
    }
    assert_eq!(verify(&path).unwrap(), 5);
}

#[test]
fn a_dropped_trigger_is_reported_and_stops_appending() {
    let (_folder, path) = place();
    filled(&path, 5);
    Connection::open(&path).unwrap().execute("DROP TRIGGER entries_delete", ()).unwrap();
    let error = verify(&path).unwrap_err();
    assert_eq!((error.code(), error.seq()), ("E_LEDGER_UNPROTECTED", None), "{error}");
    let error = Ledger::open(&path).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Unprotected { object, .. } if object == "entries_delete"),
        "{error}"
    );
}

#[test]
fn an_added_trigger_is_reported() {
    let (_folder, path) = place();
    filled(&path, 5);
    let trigger = "CREATE TRIGGER t AFTER INSERT ON entries BEGIN SELECT 1; END";
    Connection::open(&path).unwrap().execute(trigger, ()).unwrap();
    assert_eq!(verify(&path).unwrap_err().code(), "E_LEDGER_UNPROTECTED");
    assert_eq!(Ledger::open(&path).unwrap_err().code(), "E_LEDGER_UNPROTECTED");
}
