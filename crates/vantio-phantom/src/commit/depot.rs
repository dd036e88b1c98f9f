//! Where new files wait and old files stay, on the file system they go to.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, chmodat, mkdirat, openat, unlinkat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{apply::Stopped, away, discard::remove_tree, journal::Ground, meta::set_times, plan::Plan};
use crate::changes::{
    LayerRoot, Node, PathBytes, RunFolder, Stamp,
    beneath::{Pinned, is_within, split, stat_fd},
};

/// Where a layer's depot is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DepotPlace {
    /// In the run's folder, which is on the same mount: it stays, so that the
    /// commit can be undone.
    Kept,
    /// In a hidden folder of this directory (relative to the layer), until the end of the commit, and again during an
    /// undo; what is in it is kept [away](away) from there meanwhile.
    Hidden {
        parent: PathBytes,
        name: PathBytes,
        /// When the directory was last read and changed before the commit: the
        /// hidden folder comes and goes without a trace.
        #[serde(default)]
        times: Option<Times>,
    },
}

/// Access and modification time.
pub(super) type Times = (Stamp, Stamp);

/// The folder that keeps what commit `number` displaced.
pub(super) fn undo_folder(run: &Path, number: u64) -> PathBuf {
    run.join(UNDO_FOLDER).join(number.to_string())
}

/// Decides, for each layer that the plan touches, where its depot is.
pub(super) fn choose(run: &RunFolder, layers: &[LayerRoot], plan: &Plan<'_>) -> Result<Vec<Ground>, Stopped> {
    let failed = |source| Stopped::failed("cannot open", run.path().as_os_str().as_encoded_bytes(), source);
    let state = open_dir(run.path()).map_err(io::Error::from).and_then(Pinned::adopt).map_err(failed)?;
    let touched = plan.layers();
    let ground = |(index, root): (usize, &LayerRoot)| Ground {
        mount_point: root.layer.mount_point.clone(),
        depot: touched.contains(&index).then(|| {
            if root.lower.mount() == state.mount() {
                return DepotPlace::Kept;
            }
            let name = [b".vantio-", run.name()].concat();
            let parent = common_parent(plan, index);
            let times = root.lower.stat(&parent).ok().flatten().map(|stat| Node::of_stat(&stat));
            let times = times.map(|node| (node.accessed, node.modified));
            DepotPlace::Hidden { parent: parent.into(), name: name.into(), times }
        }),
    };
    Ok(layers.iter().enumerate().map(ground).collect())
}

/// The nearest directory above everything that the plan does in a layer. No
/// step moves it.
fn common_parent(plan: &Plan<'_>, layer: usize) -> Vec<u8> {
    let mut parents = plan.steps.iter().filter(|step| step.layer == layer).map(|step| split(&step.path).0);
    let mut common = parents.next().unwrap_or_default();
    for parent in parents {
        while !is_within(parent, common) {
            common = split(common).0;
        }
    }
    common.to_vec()
}

/// Opens a depot that exists.
pub(super) fn open(place: &DepotPlace, folder: &Path, lower: &Pinned) -> io::Result<Pinned> {
    match place {
        DepotPlace::Kept => Pinned::adopt(open_dir(&folder.join(KEPT))?),
        DepotPlace::Hidden { parent, name, .. } => {
            let parent = lower.dir(parent.as_bytes())?;
            let dir = openat(&parent, name.as_bytes(), DIRECTORY, Mode::empty())?;
            Pinned::adopt(dir)
        }
    }
}

/// Makes a depot. A hidden folder must be new: it could be somebody else's.
pub(super) fn create(place: &DepotPlace, folder: &Path, lower: &Pinned) -> io::Result<Pinned> {
    match place {
        DepotPlace::Kept => match fs::DirBuilder::new().mode(0o700).create(folder.join(KEPT)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        },
        DepotPlace::Hidden { parent, name, .. } => {
            let parent = lower.dir(parent.as_bytes())?;
            keeping_times(parent.as_fd(), || make_ours(&parent, name.as_bytes()))?;
        }
    }
    open(place, folder, lower)
}

/// Removes a depot with all that is in it; that it is gone already is fine.
/// Its directory then has `times`, or those that it had.
pub(super) fn remove(
    place: &DepotPlace,
    folder: &Path,
    lower: &Pinned,
    times: Option<Times>,
) -> io::Result<()> {
    match place {
        DepotPlace::Kept => match open_dir(folder) {
            Ok(parent) => remove_tree(parent.as_fd(), KEPT.as_bytes()),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        },
        DepotPlace::Hidden { parent, name, .. } => {
            let Ok(parent) = lower.dir(parent.as_bytes()) else { return Ok(()) };
            if is_ours(&parent, name.as_bytes())? {
                keeping_times(parent.as_fd(), || remove_tree(parent.as_fd(), name.as_bytes()))?;
            }
            times.map_or(Ok(()), |times| give_times(parent.as_fd(), times))
        }
    }
}

/// Removes the folder of an undone commit, unless it still keeps a file that
/// could not go back.
pub(super) fn forget(run: &Path, folder: &Path) -> io::Result<()> {
    if folder.join(KEPT).exists() || away::is_any(folder) {
        return Ok(());
    }
    let Some(name) = folder.file_name() else { return Ok(()) };
    match open_dir(&run.join(UNDO_FOLDER)) {
        Ok(parent) => remove_tree(parent.as_fd(), name.as_encoded_bytes()),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the folder of a commit if nothing is left in it.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    match unlinkat(CWD, folder, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl DepotPlace {
    /// The times of the directory that a hidden folder stands in, before the commit.
    pub(super) fn times(&self) -> Option<Times> {
        match self {
            Self::Kept => None,
            Self::Hidden { times, .. } => *times,
        }
    }
}

/// Makes a hidden folder. In one with the set-group-ID bit it gets that bit too, and would give it to what is made in it.
pub(super) fn make_ours(parent: impl AsFd, name: &[u8]) -> io::Result<()> {
    mkdirat(&parent, name, Mode::RWXU)?;
    Ok(chmodat(parent, name, Mode::RWXU, AtFlags::empty())?)
}

/// Whether a folder is one that [`make_ours`] made, or began to make.
pub(super) fn is_ours(parent: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let node = Node::at(parent.as_fd(), name)?;
    let me = rustix::process::geteuid().as_raw();
    Ok(node.is_some_and(|node| node.is_dir() && node.uid == me && node.mode & 0o777 == 0o700))
}

/// Changes the entries of a directory without moving its times.
pub(super) fn keeping_times(dir: BorrowedFd<'_>, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = Node::of_stat(&stat_fd(dir)?);
    change()?;
    give_times(dir, (before.accessed, before.modified))
}

/// Another's directory keeps the times that a change gave it; one that nobody can write has those that it had.
fn give_times(dir: BorrowedFd<'_>, (accessed, modified): Times) -> io::Result<()> {
    match set_times(dir, accessed, modified) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok(())
        }
        other => other,
    }
}

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, DIRECTORY, Mode::empty())
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
pub(super) const UNDO_FOLDER: &str = "undo";
const KEPT: &str = "kept";
