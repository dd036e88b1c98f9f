//! Where policies are looked for.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::{failure::Failure, present::shown_path};

/// Where the policy of a project is looked for in a folder.
pub const FILE_NAMES: [&str; 4] = ["vantio.yaml", "vantio.json", "vantio.toml", ".vantio/policy.yaml"];

/// What the policy of the user is called in the folder `vantio` of the configuration, and that
/// of the administrator in `/etc/vantio`.
pub const USER_FILE_NAMES: [&str; 3] = ["policy.yaml", "policy.json", "policy.toml"];

/// A policy of a project.
pub struct Found {
    pub path: PathBuf,
    /// The folder it was found for.
    pub folder: PathBuf,
}

/// The policies that administrators put on this host. Nothing turns them off.
pub fn managed() -> Result<Option<PathBuf>, Failure> {
    only(Path::new(MANAGED_FOLDER), &USER_FILE_NAMES)
}

/// One more, which narrows as the others do: for trying a policy before it is put in place.
pub fn further_managed() -> Option<PathBuf> {
    env::var_os("VANTIO_MANAGED").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The user's policy.
pub fn user() -> Result<Option<PathBuf>, Failure> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configuration = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    configuration.map_or(Ok(None), |folder| only(&folder.join("vantio"), &USER_FILE_NAMES))
}

/// The policy of the nearest folder that has one: `directory` and above, up to a repository's
/// root or the home folder.
pub fn project(directory: &Path) -> Result<Option<Found>, Failure> {
    for folder in folders(directory) {
        if let Some(path) = only(folder, &FILE_NAMES)? {
            return Ok(Some(Found { path, folder: folder.to_owned() }));
        }
    }
    Ok(None)
}

/// There is no policy at all.
pub fn none(directory: &Path) -> Failure {
    let looked = folders(directory).last().unwrap_or(directory);
    let range = if looked == directory {
        format!("in {}", shown_path(directory))
    } else {
        format!("from {} up to {}", shown_path(directory), shown_path(looked))
    };
    let [first @ .., last] = FILE_NAMES;
    Failure::new("E_POLICY_NONE", "there is no policy here, and no agent runs without one")
        .because(format!("looked for {} and {last} {range}", first.join(", ")))
        .help("write one with `vantio init`, or name one: --policy FILE, or --preset read-only, workspace or open")
}

/// The one of `names` that `folder` has.
fn only(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in names.iter().map(|name| folder.join(name)) {
        match fs::symlink_metadata(&path) {
            Ok(_) => found.push(path),
            Err(error) if is_absent(&error) => {}
            Err(cause) => return Err(unreachable(&path).because(cause)),
        }
    }
    if let [first, second, ..] = found.as_slice() {
        let (first, second) = (shown_path(first), shown_path(second));
        return Err(Failure::new("E_POLICY_AMBIGUOUS", "a folder has more than one policy")
            .because(format!("both `{first}` and `{second}` exist"))
            .help("keep one: a document may take others in with `include`"));
    }
    Ok(found.pop())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreachable(path: &Path) -> Failure {
    Failure::new("E_POLICY_FILE", format!("it cannot be told whether `{}` exists", shown_path(path)))
        .help("make its folder readable: no agent runs without every policy that may be meant for it")
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

/// Where administrators put a policy for every run on this host.
const MANAGED_FOLDER: &str = "/etc/vantio";

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
}
