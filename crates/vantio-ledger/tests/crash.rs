//! Writers that are killed at random moments: threads of one process, processes beside others that
//! go on, and all at once.
//!
//! This binary starts itself again as a writer; it has no test harness, because a writer must be a
//! process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use common::{
    harness::{self, Outcome},
    place,
    promises::{Promises, write},
};

/// Set for a writer: the ledger's path, and how many threads append to it.
const LEDGER: &str = "VANTIO_TEST_LEDGER";
const THREADS: &str = "VANTIO_TEST_THREADS";
/// How many times a writer is killed; 500 when unset.
const ROUNDS: &str = "VANTIO_CRASH_ROUNDS";

/// Threads or processes that append at the same time.
const WRITERS: u32 = 8;

fn main() {
    if let Some(path) = env::var_os(LEDGER) {
        let threads = env::var(THREADS).unwrap().parse().unwrap();
        // One write for each line, so that a kill cuts no line that another thread continues.
        let tell = |line: &str| std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        panic!("a writer was refused: {:?}", write(Path::new(&path), threads, u32::MAX, tell));
    }
    harness::run(&[
        ("a_killed_process_loses_nothing", a_killed_process_loses_nothing),
        ("a_process_killed_beside_others_loses_nothing", a_process_killed_beside_others_loses_nothing),
        ("processes_killed_all_at_once_lose_nothing", processes_killed_all_at_once_lose_nothing),
    ]);
}

/// Six tenths of all kills: one process with eight threads.
fn a_killed_process_loses_nothing() -> Outcome {
    let kills = rounds() * 6 / 10;
    let mut total = Total::default();
    for first in (0..kills).step_by(10) {
        let (_folder, path) = place();
        let mut promises = Promises::default();
        for kill in first..kills.min(first + 10) {
            let mut writer = Writer::start(&path, WRITERS);
            // Now and then it is killed while it opens the ledger.
            if kill % 4 == 0 {
                sleep_up_to(15_000);
            } else {
                writer.wait_for_promise();
                sleep_up_to(80_000);
            }
            promises.extend(writer.kill());
            promises.assert_kept(&path, "after a kill");
        }
        total.add(kills.min(first + 10) - first, &promises);
    }
    total.outcome()
}

/// Two tenths of all kills: of eight processes four, one by one while the others go on and four new
/// ones come, and then all.
fn a_process_killed_beside_others_loses_nothing() -> Outcome {
    let mut total = Total::default();
    for _ in 0..(rounds() * 2 / 10).div_ceil(4 + WRITERS) {
        let (_folder, path) = place();
        let mut promises = Promises::default();
        let mut writers = Writer::start_all(&path);
        writers.iter_mut().for_each(Writer::wait_for_promise);
        for _ in 0..4 {
            sleep_up_to(20_000);
            promises.extend(writers.remove(0).kill());
            let mut all = promises.clone();
            for writer in &writers {
                all.extend(writer.promises());
            }
            all.assert_kept(&path, "while others write");
            writers.push(Writer::start(&path, 1));
        }
        promises.extend(Writer::kill_all(writers));
        promises.assert_kept(&path, "after all were killed");
        total.add(4 + WRITERS, &promises);
    }
    total.outcome()
}

/// The other two tenths: eight processes at once.
fn processes_killed_all_at_once_lose_nothing() -> Outcome {
    let kills = rounds() * 2 / 10;
    let mut total = Total::default();
    for _ in 0..kills.div_ceil(2 * WRITERS) {
        let (_folder, path) = place();
        let mut promises = Promises::default();
        for are_all_ready in [false, true] {
            let mut writers = Writer::start_all(&path);
            let ready = if are_all_ready { writers.len() } else { 1 };
            writers[..ready].iter_mut().for_each(Writer::wait_for_promise);
            sleep_up_to(100_000);
            promises.extend(Writer::kill_all(writers));
            promises.assert_kept(&path, "after all were killed at once");
        }
        total.add(2 * WRITERS, &promises);
    }
    total.outcome()
}

fn rounds() -> u32 {
    env::var(ROUNDS).map_or(500, |rounds| rounds.parse().unwrap())
}

/// A process that appends for ever.
struct Writer {
    process: Child,
    promises: Arc<Mutex<Promises>>,
    first: mpsc::Receiver<()>,
    listener: JoinHandle<()>,
}

impl Writer {
    fn start(path: &Path, threads: u32) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        // What it leaves when it is killed goes with the test's folder.
        command.env("TMPDIR", path.ancestors().nth(2).unwrap());
        command.env(LEDGER, path).env(THREADS, threads.to_string()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let promises = Arc::new(Mutex::new(Promises::default()));
        let (told, first) = mpsc::sync_channel(1);
        let listener = thread::spawn({
            let promises = Arc::clone(&promises);
            move || {
                let mut line = String::new();
                while lines.read_line(&mut line).unwrap() > 0 {
                    promises.lock().unwrap().take(&line);
                    line.clear();
                    let _ = told.try_send(());
                }
            }
        });
        Self { process, promises, first, listener }
    }

    fn start_all(path: &Path) -> Vec<Self> {
        (0..WRITERS).map(|_| Self::start(path, 1)).collect()
    }

    /// Returns when it was acknowledged something.
    fn wait_for_promise(&mut self) {
        self.first.recv().expect("a writer is acknowledged something");
    }

    fn promises(&self) -> Promises {
        self.promises.lock().unwrap().clone()
    }

    /// Kills all before it waits for any.
    fn kill_all(mut writers: Vec<Self>) -> Promises {
        for writer in &mut writers {
            writer.process.kill().unwrap();
        }
        let mut all = Promises::default();
        for writer in writers {
            all.extend(writer.kill());
        }
        all
    }

    fn kill(mut self) -> Promises {
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        self.listener.join().unwrap();
        assert_eq!(status.code(), None, "it was not killed, but ended");
        self.promises.lock().unwrap().clone()
    }
}

/// Different on every run: the moment is what is tried.
fn sleep_up_to(microseconds: u64) {
    thread::sleep(Duration::from_micros(RandomState::new().hash_one(0) % microseconds));
}

/// What all ledgers of a test went through.
#[derive(Default)]
struct Total {
    kills: u32,
    entries: usize,
    checkpoints: usize,
}

impl Total {
    fn add(&mut self, kills: u32, promises: &Promises) {
        let (entries, checkpoints) = promises.counts();
        self.kills += kills;
        self.entries += entries;
        self.checkpoints += checkpoints;
    }

    fn outcome(self) -> Outcome {
        let Self { kills, entries, checkpoints } = self;
        Outcome::Passed(format!(
            "{kills} kills, {entries} acknowledged entries and {checkpoints} checkpoints, none lost"
        ))
    }
}
