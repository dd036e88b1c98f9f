//! Reading the documents of a policy from files that may be trusted.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Display,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use vantio_core::Hash;
use vantio_phantom::changes::PathBytes;
use vantio_policy::{
    Compiled, Manifest,
    layers::{Included, compile_whole},
    manifest,
};

use crate::{
    failure::Failure,
    present::shown_path,
    store::{LayerSource, PolicySource},
};

/// Who may have written a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever: a person named it.
    Named,
    /// The user or root, and nobody beside the owner's group.
    Own,
    /// The same, of a file that `VANTIO_MANAGED` names.
    Variable,
    /// Root alone.
    Root,
}

/// Compiles the document at `path`, or the one that it names where it is a manifest, with what
/// that includes.
pub fn load_trusted(path: &Path, trust: Trust) -> Result<(Compiled, LayerSource), Failure> {
    let bytes = read(path, trust)?;
    match manifest(&bytes, &shown_path(path))? {
        None => load_bytes(path, &bytes, trust),
        Some(manifest) => load_named(path, &bytes, &manifest, trust),
    }
}

/// Compiles the policy that a manifest names.
fn load_named(
    path: &Path,
    bytes: &[u8],
    manifest: &Manifest,
    trust: Trust,
) -> Result<(Compiled, LayerSource), Failure> {
    let policy = path.parent().unwrap_or(Path::new("")).join(&manifest.policy_path);
    let unusable = |cause: &dyn Display| {
        manifest.unusable(bytes, &shown_path(path), &shown_path(&policy), &cause.to_string())
    };
    let found = open_trusted(&policy, beyond(trust)).map_err(|cause| unusable(&cause))?;
    let canonical = path.canonicalize().map_err(|cause| unreadable(path, trust, cause))?;
    let (compiled, mut source) = load_bytes(&policy, &found, trust)?;
    source.includes.push((path_bytes(canonical), digest(bytes)));
    Ok((compiled, source))
}

fn load_bytes(path: &Path, bytes: &[u8], trust: Trust) -> Result<(Compiled, LayerSource), Failure> {
    let canonical = path.canonicalize().map_err(|cause| unreadable(path, trust, cause))?;
    let mut includes = Vec::new();
    let mut paths = BTreeMap::from([(shown_path(path), path.to_owned())]);
    let mut find = |text: &str, from: &str| {
        let folder = paths.get(from).and_then(|path| path.parent()).unwrap_or(Path::new(""));
        let found = include(text, folder, trust)?;
        let name = shown_name(found.canonical.as_os_str().as_bytes());
        paths.insert(name.clone(), found.path);
        includes.push((path_bytes(found.canonical), digest(&found.document)));
        Ok(Included { name, document: found.document })
    };
    let compiled = compile_whole(bytes, &shown_path(path), &mut find)?;
    let mut source =
        LayerSource::new(PolicySource::File { path: path_bytes(canonical), digest: digest(bytes) });
    includes.sort_unstable();
    includes.dedup();
    source.includes = includes;
    Ok((compiled, source))
}

fn path_bytes(path: PathBuf) -> PathBytes {
    PathBytes(path.into_os_string().into_encoded_bytes())
}

/// Whether the file at `path` may be used without being named.
pub fn is_trusted(path: &Path, trust: Trust) -> bool {
    path.metadata().is_ok_and(|metadata| distrust(&metadata, trust).is_none())
}

/// What messages call a file: relative to the current folder where it lies beneath.
pub fn shown_name(path: &[u8]) -> String {
    shown_path(&relative(Path::new(OsStr::from_bytes(path))))
}

/// A canonical path from the current folder, where it lies beneath.
pub fn relative(path: &Path) -> PathBuf {
    let directory = std::env::current_dir().and_then(|directory| directory.canonicalize()).ok();
    let relative = directory.and_then(|directory| path.strip_prefix(directory).ok());
    relative.unwrap_or(path).to_owned()
}

/// A document that is included.
struct Found {
    path: PathBuf,
    canonical: PathBuf,
    document: Vec<u8>,
}

/// The document that `text` means in a document of `folder`.
fn include(text: &str, folder: &Path, trust: Trust) -> Result<Found, String> {
    if Path::new(text).components().any(|component| component == Component::ParentDir) {
        return Err(format!("`{text}` leads out of the folder of this document"));
    }
    let path = folder.join(text);
    let unusable = |cause: &dyn Display| format!("`{}` cannot be used: {cause}", shown_path(&path));
    let canonical = path.canonicalize().map_err(|cause| unusable(&cause))?;
    let document = open_trusted(&canonical, beyond(trust)).map_err(|cause| unusable(&cause))?;
    Ok(Found { path, canonical, document })
}

/// Who is trusted with a document that another one names: a person who named that one has
/// not looked at this.
const fn beyond(trust: Trust) -> Trust {
    match trust {
        Trust::Named | Trust::Own | Trust::Variable => Trust::Own,
        Trust::Root => Trust::Root,
    }
}

/// The bytes of a file that nobody but those trusted may have written.
fn open_trusted(path: &Path, trust: Trust) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let reason =
        if metadata.is_file() { distrust(&metadata, trust) } else { Some("it is not a file".into()) };
    if let Some(reason) = reason {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let mut document = Vec::new();
    file.take(READ_MAX).read_to_end(&mut document)?;
    Ok(document)
}

/// Opens a file; what is no file, a pipe without a writer say, holds nobody up.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

/// The document at `path`, up to a size that no policy has.
fn read(path: &Path, trust: Trust) -> Result<Vec<u8>, Failure> {
    let failed = |cause| unreadable(path, trust, cause);
    let file = if trust == Trust::Named { File::open(path) } else { open(path) }.map_err(failed)?;
    if trust != Trust::Named {
        let metadata = file.metadata().map_err(failed)?;
        let reason = if metadata.is_file() {
            distrust(&metadata, trust).or_else(|| distrust_folder(path, trust))
        } else {
            Some("it is not a file".to_owned())
        };
        if let Some(reason) = reason {
            return Err(untrusted(path, trust, &metadata).because(reason));
        }
    }
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whoever may write the folder of an administrator's policy may replace it.
fn distrust_folder(path: &Path, trust: Trust) -> Option<String> {
    if trust != Trust::Root {
        return None;
    }
    let folder = path.parent().and_then(|folder| folder.metadata().ok());
    match folder {
        Some(metadata) => distrust(&metadata, trust).map(|reason| format!("of its folder, {reason}")),
        None => Some("its folder cannot be read".to_owned()),
    }
}

/// Why nobody but those trusted may have written a file; `None` when they may be trusted.
fn distrust(metadata: &Metadata, trust: Trust) -> Option<String> {
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let own = rustix::process::geteuid().as_raw();
    let (is_owner_trusted, others) = match trust {
        Trust::Named => return None,
        Trust::Own | Trust::Variable => (owner == own || owner == 0, 0o002),
        Trust::Root => (owner == 0, 0o022),
    };
    if !is_owner_trusted {
        Some(format!("it belongs to another user (uid {owner})"))
    } else if mode & others != 0 {
        let who = if mode & 0o002 != 0 { "every user" } else { "its group" };
        Some(format!("{who} may change it (mode {:04o})", mode & 0o7777))
    } else {
        None
    }
}

fn untrusted(path: &Path, trust: Trust, metadata: &Metadata) -> Failure {
    let shown = shown_path(path);
    let own = rustix::process::geteuid().as_raw();
    let is_own = metadata.uid() == own || own == 0;
    let remedy = match trust {
        Trust::Root => format!("as root: chown root {shown}; chmod 644 {shown}"),
        _ if !metadata.is_file() => format!("put a file in the place of {shown}, or move it away"),
        _ if is_own && metadata.mode() & 0o002 != 0 => format!("chmod go-w {shown}"),
        _ => format!("make {shown} yours"),
    };
    let help = match trust {
        Trust::Own if metadata.is_file() => format!("{remedy}, or name it if you mean it: --policy {shown}"),
        Trust::Variable => format!("{remedy}; {VARIABLE}"),
        _ => remedy,
    };
    Failure::new("E_POLICY_UNSAFE", format!("the policy `{shown}` was found, but cannot be trusted"))
        .help(help)
}

fn unreadable(path: &Path, trust: Trust, cause: io::Error) -> Failure {
    let shown = shown_path(path);
    let help = match (trust, cause.kind()) {
        (Trust::Root, _) => format!("as root: chmod 644 {shown}; no agent runs without it"),
        (Trust::Variable, _) => VARIABLE.to_owned(),
        (_, io::ErrorKind::PermissionDenied) => format!("make it readable: chmod u+r {shown}"),
        (_, io::ErrorKind::IsADirectory) => "name a file, not a folder".to_owned(),
        _ => "name a file that exists; `vantio init` writes one".to_owned(),
    };
    Failure::misuse("E_POLICY_FILE", format!("the policy `{shown}` cannot be read")).because(cause).help(help)
}

const VARIABLE: &str = "VANTIO_MANAGED names it: no agent runs without it; correct or unset the variable";

fn digest(bytes: &[u8]) -> String {
    Hash::of(bytes).to_string()
}

/// More than a document may have, so that the compiler can say so.
const READ_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_manifest_leads_to_its_policy_or_names_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let manifest = root.path().join("manifest.json");
        fs::write(&manifest, r#"{"authority": {"policy_path": "policies/agent.yaml"}}"#).unwrap();
        let Err(missing) = load_trusted(&manifest, Trust::Named) else {
            panic!("a policy that does not exist was loaded")
        };
        assert!(format!("{missing:?}").contains("policies/agent.yaml"), "{missing:?}");

        fs::create_dir(root.path().join("policies")).unwrap();
        fs::write(root.path().join("policies/agent.yaml"), "version: 1\nname: agent\n").unwrap();
        let loaded = load_trusted(&manifest, Trust::Named);
        let (compiled, source) = loaded.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(compiled.program.name(), Some("agent"));
        let PolicySource::File { path, .. } = source.source else { panic!("it is a file") };
        assert!(path.0.ends_with(b"/policies/agent.yaml"));
    }

    #[test]
    fn files_that_others_may_have_written_are_no_policies() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("policy.yaml");
        fs::write(&path, "version: 1\n").unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            [Trust::Named, Trust::Own, Trust::Root].map(|trust| load_trusted(&path, trust).is_ok())
        };
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(with_mode(0o644), [true, true, is_root]);
        assert_eq!(with_mode(0o664), [true, true, false]);
        assert_eq!(with_mode(0o666), [true, false, false]);
        let policy = root.path().join("including.yaml");
        fs::write(&policy, "version: 1\ninclude: [policy.yaml]\n").unwrap();
        assert!(load_trusted(&policy, Trust::Named).is_err());
        with_mode(0o644);
        assert!(load_trusted(&policy, Trust::Named).is_ok());
        assert!(load_trusted(root.path(), Trust::Own).is_err());
    }
}
