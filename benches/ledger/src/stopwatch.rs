//! What work takes: of the clock, and of all cores together.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// What some entries took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// How many entries.
    pub entries: u64,
    /// Time by the clock.
    pub wall: Duration,
    /// Time of this process on all cores, the kernel's work for it included.
    pub cpu: Duration,
}

impl Spent {
    /// Entries a second.
    pub fn rate(&self) -> f64 {
        self.entries as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of the clock an entry.
    pub fn micros(&self) -> f64 {
        self.wall.as_secs_f64() * 1e6 / self.entries as f64
    }

    /// Microseconds of all cores an entry.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.entries as f64
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// A start.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    /// Time by the clock so far.
    pub fn elapsed(&self) -> Duration {
        self.wall.elapsed()
    }

    /// What `entries` took.
    pub fn spent(&self, entries: u64) -> Spent {
        Spent { entries, wall: self.wall.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
