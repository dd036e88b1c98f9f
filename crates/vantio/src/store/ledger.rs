//! Opening the ledger for writing, as this host's programs do.

use vantio_ledger::{Ledger, LedgerError, Location, Options};
use vantio_phantom::clock_error;

use super::Store;

/// Opens the ledger for appending.
pub fn open_ledger(store: &Store) -> Result<Ledger, LedgerError> {
    Ledger::open_at(&appendable(store)?, options())
}

/// Where the ledger is, if it is appended to: a file that lies elsewhere is only read, because no run
/// would be kept from it.
pub fn appendable(store: &Store) -> Result<Location, LedgerError> {
    match store.ledger() {
        Location::File(path) if path != store.own_ledger() => Err(LedgerError::ReadOnly { path }),
        place => Ok(place),
    }
}

/// The usual options, with the kernel's word for how wrong the clock may be.
pub fn options() -> Options {
    Options { clock_error, ..Options::default() }
}
