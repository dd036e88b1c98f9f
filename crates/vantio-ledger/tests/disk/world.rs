//! A disk, the processes that use it, and what they were promised.

use std::{
    env,
    fs::{File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use faulty_disk::{Disk, Options, Random, Record};
use tempfile::TempDir;

use crate::common::{
    harness::Outcome,
    promises::{Promises, write},
};

/// The file beside the ledger's folder in which writers note what they were promised.
pub const NOTES: &str = "promises";
/// The ledger, in a folder that it makes.
pub const LEDGER: &str = "state/ledger.db";

/// Set for a child: what it does, where, with how many threads and how often.
const CHILD: &str = "VANTIO_TEST_DISK_CHILD";

/// A disk, with a ledger or without.
pub struct World {
    pub disk: Disk,
    place: TempDir,
    backing: TempDir,
}

impl World {
    /// A disk with nothing on it.
    pub fn new() -> Self {
        Self::try_on(memory().unwrap()).unwrap()
    }

    /// A disk with what is in a folder.
    pub fn on(backing: TempDir) -> Self {
        Self::try_on(backing).unwrap()
    }

    fn try_on(backing: TempDir) -> std::io::Result<Self> {
        let place = tempfile::tempdir()?;
        let options = Options { is_recorded: true, spared: Some(NOTES.into()), ..Options::default() };
        let disk = Disk::mount(backing.path(), place.path(), &options)?;
        Ok(Self { disk, place, backing })
    }

    /// The ledger beneath the mount, where nothing fails.
    pub fn backing_ledger(&self) -> PathBuf {
        self.backing.path().join(LEDGER)
    }

    /// A writer of so many threads that append so often.
    pub fn start(&self, threads: u32, times: u32) -> Child {
        self.child(&format!("write {threads} {times}"))
    }

    /// Has processes of so many threads write at the same time, and returns the codes of their refusals.
    pub fn refusals(&self, threads: &[u32], times: u32) -> Vec<String> {
        let writers: Vec<_> = threads.iter().map(|threads| self.start(*threads, times)).collect();
        let outputs = writers.into_iter().map(|writer| writer.wait_with_output().unwrap());
        let codes = outputs.flat_map(|output| {
            assert!(output.status.success(), "a writer panicked");
            let said = String::from_utf8(output.stdout).unwrap();
            said.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        codes.collect()
    }

    /// Has another process assert that the promises are kept, on the disk as programs see it.
    pub fn assert_kept(&self, circumstances: &str) {
        let status = self.child("check").wait().unwrap();
        assert!(status.success(), "{circumstances}: a promise was broken");
    }

    /// Has another process close the ledger and begin the next.
    pub fn archive(&self) {
        assert!(self.child("archive").wait().unwrap().success(), "the ledger cannot be closed");
    }

    fn child(&self, what: &str) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(CHILD, what).env("TMPDIR", MEMORY).current_dir(self.place.path()).stdout(Stdio::piped());
        command.spawn().unwrap()
    }
}

pub fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Does what a child is for, in the mounted folder, where it is.
pub fn child() {
    let what = env::var(CHILD).unwrap();
    match what.split(' ').collect::<Vec<_>>()[..] {
        ["check"] => {
            let mut promises = Promises::default();
            take_all(&mut promises, &std::fs::read(NOTES).unwrap_or_default());
            promises.assert_kept(&env::current_dir().unwrap().join(LEDGER), "on the disk as it is");
        }
        ["archive"] => {
            let path = env::current_dir().unwrap().join(LEDGER);
            vantio_ledger::archive(&path, vantio_ledger::Options::default()).unwrap().unwrap();
        }
        ["write", threads, times] => {
            let notes = Mutex::new(OpenOptions::new().create(true).append(true).open(NOTES).unwrap());
            let tell = |line: &str| notes.lock().unwrap().write_all(line.as_bytes()).unwrap();
            let path = env::current_dir().unwrap().join(LEDGER);
            for refusal in write(&path, threads.parse().unwrap(), times.parse().unwrap(), tell) {
                let cause = match &refusal {
                    vantio_ledger::LedgerError::Failed { cause } => cause,
                    other => other,
                };
                println!("{}", cause.code());
            }
        }
        _ => panic!("no child does `{what}`"),
    }
}

/// Takes in all lines.
pub fn take_all(promises: &mut Promises, notes: &[u8]) {
    for line in String::from_utf8_lossy(notes).split_inclusive('\n') {
        promises.take(line);
    }
}

/// A folder in memory, which goes with the namespace: what is tried is what a disk has, and not how
/// fast it is.
pub fn memory() -> std::io::Result<TempDir> {
    tempfile::tempdir_in(MEMORY)
}

const MEMORY: &str = "/dev/shm";

/// Takes away or fills with nonsense what no disk is asked to keep.
pub fn spoil_index(image: &Path, random: &mut Random) {
    let index = image.join(LEDGER).with_extension("db-shm");
    let is_there = index.exists();
    if is_there {
        std::fs::remove_file(&index).unwrap();
    }
    if is_there && random.is_in(50) {
        let nonsense: Vec<u8> = (0..32_768).map(|_| random.next() as u8).collect();
        File::create(&index).unwrap().write_all(&nonsense).unwrap();
    }
}

/// Why no disk can be had here, if none can.
pub fn unavailable() -> Option<Outcome> {
    let reason = match faulty_disk::enter_namespace() {
        Err(reason) => format!("no mount namespace: {reason}"),
        Ok(()) => format!("cannot mount through FUSE: {}", World::try_on(memory().ok()?).err()?),
    };
    Some(Outcome::Skipped(reason))
}

/// The seed of all that is left to chance.
pub fn seed() -> u64 {
    let given = env::var("VANTIO_DISK_SEED").ok();
    given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap())
}

/// How much of all is tried, in hundredths.
pub fn share() -> u64 {
    env::var("VANTIO_DISK_SHARE").map_or(100, |share| share.parse().unwrap())
}

/// One of how many is tried.
pub fn step() -> usize {
    (100 / share()).max(1) as usize
}

/// Moments of a record in order, from one on: half of them just after somebody was promised something.
pub fn places(record: &Record, first: usize, count: u64, random: &mut Random) -> Vec<usize> {
    let mut notes = record.writes_to(NOTES);
    notes.retain(|place| *place >= first);
    let mut any = |number: u64| {
        if number.is_multiple_of(2) && !notes.is_empty() {
            notes[random.below(notes.len() as u64) as usize] + 1
        } else {
            first + random.below((record.changes.len() - first) as u64 + 1) as usize
        }
    };
    let mut places: Vec<_> = (0..count).map(&mut any).collect();
    places.sort_unstable();
    places
}

/// Lets a writer that goes on for ever live for so long.
pub fn kill_after(mut writer: Child, time: Duration) {
    std::thread::sleep(time);
    writer.kill().unwrap();
    writer.wait().unwrap();
}
