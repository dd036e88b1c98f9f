//! Opening the ledger for writing, as this host's programs do.

use vantio_ledger::{Ledger, LedgerError, Location, Options};
use vantio_phantom::clock_error;

/// Opens the ledger at `place`, with the kernel's word for how wrong the clock may be.
pub fn open_ledger(place: &Location) -> Result<Ledger, LedgerError> {
    Ledger::open_at(place, Options { clock_error, ..Options::default() })
}
