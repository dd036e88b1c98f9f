//! Writers that are killed at random moments, and several at once.
//!
//! This binary starts itself again as a writer; it has no test harness, because
//! a writer must be a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use common::{open, place, refusal, run};
use vantio_core::json::Value;
use vantio_ledger::{Draft, Filter, Ledger, Reader};

/// Set for a writer: the ledger's path.
const LEDGER: &str = "VANTIO_TEST_LEDGER";
/// How many writers are killed; 50 when unset.
const ROUNDS: &str = "VANTIO_CRASH_ROUNDS";

fn main() {
    if let Some(path) = env::var_os(LEDGER) {
        return write(Path::new(&path));
    }
    let tests: [(&str, fn()); 2] = [
        ("killed_writers_lose_nothing", killed_writers_lose_nothing),
        ("several_processes_share_one_chain", several_processes_share_one_chain),
    ];
    // The options of the usual harness that say which tests to run.
    let (options, filters): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|word| word.starts_with('-'));
    let is_listing = options.iter().any(|option| option == "--list");
    let is_wanted =
        |name: &str| is_listing || filters.is_empty() || filters.iter().any(|part| name.contains(part));
    if options.iter().any(|option| option == "--ignored") {
        return;
    }
    for (name, test) in tests.into_iter().filter(|(name, _)| is_wanted(name)) {
        if is_listing {
            println!("{name}: test");
        } else {
            test();
        }
    }
}

/// Appends from several threads for ever, and prints what was acknowledged.
fn write(path: &Path) {
    let ledger = Ledger::open(path).unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let ledger = ledger.clone();
            scope.spawn(move || write_from_one_thread(&ledger, number));
        }
    });
}

fn write_from_one_thread(ledger: &Ledger, number: u32) {
    for count in 0.. {
        let draft = if count % 4 == 3 { refusal(count) } else { open(count) };
        ledger.record(Draft { run_id: run(2), ..draft.clone() }).unwrap();
        let response = Value::from(format!("{} {number} {count}", std::process::id()));
        let receipt = ledger.append(Draft { response, ..draft }).unwrap();
        // One write, so that a kill cuts no line that another thread continues.
        let line = format!("{} {} {number} {count}\n", receipt.seq, receipt.this_hash);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

fn start(path: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(LEDGER, path).stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills `writer` after `delay` from its first acknowledgement, and returns all
/// its acknowledgements: sequence number, hash, and its own numbering.
fn kill_after(mut writer: Child, delay: Duration) -> Vec<(u64, String, String)> {
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let reader = thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());
    thread::sleep(delay);
    writer.kill().unwrap();
    let pid = writer.id();
    writer.wait().unwrap();
    let rest = reader.join().unwrap();
    [first].iter().chain(&rest).filter_map(|line| parse(pid, line)).collect()
}

/// The last line may be cut.
fn parse(pid: u32, line: &str) -> Option<(u64, String, String)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [seq, hash, number, count] = words[..] else { return None };
    Some((seq.parse().unwrap(), hash.into(), format!("{pid} {number} {count}")))
}

fn killed_writers_lose_nothing() {
    let rounds: u64 = env::var(ROUNDS).map_or(50, |rounds| rounds.parse().unwrap());
    let mut total = 0;
    for ledgers in 0..rounds.div_ceil(KILLS_PER_LEDGER) {
        let (_folder, path) = place();
        let mut acknowledged = Vec::new();
        for kill in 0..KILLS_PER_LEDGER.min(rounds - ledgers * KILLS_PER_LEDGER) {
            let delay = Duration::from_micros(pseudo_random(ledgers * KILLS_PER_LEDGER + kill) % 40_000);
            acknowledged.extend(kill_after(start(&path), delay));
            check(&path, &acknowledged);
        }
        total += acknowledged.len();
    }
    println!("killed_writers_lose_nothing: {rounds} kills, {total} acknowledged entries, none lost");
}

const KILLS_PER_LEDGER: u64 = 5;

fn check(path: &Path, acknowledged: &[(u64, String, String)]) {
    let ledger = Ledger::open(path).expect("the ledger opens after a kill");
    ledger.append(open(0)).expect("the ledger accepts entries after a kill");
    let reader = Reader::open(path).unwrap();
    let verified = reader.verify(&vantio_ledger::Terms::default()).expect("the chain verifies after a kill");
    assert_eq!(reader.entries(&Filter::default()).count() as u64, verified.size);
    for (seq, hash, response) in acknowledged {
        let entry = reader.entry(*seq).unwrap().expect("an acknowledged entry is there");
        assert_eq!((&entry.this_hash.to_string(), entry.response()), (hash, &Value::from(response.as_str())));
    }
}

/// Different on every run, and even enough for a delay.
fn pseudo_random(round: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(round)
}

fn several_processes_share_one_chain() {
    let (_folder, path) = place();
    let writers: Vec<_> = (0..4).map(|_| start(&path)).collect();
    let threads = writers
        .into_iter()
        .map(|writer| thread::spawn(move || kill_after(writer, Duration::from_millis(300))));
    let threads: Vec<_> = threads.collect();
    let acknowledged: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let seqs: BTreeSet<u64> = acknowledged.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(seqs.len(), acknowledged.len(), "two processes were given the same place");
    check(&path, &acknowledged);
    println!("several_processes_share_one_chain: {} acknowledged entries", acknowledged.len());
}
