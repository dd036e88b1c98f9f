//! Opening the ledger for writing, as this host's programs do.

use std::path::Path;

use vantio_ledger::{Ledger, LedgerError, Options};
use vantio_phantom::clock_error;

/// Opens the ledger at `path`, with the kernel's word for how wrong the clock may be.
pub fn open_ledger(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open_with(path, Options { clock_error, ..Options::default() })
}
