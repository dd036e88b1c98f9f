//! Writes published logs and proofs for the checks of `conformance/tlog`.
//!
//!     cargo run --package vantio-ledger --example tlog_folder -- FOLDER
//!
//! FOLDER must not exist. It gets `tree`, a log of bytes, and `ledger`, a ledger as its reader
//! publishes it. Each has, for several sizes, `SIZE/` as the log is published, `SIZE.json` with
//! proofs, and `SIZE-INDEX.tlog-proof`; beside them the log's verifier key, and that of a witness
//! where one cosigned.

mod ledger;
mod tree;

use std::{error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name the folder to write")?;
    fs::create_dir(&folder)?;
    tree::write(&folder.join("tree"))?;
    ledger::write(&folder.join("ledger"))
}
