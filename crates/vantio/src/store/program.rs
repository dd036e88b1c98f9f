//! The policy that a run had, beside its record: its document may change, the run's past does not.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

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

/// The program of a run; `None` where none was kept, where it was discarded, or where it is not
/// the one that the record names.
pub fn read(folder: &Path, record: &Record) -> Option<PolicyProgram> {
    let program = PolicyProgram::decode(&fs::read(folder.join(FILE)).ok()?).ok()?;
    (program.hash().to_string() == record.policy_hash).then_some(program)
}
