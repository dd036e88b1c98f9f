//! What holds for every store.

use std::{collections::BTreeMap, thread, time::Duration};

use vantio_core::{Decision, Hash};
use vantio_ledger::{
    Draft, Entry, Filter, Ledger, LedgerError, Location, Options, Reader, Recorded, Terms, Timestamp,
    note::TreeHead, verify_export, verify_proof,
};

use crate::{
    common::{open, refusal, run},
    place::{Place, Vandal, Words},
};

fn selected(place: &Place, filter: &Filter) -> Vec<Entry> {
    place.reader().entries(filter).collect::<Result<_, _>>().unwrap()
}

fn all(place: &Place) -> Vec<Entry> {
    selected(place, &Filter::default())
}

fn head(reader: &Reader) -> TreeHead {
    reader.newest_checkpoint().unwrap().unwrap().text().parse().unwrap()
}

pub fn what_was_appended_reads_back_in_order(place: &Place) {
    let ledger = place.open();
    let texts = ["", "a \"b\"\\", "ключ", "\u{0}\u{1f}\u{7f}\n", "\u{fb33}\u{1f600}"];
    for number in 0..300 {
        let text = texts[number as usize % texts.len()];
        let draft = vantio_ledger::Draft { response: text.into(), ..open(number) };
        if number % 100 == 0 {
            assert_eq!(ledger.append(draft).unwrap().seq, u64::from(number));
        } else {
            assert_eq!(ledger.record(draft).unwrap(), Recorded::Queued);
        }
    }
    ledger.flush().unwrap();
    let check = |entries: Vec<Entry>| {
        assert_eq!(entries.len(), 300);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!((entry.index, entry.seq), (number as u64, number as u64));
            assert_eq!(entry.request(), &open(number as u32).request);
            assert_eq!(entry.response(), &texts[number % texts.len()].into());
        }
    };
    check(all(place));
    assert_eq!(place.verify().unwrap().size, 300, "whether a checkpoint covers them or not");
    drop(ledger);
    check(all(place));
    let verified = place.verify().unwrap();
    assert_eq!((verified.size, place.reader().size().unwrap()), (300, 300));
    assert!(verified.checkpoints > 0, "closing makes a checkpoint");
}

pub fn acknowledged_entries_are_there_after_reopening(place: &Place) {
    let mut receipts = Vec::new();
    for round in 0..3 {
        let ledger = place.open();
        for number in 0..5 {
            receipts.push(ledger.append(refusal(round * 5 + number)).unwrap());
        }
    }
    let entries = all(place);
    let found: Vec<Hash> = entries.iter().map(|entry| entry.this_hash).collect();
    assert_eq!(found, receipts.iter().map(|receipt| receipt.this_hash).collect::<Vec<_>>());
    for (entry, receipt) in entries.iter().zip(&receipts) {
        assert_eq!(entry.anomaly.as_ref().map(|record| record.record_id), receipt.record_id);
    }
    let verified = place.verify().unwrap();
    assert_eq!((verified.size, verified.seals), (15, 15));
}

pub fn several_writers_share_one_tree(place: &Place) {
    const WRITERS: u8 = 4;
    const EACH: u64 = 150;
    place.fill(1);
    let options = Options {
        checkpoint_entries: 40,
        checkpoint_after: Duration::from_millis(20),
        busy: Duration::from_mins(1),
        ..Options::default()
    };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let ledger = Ledger::open_at(&place.location, options).unwrap();
                for number in 0..EACH {
                    let draft = vantio_ledger::Draft { run_id: run(writer), ..open(number as u32) };
                    if number % 10 == 0 {
                        ledger.append(draft).unwrap();
                    } else {
                        ledger.record(draft).unwrap();
                    }
                }
                ledger.flush().unwrap();
            });
        }
    });
    let size = 1 + u64::from(WRITERS) * EACH;
    let entries = all(place);
    assert!(entries.iter().enumerate().all(|(place, entry)| entry.index == place as u64));
    let mut by_run: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in &entries[1..] {
        by_run.entry(entry.run_id).or_default().push(entry.request().clone());
    }
    let given: Vec<_> = (0..EACH).map(|number| open(number as u32).request).collect();
    assert_eq!(by_run.len(), usize::from(WRITERS));
    assert!(by_run.values().all(|requests| *requests == given), "each writer's entries, in its order");
    let chains: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.writer).collect();
    let expected = if matches!(place.location, Location::File(_)) { 1 } else { usize::from(WRITERS) + 1 };
    assert_eq!(chains.len(), expected, "a file has one chain, on a server each writer has its own");

    let reader = place.reader();
    let keys: Vec<_> = reader.verifier_key().unwrap().into_iter().collect();
    let verified = reader.verify(&Terms { keys, checkpoint: None }).unwrap();
    assert_eq!((verified.size, head(&reader).size()), (size, size), "one tree over all");
    assert_eq!((verified.checkpoints, verified.root), (verified.signed, head(&reader).root()));
    assert!(verified.checkpoints > 2, "{verified:?}");
}

pub fn filters_select_and_limits_cut(place: &Place) {
    place.fill(600);
    let middle = all(place)[400].time;
    let count = |filter: Filter| selected(place, &filter).len();
    let base = Filter::default;
    assert_eq!(count(Filter { op: Some("net.connect".into()), ..base() }), 200);
    assert_eq!(count(Filter { decision: Some(Decision::Collapse), ..base() }), 200);
    assert_eq!(count(Filter { decision: Some(Decision::Permit), ..base() }), 400);
    assert_eq!(count(Filter { run_id: Some(run(1)), ..base() }), 600);
    assert_eq!(count(Filter { run_id: Some(run(2)), ..base() }), 0);
    assert_eq!(count(Filter { since: Some(middle), ..base() }), 200);
    assert_eq!(count(Filter { until: Some(middle), ..base() }), 400);
    assert_eq!(count(Filter { since: Some(Timestamp::MAX), ..base() }), 0);
    assert_eq!(count(Filter { text: Some("\"/work/599\"".into()), ..base() }), 0, "quotes are escaped");
    assert_eq!(count(Filter { text: Some("/work/599".into()), ..base() }), 1);
    let places =
        |filter: Filter| selected(place, &filter).iter().map(|entry| entry.index).collect::<Vec<_>>();
    assert_eq!(places(Filter { newest: true, limit: Some(3), ..base() }), [599, 598, 597]);
    assert_eq!(places(Filter { since_seq: 300, limit: Some(2), ..base() }), [300, 301]);
    assert_eq!(places(Filter { limit: Some(590), newest: true, ..base() }).last(), Some(&10));
    assert_eq!(place.reader().entry(599).unwrap().map(|entry| entry.index), Some(599));
    assert_eq!(place.reader().entry(600).unwrap(), None);
}

/// Entries of few runs, operations and verdicts, so that most blocks of an index have some of each.
pub fn filters_agree_with_a_look_at_every_entry(place: &Place) {
    let ledger = place.open();
    let mut random = 1_u32;
    let mut below = |limit: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % limit
    };
    for number in 0..700 {
        let base = if below(16) == 0 { refusal(number) } else { open(number) };
        let op = if below(32) == 0 { "fs.unlink".to_owned() } else { base.op.clone() };
        ledger.record(Draft { run_id: run(below(4) as u8), op, ..base }).unwrap();
    }
    ledger.flush().unwrap();
    let everything = all(place);
    let filter = |round: u32| Filter {
        run_id: (round & 1 != 0).then(|| run((round >> 8 & 3) as u8)),
        op: (round & 2 != 0).then(|| ["fs.unlink", "net.connect"][round as usize >> 10 & 1].to_owned()),
        decision: (round & 4 != 0).then_some(Decision::Collapse),
        since_seq: if round & 8 == 0 { 0 } else { u64::from(round) % 700 },
        newest: round & 16 != 0,
        limit: (round & 32 != 0).then_some(u64::from(round) % 70 + 1),
        ..Filter::default()
    };
    for filter in (0..4096).step_by(7).map(filter) {
        let is_wanted = |entry: &&Entry| {
            entry.index >= filter.since_seq
                && filter.run_id.is_none_or(|run| entry.run_id == run)
                && filter.op.as_ref().is_none_or(|op| entry.op == *op)
                && filter.decision.is_none_or(|decision| entry.decision == Some(decision))
        };
        let mut wanted: Vec<_> = everything.iter().filter(is_wanted).cloned().collect();
        if filter.newest {
            wanted.reverse();
        }
        wanted.truncate(filter.limit.map_or(usize::MAX, |limit| limit as usize));
        assert_eq!(selected(place, &filter), wanted, "{filter:?}");
    }
}

pub fn every_entry_has_a_proof(place: &Place) {
    place.fill(150);
    place.fill(150);
    let reader = place.reader();
    let key = reader.verifier_key().unwrap().unwrap();
    for entry in all(place) {
        let proof = reader.prove(entry.index).unwrap();
        let proved = verify_proof(&proof, std::slice::from_ref(&key)).unwrap();
        assert_eq!(proved.entry, Entry { detail: None, ..entry });
        assert_eq!(proved.head, head(&reader));
    }
}

pub fn growth_is_proved_and_published(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    place.fill(300);
    let old = head(&place.reader());
    place.reader().publish(folder.path()).unwrap();
    place.fill(400);
    let reader = place.reader();
    let key = reader.verifier_key().unwrap().unwrap();
    let (grown, _) = reader.prove_growth(&old).unwrap().verify(&old, &[key]).unwrap();
    assert_eq!(grown.size(), 700);
    assert_eq!(reader.publish(folder.path()).unwrap().head, grown);
    assert_eq!(reader.verify(&Terms { keys: Vec::new(), checkpoint: Some(old) }).unwrap().size, 700);
}

pub fn an_export_verifies_without_the_store(place: &Place) {
    place.fill(20);
    place.fill(20);
    let verified = place.verify().unwrap();
    let mut lines = Vec::new();
    assert_eq!(place.reader().export(&mut lines).unwrap(), 40);
    let checkpoint = Some(head(&place.reader()));
    let exported = verify_export(&mut &lines[..], &Terms { keys: Vec::new(), checkpoint }).unwrap();
    assert_eq!((exported.size, exported.head, exported.root), (40, verified.head, verified.root));
    let place = lines.windows(9).position(|window| window == b"\"pid\":7,\"").unwrap();
    lines[place + 6] = b'8';
    assert_eq!(verify_export(&mut &lines[..], &Terms::default()).unwrap_err().seq(), Some(0));
}

pub fn a_changed_column_is_found_and_the_entry_named(place: &Place) {
    place.fill(10);
    let Words { zeros, identifier, detail } = place.words();
    // The last entry that is not wrong yet.
    let mut seq = 9;
    for change in [
        format!("run_id = {identifier}"),
        "op = 'x'".into(),
        "decision = 'Hold'".into(),
        "decision = NULL".into(),
        format!("record_id = {identifier}"),
        format!("this_hash = {zeros}"),
        "body = replace(body, 'depth=2', 'depth=3')".into(),
        "body = body || ' '".into(),
        format!("detail = replace(detail, {detail}'/work', {detail}'/home')"),
    ] {
        let place = place.another();
        place.fill(10);
        place.tamper(&format!("UPDATE entries SET {change} WHERE seq = {seq}"));
        let error = place.verify().unwrap_err();
        assert_eq!((error.code(), error.seq()), ("E_LEDGER_TAMPERED", Some(seq)), "{change}: {error}");
        seq -= 1;
    }
}

pub fn a_removed_entry_is_named(place: &Place) {
    place.fill(10);
    place.tamper("DELETE FROM entries WHERE seq = 4");
    let error = place.verify().unwrap_err();
    assert_eq!((error.code(), error.seq()), ("E_LEDGER_TAMPERED", Some(4)), "{error}");
}

pub fn a_truncated_tail_is_found(place: &Place) {
    place.fill(10);
    let leaves = match place.location {
        Location::File(_) => "",
        _ => "DELETE FROM leaves WHERE seq >= 6;",
    };
    place.tamper(&format!("{leaves} DELETE FROM entries WHERE seq >= 6"));
    let error = place.verify().unwrap_err();
    assert_eq!((error.code(), error.seq()), ("E_LEDGER_TRUNCATED", Some(6)), "{error}");
}

pub fn a_changed_tile_or_checkpoint_is_found(place: &Place) {
    place.fill(300);
    let size = head(&place.reader()).size();
    place.tamper(&format!("UPDATE tiles SET root = {} WHERE true", place.words().zeros));
    assert_eq!(place.verify().unwrap_err().code(), "E_LEDGER_REWRITTEN");
    let other = place.another();
    other.fill(300);
    other.tamper(&format!("UPDATE checkpoints SET note = replace(note, '{size}', '299') WHERE true"));
    assert_eq!(other.verify().unwrap_err().code(), "E_LEDGER_CHECKPOINT");
}

pub fn a_dropped_trigger_is_reported_and_stops_appending(place: &Place) {
    place.fill(5);
    match &place.vandal {
        Vandal::File(path) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.execute("DROP TRIGGER tiles_delete", ()).unwrap();
        }
        Vandal::Server(..) => place.client("owner").batch_execute("DROP TRIGGER refuse ON tiles").unwrap(),
        #[cfg(feature = "spanner")]
        Vandal::Emulator(..) => unreachable!("it has no triggers"),
    }
    let error = place.verify().unwrap_err();
    assert_eq!((error.code(), error.seq()), ("E_LEDGER_UNPROTECTED", None), "{error}");
    let error = Ledger::open_at(&place.location, Options::default()).unwrap_err();
    assert!(matches!(&error, LedgerError::Unprotected { object, .. } if object.contains("tiles")), "{error}");
}

pub fn update_and_delete_are_refused(place: &Place) {
    place.fill(300);
    for statement in [
        "UPDATE entries SET op = 'x' WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 299",
        "DELETE FROM entries",
        "UPDATE tiles SET id = 7",
        "DELETE FROM checkpoints",
        "INSERT INTO entries SELECT * FROM entries WHERE seq = 2",
    ] {
        let is_refused = match &place.vandal {
            Vandal::File(path) => rusqlite::Connection::open(path).unwrap().execute(statement, ()).is_err(),
            Vandal::Server(..) => {
                ["owner", "writer"].iter().all(|role| place.client(role).execute(statement, &[]).is_err())
            }
            #[cfg(feature = "spanner")]
            Vandal::Emulator(..) => unreachable!("it has no triggers"),
        };
        assert!(is_refused, "{statement}");
    }
    assert_eq!(place.verify().unwrap().size, 300);
}

pub fn reading_creates_nothing(place: &Place) {
    let bare = place.another_bare();
    for _ in 0..2 {
        assert_eq!(Reader::open_at(&bare.location).unwrap_err().code(), "E_LEDGER_NOT_FOUND");
    }
}
