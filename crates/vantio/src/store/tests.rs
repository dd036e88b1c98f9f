use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use tempfile::TempDir;
use vantio_phantom::changes::PathBytes;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(&folder.path().join("state/vantio")).unwrap();
    (folder, store)
}

fn record(unix_ms: u64) -> Record {
    Record {
        id: RunId::new(unix_ms, [3; 10]),
        name: Some("web".into()),
        command: vec![PathBytes(b"sh".to_vec()), PathBytes(b"\xff\xfe".to_vec())],
        directory: PathBytes(b"/w".to_vec()),
        workspace: PathBytes(b"/w".to_vec()),
        policy: PolicySource::File { path: PathBytes(b"/w/vantio.yaml".to_vec()), digest: "d".into() },
        layers: Vec::new(),
        policy_hash: "h".into(),
        mode: "enforce".into(),
        commit: "review".into(),
        drops_details: false,
        withheld: Vec::new(),
        detached: false,
        backend: "notify".into(),
        started_ns: 1_700_000_000_123_456_789,
        ended: None,
        state: State::Running,
        outcome: Some(Outcome::Exited(3)),
        pending: Some(2),
    }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let (_folder, store) = store();
    let claim = store.create(record(1)).unwrap();
    assert_eq!(store.read(claim.record.id).unwrap(), record(1));
    let mode = fs::metadata(store.folder(claim.record.id).join("run.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_record_of_another_version_or_run_is_refused() {
    let (_folder, store) = store();
    let claim = store.create(record(1)).unwrap();
    let (id, path) = (claim.record.id, store.folder(claim.record.id).join("run.json"));
    let text = fs::read_to_string(&path).unwrap();

    fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(matches!(store.read(id), Err(StoreError::Version { found: 2, supported: 1, .. })));
    fs::write(&path, text.replace(&id.to_string(), &record(2).id.to_string())).unwrap();
    assert!(matches!(store.read(id), Err(StoreError::Damaged { .. })));
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(store.read(id), Err(StoreError::Damaged { .. })));
}

#[test]
fn the_folder_is_private_and_refused_when_it_is_not() {
    let (_folder, store) = store();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(store.root()), mode(&store.runs())), (0o700, 0o700));
    fs::set_permissions(store.root(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(Store::at(store.root()), Err(StoreError::Writable { mode: 0o770, .. })));
    fs::set_permissions(store.root(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Store::at(store.root()).is_ok());
}

#[test]
fn the_folder_is_named_by_where_it_is() {
    let (folder, store) = store();
    let link = folder.path().join("link");
    symlink(store.root(), &link).unwrap();
    assert_eq!(Store::at(&link).unwrap().root(), store.root());
}

#[test]
fn a_held_run_is_nobody_elses() {
    let (_folder, store) = store();
    let claim = store.create(record(1)).unwrap();
    let id = claim.record.id;
    assert!(store.is_held(id).unwrap());
    assert!(matches!(store.claim(id), Err(StoreError::Busy { .. })));
    assert_eq!(store.abandoned().unwrap().len(), 0);

    claim.release().unwrap();
    assert!(!store.is_held(id).unwrap());
    store.claim(id).unwrap().release().unwrap();
    assert!(!store.lock(id).exists());
}

#[test]
fn a_run_that_does_not_exist_cannot_be_held() {
    let (_folder, store) = store();
    assert!(matches!(store.claim(record(1).id), Err(StoreError::Unknown { .. })));
    assert_eq!(fs::read_dir(store.held()).unwrap().count(), 0);
}

#[test]
fn what_a_crash_left_is_found_and_held() {
    let (_folder, store) = store();
    let claim = store.create(record(1)).unwrap();
    store.create(record(2)).unwrap().release().unwrap();
    // A process that dies lets go of its locks, and leaves the file.
    drop(claim);
    let abandoned = store.abandoned().unwrap();
    let ids = abandoned.iter().map(|claim| claim.as_ref().unwrap().record.id);
    assert_eq!(ids.collect::<Vec<_>>(), [record(1).id]);
    assert!(store.is_held(record(1).id).unwrap());
}

#[test]
fn a_damaged_record_is_in_no_other_runs_way_and_goes_with_its_run() {
    let (_folder, store) = store();
    for ms in [1, 2] {
        drop(store.create(record(ms)).unwrap());
    }
    let id = record(1).id;
    // The power was lost before it was on disk.
    fs::write(store.folder(id).join("run.json"), "").unwrap();
    let abandoned = store.abandoned().unwrap();
    assert!(matches!(&abandoned[0], Err(StoreError::Damaged { id: damaged, .. }) if *damaged == id));
    assert_eq!(abandoned[1].as_ref().unwrap().record.id, record(2).id);

    let refused = store.erase(id, |_| Err(StoreError::NoPlace));
    assert!(matches!(refused, Err(StoreError::NoPlace)) && store.folder(id).exists());
    store.erase(id, |_| Ok::<_, StoreError>(())).unwrap();
    assert!(!store.folder(id).exists() && !store.lock(id).exists());
}

#[test]
fn a_folder_without_a_record_is_removed_with_its_lock() {
    let (_folder, store) = store();
    let folder: PathBuf = store.folder(record(1).id);
    fs::create_dir(&folder).unwrap();
    fs::write(store.lock(record(1).id), "").unwrap();
    // Of this one there is nothing but the lock.
    fs::write(store.lock(record(2).id), "").unwrap();
    assert_eq!(store.abandoned().unwrap().len(), 0);
    assert!(!folder.exists());
    assert_eq!(fs::read_dir(store.held()).unwrap().count(), 0);
}

#[test]
fn runs_are_listed_by_age_and_strangers_ignored() {
    let (_folder, store) = store();
    for ms in [9, 1, 5] {
        store.create(record(ms)).unwrap().release().unwrap();
    }
    fs::create_dir(store.runs().join("not-a-run")).unwrap();
    assert_eq!(store.ids().unwrap(), [1, 5, 9].map(|ms| record(ms).id));
    assert_eq!(store.resolve("last").unwrap(), record(9).id);
}

#[test]
fn a_run_is_made_while_others_look_for_what_a_crash_left() {
    let (_folder, store) = store();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    // What is being made may look abandoned for a moment; whether that can be removed is not asked here.
                    let _ = store.abandoned();
                }
            });
        }
        let failed: Vec<_> = (1..300).filter_map(|ms| store.create(record(ms)).err()).collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[test]
fn what_runs_leave_is_kept_apart_where_the_file_system_knows_how() {
    let (_folder, store) = store();
    let flags = || rustix::fs::ioctl_getflags(fs::File::open(store.runs()).unwrap());
    let Ok(before) = flags() else { return };
    let spread = before | rustix::fs::IFlags::TOPDIR;
    if rustix::fs::ioctl_setflags(fs::File::open(store.runs()).unwrap(), spread).is_err() {
        return;
    }
    rustix::fs::ioctl_setflags(fs::File::open(store.runs()).unwrap(), spread - rustix::fs::IFlags::TOPDIR)
        .unwrap();
    Store::at(store.root()).unwrap();
    assert!(flags().unwrap().contains(rustix::fs::IFlags::TOPDIR));
}

#[test]
fn a_run_has_the_folder_that_was_laid_ahead_and_the_next_one_its_own() {
    let (_folder, store) = store();
    lay_ahead(&store.runs());
    let ahead = fs::metadata(store.runs().join(".next")).unwrap();
    assert_eq!(ahead.mode() & 0o777, 0o700);
    // It is nobody's run.
    assert_eq!(store.ids().unwrap(), []);
    for (ms, is_ahead) in [(1, true), (2, false)] {
        store.create(record(ms)).unwrap().release().unwrap();
        let taken = fs::metadata(store.folder(record(ms).id)).unwrap();
        assert_eq!(taken.ino() == ahead.ino(), is_ahead);
    }
    assert!(!store.runs().join(".next").exists());
}
