//! What only a store on Spanner has, as far as Google's emulator shows it.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use vantio_ledger::{Filter, Ledger, Location, Options, note::SigningKey};

use crate::{
    common::{open, refusal},
    emulator::Emulator,
    place::{Place, Vandal, keys},
};

fn inside(place: &Place) -> (&Arc<Emulator>, &str) {
    let Vandal::Emulator(emulator, database) = &place.vandal else { panic!("another place") };
    (emulator, database)
}

#[test]
fn an_anomaly_record_has_its_row_with_the_moment_of_its_commit() {
    let place = Place::emulator();
    let ledger = place.open();
    ledger.append(open(0)).unwrap();
    for number in 1..4 {
        ledger.append(refusal(number)).unwrap();
    }
    drop(ledger);
    let (emulator, database) = inside(&place);
    let records = emulator.query(
        database,
        "SELECT r.record_id, r.agent_svid, r.syscall_nr, r.oracle_decision, r.zk_proof, r.entropy_nonce, \
         r.truetime_commit = e.committed FROM anomaly_records r JOIN entries e ON e.record_id = r.record_id \
         ORDER BY e.seq",
    );
    let entries: Vec<_> = place.reader().entries(&Filter::default()).map(Result::unwrap).collect();
    let wanted: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.anomaly.as_ref())
        .map(|record| {
            let nonce = base64(&record.entropy_nonce);
            let id = record.record_id.to_string();
            json!([id, record.agent_svid.spiffe_id(), "42", "Collapse", "", nonce, true])
        })
        .collect();
    assert_eq!(records, wanted);
    let moments = emulator.query(database, "SELECT DISTINCT committed FROM entries");
    assert_eq!(moments.len(), 4, "each transaction has its own moment");
}

#[test]
fn definitions_that_were_changed_are_reported_and_stop_appending() {
    for (statement, object) in [
        ("DROP INDEX entries_by_run", "index entries.entries_by_run"),
        ("CREATE INDEX more ON entries (op)", "index entries.more"),
        ("ALTER TABLE entries ADD COLUMN more STRING(MAX)", "column entries.more"),
        ("ALTER TABLE entries ALTER COLUMN op STRING(MAX) NOT NULL", "column entries.op"),
        (
            "ALTER TABLE entries ADD ROW DELETION POLICY (OLDER_THAN(committed, INTERVAL 1 DAY))",
            "table entries",
        ),
        ("ALTER TABLE anomaly_records DROP ROW DELETION POLICY", "table anomaly_records"),
        (
            "ALTER TABLE tiles ALTER COLUMN committed SET OPTIONS (allow_commit_timestamp = null)",
            "option tiles.committed",
        ),
    ] {
        let place = Place::emulator();
        place.fill(1);
        let (emulator, database) = inside(&place);
        emulator.define(database, statement);
        let said = format!("the definition of `{object}` was changed");
        let error = Ledger::open_at(&place.location, Options::default()).unwrap_err();
        assert_eq!(error.code(), "E_LEDGER_UNPROTECTED", "{statement}: {error}");
        assert!(error.to_string().contains(&said), "{statement}: {error}");
        let error = place.verify().unwrap_err();
        assert!(error.to_string().contains(&said), "{statement}: {error}");
    }
}

#[test]
fn tables_are_made_once_and_only_what_is_missing() {
    let place = Place::emulator();
    place.fill(5);
    let (emulator, database) = inside(&place);
    emulator.define(database, "DROP INDEX leaves_by_entry");
    place.location.prepare().unwrap();
    place.fill(5);
    assert_eq!(place.verify().unwrap().size, 10);
}

#[test]
fn a_log_has_one_key() {
    let place = Place::emulator();
    place.fill(5);
    let (emulator, database) = inside(&place);
    let (_folder, other) = keys();
    let elsewhere = Location::parse(&emulator.address(database), &other);
    let error = Ledger::open_at(&elsewhere, Options::default()).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_KEY", "{error}");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "no second key is made");

    let fresh = Place::emulator();
    let (emulator, database) = inside(&fresh);
    let elsewhere = Location::parse(&emulator.address(database), &other);
    let quiet = Options { checkpoint_after: Duration::from_hours(1), ..Options::default() };
    let [one, two] = [&fresh.location, &elsewhere].map(|location| Ledger::open_at(location, quiet).unwrap());
    one.append(open(0)).unwrap();
    two.append(open(1)).unwrap();
    one.checkpoint().unwrap().unwrap();
    assert_eq!(two.checkpoint().unwrap_err().code(), "E_LEDGER_KEY", "the first to sign has it");
}

#[test]
fn checkpoints_follow_one_another() {
    let place = Place::emulator();
    let ledger = place.open();
    for number in 0..3 {
        ledger.append(open(number)).unwrap();
        let note = ledger.checkpoint().unwrap().unwrap();
        assert!(note.text().contains(&format!("\n{}\n", number + 1)), "{note}");
    }
    assert_eq!(place.verify().unwrap().checkpoints, 3);
}

#[test]
fn what_witnesses_signed_comes_with_its_checkpoint() {
    let place = Place::emulator();
    let ledger = place.open();
    ledger.append(open(0)).unwrap();
    let note = ledger.checkpoint().unwrap().unwrap();
    let signed = ["one", "two"].map(|name| SigningKey::new(name, &[7; 32]).unwrap().cosign(note.text(), 1));
    for signature in &signed {
        ledger.cosign(1, signature).unwrap();
    }
    let kept = place.reader().checkpoint_of(1).unwrap().unwrap();
    assert_eq!(kept.signatures(), [note.signatures(), &signed].concat());
}

#[test]
fn a_large_batch_is_several_transactions() {
    let place = Place::emulator();
    let options = Options {
        window: Duration::from_secs(2),
        checkpoint_entries: u64::MAX,
        busy: Duration::from_mins(1),
        ..Options::default()
    };
    let ledger = Ledger::open_at(&place.location, options).unwrap();
    for number in 0..2100 {
        ledger.record(open(number)).unwrap();
    }
    ledger.flush().unwrap();
    drop(ledger);
    let verified = place.verify().unwrap();
    assert_eq!(verified.size, 2100);
    let note = place.reader().newest_checkpoint().unwrap().unwrap();
    assert!(note.text().contains("\n2100\n"), "{note}");
}

#[test]
fn a_lost_server_stops_the_ledger() {
    let mut emulator = Emulator::start();
    let (_folder, keys) = keys();
    let location = Location::parse(&emulator.address(&emulator.database()), &keys);
    location.prepare().unwrap();
    let quick = Options { busy: Duration::from_secs(1), ..Options::default() };
    let ledger = Ledger::open_at(&location, quick).unwrap();
    ledger.append(open(0)).unwrap();
    emulator.crash();
    let error = ledger.append(open(1)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_SERVER", "{error}");
    let error = ledger.append(open(2)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_FAILED", "{error}");
    let error = Ledger::open_at(&location, quick).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_SERVER", "{error}");
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}
