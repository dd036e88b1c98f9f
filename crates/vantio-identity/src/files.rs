//! The authority's files: `authority.key` (PKCS#8) and `bundle.pem`.
//!
//! Each is written under a temporary name while its folder is locked, synced, and then
//! renamed, so that of two processes that create at once one wins and both read what it
//! wrote; a crash leaves a whole file or none, and what else it leaves the next one removes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{IdentityError, key::Key};

/// Creates the folder, for its owner alone; refuses one that others may write.
pub(crate) fn prepare_folder(folder: &Path) -> Result<(), IdentityError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("create", folder))?;
    if folder.metadata().map_err(io_error("open", folder))?.mode() & 0o022 != 0 {
        let reason = "other users may replace what is in it; its mode should be 0700";
        return Err(IdentityError::Exposed { path: folder.into(), reason });
    }
    Ok(())
}

/// Reads `authority.key`; creates it when there is none.
pub(crate) fn load_or_create_key(folder: &Path) -> Result<Key, IdentityError> {
    let path = folder.join("authority.key");
    let make = || Ok(key_to_pem(&Key::generate()?));
    let text = load_or_create(&path, 0o077, make)?;
    key_from_pem(&text).ok_or_else(|| damaged(&path, "it is not an Ed25519 key in PKCS#8"))
}

/// Reads `bundle.pem`; creates it with the certificate that `make` builds when
/// there is none.
pub(crate) fn load_or_create_certificate(
    folder: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, IdentityError>,
) -> Result<Vec<u8>, IdentityError> {
    let path = folder.join("bundle.pem");
    let text = load_or_create(&path, 0o022, || Ok(to_pem(CERTIFICATE, &make()?)))?;
    let certificate =
        from_pem(CERTIFICATE, &text).ok_or_else(|| damaged(&path, "it is not a certificate in PEM"))?;
    Ok(certificate.to_vec())
}

/// `forbidden` are the permissions that nobody else may have.
fn load_or_create(
    path: &Path,
    forbidden: u32,
    make: impl FnOnce() -> Result<Zeroizing<String>, IdentityError>,
) -> Result<Zeroizing<String>, IdentityError> {
    match load(path, forbidden) {
        Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    let text = make()?;
    create(path, &text).map_err(io_error("create", path))?;
    load(path, forbidden)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    folder.lock()?;
    let created = if path.symlink_metadata().is_ok() { Ok(()) } else { create_locked(path, text, &folder) };
    // A process that was forked meanwhile has the folder open too.
    folder.unlock().and(created)
}

fn create_locked(path: &Path, text: &str, folder: &File) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    folder.sync_all()
}

fn load(path: &Path, forbidden: u32) -> Result<Zeroizing<String>, IdentityError> {
    let exposed = |reason| IdentityError::Exposed { path: path.into(), reason };
    let metadata = path.symlink_metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(exposed("it is not a regular file"));
    }
    let file = OpenOptions::new().read(true).open(path).map_err(io_error("read", path))?;
    let opened = file.metadata().map_err(io_error("read", path))?;
    if (opened.dev(), opened.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(exposed("it was replaced while it was read"));
    }
    if opened.mode() & forbidden != 0 {
        return Err(exposed("other users may use it; its mode should be 0600"));
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
    let read = file.take(MAX_FILE as u64).read_to_string(&mut text);
    match read {
        Ok(MAX_FILE) => Err(damaged(path, "it is too long")),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(path, "it is not text")),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

fn key_to_pem(key: &Key) -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8_ED25519);
    der[16..].copy_from_slice(key.seed());
    to_pem(PRIVATE_KEY, &*der)
}

fn key_from_pem(text: &str) -> Option<Key> {
    let der = from_pem(PRIVATE_KEY, text)?;
    let seed = der.strip_prefix(&PKCS8_ED25519)?;
    Some(Key::from_seed(seed.try_into().ok()?))
}

/// RFC 7468, with lines of 64 characters.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE.max(body.len() * 2)));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

pub(crate) fn from_pem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.strip_prefix("-----BEGIN ")?.strip_prefix(label)?.strip_prefix("-----\n")?;
    let body = body.strip_suffix("-----\n")?.strip_suffix(label)?.strip_suffix("-----END ")?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    body.lines().for_each(|line| joined.push_str(line));
    Some(Zeroizing::new(STANDARD.decode(joined.as_str()).ok()?))
}

fn damaged(path: &Path, reason: &'static str) -> IdentityError {
    IdentityError::Damaged { path: path.into(), reason }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> IdentityError {
    move |source| IdentityError::Io { action, path: path.into(), source }
}

const PRIVATE_KEY: &str = "PRIVATE KEY";
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
const MAX_FILE: usize = 4096;
/// `OneAsymmetricKey`, version 1, id-Ed25519, and the head of the 32-byte seed
/// (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
