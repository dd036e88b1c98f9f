//! Opening the ledger for writing, as this host's programs do.

use std::path::Path;

use vantio_ledger::{ClockError, Ledger, LedgerError, Options};

/// Opens the ledger at `path`, with the kernel's word for how wrong the clock may be.
pub fn open_ledger(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open_with(path, Options { clock_error, ..Options::default() })
}

fn clock_error() -> ClockError {
    let vantio_phantom::ClockError { bound, is_synchronized } = vantio_phantom::clock_error();
    ClockError { bound, is_synchronized }
}
