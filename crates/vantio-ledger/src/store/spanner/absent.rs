//! A program that was built without the Spanner store says so.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    LedgerError,
    note::SigningKey,
    store::{Source, Store},
};

pub(crate) fn open(
    address: &str,
    _keys: &Path,
    _domain: &str,
    _busy: Duration,
) -> Result<(Box<dyn Store>, SigningKey), LedgerError> {
    absent(address)
}

pub(crate) fn open_again(address: &str, _busy: Duration) -> Result<Box<dyn Store>, LedgerError> {
    absent(address)
}

pub(crate) fn source(address: &str) -> Result<(Box<dyn Source>, String), LedgerError> {
    absent(address)
}

pub(crate) fn prepare(address: &str) -> Result<(), LedgerError> {
    absent(address)
}

pub(crate) fn name(address: &str) -> PathBuf {
    address.split('?').next().unwrap_or_default().into()
}

fn absent<Opened>(address: &str) -> Result<Opened, LedgerError> {
    Err(LedgerError::Absent { path: name(address), feature: "spanner" })
}
