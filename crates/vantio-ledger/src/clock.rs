//! Time and identifiers that only move forward.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::ClockError;

use crate::{LedgerError, chain::Chain};

/// A span of time that contains a true moment, as Spanner's TrueTime gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Not before.
    pub earliest: Timestamp,
    /// Not after.
    pub latest: Timestamp,
    /// False when nothing disciplined the clock: it may then have been set to any time, and the
    /// interval says only what the clock read.
    pub is_synchronized: bool,
}

/// A reading of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub time: Timestamp,
    pub error: ClockError,
}

impl Reading {
    /// The interval of what is handed over at this reading and written down as
    /// of `time`, which is no earlier.
    pub fn interval(&self, time: Timestamp) -> Interval {
        Interval {
            earliest: self.time.checked_sub(self.error.bound).unwrap_or(Timestamp::UNIX_EPOCH),
            latest: time.checked_add(self.error.bound).unwrap_or(Timestamp::MAX),
            is_synchronized: self.error.is_synchronized,
        }
    }
}

/// A chain's clock: every time is later than the one before, whatever the wall
/// clock does.
#[derive(Debug)]
pub(crate) struct Clock {
    last_time: Timestamp,
    last_record: Option<RecordCounter>,
}

impl Clock {
    /// The clock of a chain that ends at `time`, with a newest record `record_id`.
    pub fn after(time: Timestamp, record_id: Option<Uuid>) -> Self {
        Self { last_time: time, last_record: record_id.map(RecordCounter::of) }
    }

    /// The clock of `chain`.
    pub fn after_chain(chain: &Chain) -> Self {
        let time = str::from_utf8(&chain.time).ok().and_then(|text| text.parse().ok());
        Self::after(time.unwrap_or(Timestamp::UNIX_EPOCH), chain.record_id)
    }

    /// The time of an entry that was handed over at `reading`.
    pub fn stamp(&mut self, reading: Timestamp) -> Timestamp {
        let after_last = self.last_time.checked_add(Duration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        self.last_time = reading.max(after_last);
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
    fn of(id: Uuid) -> Self {
        let bits = id.as_u128();
        let tail_high = bits >> 64 & 0xfff;
        Self { unix_ms: (bits >> 80) as u64, tail: tail_high << 62 | bits & ((1 << 62) - 1) }
    }

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

    fn start() -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000).unwrap()
    }

    fn later(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(start().as_millisecond() + ms).unwrap()
    }

    #[test]
    fn record_ids_rise_when_the_clock_stands_or_falls_and_over_a_restart() {
        let mut clock = Clock::after(start(), None);
        let mut ids: Vec<Uuid> =
            [0, 0, 5, -1000, 5, 6, -1, 0].map(|ms| clock.record_id(later(ms)).unwrap()).into();
        let mut restarted = Clock::after(start(), ids.last().copied());
        ids.extend([0, -5, 6, 7].map(|ms| restarted.record_id(later(ms)).unwrap()));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(ids.iter().all(|id| RecordCounter::of(*id).uuid() == *id));
    }

    #[test]
    fn an_exhausted_millisecond_borrows_from_the_next() {
        let next = RecordCounter { unix_ms: 7, tail: TAIL }.next();
        assert_eq!((next.unix_ms, next.tail), (8, 0));
        assert!(next.uuid() > RecordCounter { unix_ms: 7, tail: TAIL }.uuid());
    }

    #[test]
    fn times_rise_even_when_the_wall_clock_jumps_back() {
        let mut clock = Clock::after(start(), None);
        let times = [10, 10, -86_400_000, 11].map(|ms| clock.stamp(later(ms)));
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        assert_eq!(times[3], later(11), "the wall clock is believed again once it is ahead");
        assert_eq!(Clock::after(Timestamp::MAX, None).stamp(start()), Timestamp::MAX);
    }

    #[test]
    fn an_interval_holds_the_reading_and_the_time_written_down() {
        let error = ClockError { bound: Duration::from_millis(2), is_synchronized: true };
        let interval = Reading { time: later(-5000), error }.interval(start());
        let expected = Interval { earliest: later(-5002), latest: later(2), is_synchronized: true };
        assert_eq!(interval, expected);
    }
}
