//! Which of a run's changes a commit asks for, and which it leaves until they are named.

use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use vantio_phantom::{
    changes::{Change, ChangeSet},
    commit::{CommitError, Selector},
};

use super::changes::commit_failure;
use crate::{arguments::Commit, failure::Failure, present::shown_path, run::policy::current_directory};

/// What a person asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Everything, because nothing was named.
    pub all: bool,
    /// Hazards too, although not named by their own path.
    pub hazards: bool,
    /// Canonical paths, taken with everything below.
    pub paths: Vec<Vec<u8>>,
    /// Patterns on canonical paths, likewise.
    pub patterns: Vec<Vec<u8>>,
}

/// What a commit takes.
#[derive(Debug, Default)]
pub struct Pick {
    /// What to hand to the commit, where empty means all; `None` when nothing is to be done.
    pub selection: Option<Vec<Selector>>,
    /// What was asked for and is left, because it was not named itself.
    pub hazards: Vec<(Vec<u8>, Vec<&'static str>)>,
    /// Hazards that nobody named, which must not come along with what somebody did.
    pub withheld: Vec<Vec<u8>>,
    /// How many hazards were asked for.
    pub accepted: usize,
    /// All that may come: those, and what they need.
    pub risky: Vec<Vec<u8>>,
}

impl Asked {
    /// Reads the paths of a command line, relative to the current folder, as those of `changes`.
    pub fn from_arguments(arguments: &Commit, changes: &ChangeSet) -> Result<Self, Failure> {
        let directory = current_directory()?;
        let mut asked =
            Self { all: arguments.paths.is_empty(), hazards: arguments.hazards, ..Self::default() };
        for path in &arguments.paths {
            if arguments.glob {
                asked.patterns.push(pattern(&directory, path)?);
            } else {
                asked.paths.push(absolute(&directory, path, |path| has(changes, path))?);
            }
        }
        Ok(asked)
    }

    /// Adds a path that is taken with everything below.
    pub fn add(&mut self, path: &[u8]) {
        self.paths.push(path.to_vec());
    }

    /// Fails where one of the paths, or all of the patterns, have none of `changes`. A path below another goes with that.
    pub fn must_match(&self, changes: &ChangeSet) -> Result<(), Failure> {
        for path in self.paths.iter().filter(|path| !self.is_below_another(path)) {
            if !has(changes, path) {
                return Err(commit_failure(&CommitError::NoSuchChange { path: path.clone() }));
            }
        }
        let patterns = Self { patterns: self.patterns.clone(), ..Self::default() };
        if self.patterns.is_empty() || changes.changes().iter().any(|change| patterns.covers(change)) {
            return Ok(());
        }
        Err(Failure::misuse("E_NO_SUCH_CHANGE", "no pending change matches the pattern")
            .help("`vantio diff RUN` lists what waits; patterns are relative to this folder"))
    }

    /// Whether a commit takes it, conflicts and dependencies apart.
    pub fn takes(&self, change: &Change) -> bool {
        self.covers(change) && change.blocked.is_none() && (change.hazards.is_empty() || self.names(change))
    }

    /// Whether it was asked for, by its own path or one above.
    pub fn covers(&self, change: &Change) -> bool {
        let covers = |path: &[u8]| {
            self.all
                || self.paths.iter().any(|asked| is_within(path, asked))
                || self
                    .patterns
                    .iter()
                    .any(|pattern| ancestors(path).any(|path| fast_glob::glob_match(pattern, path)))
        };
        covers(&change.path) || change.from.as_deref().is_some_and(covers)
    }

    fn is_below_another(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|asked| asked != path && is_within(path, asked))
    }

    fn names(&self, change: &Change) -> bool {
        self.hazards || self.paths.contains(&change.path)
    }
}

/// Chooses from `changes`. A change with a hazard is taken only when its own path is
/// named, not with a folder above it.
pub fn pick(changes: &ChangeSet, asked: &Asked) -> Pick {
    let covered: Vec<&Change> = changes.changes().iter().filter(|change| asked.covers(change)).collect();
    let is_left =
        |change: &&Change| !change.hazards.is_empty() && change.blocked.is_none() && !asked.names(change);
    let left: Vec<&Change> = covered.iter().copied().filter(is_left).collect();
    let hazards: Vec<_> = left.iter().map(|change| (change.path.clone(), reasons(change))).collect();
    let withheld = changes.changes().iter().filter(is_left).map(|change| change.path.clone()).collect();
    let is_risky = |change: &&Change| !change.hazards.is_empty() && asked.names(change);
    let accepted = covered.iter().copied().filter(is_risky).filter(|change| change.blocked.is_none()).count();
    let risky = changes.changes().iter().filter(is_risky).map(|change| change.path.clone()).collect();
    if asked.all && left.is_empty() {
        return Pick { selection: (!covered.is_empty()).then(Vec::new), hazards, withheld, accepted, risky };
    }
    if left.is_empty() && asked.patterns.is_empty() {
        let selection = asked.paths.iter().cloned().map(Selector::new).collect();
        return Pick { selection: Some(selection), hazards, withheld, accepted, risky };
    }
    // A selection reaches below its path, so what lies above a hazard is not selected
    // itself; it comes along with what else is in it.
    let above: HashSet<&[u8]> = left
        .iter()
        .flat_map(|hazard| {
            ancestors(&hazard.path).chain(hazard.from.as_deref().into_iter().flat_map(ancestors))
        })
        .collect();
    let safe = covered
        .iter()
        .filter(|change| !above.contains(change.path.as_slice()) && !above.contains(change.host_path()));
    let selection: Vec<_> = safe.map(|change| Selector::new(change.path.clone())).collect();
    Pick { selection: (!selection.is_empty()).then_some(selection), hazards, withheld, accepted, risky }
}

/// Whether one of `changes` is at `path` or below it, before or after the run.
pub fn has(changes: &ChangeSet, path: &[u8]) -> bool {
    let is_below = |other: &[u8]| is_within(other, path);
    changes.changes().iter().any(|change| is_below(&change.path) || is_below(change.host_path()))
}

/// Why a change deserves a look of its own.
pub fn reasons(change: &Change) -> Vec<&'static str> {
    change.hazards.iter().map(|hazard| hazard.reason()).collect()
}

/// A path as changes have it: literal where that `is_one`, or else with as few links followed as make it one, in the
/// folders above it. A link of the host may be a folder in the run. What is none is resolved as far as the host has it.
pub fn absolute(directory: &Path, path: &Path, is_one: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Failure> {
    let mut readings = readings(directory, path)?;
    let resolved = readings.pop().unwrap_or_default();
    Ok(readings.into_iter().find(|path| is_one(path)).unwrap_or(resolved))
}

/// What `path` may mean: at first no link is followed, then that in each folder above it too.
fn readings(directory: &Path, path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let wrong = |why: &str| {
        Failure::misuse("E_PATH", format!("`{}` is no change: {why}", shown_path(path)))
            .help("`vantio diff RUN` lists those that wait")
    };
    let joined = directory.join(path);
    let components: Vec<Component<'_>> = joined.components().collect();
    // What stands before `..` is a folder of the host; after a name that it does not have, `..` means nothing.
    let climb = components.iter().rposition(|component| *component == Component::ParentDir);
    let (folder, names) = components.split_at(climb.map_or(1, |last| last + 1));
    let folder: PathBuf = folder.iter().collect();
    let folder = folder.canonicalize().map_err(|cause| match names {
        [] => wrong("the folder does not exist").because(cause),
        _ => wrong("`..` stands after a folder that does not exist"),
    })?;
    if components.len() == 1 {
        return Err(wrong("it is not a path"));
    }
    let followed = (1..names.len()).map_while(|count| {
        let above: PathBuf =
            folder.iter().chain(names[..count].iter().map(|name| name.as_os_str())).collect();
        Some((above.canonicalize().ok()?, &names[count..]))
    });
    let readings = [(folder.clone(), names)].into_iter().chain(followed);
    let mut readings: Vec<Vec<u8>> = readings
        .map(|(folder, names)| names.iter().fold(folder, |path, name| path.join(name)))
        .map(|path| path.into_os_string().into_encoded_bytes())
        .collect();
    readings.dedup();
    Ok(readings)
}

/// A pattern on absolute paths.
fn pattern(directory: &Path, pattern: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = || {
        Failure::misuse("E_PATH", format!("the pattern `{}` contains `..`", shown_path(pattern)))
            .help("write it from this folder down, or from `/`")
    };
    if pattern.components().any(|component| component == Component::ParentDir) {
        return Err(wrong());
    }
    let relative = pattern.strip_prefix(".").unwrap_or(pattern);
    if relative.is_absolute() {
        return Ok(relative.as_os_str().as_bytes().to_vec());
    }
    let mut text = escaped(directory.as_os_str());
    if text != b"/" {
        text.push(b'/');
    }
    text.extend_from_slice(relative.as_os_str().as_bytes());
    Ok(text)
}

fn escaped(path: &OsStr) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path.as_bytes() {
        if b"*?[]{}!\\".contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

/// `path` and every path above it.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    Path::new(OsStr::from_bytes(path)).ancestors().map(|path| path.as_os_str().as_bytes())
}

fn is_within(path: &[u8], folder: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(path)).starts_with(Path::new(OsStr::from_bytes(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_as_far_as_the_host_has_them() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let text = |path: Result<Vec<u8>, Failure>| path.map(|bytes| String::from_utf8(bytes).unwrap());
        let resolve = |path: &str| text(absolute(&root, Path::new(path), |_| false));
        let at = |path: &str| format!("{}/{path}", root.display());
        assert_eq!(resolve("link/new/file").unwrap(), at("real/new/file"));
        assert_eq!(resolve("link").unwrap(), at("link"));
        assert_eq!(resolve("./real/../new").unwrap(), at("new"));
        assert_eq!(resolve("real/..").unwrap(), root.display().to_string());
        assert_eq!(resolve("/none/x/").unwrap(), "/none/x");
        for wrong in ["none/../x", "none/..", "/"] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
        let literal = |path: &str| text(absolute(&root, Path::new(path), |_| true));
        assert_eq!(literal("link/new/file").unwrap(), at("link/new/file"));
        assert_eq!(literal("./link/../link/new").unwrap(), at("link/new"));
    }

    #[test]
    fn only_the_links_are_followed_that_lead_to_a_change() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/store")).unwrap();
        std::os::unix::fs::symlink("store", root.join("real/deps")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        for wanted in
            ["real/deps/n", "real/store/n"].map(|path| root.join(path).into_os_string().into_encoded_bytes())
        {
            let found = absolute(&root, Path::new("link/deps/n"), |path| path == wanted);
            assert_eq!(found.unwrap(), wanted);
        }
    }

    #[test]
    fn a_pattern_means_this_folder_whatever_it_is_called() {
        let text = pattern(Path::new("/a[1]"), Path::new("./*.rs")).unwrap();
        assert!(fast_glob::glob_match(&text, "/a[1]/x.rs"));
        assert!(!fast_glob::glob_match(&text, "/a1/x.rs"));
        assert!(!fast_glob::glob_match(&text, "/a[1]/b/x.rs"));
        assert!(pattern(Path::new("/a"), Path::new("../*")).is_err());
    }
}
