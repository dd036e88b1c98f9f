//! Closing a ledger: nothing is lost, each log vouches for the next, whenever the process dies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, slice::from_ref};

use common::{open, place};
use crash_points::{Ending, Point};
use vantio_core::json::Value;
use vantio_ledger::{
    Archive, Filter, Ledger, Options, RETENTION_DAYS, Reader, Terms, Timestamp, archive, archives, expire,
};

/// Set for a process that works on the ledger at this path.
const LEDGER: &str = "VANTIO_TEST_ARCHIVE";

fn fill(path: &Path, count: u32) {
    let ledger = Ledger::open(path).unwrap();
    for number in 0..count {
        ledger.record(open(number)).unwrap();
    }
}

fn close(path: &Path) -> Archive {
    archive(path, Options::default()).unwrap().expect("there is something to archive")
}

/// Verifies a ledger with the key that belongs to it; how many entries it has.
fn verify(path: &Path) -> u64 {
    let reader = Reader::open(path).unwrap();
    let keys = reader.verifier_key().unwrap().into_iter().collect();
    let verified = reader.verify(&Terms { keys, checkpoint: None }).unwrap();
    assert_eq!(verified.checkpoints, verified.signed);
    verified.size
}

fn first(path: &Path) -> vantio_ledger::Entry {
    Reader::open(path).unwrap().entry(0).unwrap().unwrap()
}

/// Each log is closed by an entry that names the next one's key, and begun by one that names the one before.
fn check_links(path: &Path) {
    let logs = archives(path).unwrap();
    for (index, Archive { path: file, head, key, .. }) in logs.iter().enumerate() {
        let next = logs.get(index + 1).map_or(path, |archive| &archive.path);
        let begin = first(next);
        assert_eq!(begin.op, "ledger.begin");
        assert_eq!(begin.request().text("key"), Some(key.to_string().as_str()));
        assert_eq!(begin.request().text("root"), Some(head.root().to_string().as_str()));
        assert_eq!(begin.request().member("entries"), Some(&Value::Integer(head.size().cast_signed())));
        let end = Reader::open(file).unwrap().entry(head.size() - 1).unwrap().unwrap();
        let successor = Reader::open(next).unwrap().verifier_key().unwrap().unwrap();
        assert_eq!(
            (end.op.as_str(), end.request().text("next")),
            ("ledger.end", Some(successor.to_string().as_str()))
        );
    }
}

#[test]
fn a_ledger_is_closed_and_another_goes_on() {
    let (_folder, path) = place();
    fill(&path, 300);
    let key = Reader::open(&path).unwrap().verifier_key().unwrap().unwrap();
    let closed = close(&path);
    assert_eq!((closed.head.size(), closed.key == key), (301, true));
    assert_eq!(verify(&closed.path), 301);
    assert_eq!(verify(&path), 1, "it begins with its predecessor's name");
    fill(&path, 10);
    close(&path);
    fill(&path, 5);
    assert_eq!(
        archives(&path).unwrap().iter().map(|archive| archive.head.size()).collect::<Vec<_>>(),
        [301, 12]
    );
    check_links(&path);
    assert_eq!(
        names(path.parent().unwrap()),
        ["archive", "ledger.db", "ledger.key"],
        "nothing else is left, least of all a closed log's key"
    );
}

#[test]
fn an_archive_is_only_read() {
    let (_folder, path) = place();
    fill(&path, 3);
    let closed = close(&path);
    assert_eq!(fs::metadata(&closed.path).unwrap().permissions().mode() & 0o777, 0o400);
    fs::set_permissions(&closed.path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Ledger::open(&closed.path).unwrap_err().code(), "E_LEDGER_CLOSED");
    let reader = Reader::open(&closed.path).unwrap();
    assert_eq!(reader.entries(&Filter::default()).count(), 4);
    assert!(reader.prove(1).is_ok(), "an archived entry is still proved");
}

#[test]
fn nothing_is_archived_while_somebody_has_the_ledger_open() {
    let (_folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ledger.append(open(0)).unwrap();
    assert_eq!(archive(&path, Options::default()).unwrap_err().code(), "E_LEDGER_BUSY");
    ledger.append(open(1)).unwrap();
    drop(ledger);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.size().unwrap(), 2);
    assert_eq!(
        archive(&path, Options::default()).unwrap_err().code(),
        "E_LEDGER_BUSY",
        "a reader counts too"
    );
    drop(reader);
    assert_eq!(close(&path).head.size(), 3);
}

#[test]
fn what_has_no_entries_of_its_own_is_not_archived() {
    let (_folder, path) = place();
    drop(Ledger::open(&path).unwrap());
    assert_eq!(archive(&path, Options::default()).unwrap(), None);
    fill(&path, 1);
    close(&path);
    assert_eq!(archive(&path, Options::default()).unwrap(), None);
    assert_eq!(verify(&path), 1);
}

#[test]
fn archives_go_after_seven_years_and_the_ledger_tells() {
    let (_folder, path) = place();
    fill(&path, 2);
    let closed = close(&path);
    let days = |days: i64| Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    assert!(expire(&path, days(RETENTION_DAYS - 1), Options::default()).unwrap().is_empty());
    assert_eq!(archives(&path).unwrap(), from_ref(&closed));
    assert_eq!(expire(&path, days(RETENTION_DAYS + 1), Options::default()).unwrap(), from_ref(&closed));
    assert!(archives(&path).unwrap().is_empty() && !closed.path.exists());
    let told = Reader::open(&path).unwrap().entry(1).unwrap().unwrap();
    assert_eq!(told.op, "ledger.expire");
    assert_eq!(told.request().text("root"), Some(closed.head.root().to_string().as_str()));
    assert_eq!(verify(&path), 2);
}

#[test]
fn archiving_that_is_killed_at_any_call_is_completed() {
    if let Some(path) = env::var_os(LEDGER) {
        archive(Path::new(&path), Options::default()).unwrap();
        return;
    }
    let (_folder, path) = place();
    fill(&path, 3);
    let child = child("archiving_that_is_killed_at_any_call_is_completed", &path);
    let (mut written, mut interrupted) = (3, 0);
    for call in 0.. {
        let before = archives(&path).unwrap().len();
        let report = crash_points::run(&child, Some(Point::Before(call))).unwrap();
        if report.ending == Ending::Exited(0) {
            break;
        }
        assert_eq!(report.ending, Ending::Killed);
        let what = format!("{call} ({:?})", report.calls.last());
        assert!(verify(&path) > 0, "{what}: it is read as it is");
        let is_done = archives(&path).unwrap().len() > before;
        interrupted += u32::from(!is_done);
        archive(&path, Options::default()).unwrap();
        assert_eq!(archives(&path).unwrap().len(), before + 1, "{what}");
        assert_eq!(names(path.parent().unwrap()), ["archive", "ledger.db", "ledger.key"], "{what}");
        // What was interrupted refuses entries until it is completed.
        Ledger::open(&path).unwrap().append(open(0)).unwrap();
        written += 3;
    }
    println!("killed at {interrupted} calls before the last step");
    assert!(interrupted > 60, "{interrupted}");
    check_links(&path);
    let all: u64 = archives(&path).unwrap().iter().map(|archive| verify(&archive.path)).sum();
    assert_eq!(all + verify(&path), written + 2, "every entry, an end and a beginning for each archive");
}

#[test]
fn an_expiry_that_is_killed_at_any_call_is_completed_and_told_once() {
    let now = Timestamp::now() + jiff::SignedDuration::from_hours(24 * (RETENTION_DAYS + 1));
    if let Some(path) = env::var_os(LEDGER) {
        expire(Path::new(&path), now, Options::default()).unwrap();
        return;
    }
    let (_folder, path) = place();
    let child = child("an_expiry_that_is_killed_at_any_call_is_completed_and_told_once", &path);
    let mut closed = Vec::new();
    fill(&path, 1);
    for call in 0.. {
        // What was told before stays in the ledger: only that of the last archive is looked for.
        closed.push(close(&path).key.to_string());
        let report = crash_points::run(&child, Some(Point::Before(call))).unwrap();
        let what = format!("{call} ({:?})", report.calls.last());
        verify(&path);
        archives(&path).unwrap().iter().for_each(|archive| assert!(verify(&archive.path) > 0, "{what}"));
        expire(&path, now, Options::default()).unwrap();
        assert!(names(&path.with_file_name("archive")).is_empty(), "{what}");
        let reader = Reader::open(&path).unwrap();
        let filter = Filter { op: Some("ledger.expire".into()), ..Filter::default() };
        let told: Vec<_> = reader.entries(&filter).map(|entry| entry.unwrap()).collect();
        let told: Vec<_> = told.iter().map(|entry| entry.request().text("key").unwrap()).collect();
        assert_eq!(told, [closed.last().unwrap()], "{what}");
        if report.ending == Ending::Exited(0) {
            break;
        }
        assert_eq!(report.ending, Ending::Killed);
    }
    println!("killed at {} calls", closed.len());
    assert!(closed.len() > 20);
}

/// What is in a folder, but for the log of the ledger that is in use.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("ledger.db-")).collect();
    names.sort();
    names
}

/// This program with one test, which works on the ledger at `path`.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test]).env(LEDGER, path);
    command
}
