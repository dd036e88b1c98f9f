//! Files that are no ledgers, and places that cannot be written.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{filled, open, place, verify};
use rusqlite::Connection;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use vantio_ledger::{Filter, Ledger, LedgerError, Reader};

fn codes(path: &Path) -> (&'static str, &'static str) {
    let writing = Ledger::open(path).err().map_or("opened", |error| error.code());
    let reading = Reader::open(path).err().map_or("opened", |error| error.code());
    (writing, reading)
}

fn with_folder(path: &Path) -> &Path {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let (_folder, path) = place();
    fs::write(
        with_folder(&path),
        "#!/bin/sh\necho not a ledger, but long enough to have had a header\n".repeat(9),
    )
    .unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_FORMAT", "E_LEDGER_FORMAT"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn other_databases_are_refused_and_left_alone() {
    let (_folder, path) = place();
    let connection = Connection::open(with_folder(&path)).unwrap();
    connection.execute_batch("CREATE TABLE entries (seq INTEGER)").unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_FORMAT", "E_LEDGER_FORMAT"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_empty_file_is_damage() {
    let (_folder, path) = place();
    fs::write(with_folder(&path), "").unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_DAMAGED", "E_LEDGER_DAMAGED"));
}

#[test]
fn a_file_cut_short_is_damage() {
    let (_folder, path) = place();
    filled(&path, 100);
    let length = path.metadata().unwrap().len();
    // Less than a page may be missing after a crash, while the log still has the whole of it.
    let page: u32 =
        Connection::open(&path).unwrap().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    for keep in [length / 2, length - u64::from(page)] {
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        assert_eq!(codes(&path), ("E_LEDGER_DAMAGED", "E_LEDGER_DAMAGED"), "{keep} of {length}");
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let (_folder, path) = place();
    filled(&path, 1);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(matches!(error, LedgerError::Version { found: 7, .. }), "{error}");
    assert!(error.to_string().contains("format 7"), "{error}");
    assert_eq!(codes(&path), ("E_LEDGER_VERSION", "E_LEDGER_VERSION"));
}

#[test]
fn reading_creates_nothing() {
    let (folder, path) = place();
    assert_eq!(Reader::open(&path).unwrap_err().code(), "E_LEDGER_NOT_FOUND");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_symbolic_link_in_the_files_place_is_refused_for_writing() {
    let (folder, path) = place();
    filled(&path, 1);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_ne!(codes(&link).0, "opened");
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &dangling).unwrap();
    assert_ne!(codes(&dangling).0, "opened");
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn a_name_with_every_special_character_opens() {
    let (folder, _) = place();
    let path = folder.path().join("a b?c#d%e'f/\u{e9}&mode=rwc.db");
    filled(&path, 2);
    assert_eq!(verify(&path).unwrap(), 2);
}

#[test]
fn several_openers_at_once_create_one_ledger() {
    let (_folder, path) = place();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || Ledger::open(path).unwrap().append(open(number)).unwrap());
        }
    });
    assert_eq!(verify(&path).unwrap(), 8);
}

#[test]
fn a_busy_file_is_waited_for_and_then_refused() {
    let (_folder, path) = place();
    filled(&path, 1);
    let blocker = Connection::open(&path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let options = vantio_ledger::Options { busy: std::time::Duration::from_millis(30), ..Default::default() };
    assert_eq!(Ledger::open_with(&path, options).unwrap_err().code(), "E_LEDGER_BUSY");
    assert_eq!(verify(&path).unwrap(), 1, "reading does not wait for writers");
}

/// A mount that goes away with the value; `None` where mounting is not permitted.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

fn tmpfs<'a>(folder: &'a Path, size: &str) -> Option<Mounted<'a>> {
    let options = std::ffi::CString::new(format!("size={size}")).unwrap();
    let mounted = mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(options.as_c_str()));
    mounted.inspect_err(|error| eprintln!("skipped: cannot mount a tmpfs: {error}")).ok()?;
    Some(Mounted(folder))
}

#[test]
fn a_full_disk_stops_the_ledger_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = tmpfs(folder.path(), "1m") else { return };
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match ledger.append(open(acknowledged)) {
            Ok(receipt) => assert_eq!(receipt.seq, u64::from(acknowledged)),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert_eq!(error.code(), "E_LEDGER_FULL", "{error}");
    assert_eq!(ledger.append(open(0)).unwrap_err().code(), "E_LEDGER_FAILED");
    assert_eq!(ledger.record(open(0)).unwrap_err().code(), "E_LEDGER_FAILED");
    assert_eq!(ledger.flush().unwrap_err().code(), "E_LEDGER_FAILED");
    drop(ledger);
    assert_eq!(verify(&path).unwrap(), u64::from(acknowledged));
}

#[test]
fn a_ledger_in_a_read_only_file_system_can_be_read() {
    let (_folder, path) = place();
    filled(&path, 10);
    let folder = path.parent().unwrap();
    if let Err(error) = mount_bind(folder, folder) {
        eprintln!("skipped: cannot mount: {error}");
        return;
    }
    let _mounted = Mounted(folder);
    mount_remount(folder, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    assert_eq!(verify(&path).unwrap(), 10);
    assert_eq!(Ledger::open(&path).unwrap_err().code(), "E_LEDGER_READ_ONLY");
}

#[test]
fn a_long_write_ahead_log_that_a_killed_writer_left_is_cut_by_whoever_opens_the_ledger() {
    let (folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..200 {
        ledger.append(open(number)).unwrap();
    }
    let left = folder.path().join("left");
    fs::create_dir(&left).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.key"] {
        fs::copy(path.with_file_name(name), left.join(name)).unwrap();
    }
    let length = || fs::metadata(left.join("ledger.db-wal")).unwrap().len();
    assert!(length() > 1 << 17, "long enough to be cut");
    let ledger = Ledger::open(&left.join("ledger.db")).unwrap();
    assert!(length() < 1 << 14);
    ledger.append(open(200)).unwrap();
    drop(ledger);
    assert_eq!(verify(&left.join("ledger.db")).unwrap(), 201);
}

#[test]
fn a_write_ahead_log_that_a_killed_writer_left_is_read_in_a_read_only_folder() {
    let (folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..10 {
        ledger.append(open(number)).unwrap();
    }
    // What a copy of the files of a running ledger, without the index, amounts to.
    let evidence = folder.path().join("evidence");
    fs::create_dir(&evidence).unwrap();
    fs::copy(&path, evidence.join("ledger.db")).unwrap();
    fs::copy(path.with_extension("db-wal"), evidence.join("ledger.db-wal")).unwrap();
    fs::set_permissions(&evidence, PermissionsExt::from_mode(0o500)).unwrap();
    let mounted = mount_bind(&evidence, &evidence).is_ok().then(|| Mounted(&evidence));
    if mounted.is_some() {
        mount_remount(&evidence, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    }
    let reader = Reader::open(&evidence.join("ledger.db")).unwrap();
    assert_eq!(reader.verify(&vantio_ledger::Terms::default()).unwrap().size, 10);
    assert_eq!(reader.entries(&Filter::default()).count(), 10);
    assert_eq!(fs::read_dir(&evidence).unwrap().count(), 2);
    drop(mounted);
    fs::set_permissions(&evidence, PermissionsExt::from_mode(0o700)).unwrap();
}

/// A new key would sign what follows, and no key would have signed all.
#[test]
fn a_ledger_goes_on_with_no_other_key() {
    let (_folder, path) = place();
    filled(&path, 3);
    let key = path.with_extension("key");
    let own = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_KEY", "opened"));
    assert!(!key.exists());
    let (_other_folder, other) = place();
    filled(&other, 1);
    fs::copy(other.with_extension("key"), &key).unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_KEY", "opened"));
    fs::write(&key, own).unwrap();
    assert_eq!(codes(&path), ("opened", "opened"));
    verify(&path).unwrap();
}

#[test]
fn a_header_without_a_layout_is_damage() {
    let (_folder, path) = place();
    filled(&path, 1);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 0).unwrap();
    assert_eq!(codes(&path), ("E_LEDGER_DAMAGED", "E_LEDGER_DAMAGED"));
}

#[test]
fn a_ledger_whose_tiles_have_their_root_last_is_read_and_continued() {
    let (_folder, path) = place();
    filled(&path, 1);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "writable_schema", true).unwrap();
    let before =
        "CREATE TABLE tiles (id INTEGER PRIMARY KEY, hashes BLOB NOT NULL, root BLOB NOT NULL) STRICT";
    let changed =
        connection.execute("UPDATE sqlite_schema SET sql = ?1 WHERE name = 'tiles'", [before]).unwrap();
    assert_eq!(changed, 1);
    drop(connection);
    for _ in 0..3 {
        filled(&path, 300);
    }
    assert_eq!(verify(&path).unwrap(), 901);
}
