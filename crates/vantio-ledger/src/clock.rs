//! Time and identifiers that only move forward.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::LedgerError;

/// A span of time that contains a true moment, as Spanner's TrueTime gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Not before.
    pub earliest: Timestamp,
    /// Not after.
    pub latest: Timestamp,
}

impl Interval {
    /// `time`, give or take `error`; clamped to the range of [`Timestamp`].
    pub(crate) fn around(time: Timestamp, error: Duration) -> Self {
        Self {
            earliest: time.checked_sub(error).unwrap_or(Timestamp::MIN),
            latest: time.checked_add(error).unwrap_or(Timestamp::MAX),
        }
    }
}

/// A writer's clock: every reading is later than the one before, whatever the
/// wall clock does.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last_time: Timestamp,
    last_record: Option<RecordCounter>,
}

impl Clock {
    pub fn now(&mut self) -> Timestamp {
        let after_last = self.last_time.checked_add(Duration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        self.last_time = Timestamp::now().max(after_last);
        self.last_time
    }

    /// A UUIDv7 for `time`, greater than every one before.
    pub fn record_id(&mut self, time: Timestamp) -> Result<Uuid, LedgerError> {
        let unix_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
        let counter = match self.last_record.take() {
            Some(last) if last.unix_ms >= unix_ms => last.next(),
            _ => RecordCounter::random(unix_ms)?,
        };
        let id = counter.uuid();
        self.last_record = Some(counter);
        Ok(id)
    }
}

/// The 74 free bits of a UUIDv7 as one counter, seeded at random with its top
/// bit clear (RFC 9562, section 6.2, method 2).
#[derive(Debug)]
struct RecordCounter {
    unix_ms: u64,
    tail: u128,
}

impl RecordCounter {
    fn random(unix_ms: u64) -> Result<Self, LedgerError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(LedgerError::Randomness)?;
        Ok(Self { unix_ms, tail: u128::from_be_bytes(bytes) & (TAIL >> 1) })
    }

    fn next(self) -> Self {
        if self.tail == TAIL {
            Self { unix_ms: self.unix_ms + 1, tail: 0 }
        } else {
            Self { tail: self.tail + 1, ..self }
        }
    }

    fn uuid(&self) -> Uuid {
        let tail_high = self.tail >> 62;
        let tail_low = self.tail & ((1 << 62) - 1);
        let time = u128::from(self.unix_ms) << 80;
        Uuid::from_u128(time | 7 << 76 | tail_high << 64 | 2 << 62 | tail_low)
    }
}

const TAIL: u128 = (1 << 74) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_rise_when_the_clock_stands_or_falls() {
        let mut clock = Clock::default();
        let start = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let offsets = [0_i64, 0, 5, -1000, 5, 6, -1, 0];
        let ids: Vec<Uuid> = offsets
            .iter()
            .map(|ms| {
                clock.record_id(Timestamp::from_millisecond(start.as_millisecond() + ms).unwrap()).unwrap()
            })
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
    }

    #[test]
    fn an_exhausted_millisecond_borrows_from_the_next() {
        let next = RecordCounter { unix_ms: 7, tail: TAIL }.next();
        assert_eq!((next.unix_ms, next.tail), (8, 0));
        assert!(next.uuid() > RecordCounter { unix_ms: 7, tail: TAIL }.uuid());
    }

    #[test]
    fn times_rise() {
        let mut clock = Clock { last_time: Timestamp::MAX, ..Clock::default() };
        assert_eq!(clock.now(), Timestamp::MAX);
        let mut clock = Clock::default();
        let times: Vec<_> = (0..1000).map(|_| clock.now()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
