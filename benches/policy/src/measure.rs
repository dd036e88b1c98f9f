//! Times and allocations, in interleaved rounds.

use std::time::{Duration, Instant};

use crate::{
    counter,
    stage::{Entrant, Stage},
};

/// A round of a fast subject goes on for so long.
const ROUND: Duration = Duration::from_millis(40);

/// What was measured of one subject at one size.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Nanoseconds a decision: the lowest median of the rounds.
    pub median: f64,
    /// The lowest 99th percentile of the rounds.
    pub p99: f64,
    /// The lowest mean of the rounds.
    pub mean: f64,
    /// Allocations a decision.
    pub allocations: f64,
    /// Bytes allocated a decision.
    pub allocated: f64,
}

/// Measures every subject once a round, so that noise on the machine meets all alike; the quietest round counts.
/// A subject that was refused has no reading.
pub fn measure(stage: &mut Stage, rounds: u32) -> Vec<Option<Reading>> {
    let mut readings = vec![None; stage.entrants.len()];
    for _ in 0..rounds.max(1) {
        for (entrant, reading) in stage.entrants.iter_mut().zip(&mut readings) {
            let Some(round) = round(entrant, &stage.scene.requests) else { continue };
            *reading = Some(reading.map_or(round, |before| quieter(before, round)));
        }
    }
    readings
}

fn round(entrant: &mut Entrant, requests: &[crate::requests::Request]) -> Option<Reading> {
    let subject = entrant.subject.as_mut().ok()?;
    let mut samples = Vec::with_capacity(requests.len() << 6);
    let ((), count) = counter::count(|| {
        for request in requests {
            subject.permits(request);
        }
    });
    let start = Instant::now();
    loop {
        subject.sample(requests, &mut samples);
        if start.elapsed() >= ROUND {
            break;
        }
    }
    samples.sort_unstable_by(f64::total_cmp);
    let asked = requests.len() as f64;
    Some(Reading {
        median: percentile(&samples, 50),
        p99: percentile(&samples, 99),
        mean: samples.iter().sum::<f64>() / samples.len() as f64,
        allocations: count.allocations as f64 / asked,
        allocated: count.allocated as f64 / asked,
    })
}

fn quieter(one: Reading, other: Reading) -> Reading {
    Reading {
        median: one.median.min(other.median),
        p99: one.p99.min(other.p99),
        mean: one.mean.min(other.mean),
        // The first round of all may fill a cache that later ones use.
        allocations: one.allocations.min(other.allocations),
        allocated: one.allocated.min(other.allocated),
    }
}

/// The sample that `percent` of all do not exceed.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
    samples.get(rank).copied().unwrap_or_default()
}
