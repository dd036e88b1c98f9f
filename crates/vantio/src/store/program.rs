//! The policy that a run had, beside its record: its document may change, the run's past does not.
//!
//! A copy by its hash outlives the run's folder: what the ledger says was decided under it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use vantio_core::Hash;
use vantio_policy::PolicyProgram;

use super::{Record, StoreError, error};

const FILE: &str = "policy.bin";

/// Writes the program in the run's `folder`: all of it, or nothing.
pub fn write(folder: &Path, program: &PolicyProgram) -> Result<(), StoreError> {
    let target = folder.join(FILE);
    let failed = |cause: io::Error| error::folder(&target, cause);
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    temporary.write_all(&program.encode()).map_err(failed)?;
    temporary.persist(&target).map_err(|cause| failed(cause.error))?;
    Ok(())
}

/// Keeps the program in `folder` by its hash, unless it is there.
pub fn keep(folder: &Path, program: &PolicyProgram) -> Result<(), StoreError> {
    let target = folder.join(format!("{}.bin", program.hash()));
    if target.exists() {
        return Ok(());
    }
    let failed = |cause: io::Error| error::folder(&target, cause);
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    temporary.write_all(&program.encode()).map_err(failed)?;
    temporary.persist(&target).map_err(|cause| failed(cause.error))?;
    Ok(())
}

/// The program of this hash that was kept in `folder`.
pub fn kept(folder: &Path, hash: Hash) -> Option<PolicyProgram> {
    let bytes = fs::read(folder.join(format!("{hash}.bin"))).ok()?;
    PolicyProgram::decode(&bytes).ok().filter(|program| program.hash() == hash)
}

/// The program of a run; `None` where none was kept, where it was discarded, or where it is not
/// the one that the record names.
pub fn read(folder: &Path, record: &Record) -> Option<PolicyProgram> {
    let program = PolicyProgram::decode(&fs::read(folder.join(FILE)).ok()?).ok()?;
    (program.hash().to_string() == record.policy_hash).then_some(program)
}
