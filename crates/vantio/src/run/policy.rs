//! Finding and compiling a policy.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use vantio_core::Hash;
use vantio_phantom::changes::PathBytes;
use vantio_policy::{Compiled, Manifest, PRESETS, compile, manifest, preset};

use crate::{
    failure::Failure,
    present::{shown, shown_path},
    store::PolicySource,
};

/// A compiled policy and where it came from.
pub struct Policy {
    /// What it means, and where its rules stand.
    pub compiled: Compiled,
    /// Where it came from.
    pub source: PolicySource,
    /// What `${workspace}` stands for; canonical.
    pub workspace: PathBuf,
}

/// Where a policy is looked for in a folder.
pub const FILE_NAMES: [&str; 2] = ["vantio.yaml", ".vantio/policy.yaml"];

/// The policy that was asked for, else the one of the nearest folder that has one.
pub fn find(file: Option<&Path>, preset_name: Option<&str>) -> Result<Policy, Failure> {
    let directory = current_directory()?;
    match (file, preset_name) {
        (Some(file), _) => {
            let (compiled, source) = load(file)?;
            Ok(Policy { compiled, source, workspace: directory })
        }
        (None, Some(name)) => {
            let (compiled, source) = load_preset(name)?;
            Ok(Policy { compiled, source, workspace: directory })
        }
        (None, None) => discover(&directory),
    }
}

/// Compiles the document at `path`, or the one that it names where it is a manifest.
pub fn load(path: &Path) -> Result<(Compiled, PolicySource), Failure> {
    let bytes = read(path)?;
    match manifest(&bytes, &shown_path(path)).map_err(Failure::from)? {
        None => load_bytes(path, &bytes),
        Some(manifest) => load_named(path, &bytes, &manifest),
    }
}

/// Compiles the policy that a manifest names.
fn load_named(path: &Path, bytes: &[u8], manifest: &Manifest) -> Result<(Compiled, PolicySource), Failure> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let policy = folder.join(&manifest.policy_path);
    match File::open(&policy).and_then(read_from) {
        Ok(bytes) => load_bytes(&policy, &bytes),
        Err(cause) => {
            let (path, policy) = (shown_path(path), shown_path(&policy));
            Err(manifest.unusable(bytes, &path, &policy, &cause.to_string()).into())
        }
    }
}

fn load_bytes(path: &Path, bytes: &[u8]) -> Result<(Compiled, PolicySource), Failure> {
    let compiled = compile(bytes, &shown_path(path)).map_err(Failure::from)?;
    let canonical = path.canonicalize().map_err(|cause| unreadable(path).because(cause))?;
    let source = PolicySource::File {
        path: PathBytes(canonical.into_os_string().into_encoded_bytes()),
        digest: Hash::of(bytes).to_string(),
    };
    Ok((compiled, source))
}

/// Compiles a policy that comes with Vantio.
pub fn load_preset(name: &str) -> Result<(Compiled, PolicySource), Failure> {
    let document = preset(name).ok_or_else(|| {
        let known = PRESETS.join(", ");
        Failure::misuse("E_PRESET_UNKNOWN", format!("no preset is called `{}`", shown(name)))
            .help(format!("the presets are {known}"))
    })?;
    let compiled = compile(document.as_bytes(), &format!("preset:{name}")).map_err(Failure::from)?;
    Ok((compiled, PolicySource::Preset(name.to_owned())))
}

/// The folder the command was started in, canonical.
pub fn current_directory() -> Result<PathBuf, Failure> {
    env::current_dir().and_then(|path| path.canonicalize()).map_err(|cause| {
        Failure::new("E_DIRECTORY", "the current folder cannot be used")
            .because(cause)
            .help("change to a folder that exists")
    })
}

/// The document at `path`, up to a size that no policy has.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    File::open(path).and_then(read_from).map_err(|cause| unreadable(path).because(cause))
}

fn read_from(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path) -> Failure {
    Failure::misuse("E_POLICY_FILE", format!("the policy `{}` cannot be read", shown_path(path)))
        .help("name a file that exists; `vantio init` writes one")
}

/// Looks in `directory` and above, up to a repository's root or the home folder.
fn discover(directory: &Path) -> Result<Policy, Failure> {
    for folder in folders(directory) {
        for path in FILE_NAMES.map(|name| folder.join(name)) {
            if fs::symlink_metadata(&path).is_ok() {
                check_owner(&path)?;
                let (compiled, source) = load(&path)?;
                return Ok(Policy { compiled, source, workspace: folder.to_owned() });
            }
        }
    }
    let looked = folders(directory).last().unwrap_or(directory);
    let range = if looked == directory {
        format!("in {}", shown_path(directory))
    } else {
        format!("from {} up to {}", shown_path(directory), shown_path(looked))
    };
    Err(Failure::new("E_POLICY_NONE", "there is no policy here, and no agent runs without one")
        .because(format!("looked for {} {range}", FILE_NAMES.join(" and ")))
        .help("write one with `vantio init`, or name one: --policy FILE, or --preset read-only, workspace, open or learn"))
}

/// `directory` and those above it, ending with a repository's root or the home folder.
fn folders(directory: &Path) -> impl Iterator<Item = &Path> {
    let home = env::var_os("HOME").and_then(|home| PathBuf::from(home).canonicalize().ok());
    let mut is_past_end = false;
    directory.ancestors().take_while(move |folder| {
        let is_within = !is_past_end;
        is_past_end = folder.join(".git").exists() || home.as_deref() == Some(folder);
        is_within
    })
}

/// Nobody else may choose the policy by leaving a file above the current folder.
fn check_owner(path: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(path).map_err(|cause| unreadable(path).because(cause))?;
    let own = rustix::process::geteuid().as_raw();
    let unsafe_because = if metadata.uid() != own && metadata.uid() != 0 {
        format!("it belongs to another user (uid {})", metadata.uid())
    } else if metadata.mode() & 0o002 != 0 {
        format!("every user may change it (mode {:04o})", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(Failure::new(
        "E_POLICY_UNSAFE",
        format!("the policy `{}` was found, but cannot be trusted", shown_path(path)),
    )
    .because(unsafe_because)
    .help(format!("make it yours, or name it if you mean it: --policy {}", shown_path(path))))
}

/// More than a document may have, so that the compiler can say so.
const READ_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_ends_with_the_root_of_a_repository() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(root.path().join("a/.git")).unwrap();
        assert_eq!(folders(&deep).collect::<Vec<_>>(), [deep.as_path(), &root.path().join("a")]);
    }

    #[test]
    fn a_manifest_leads_to_its_policy_or_names_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let manifest = root.path().join("manifest.json");
        fs::write(&manifest, r#"{"authority": {"policy_path": "policies/agent.yaml"}}"#).unwrap();
        let Err(missing) = load(&manifest) else { panic!("a policy that does not exist was loaded") };
        assert!(format!("{missing:?}").contains("policies/agent.yaml"), "{missing:?}");

        fs::create_dir(root.path().join("policies")).unwrap();
        fs::write(root.path().join("policies/agent.yaml"), "version: 1\nname: agent\n").unwrap();
        let (compiled, source) = load(&manifest).unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(compiled.program.name(), Some("agent"));
        assert!(
            matches!(source, PolicySource::File { path, .. } if path.0.ends_with(b"/policies/agent.yaml"))
        );
    }
}
