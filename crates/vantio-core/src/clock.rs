//! How far a clock can be believed.

use core::time::Duration;

/// How far a wall clock may be from the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockError {
    /// The bound of the error.
    pub bound: Duration,
    /// False when nothing disciplines the clock: it may then have been set to any time.
    pub is_synchronized: bool,
}

impl ClockError {
    /// Of a clock that nobody can ask: the bound beyond which Linux calls its clock unsynchronised
    /// (`NTP_PHASE_LIMIT`).
    pub const UNKNOWN: Self = Self { bound: Duration::from_secs(16), is_synchronized: false };
}
