//! A run's folder and the layers in it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{PathBytes, Stamp, beneath::is_within};

/// The folder of one run.
///
/// `layers.json` says which overlay upper layers the run wrote; it disappears
/// when the run is discarded.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    started: Stamp,
    surroundings: Surroundings,
}

impl RunFolder {
    /// Names the folder at `path` of a run that began at `started_ns`, in
    /// nanoseconds since the Unix epoch on the host's coarse real-time clock
    /// (the one file systems take change times from).
    pub fn new(path: impl Into<PathBuf>, started_ns: i64) -> Self {
        Self { path: path.into(), started: Stamp::from_ns(started_ns), surroundings: Surroundings::default() }
    }

    /// Says what of the host decides whether a change is a hazard.
    #[must_use]
    pub fn among(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// The same run, to be told of and not to be committed: what only reading all of the workspace shows is no hazard.
    #[must_use]
    pub fn at_a_glance(mut self) -> Self {
        self.surroundings.is_glance = true;
        self
    }

    /// The same run, its layers in the folder at `path`.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        Self { path, ..self.clone() }
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the run began.
    pub fn started(&self) -> Stamp {
        self.started
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// The layers that the launcher recorded.
    pub fn layers(&self) -> Result<Vec<Layer>, RunFolderError> {
        let text = match fs::read(self.path.join(LAYERS_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(RunFolderError::Discarded),
            other => other.map_err(|source| self.unreadable(LAYERS_FILE, source))?,
        };
        let layers: Vec<Layer> = parse(LAYERS_FILE, &text)?;
        for layer in &layers {
            layer
                .check()
                .map_err(|what| RunFolderError::Malformed { file: LAYERS_FILE, what: what.into() })?;
        }
        Ok(layers)
    }

    /// True when the layers are gone.
    pub fn is_discarded(&self) -> bool {
        !self.path.join(LAYERS_FILE).exists()
    }

    /// Changes that are settled, ordered by path.
    pub(crate) fn committed(&self) -> Result<Vec<Committed>, RunFolderError> {
        let mut entries: Vec<Committed> = match fs::read(self.path.join(COMMITTED_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.unreadable(COMMITTED_FILE, source)),
            Ok(text) => parse(COMMITTED_FILE, &text)?,
        };
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    /// Replaces the list of settled changes.
    pub(crate) fn write_committed(&self, entries: &[Committed]) -> io::Result<()> {
        write_json(&self.path, COMMITTED_FILE, &entries)
    }

    fn unreadable(&self, file: &str, source: io::Error) -> RunFolderError {
        RunFolderError::Unreadable { path: self.path.join(file), source }
    }
}

/// What of the host decides whether a change is a hazard; all paths absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The directory that symlinks should not lead out of.
    pub workspace: Vec<u8>,
    /// The user's home.
    pub home: Vec<u8>,
    /// Where the host looks for programs (PATH).
    pub search_path: Vec<Vec<u8>>,
    /// Documents that the run's policies are made of.
    pub policies: Vec<Vec<u8>>,
    /// Symlinks in the workspace's subfolders are not looked for: that would read all of it.
    pub is_glance: bool,
}

fn parse<T: for<'de> Deserialize<'de>>(file: &'static str, text: &[u8]) -> Result<T, RunFolderError> {
    serde_json::from_slice(text).map_err(|error| RunFolderError::Malformed { file, what: error.to_string() })
}

/// Why a run's folder cannot be used.
#[derive(Debug, Error)]
pub enum RunFolderError {
    /// The run was discarded: nothing of it is left to look at.
    #[error("E_RUN_DISCARDED: the run was discarded")]
    Discarded,
    /// A file of the folder cannot be read.
    #[error("E_RUN_FOLDER: `{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the folder is not what this version writes.
    #[error("E_RUN_FOLDER: `{file}` of the run is malformed: {what}")]
    Malformed {
        /// The file's name.
        file: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// One overlay of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The host directory beneath the overlay: absolute, without symlinks.
    pub mount_point: PathBytes,
    /// The upper directory, relative to the run's folder.
    pub upper: String,
    /// Who may set the overlay's attributes.
    pub kind: LayerKind,
}

impl Layer {
    /// `relative` (to the mount point) as a path from the host's root.
    pub fn absolute(&self, relative: &[u8]) -> Vec<u8> {
        let mut path = self.mount_point.as_bytes().to_vec();
        if path == b"/" {
            path.clear();
        }
        if !relative.is_empty() {
            path.push(b'/');
            path.extend_from_slice(relative);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// `path` relative to the mount point, when it is beneath it.
    pub fn relative<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let mount_point = self.mount_point.as_bytes();
        if mount_point == b"/" {
            return path.strip_prefix(b"/");
        }
        match path.strip_prefix(mount_point)? {
            [] => Some(b""),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let mount_point = self.mount_point.as_bytes();
        let is_normal = mount_point == b"/"
            || mount_point.strip_prefix(b"/").is_some_and(|path| {
                path.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
            });
        if !is_normal {
            return Err("a mount point is not a normal absolute path");
        }
        let inside = Path::new(&self.upper)
            .components()
            .all(|component| matches!(component, std::path::Component::Normal(_)));
        if inside { Ok(()) } else { Err("an upper directory leaves the run's folder") }
    }
}

/// Which extended attributes an overlay keeps its own notes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// `trusted.overlay.*`: mounted by root.
    Trusted,
    /// `user.overlay.*`: mounted in an unprivileged user namespace.
    User,
}

impl LayerKind {
    /// What the names of the overlay's attributes begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => OVERLAY_PREFIXES[0],
            Self::User => OVERLAY_PREFIXES[1],
        }
    }
}

/// A change that is settled: committed, or dropped for what the host has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) path: PathBytes,
    /// Of a committed rename, the old name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<PathBytes>,
    /// The commit that settled it.
    pub(crate) by: u64,
}

impl Committed {
    /// Old and new name, of a rename.
    pub(crate) fn rename(&self) -> Option<(&[u8], &[u8])> {
        self.from.as_ref().map(|from| (from.as_bytes(), self.path.as_bytes()))
    }
}

/// Where the host has now what it had at `path` when the run started.
pub(crate) fn path_now(settled: &[Committed], path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    for by in commits(settled) {
        path = moved(&path, settled.iter().filter(|entry| entry.by == by).filter_map(Committed::rename));
    }
    path
}

/// Where the host had, when the run started, what it has at `path` now.
pub(crate) fn path_then(settled: &[Committed], path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    for by in commits(settled).into_iter().rev() {
        let renames = settled.iter().filter(|entry| entry.by == by).filter_map(Committed::rename);
        path = moved(&path, renames.map(|(from, to)| (to, from)));
    }
    path
}

fn commits(settled: &[Committed]) -> BTreeSet<u64> {
    settled.iter().filter(|entry| entry.from.is_some()).map(|entry| entry.by).collect()
}

/// Where `path` is after the renames, of which the nearest above it counts.
pub(crate) fn moved<'a>(path: &[u8], renames: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let nearest = renames.filter(|(from, _)| is_within(path, from)).max_by_key(|(from, _)| from.len());
    nearest.map_or_else(|| path.to_vec(), |(from, to)| [to, &path[from.len()..]].concat())
}

/// Records the layers of the run whose folder is `run`, before anything is in them: a loss of power
/// that takes the file takes what the layers held too. Who is killed here leaves no half of it.
pub fn write_layers(run: &Path, layers: &[Layer]) -> io::Result<()> {
    let temporary = temporary(run, LAYERS_FILE);
    fs::write(&temporary, serde_json::to_vec(layers)?)?;
    fs::rename(&temporary, run.join(LAYERS_FILE))
}

/// Replaces a file of the run's folder, durably and at once.
pub(crate) fn write_json<T: Serialize>(run: &Path, name: &str, value: &T) -> io::Result<()> {
    use std::io::Write as _;
    let temporary = temporary(run, name);
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&temporary, run.join(name))?;
    fs::File::open(run)?.sync_all()
}

/// Where a file of the run's folder is written before it has its name.
fn temporary(run: &Path, name: &str) -> PathBuf {
    run.join(format!(".{name}.new"))
}

impl RunFolder {
    /// The run's name: the last component of its folder.
    pub(crate) fn name(&self) -> &[u8] {
        self.path.file_name().map_or(b"run", |name| name.as_bytes())
    }
}

/// Attributes with these beginnings are an overlay's own and never committed.
pub(crate) const OVERLAY_PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];

pub(crate) const LAYERS_FILE: &str = "layers.json";
pub(crate) const COMMITTED_FILE: &str = "committed.json";
