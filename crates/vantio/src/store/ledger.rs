//! Opening the ledger for writing, as this host's programs do.

use vantio_ledger::{ClockError, Ledger, LedgerError, Location, Options};

/// Opens the ledger at `place`, with the kernel's word for how wrong the clock may be.
pub fn open_ledger(place: &Location) -> Result<Ledger, LedgerError> {
    Ledger::open_at(place, Options { clock_error, ..Options::default() })
}

fn clock_error() -> ClockError {
    let vantio_phantom::ClockError { bound, is_synchronized } = vantio_phantom::clock_error();
    ClockError { bound, is_synchronized }
}
