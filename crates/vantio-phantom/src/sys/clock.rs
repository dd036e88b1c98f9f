//! What the kernel knows about its own wall clock.

use std::{mem, time::Duration};

use vantio_core::ClockError;

/// Asks the kernel (adjtimex(2), `maxerror` and `STA_UNSYNC`); without an answer the clock counts as
/// unsynchronised.
pub fn clock_error() -> ClockError {
    // SAFETY: `timex` is plain old data, for which zeros are a value.
    let mut timex: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: `timex` is writable, and with no modes set the kernel only fills it.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    let bound = Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(u64::MAX));
    let is_synchronized = state >= 0
        && state != libc::TIME_ERROR
        && timex.status & libc::STA_UNSYNC == 0
        && bound < ClockError::UNKNOWN.bound;
    ClockError {
        bound: if is_synchronized { bound } else { bound.max(ClockError::UNKNOWN.bound) },
        is_synchronized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_kernels_or_its_limit() {
        let error = clock_error();
        assert_eq!(error.is_synchronized, error.bound < ClockError::UNKNOWN.bound, "{error:?}");
        assert!(error.bound > Duration::ZERO, "no clock is perfect: {error:?}");
    }
}
