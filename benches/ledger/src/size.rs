//! Ledgers of several sizes: how fast they are written and verified, and in how much memory.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};
use vantio_ledger::{Ledger, Reader, Terms};

use crate::{
    append,
    failure::{Failure, system},
    place::Place,
    stopwatch::{Spent, Stopwatch},
};

/// The size that a promise is about.
pub const PROMISED: u64 = 1_000_000;
/// How often a ledger is verified: the quietest time counts.
const ROUNDS: usize = 3;

/// What was measured of one size.
pub struct Size {
    /// How many entries.
    pub entries: u64,
    /// Writing them, [`append::FLIGHT`].
    pub written: Part,
    /// Verifying them.
    pub verified: Part,
    /// Bytes of the file.
    pub file: u64,
}

/// What one process did.
#[derive(Clone, Copy)]
pub struct Part {
    /// The time it took.
    pub spent: Spent,
    /// The most memory that it had, in bytes.
    pub peak: u64,
}

/// Writes and verifies a ledger of so many entries.
pub fn measure(place: &Place, entries: u64) -> Result<Size, Failure> {
    let file = place.file(&format!("size-{entries}.db"));
    let written = part(&["write", &entries.to_string()], &file)?;
    let mut verified = part(&["verify"], &file)?;
    for _ in 1..ROUNDS {
        let again = part(&["verify"], &file)?;
        if again.spent.wall < verified.spent.wall {
            verified.spent = again.spent;
        }
        verified.peak = verified.peak.max(again.peak);
    }
    if verified.spent.entries != entries {
        return Err(Failure::Part(format!("{} entries of {entries} are there", verified.spent.entries)));
    }
    let bytes = fs::metadata(&file).map_err(system("look at a ledger"))?.len();
    fs::remove_file(&file).map_err(system("remove a ledger"))?;
    Ok(Size { entries, written, verified, file: bytes })
}

/// Runs this program again, for one part.
fn part(words: &[&str], file: &Path) -> Result<Part, Failure> {
    let program = env::current_exe().map_err(system("find this program"))?;
    let mut command = Command::new(program);
    command.args(words).arg(file).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(system("start a part"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let part = serde_json::from_str(&said).ok().as_ref().and_then(Part::read);
    part.filter(|_| output.status.success()).ok_or_else(|| Failure::Part(said.into_owned()))
}

/// The part that writes.
pub fn write(entries: u64, file: &Path) -> Result<(), Failure> {
    let ledger = Ledger::open(file)?;
    let watch = Stopwatch::start();
    let count = append::submit(&ledger, |count| count < entries)?;
    let spent = watch.spent(count);
    drop(ledger);
    Part::say(spent)
}

/// The part that verifies, on one core.
pub fn verify(file: &Path) -> Result<(), Failure> {
    let refused = |error: rustix::io::Errno| system("choose a core")(error.into());
    let allowed = sched_getaffinity(None).map_err(refused)?;
    let mut one = CpuSet::new();
    if let Some(core) = (0..CpuSet::MAX_CPU).rfind(|core| allowed.is_set(*core)) {
        one.set(core);
        sched_setaffinity(None, &one).map_err(refused)?;
    }
    let reader = Reader::open(file)?;
    let watch = Stopwatch::start();
    let verified = reader.verify(&Terms::default())?;
    Part::say(watch.spent(verified.size))
}

impl Part {
    /// Prints what this process took.
    fn say(Spent { entries, wall, cpu }: Spent) -> Result<(), Failure> {
        let status = fs::read_to_string("/proc/self/status").map_err(system("read the memory's peak"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.ok_or_else(|| Failure::Part("the kernel tells no peak".to_owned()))? * 1024;
        let (wall, cpu) = (wall.as_nanos() as u64, cpu.as_nanos() as u64);
        println!("{}", json!({ "entries": entries, "wall": wall, "cpu": cpu, "peak": peak }));
        Ok(())
    }

    /// Reads what a process printed.
    fn read(said: &Value) -> Option<Self> {
        let number = |name: &str| said.get(name)?.as_u64();
        let time = |name| Some(Duration::from_nanos(number(name)?));
        let spent = Spent { entries: number("entries")?, wall: time("wall")?, cpu: time("cpu")? };
        Some(Self { spent, peak: number("peak")? })
    }
}
