//! What is promised of the ledger, and whether it holds here.

use crate::{
    append::{self, Reading, times},
    canonical::Canonical,
    size::{PROMISED, Size},
    stopwatch::Spent,
};

/// A promise.
pub struct Goal {
    /// In words.
    pub text: &'static str,
    /// What was measured, where it was.
    pub measured: Option<f64>,
    /// Its unit.
    pub unit: &'static str,
    holds: fn(f64) -> bool,
}

impl Goal {
    /// Whether it holds, where it was measured.
    pub fn is_met(&self) -> Option<bool> {
        self.measured.map(self.holds)
    }

    /// The same in words.
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "-",
        }
    }
}

/// Every goal, against what was measured.
pub fn goals(appending: &[Reading], sizes: &[Size], canonical: &Canonical) -> Vec<Goal> {
    let of = |kind| appending.iter().find(|reading| reading.kind == kind);
    let goal = |text, unit, measured, holds| Goal { text, measured, unit, holds };
    let promised = sizes.iter().find(|size| size.entries == PROMISED);
    vec![
        goal(
            "an append takes at most 1.4 times a raw write and fdatasync of its bytes",
            " times",
            times(appending, append::RAW, append::ONE),
            |value| value <= 1.4,
        ),
        goal(
            "64 threads append at least 6 times as many entries as one",
            " times",
            times(appending, append::MANY, append::ONE),
            |value| value >= 6.0,
        ),
        goal(
            "with 2,000 in flight at least 250,000 entries a second are durable, chained and indexed",
            " /s",
            of(append::FLIGHT).and_then(|reading| reading.median(Spent::rate)),
            |value| value >= 250_000.0,
        ),
        goal(
            "where every sync takes 3 ms longer, 64 threads append at least 40 times as many entries as one",
            " times",
            times(appending, append::SLOW_MANY, append::SLOW_ONE),
            |value| value >= 40.0,
        ),
        goal(
            "over 600,000 entries a second of 1,000,000 are verified on one core",
            " /s",
            promised.map(|size| size.verified.spent.rate()),
            |value| value > 600_000.0,
        ),
        goal(
            "writing takes as much memory for many entries as for few",
            " times",
            growth(sizes, |size| size.written.peak),
            is_flat,
        ),
        goal(
            "verifying takes as much memory for many entries as for few",
            " times",
            growth(sizes, |size| size.verified.peak),
            is_flat,
        ),
        goal(
            "writing an entry in canonical form takes no longer than hashing it",
            " times",
            Some(canonical.write / canonical.hash),
            |value| value <= 1.0,
        ),
    ]
}

/// How much more memory the largest size takes than the smallest.
fn growth(sizes: &[Size], peak: impl Fn(&Size) -> u64) -> Option<f64> {
    let smallest = sizes.iter().min_by_key(|size| size.entries)?;
    let largest = sizes.iter().max_by_key(|size| size.entries)?;
    (smallest.entries < largest.entries).then(|| peak(largest) as f64 / peak(smallest) as f64)
}

/// A few thousand entries do not fill every cache yet; beyond, a hundred times as many take no more.
fn is_flat(growth: f64) -> bool {
    growth <= 1.5
}
