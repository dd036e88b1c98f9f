//! Whether the host moved since the run did.

use std::io;

use rustix::fd::AsFd as _;

use super::{Reason, Unmergeable};
use crate::changes::{
    Base, Bases, Change, ChangeKind, Committed, LayerRoot, Node, PathBytes, RunFolder, ScanError, Stamp,
    base::{LARGEST_HASHED, digest},
    path_now, path_then,
};
use crate::changes::{FileType, Readable};

/// What the host did to the path of `change` since the run first changed it.
pub(super) fn of(change: &Change, known: &Known, layers: &[LayerRoot]) -> io::Result<Option<Reason>> {
    let judge = Judge { known, layer: &layers[change.origin.layer] };
    let (replaced, is_renamed) = (&change.origin.replaced, change.kind == ChangeKind::Renamed);
    for (path, node) in replaced {
        if let Some(reason) = judge.judge(path, Some(node))? {
            return Ok(Some(reason));
        }
    }
    if is_renamed && replaced.is_empty() && !change.origin.is_vacated {
        let target = judge.judge(&change.path, None)?;
        if target.is_some() {
            return Ok(target);
        }
    }
    if change.lost_its_source() {
        return Ok(Some(Reason::Vanished));
    }
    if change.before.is_none() {
        // What is known of its place is of what went elsewhere.
        let is_of_another = change.origin.is_vacated && !change.origin.had_lower;
        if is_of_another || !replaced.is_empty() {
            return Ok(None);
        }
        if change.origin.had_lower {
            return Ok(Some(Reason::Vanished));
        }
    }
    judge.judge(change.host_path(), change.before.as_ref())
}

/// What is known of the host's past.
pub(super) struct Known {
    bases: Bases,
    settled: Vec<Committed>,
    started: Stamp,
}

impl Known {
    pub(super) fn of_run(run: &RunFolder) -> Result<Self, ScanError> {
        let bases =
            Bases::of_run(run.path()).map_err(|source| ScanError::Read { path: b"/".to_vec(), source })?;
        Ok(Self { bases, settled: run.committed()?, started: run.started() })
    }
}

impl Known {
    /// What the host had at the place of `change`; `None` where it had nothing.
    pub(super) fn base(&self, change: &Change) -> Result<Option<&Base>, Unmergeable> {
        self.bases.get(&path_then(&self.settled, change.host_path())).ok_or(Unmergeable::Forgotten)
    }

    /// What bases know the places of `change` by.
    pub(super) fn names(&self, change: &Change) -> [PathBytes; 2] {
        [change.host_path(), &change.path].map(|path| path_then(&self.settled, path).into())
    }

    /// What a file held, where that was kept.
    pub(super) fn content(&self, base: &Base) -> Option<Vec<u8>> {
        self.bases.content(base)
    }
}

struct Judge<'a> {
    known: &'a Known,
    layer: &'a LayerRoot,
}

impl Judge<'_> {
    fn judge(&self, path: &[u8], now: Option<&Node>) -> io::Result<Option<Reason>> {
        let then = path_then(&self.known.settled, path);
        let base = match self.known.bases.get(&then) {
            // A commit of the run took it elsewhere.
            Some(Some(_)) if then == path && path_now(&self.known.settled, path) != path => Some(None),
            known => known,
        };
        Ok(match (base, now) {
            (None | Some(None), None) => None,
            (Some(None), Some(_)) => Some(Reason::Appeared),
            (Some(Some(_)), None) => Some(Reason::Vanished),
            (None, Some(now)) => self.is_later(path, now)?.then_some(Reason::Changed),
            (Some(Some(base)), Some(now)) => (!self.is_base(path, base, now)?).then_some(Reason::Changed),
        })
    }

    /// Without a base, a change time after the run's start counts. A
    /// directory's moves with its entries, which are changes of their own: there it counts when it was made.
    fn is_later(&self, path: &[u8], now: &Node) -> io::Result<bool> {
        if now.changed <= self.known.started {
            return Ok(false);
        }
        Ok(!now.is_dir() || now.changed != now.modified || self.is_newer(path)?)
    }

    /// Whether a directory was made after the run's start.
    fn is_newer(&self, path: &[u8]) -> io::Result<bool> {
        let Some(relative) = self.layer.layer.relative(path) else { return Ok(false) };
        let Some(stat) = self.layer.lower.stat(relative)? else { return Ok(false) };
        // In an overlay one of a lower layer is made anew with the first of its entries that changes. Most file systems
        // count more than one name of a directory that is of one layer alone.
        let is_own = self.layer.moves_directories() || stat.stx_nlink > 1;
        Ok(is_own && Node::born(&stat).is_some_and(|born| born > self.known.started))
    }

    fn is_base(&self, path: &[u8], base: &Base, now: &Node) -> io::Result<bool> {
        if (base.dev, base.ino) == now.id && base.changed == now.changed {
            return Ok(true);
        }
        let is_alike = base.kind == now.file_type
            && (now.file_type == FileType::Symlink || base.mode == now.mode)
            && (base.uid, base.gid) == (now.uid, now.gid);
        if !is_alike || now.file_type == FileType::File && base.size != now.size {
            return Ok(false);
        }
        Ok(match &base.digest {
            Some(then) => self.digest(path, now)?.as_ref() == Some(then),
            None => false,
        })
    }

    fn digest(&self, path: &[u8], now: &Node) -> io::Result<Option<String>> {
        let Some(relative) = self.layer.layer.relative(path) else { return Ok(None) };
        if now.file_type == FileType::File && now.size > LARGEST_HASHED {
            return Ok(None);
        }
        let (dir, name) = self.layer.lower.parent(relative)?;
        Ok(digest(&Readable { node: now, dir: dir.as_fd(), name }).ok())
    }
}

/// True when `found` is what `expected` was, apart from a moved change time.
pub(super) fn is_same_file(found: Option<&Node>, expected: &Node) -> bool {
    found.is_some_and(|found| found.is_still(expected))
}
