//! Writing an entry in canonical form, beside hashing it and beside a canonicaliser of any value.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use vantio_ledger::measure::Link;

use crate::{draft::draft, failure::Failure};

/// Nanoseconds an entry: the quietest round.
pub struct Canonical {
    /// Bytes of the text.
    pub bytes: usize,
    /// Writing the text.
    pub write: f64,
    /// Hashing it into the chain.
    pub hash: f64,
    /// Writing the same text with serde_jcs from a `serde_json::Value`.
    pub generic: f64,
}

const ROUNDS: usize = 25;
const ROUND: Duration = Duration::from_millis(20);
/// Entries between two looks at the clock.
const STRETCH: u32 = 64;

/// Measures, in interleaved rounds.
pub fn measure() -> Result<Canonical, Failure> {
    let link = Link::new(draft(0))?;
    let text = link.write();
    let refused = |error: serde_json::Error| Failure::Form(format!("serde_jcs: {error}"));
    let value: serde_json::Value = serde_json::from_str(&text).map_err(refused)?;
    if serde_jcs::to_string(&value).map_err(refused)? != text {
        return Err(Failure::Form("serde_jcs writes an entry in another way".to_owned()));
    }
    let mut canonical =
        Canonical { bytes: text.len(), write: f64::INFINITY, hash: f64::INFINITY, generic: f64::INFINITY };
    for _ in 0..ROUNDS {
        canonical.write = canonical.write.min(nanoseconds(|| drop(black_box(black_box(&link).write()))));
        canonical.hash = canonical.hash.min(nanoseconds(|| {
            black_box(link.hash(black_box(&text)));
        }));
        let generic = nanoseconds(|| drop(black_box(serde_jcs::to_string(black_box(&value)))));
        canonical.generic = canonical.generic.min(generic);
    }
    Ok(canonical)
}

fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        (0..STRETCH).for_each(|_| work());
        count += STRETCH;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}
