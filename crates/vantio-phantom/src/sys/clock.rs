//! What the kernel knows about its own wall clock.

use std::{mem, time::Duration};

/// How far the wall clock may be from the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockError {
    /// The kernel's bound of the error (adjtimex(2), `maxerror`).
    pub bound: Duration,
    /// False when nothing disciplines the clock (`STA_UNSYNC`): it may then have been set to any time.
    pub is_synchronized: bool,
}

/// Beyond this bound Linux calls its clock unsynchronised (`NTP_PHASE_LIMIT`).
const PHASE_LIMIT: Duration = Duration::from_secs(16);

/// Asks the kernel; without an answer the clock counts as unsynchronised.
pub fn clock_error() -> ClockError {
    // SAFETY: `timex` is plain old data, for which zeros are a value.
    let mut timex: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: `timex` is writable, and with no modes set the kernel only fills it.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    let bound = Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(u64::MAX));
    let is_synchronized = state >= 0
        && state != libc::TIME_ERROR
        && timex.status & libc::STA_UNSYNC == 0
        && bound < PHASE_LIMIT;
    ClockError { bound: if is_synchronized { bound } else { bound.max(PHASE_LIMIT) }, is_synchronized }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_kernels_or_its_limit() {
        let error = clock_error();
        assert_eq!(error.is_synchronized, error.bound < PHASE_LIMIT, "{error:?}");
        assert!(error.bound > Duration::ZERO, "no clock is perfect: {error:?}");
    }
}
