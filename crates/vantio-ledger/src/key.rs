//! The key that a ledger's checkpoints are signed with.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};
use vantio_core::Hash;
use zeroize::Zeroizing;

use crate::{
    LedgerError,
    note::{KeyError, SignedNote, SigningKey, VerifierKey},
    store::io_error,
    whole,
};

/// Where the key of the ledger in the file `path` is.
pub(crate) fn beside(path: &Path) -> PathBuf {
    path.with_extension("key")
}

/// Where the public key of a closed ledger in the file `path` is.
pub(crate) fn public_beside(path: &Path) -> PathBuf {
    path.with_extension("vkey")
}

/// The public key at `path`, where there is one.
pub(crate) fn public(path: &Path) -> Result<Option<VerifierKey>, LedgerError> {
    let text = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(read_error(path))?,
    };
    let key = text.trim_end().parse();
    key.map(Some).map_err(|error: KeyError| LedgerError::Key { path: path.into(), reason: error.to_string() })
}

/// The key at `path`, made at first: only its owner may read it.
pub(crate) fn open_or_make(path: &Path, domain: &str) -> Result<SigningKey, LedgerError> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path, domain)?;
            parse(path, &read(path).map_err(read_error(path))?)
        }
        text => parse(path, &text.map_err(read_error(path))?),
    }
}

/// The key at `path` of a log whose newest checkpoint is `newest`: made at first, but not where another has signed already.
pub(crate) fn of_log(path: &Path, domain: &str, newest: Option<&str>) -> Result<SigningKey, LedgerError> {
    let Some(note) = newest else { return open_or_make(path, domain) };
    let unusable = |reason| LedgerError::Key { path: path.into(), reason };
    let key =
        existing(path)?.ok_or_else(|| unusable("it is not there, and the log has checkpoints".into()))?;
    check_signed(note, &key).map_err(unusable)?;
    Ok(key)
}

/// Refuses a key that did not sign a checkpoint of the log: a log has one.
pub(crate) fn check_signed(note: &str, key: &SigningKey) -> Result<(), String> {
    let note: SignedNote =
        note.parse().map_err(|error| format!("the newest checkpoint is no note: {error}"))?;
    let keys = [key.verifier()];
    let verified = note.verify(&keys);
    verified.map(drop).map_err(|error| format!("the newest checkpoint was not signed with it: {error}"))
}

/// The key at `path`, where there is one.
pub(crate) fn existing(path: &Path) -> Result<Option<SigningKey>, LedgerError> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => parse(path, &text.map_err(read_error(path))?).map(Some),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
    let file = File::from(open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    file.take(MAX_TEXT as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn read_error(path: &Path) -> impl Fn(io::Error) -> LedgerError {
    move |source| match source.kind() {
        io::ErrorKind::InvalidData => LedgerError::Key { path: path.into(), reason: "it is no text".into() },
        _ => io_error("read", path)(source),
    }
}

fn parse(path: &Path, text: &str) -> Result<SigningKey, LedgerError> {
    let unusable = |reason: String| LedgerError::Key { path: path.into(), reason };
    let mode = fs::symlink_metadata(path).map_err(io_error("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable(format!("others than its owner may use it (mode {:03o})", mode & 0o777)));
    }
    let key = text.strip_suffix('\n').unwrap_or(text).parse();
    key.map_err(|error: KeyError| unusable(error.to_string()))
}

/// Makes a key: the first of two makers wins.
fn make(path: &Path, domain: &str) -> Result<(), LedgerError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(LedgerError::Randomness)?;
    let key = name(domain, &seed).and_then(|name| SigningKey::new(&name, &seed));
    let text =
        key.map_err(|error| LedgerError::Key { path: path.into(), reason: error.to_string() })?.secret_text();
    let line = Zeroizing::new([text.as_bytes(), b"\n"].concat());
    whole::create(path, &line)
}

/// A name that no other ledger has: that of the domain, and a part of the public key's digest.
fn name(domain: &str, seed: &[u8; 32]) -> Result<String, KeyError> {
    let key = SigningKey::new(domain, seed)?.verifier();
    Ok(format!("{domain}/ledger/{}", &Hash::of(key.public_key()).to_string()[..16]))
}

/// No key's text is longer.
const MAX_TEXT: usize = 1024;
