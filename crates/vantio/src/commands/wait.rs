//! Waiting a moment for what another process does.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// Whether `condition` comes true in time.
pub fn comes_true(
    patience: Duration,
    mut condition: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let deadline = Instant::now() + patience;
    while !condition()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

const PAUSE: Duration = Duration::from_millis(10);
