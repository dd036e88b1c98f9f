//! Measures the ledger on the disk of the working directory: `cargo run --release -p bench-ledger`.

use std::{
    collections::VecDeque,
    error::Error,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use vantio_core::{Decision, Hash, RunId, json::Value};
use vantio_ledger::{Draft, Ledger, Reader, Recorded, Terms};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The permitted opening of a file, as a run records it.
fn draft(number: u32) -> Draft {
    let request = [
        ("access", Value::from("read")),
        ("path", format!("/home/alice/project/src/module{}/file{number}.rs", number % 97).into()),
        ("subtree", false.into()),
    ];
    let response = [
        ("cause", Value::from("rule")),
        ("reason", "rule fs.read: /home/alice/project".into()),
        ("rule", "/home/alice/project".into()),
        ("section", "fs.read".into()),
    ];
    Draft {
        run_id: RunId::new(1_700_000_000_000, [7; 10]),
        pid: 41,
        op: "fs.open".into(),
        request: Value::object(request),
        response: Value::object(response),
        keeps_detail: true,
        policy_hash: Hash::of(b"policy"),
        decision: Some(Decision::Permit),
        anomaly: None,
    }
}

fn main() -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let seconds = Duration::from_secs(3);
    let raw = raw(folder.path(), seconds)?;
    println!("raw write and fdatasync {raw:>12.0} /s");
    let one = appenders(&folder.path().join("one.db"), 1, seconds)?;
    println!("1 appender              {one:>12.0} /s  raw/one {:.2}", raw / one);
    let many = appenders(&folder.path().join("many.db"), 64, seconds)?;
    println!("64 appenders            {many:>12.0} /s  many/one {:.2}", many / one);
    let flight = in_flight(&folder.path().join("flight.db"), 2000, seconds)?;
    println!("2000 in flight          {flight:>12.0} /s");
    let (size, rate) = verification(&folder.path().join("verify.db"), 1_000_000)?;
    println!("verification of {size} {rate:>12.0} /s");
    Ok(())
}

fn raw(folder: &Path, time: Duration) -> Outcome<f64> {
    let mut file = File::create(folder.join("raw"))?;
    let bytes = [b'x'; 800];
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// Entries a second of `threads` that each wait for every entry.
fn appenders(path: &Path, threads: u32, time: Duration) -> Outcome<f64> {
    let ledger = Ledger::open(path)?;
    let count = Arc::new(AtomicU32::new(0));
    let start = Instant::now();
    let work: Vec<_> = (0..threads)
        .map(|_| {
            let (ledger, count) = (ledger.clone(), Arc::clone(&count));
            thread::spawn(move || -> Outcome<()> {
                while start.elapsed() < time {
                    ledger.append(draft(count.fetch_add(1, Ordering::Relaxed)))?;
                }
                Ok(())
            })
        })
        .collect();
    for thread in work {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(f64::from(count.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64())
}

/// Entries a second of one thread that lets `pending` of them wait.
fn in_flight(path: &Path, pending: usize, time: Duration) -> Outcome<f64> {
    let ledger = Ledger::open(path)?;
    let (mut waiting, mut count) = (VecDeque::new(), 0);
    let start = Instant::now();
    while start.elapsed() < time {
        waiting.push_back(ledger.submit(draft(count))?);
        count += 1;
        if waiting.len() >= pending
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
    }
    waiting.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn verification(path: &Path, size: u32) -> Outcome<(u64, f64)> {
    let ledger = Ledger::open(path)?;
    let start = Instant::now();
    for number in 0..size {
        while ledger.record(draft(number))? == Recorded::Dropped {}
    }
    ledger.flush()?;
    println!("recorded {:.0} /s", f64::from(size) / start.elapsed().as_secs_f64());
    let reader = Reader::open(path)?;
    let start = Instant::now();
    let verified = reader.verify(&Terms::default())?;
    Ok((verified.size, verified.size as f64 / start.elapsed().as_secs_f64()))
}
