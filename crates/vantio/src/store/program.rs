//! The policies that runs had, beside the ledger: a document may change and a run be discarded,
//! what the ledger says of it stays and names its policy.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use vantio_core::Hash;
use vantio_policy::PolicyProgram;

use super::{StoreError, error, folder};

const FOLDER: &str = "policies";

/// Writes the program under its hash in the state folder `root`, by way of the `run`'s: all of it, or nothing. What is new
/// is on disk before any entry names it.
pub fn write(root: &Path, run: &Path, program: &PolicyProgram) -> Result<(), StoreError> {
    let target = file(root, program.hash());
    let failed = |cause: io::Error| error::folder(&target, cause);
    let policies = root.join(FOLDER);
    folder::create(&policies)?;
    let encoded = program.encode();
    if fs::read(&target).is_ok_and(|kept| kept == encoded) {
        return Ok(());
    }
    let temporary = run.join("policy.new");
    let mut file = folder::create_file(&temporary)?;
    file.write_all(&encoded).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, &target).map_err(failed)?;
    File::open(&policies).and_then(|policies| policies.sync_all()).map_err(failed)
}

/// The program that has the hash; `None` where none was kept, or what was kept is another.
pub fn read(root: &Path, hash: Hash) -> Option<PolicyProgram> {
    let program = PolicyProgram::decode(&fs::read(file(root, hash)).ok()?).ok()?;
    (program.hash() == hash).then_some(program)
}

/// Where the program that has the hash is kept.
pub fn file(root: &Path, hash: Hash) -> PathBuf {
    root.join(FOLDER).join(hash.to_string())
}
