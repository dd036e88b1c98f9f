//! Times and allocations, in interleaved rounds.

use std::time::{Duration, Instant};

use crate::{
    counter::{self, Count},
    requests::Request,
    stage::{Entrant, Stage},
};

/// Rounds that give a steady median.
pub const ROUNDS: usize = 5;
/// A round of a fast subject goes on for so long.
const ROUND: Duration = Duration::from_millis(40);
/// A round of a slow one ends after so long, whether or not it came to every request.
const LIMIT: Duration = Duration::from_millis(800);
/// The least requests between two looks at the clock. They are in no order, so that some stand for all.
const STRETCH: usize = 8;

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

/// Measures every subject once a round, so that noise on the machine meets all alike; the quietest round
/// counts. A subject that was refused has no reading.
pub fn measure(stage: &mut Stage, rounds: usize) -> Vec<Option<Reading>> {
    let requests = &stage.scene.requests;
    let entrants = &mut stage.entrants;
    let counts: Vec<_> = entrants.iter_mut().map(|entrant| allocations(entrant, requests)).collect();
    let mut readings = vec![None; entrants.len()];
    for round in 0..rounds.max(1) {
        for ((entrant, reading), count) in entrants.iter_mut().zip(&mut readings).zip(&counts) {
            let Some(samples) = samples(entrant, requests, round) else { continue };
            let one = Reading::new(&samples, *count);
            *reading = Some(reading.map_or(one, |before: Reading| before.quieter(one)));
        }
    }
    readings
}

/// Allocations and bytes a decision, once every cache is filled: all requests have been answered before.
fn allocations(entrant: &mut Entrant, requests: &[Request]) -> (f64, f64) {
    let Ok(subject) = &mut entrant.subject else { return Default::default() };
    let start = Instant::now();
    let mut asked = 0;
    let mut total = Count::default();
    for stretch in requests.chunks(subject.batch().max(STRETCH)) {
        let ((), count) = counter::count(|| {
            for request in stretch {
                subject.permits(request);
            }
        });
        asked += stretch.len();
        total.allocations += count.allocations;
        total.allocated += count.allocated;
        if start.elapsed() >= LIMIT {
            break;
        }
    }
    (total.allocations as f64 / asked as f64, total.allocated as f64 / asked as f64)
}

/// The samples of one round: every request at least once, unless that takes too long; the next round then
/// begins with others.
fn samples(entrant: &mut Entrant, requests: &[Request], round: usize) -> Option<Vec<f64>> {
    let subject = entrant.subject.as_mut().ok()?;
    let mut samples = Vec::new();
    let stretches: Vec<_> = requests.chunks(subject.batch().max(STRETCH)).collect();
    let first = round * stretches.len() / ROUNDS % stretches.len().max(1);
    let start = Instant::now();
    for (done, stretch) in stretches.iter().cycle().skip(first).enumerate() {
        let enough = if done < stretches.len() { LIMIT } else { ROUND };
        if done > 0 && start.elapsed() >= enough {
            break;
        }
        subject.sample(stretch, &mut samples);
    }
    samples.sort_unstable_by(f64::total_cmp);
    Some(samples)
}

impl Reading {
    fn new(samples: &[f64], (allocations, allocated): (f64, f64)) -> Self {
        Self {
            median: percentile(samples, 50),
            p99: percentile(samples, 99),
            mean: samples.iter().sum::<f64>() / samples.len() as f64,
            allocations,
            allocated,
        }
    }

    fn quieter(self, other: Self) -> Self {
        Self {
            median: self.median.min(other.median),
            p99: self.p99.min(other.p99),
            mean: self.mean.min(other.mean),
            ..self
        }
    }
}

/// The sample that `percent` of all do not exceed.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
    samples.get(rank).copied().unwrap_or_default()
}
