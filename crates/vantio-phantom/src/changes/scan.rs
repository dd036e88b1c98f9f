//! From layers to a set of changes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io, mem,
    sync::Arc,
};

use rustix::fd::BorrowedFd;
use thiserror::Error;

use super::{
    Change, ChangeKind, ChangeSet, Escaped, RunFolder, RunFolderError, hazards, layers::Committed, moved,
    roots::LayerRoot, sides::Sides, walk::Walk,
};

/// Why the changes of a run cannot be told.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The run's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// Something could not be read.
    #[error("E_SCAN: `{}` cannot be compared: {source}", Escaped(path))]
    Read {
        /// The host path that was being compared.
        path: Vec<u8>,
        /// The system's reason.
        source: io::Error,
    },
    /// What was found could not be written down.
    #[error("E_OUTPUT: `{}` cannot be written: {source}", Escaped(path.as_os_str().as_encoded_bytes()))]
    Write {
        /// The file or folder.
        path: std::path::PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Compares what `run` wrote with the host below `host_root`.
///
/// Changes that were committed or dropped already are left out. Hazards are
/// marked.
pub fn scan(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<ChangeSet, ScanError> {
    let layers = open_layers(run, host_root)?;
    let mut set = scan_layers(run, &layers)?;
    let sides = Sides::new(&layers, host_root);
    let sides = sides.map_err(|source| ScanError::Read { path: b"/".to_vec(), source })?;
    hazards::mark(&mut set, &sides, run.surroundings(), host_root);
    Ok(set)
}

/// Opens every layer's two directories.
pub(crate) fn open_layers(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<Vec<LayerRoot>, ScanError> {
    let mut roots = Vec::new();
    for layer in run.layers()? {
        let path = layer.mount_point.0.clone();
        let root = LayerRoot::open(run, layer, host_root);
        roots.push(root.map_err(|source| ScanError::Read { path, source })?);
    }
    Ok(roots)
}

/// Compares layers that are open already; hazards are not marked.
pub(crate) fn scan_layers(run: &RunFolder, roots: &[LayerRoot]) -> Result<ChangeSet, ScanError> {
    let committed = run.committed()?;
    let mut changes = Vec::new();
    let mut links: Links = HashMap::new();
    let mut kept_apart = HashSet::new();
    let mut retimed = BTreeMap::new();
    for (index, root) in roots.iter().enumerate() {
        let mut walk = Walk::new(index, root, &committed, run);
        walk.run()?;
        changes.append(&mut walk.changes);
        kept_apart.extend(walk.kept_apart);
        retimed.extend(walk.retimed);
        links.extend(walk.links.into_iter().map(|(ino, names)| ((index, ino), names)));
    }
    Ok(ChangeSet { kept_apart, retimed, ..assemble(changes, &links, &committed) })
}

/// Every name of the run's files that have several, by layer and inode.
type Links = HashMap<(usize, u64), Vec<Vec<u8>>>;

fn assemble(mut changes: Vec<Change>, links: &Links, committed: &[Committed]) -> ChangeSet {
    tell_deletions_apart(&mut changes);
    changes.sort_by(|one, other| {
        let rank = |change: &Change| change.kind == ChangeKind::Deleted;
        one.path.cmp(&other.path).then(rank(one).cmp(&rank(other)))
    });
    // Where a directory was renamed onto another, what it brings hides the
    // deletion of what stood at the same path.
    changes.dedup_by(|later, earlier| {
        let is_hidden = later.path == earlier.path;
        if let (true, Some(before)) = (is_hidden, &later.before) {
            earlier.origin.replaced.push((later.host_path().to_vec(), before.clone()));
        }
        is_hidden
    });
    changes.retain(|change| {
        committed.binary_search_by(|entry| entry.path.as_bytes().cmp(&change.path)).is_err()
    });
    let mut set = ChangeSet { changes, ..ChangeSet::default() };
    for (key, names) in links {
        link_group(&mut set, *key, names);
    }
    set
}

/// What was deleted from a renamed directory is known by where the host has it. Where something new is there, it is known by
/// where it would be.
fn tell_deletions_apart(changes: &mut [Change]) {
    let of = |kind_is: fn(ChangeKind) -> bool| changes.iter().filter(move |change| kind_is(change.kind));
    let renames = of(|kind| kind == ChangeKind::Renamed);
    let renames: Vec<_> = renames.map(|change| (change.host_path().to_vec(), change.path.clone())).collect();
    let there = of(|kind| kind != ChangeKind::Deleted).map(|change| change.path.clone());
    let there: HashSet<Vec<u8>> = if renames.is_empty() { HashSet::new() } else { there.collect() };
    for change in changes.iter_mut().filter(|change| change.kind == ChangeKind::Deleted) {
        if there.contains(&change.path) {
            let path = moved(&change.path, renames.iter().map(|(from, to)| (&from[..], &to[..])));
            if path != change.path {
                change.from = Some(mem::replace(&mut change.path, path));
            }
        }
    }
}

fn link_group(set: &mut ChangeSet, key: (usize, u64), names: &[Vec<u8>]) {
    let mut sorted = names.to_vec();
    sorted.sort();
    let all: Arc<[Vec<u8>]> = sorted.into();
    let mut kept = Vec::new();
    for name in all.iter() {
        match set.position(name) {
            Some(index) => set.changes[index].links = Arc::clone(&all),
            None => kept.push(name.clone()),
        }
    }
    set.kept_links.insert(key, kept);
}
