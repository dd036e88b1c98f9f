//! Other programs on a faulty disk.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../crates/vantio-ledger/tests/common/harness.rs"]
mod harness;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use faulty_disk::{Change, Cut, Disk, Fault, Kept, Options};
use harness::Outcome;
use tempfile::TempDir;

fn main() {
    harness::run(&[
        ("programs_see_an_ordinary_folder", || with_disk(&Options::default(), ordinary)),
        ("syncs_take_longer", syncs_take_longer),
        ("the_program_slows_a_folder_down", the_program_slows_a_folder_down),
        ("faults_are_told_and_repaired", || with_disk(&Options::default(), faults)),
        ("what_was_synced_is_in_every_image", || with_disk(&recorded(), images)),
    ]);
}

fn recorded() -> Options {
    Options { is_recorded: true, ..Options::default() }
}

/// Runs a test on a new disk and its backing folder, where there can be one.
fn with_disk(options: &Options, test: impl FnOnce(&Disk, &Path) -> String) -> Outcome {
    if let Err(reason) = faulty_disk::enter_namespace() {
        return Outcome::Skipped(format!("no mount namespace: {reason}"));
    }
    let (backing, place) = folders();
    match Disk::mount(backing.path(), place.path(), options) {
        Err(error) => Outcome::Skipped(format!("cannot mount through FUSE: {error}")),
        Ok(disk) => {
            let seen = test(&disk, backing.path());
            disk.unmount().unwrap();
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "it is still mounted");
            Outcome::Passed(seen)
        }
    }
}

fn folders() -> (TempDir, TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

fn shell(folder: &Path, script: &str) -> Output {
    Command::new("sh").args(["-ec", script]).current_dir(folder).env("LC_ALL", "C").output().unwrap()
}

fn ordinary(disk: &Disk, backing: &Path) -> String {
    let script = "
        mkdir -m 750 folder; echo one > folder/a; echo two >> folder/a; ln folder/a folder/b; mv folder/b c
        printf 12345 > short; truncate -s 2 short; chmod 600 short; truncate -s 5 short
        echo gone > gone; exec 3< gone; rm gone; test \"$(cat <&3)\" = gone
        mkdir empty; rmdir empty; test \"$(ls)\" = \"$(printf 'c\\nfolder\\nshort')\"
        stat -c '%n %a %s %h' c folder/a short; stat -c '%n %a' folder; cat c; od -c short";
    let mounted = shell(disk.folder(), script);
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    let looked = "stat -c '%n %a %s %h' c folder/a short; stat -c '%n %a' folder; cat c; od -c short";
    assert_eq!(mounted.stdout, shell(backing, looked).stdout);
    format!("{} bytes of listing agree", mounted.stdout.len())
}

/// Twenty writes, each with a sync.
const SYNCED: &str = "dd if=/dev/zero of=file bs=512 count=20 oflag=dsync";

fn syncs_take_longer() -> Outcome {
    let options = Options { sync_delay: Duration::from_millis(3), ..recorded() };
    with_disk(&options, |disk, _| {
        let start = Instant::now();
        assert!(shell(disk.folder(), SYNCED).status.success());
        let took = start.elapsed();
        let syncs = disk
            .record()
            .changes
            .iter()
            .filter(|change| matches!(change, Change::Sync { node, .. } if *node != 1))
            .count();
        assert_eq!(syncs, 20);
        assert!(took >= options.sync_delay * 20, "20 syncs took {took:?}");
        format!("20 syncs in {took:?}")
    })
}

fn the_program_slows_a_folder_down() -> Outcome {
    // Only to see whether there can be a mount.
    if let skipped @ Outcome::Skipped(_) = with_disk(&Options::default(), |_, _| String::new()) {
        return skipped;
    }
    let (backing, place) = folders();
    let mut program = Command::new(env!("CARGO_BIN_EXE_faulty-disk"));
    program.args([backing.path(), place.path()]).arg("3000").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = program.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "mounted\n");
    let start = Instant::now();
    assert!(shell(place.path(), SYNCED).status.success());
    let took = start.elapsed();
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert!(took >= Duration::from_millis(60), "20 syncs took {took:?}");
    assert_eq!(fs::metadata(backing.path().join("file")).unwrap().len(), 20 * 512);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "it is still mounted");
    Outcome::Passed(format!("20 syncs in {took:?}"))
}

fn faults(disk: &Disk, _: &Path) -> String {
    let fails = |script: &str, word: &str| {
        let output = shell(disk.folder(), script);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{script}: {said}");
    };
    disk.inject(Fault::Full, 5, u64::MAX);
    fails(SYNCED, "No space left on device");
    fails("mkdir folder", "No space left on device");
    disk.inject(Fault::Write, 3, 1);
    fails(SYNCED, "Input/output error");
    disk.inject(Fault::Sync, 7, 1);
    fails(SYNCED, "Input/output error");
    assert_eq!((disk.failures(), disk.repair(), disk.failures()), (1, 1, 0));
    let open = || File::options().append(true).create(true).open(disk.folder().join("shared")).unwrap();
    let (one, mut other) = (open(), open());
    other.write_all(b"lost").unwrap();
    disk.inject(Fault::Sync, 0, 1);
    for file in [&one, &other] {
        assert_eq!(file.sync_data().unwrap_err().kind(), io::Error::from_raw_os_error(5).kind());
    }
    for file in [&one, &other, &open()] {
        file.sync_data().unwrap();
    }
    disk.inject(Fault::Lie, 0, u64::MAX);
    assert!(shell(disk.folder(), SYNCED).status.success());
    assert_eq!(disk.repair(), 20);
    assert!(shell(disk.folder(), "mkdir folder").status.success());
    "all were told".into()
}

fn images(disk: &Disk, _: &Path) -> String {
    let script = "echo kept > kept; sync kept .; echo nameless > nameless; sync nameless; echo maybe > maybe
        printf longer >> kept";
    assert!(shell(disk.folder(), script).status.success());
    let record = disk.record();
    let is_good = |change: &Change| !matches!(change, Change::Sync { kept, .. } if *kept != Kept::All);
    assert!(record.changes.iter().all(is_good));
    let mut cut = Cut::new(&record, 3);
    cut.advance(record.changes.len());
    assert_eq!(cut.content("kept"), b"kept\nlonger");
    let mut seen = [0; 4];
    for _ in 0..200 {
        let image = tempfile::tempdir().unwrap();
        cut.write_image(image.path(), 512).unwrap();
        let read = |name: &str| fs::read(image.path().join(name)).ok();
        assert!(read("kept").unwrap().starts_with(b"kept\n"));
        assert!(matches!(read("nameless").as_deref(), None | Some(b"nameless\n")));
        seen[0] += usize::from(read("kept").unwrap().len() == 5);
        seen[1] += usize::from(read("kept").unwrap() == b"kept\nlonger");
        seen[2] += usize::from(read("nameless").is_none());
        seen[3] += usize::from(read("maybe").is_some());
    }
    assert!(seen.iter().all(|count| (1..200).contains(count)), "{seen:?}");
    format!("{seen:?} of 200")
}
