//! Walking the steps of a commit backwards.

use std::{collections::BTreeSet, fs::File, io, os::fd::BorrowedFd, path::Path};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, Mode, OFlags, RenameFlags, mkdirat, unlinkat},
    io::Errno,
};

use super::{
    apply::open_in_place,
    depot::{self, DepotPlace},
    dirs,
    journal::{Record, Steps, absolute},
    links,
    meta::{Meta, overwrite},
    moving::{Lent, rename},
    others,
    steps::{Action, Id, Step},
};
use crate::changes::{
    Committed, Escaped, Node, RunFolder,
    base::note_again,
    beneath::{self, Pinned, join},
    names_in, path_then,
};

/// Why steps are taken back.
#[derive(Clone, Copy)]
pub(super) enum Reason<'a> {
    /// A commit did not reach its end: every file goes back.
    Unfinished,
    /// A commit is undone, or a part of it.
    Undo(&'a Scope),
}

/// What of a commit is undone.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Steps, by index, that stay because the host changed their outcome.
    pub(super) stays: BTreeSet<usize>,
    /// Steps that were undone before.
    pub(super) undone: BTreeSet<usize>,
    /// Steps that are not asked for.
    pub(super) left_out: BTreeSet<usize>,
    /// What of the settled paths waits again.
    pub(super) freed: Vec<Committed>,
    /// Steps that are undone, and of which the host changed what comes back: that is not taken for what was there before.
    pub(super) changed: BTreeSet<usize>,
}

/// What stayed, and what came back.
#[derive(Debug, Default)]
pub(super) struct Stayed {
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) steps: BTreeSet<usize>,
    /// Where what came back is now.
    pub(super) returned: Vec<Vec<u8>>,
}

impl Reason<'_> {
    fn is_unfinished(self) -> bool {
        matches!(self, Self::Unfinished)
    }
}

/// The two directories of a layer that a commit worked on.
pub(super) struct Ground {
    mount_point: Vec<u8>,
    pub(super) lower: Pinned,
    pub(super) depot: Option<Pinned>,
    /// Whether what an undo puts back is a copy, in every file of it.
    is_away: bool,
}

impl Ground {
    /// Opens the grounds that a journal names.
    pub(super) fn open_all(
        record: &Record,
        folder: &Path,
        host_root: BorrowedFd<'_>,
    ) -> io::Result<Vec<Self>> {
        let open = |ground: &super::journal::Ground| {
            let mount_point = ground.mount_point.0.clone();
            let lower = match Pinned::open(host_root, beneath::below_root(&mount_point)) {
                // No step is there.
                Err(_) if ground.depot.is_none() => Pinned::adopt(depot::open_dir(folder)?)?,
                // None was taken anywhere, and what waited there is gone with the place.
                Err(error) if record.steps.is_none() && beneath::is_absent(&error) => {
                    Pinned::adopt(depot::open_dir(folder)?)?
                }
                other => other?,
            };
            let depot = match &ground.depot {
                Some(place) => match depot::open(place, folder, &lower) {
                    Err(error) if beneath::is_absent(&error) => None,
                    other => Some(other?),
                },
                None => None,
            };
            let is_away = matches!(ground.depot, Some(DepotPlace::Hidden { .. }));
            Ok(Self { mount_point, lower, depot, is_away })
        };
        record.begin.layers.iter().map(open).collect()
    }

    /// Does something to `path`; where that is not permitted, once more with the folders above opened to their owner.
    pub(super) fn lending<T>(&self, path: &[u8], attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            other => return other,
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut lent = Vec::new();
        for (slash, _) in slashes {
            lent.extend(Lent::new(self.lower.dir(&path[..slash])?, 0o700));
        }
        attempt()
    }

    /// Whether what an undo puts back is a copy, in every file of it.
    pub(super) const fn is_away(&self) -> bool {
        self.is_away
    }

    /// An absolute path, relative to the layer.
    pub(super) fn relative<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let root = if self.mount_point == b"/" { &b""[..] } else { &self.mount_point };
        path.strip_prefix(root)?.strip_prefix(b"/")
    }

    /// What the host has below the directory `path`, relative to it; nothing where it is none.
    pub(super) fn below(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let (mut found, mut waiting, mut lent) = (Vec::new(), vec![Vec::new()], Vec::new());
        while let Some(relative) = waiting.pop() {
            let at = if relative.is_empty() { path.to_vec() } else { join(path, &relative) };
            let is_dir = self.lower.stat(&at)?.is_some_and(|stat| Node::of_stat(&stat).is_dir());
            if is_dir {
                lent.extend(Lent::new(self.lower.dir(&at)?, 0o500));
                let dir = self.lower.at(&at, OFlags::RDONLY | OFlags::DIRECTORY)?;
                waiting.extend(names_in(&dir)?.iter().map(|name| join(&relative, name)));
            }
            found.push(relative);
        }
        found.retain(|relative| !relative.is_empty());
        Ok(found)
    }

    pub(super) fn absolute(&self, path: &[u8]) -> Vec<u8> {
        absolute(&self.mount_point, path)
    }
}

/// Takes every step back that was taken, notes anew what was put back, and
/// lists the paths at which the host stands in the way.
pub(super) fn roll_back(
    run: &RunFolder,
    host_root: BorrowedFd<'_>,
    grounds: &[Ground],
    steps: &Steps,
    reason: Reason<'_>,
) -> io::Result<Stayed> {
    let mut stayed = Stayed::default();
    let mut back_again = Vec::new();
    let whole = Scope { freed: steps.settled.clone(), ..Scope::default() };
    let scope = if let Reason::Undo(scope) = reason { scope } else { &whole };
    for (index, step) in steps.list.iter().enumerate().rev() {
        let Some(ground) = grounds.get(step.layer) else { continue };
        let path = ground.absolute(step.path.as_bytes());
        if scope.undone.contains(&index) || scope.left_out.contains(&index) {
            continue;
        }
        if scope.stays.contains(&index) {
            stayed.add(index, path);
            continue;
        }
        let back = Back { ground, step, steps, reason, is_written: scope.changed.contains(&index) };
        match ground.lending(step.path.as_bytes(), || back.take_back()) {
            Ok(true)
                if matches!(step.action, Action::Make { .. } | Action::Put { .. } | Action::Link { .. }) => {}
            Ok(true) if scope.changed.contains(&index) => {}
            Ok(true) => {
                // What a step takes away, it takes before the renames; the others
                // find their file where a rename has put it.
                let place = if step.action.clears() { path } else { path_then(&scope.freed, &path) };
                if ground.is_away && !reason.is_unfinished() {
                    let at = step.path.as_bytes();
                    let below = ground.lending(at, || ground.below(at))?;
                    back_again.extend(below.iter().map(|below| join(&place, below)));
                }
                back_again.push(place);
            }
            Ok(false) => stayed.add(index, path),
            Err(error) if beneath::is_absent(&error) || is_occupied(&error) => stayed.add(index, path),
            Err(error) => return Err(at(&path, &error)),
        }
    }
    dirs::restore(grounds, steps, reason, &stayed.steps)?;
    stayed.returned.clone_from(&back_again);
    let linked = steps.list.iter().filter_map(|step| linked_at(grounds, step));
    let told: Vec<_> = back_again.iter().cloned().chain(linked).collect();
    // What they do not learn they take for a change by the host, and leave as it is.
    let _ = others::tell(run.path().parent().unwrap_or(run.path()), host_root, steps, &told);
    if !run.is_discarded() {
        let settled = run.committed().map_err(io::Error::other)?;
        let earlier: Vec<_> = settled.into_iter().filter(|entry| !scope.freed.contains(entry)).collect();
        let known_by = |place: Vec<u8>| (path_then(&earlier, &place), place);
        // What was the host's own before the commit is not taken for what the run began with.
        let is_base = |(path, _): &(Vec<u8>, Vec<u8>)| {
            !steps.overruled.iter().any(|overruled| overruled.as_bytes() == path)
        };
        let again: Vec<_> = back_again.into_iter().map(known_by).filter(is_base).collect();
        note_again(run.path(), host_root, &again)?;
    }
    stayed.paths.sort();
    stayed.paths.dedup();
    Ok(stayed)
}

/// The same error, that says where on the host it happened.
fn at(path: &[u8], error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("at `{}`: {error}", Escaped(path)))
}

/// The file that a step gave another name, which moves its change time.
fn linked_at(grounds: &[Ground], step: &Step) -> Option<Vec<u8>> {
    let Action::Link { existing, .. } = &step.action else { return None };
    Some(grounds.get(step.layer)?.absolute(existing.as_bytes()))
}

impl Stayed {
    fn add(&mut self, step: usize, path: Vec<u8>) {
        self.steps.insert(step);
        self.paths.push(path);
    }
}

struct Back<'a> {
    ground: &'a Ground,
    step: &'a Step,
    steps: &'a Steps,
    reason: Reason<'a>,
    /// Whether the host wrote to what comes back.
    is_written: bool,
}

impl Back<'_> {
    /// False when the host's own change is in the way.
    fn take_back(&self) -> io::Result<bool> {
        let path = self.step.path.as_bytes();
        match &self.step.action {
            Action::Take { node } => self.untake(path, *node),
            Action::Remove { meta, .. } => self.make(path, meta),
            Action::Make { .. } => self.unmake(path),
            Action::Put { node } => self.unput(path, *node),
            Action::Swap { old, new } => self.unswap(path, *old, *new),
            Action::Rewrite { node, backup } => self.unwrite(path, *node, backup),
            Action::Meta { node, old, .. } => self.unset(path, *node, old),
            Action::Link { node, .. } => self.unlink(path, *node),
        }
    }

    /// The directory that holds `path`, in which its owner may make changes until this is dropped.
    fn parent<'p>(&self, path: &'p [u8]) -> io::Result<Parent<'p>> {
        let (directory, name) = self.ground.lower.parent(path)?;
        let lent = Lent::new(directory.try_clone()?, 0o300);
        Ok(Parent { directory, name, _lent: lent })
    }

    fn untake(&self, path: &[u8], node: Id) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        if self.in_slot()?.is_none() {
            // Not taken, or back already.
            return Ok(true);
        }
        let Parent { directory: dir, name, _lent } = &self.parent(path)?;
        links::restore(depot, self.step.slot.as_bytes(), dir, node)?;
        rename((depot.as_fd(), self.step.slot.as_bytes()), (dir.as_fd(), *name), RenameFlags::NOREPLACE)?;
        Ok(true)
    }

    /// Makes a directory anew. One that is there was not removed, or an undo that was cut off came so far.
    fn make(&self, path: &[u8], meta: &Meta) -> io::Result<bool> {
        if self.ground.depot.is_none() {
            // Nor comes what was in it.
            return Ok(self.reason.is_unfinished());
        }
        let Parent { directory: dir, name, _lent } = &self.parent(path)?;
        match mkdirat(dir, *name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let Ok(made) = self.ground.lower.dir(path) else { return Ok(false) };
        meta.set(made.as_fd())?;
        Ok(true)
    }

    /// Removes a directory that was made. One that is not empty is the host's by now.
    fn unmake(&self, path: &[u8]) -> io::Result<bool> {
        if self.on_host(path)?.is_none() {
            return Ok(true);
        }
        let Parent { directory: dir, name, _lent } = &self.parent(path)?;
        match unlinkat(dir, *name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unput(&self, path: &[u8], node: Id) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        if self.in_slot()?.is_some() {
            return Ok(true);
        }
        match self.on_host(path)? {
            Some(found) if found == node => {}
            Some(_) if self.is_a_copy_of(node)? => {}
            // A directory that is renamed was not even taken from where it was.
            None if self.reason.is_unfinished()
                || has_moved_back(self.ground, self.steps, self.step, node)? =>
            {
                return Ok(true);
            }
            _ => return Ok(false),
        }
        let Parent { directory: dir, name, _lent } = &self.parent(path)?;
        rename((dir.as_fd(), *name), (depot.as_fd(), self.step.slot.as_bytes()), RenameFlags::NOREPLACE)?;
        Ok(true)
    }

    fn unswap(&self, path: &[u8], old: Id, new: Id) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        match self.in_slot()? {
            None => return Ok(self.reason.is_unfinished()),
            Some(id) if id == new => return Ok(true),
            Some(_) => {}
        }
        if self.on_host(path)? != Some(new) {
            return Ok(false);
        }
        let Parent { directory: dir, name, _lent } = &self.parent(path)?;
        links::restore(depot, self.step.slot.as_bytes(), dir, old)?;
        rename((depot.as_fd(), self.step.slot.as_bytes()), (dir.as_fd(), *name), RenameFlags::EXCHANGE)?;
        Ok(true)
    }

    fn unwrite(&self, path: &[u8], node: Id, backup: &str) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        let Some(saved) = Node::at(depot.as_fd(), backup.as_bytes())? else { return Ok(true) };
        if self.on_host(path)? != Some(node) {
            return self.is_where_it_was(path, node);
        }
        let from = File::from(depot.at(backup.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW)?);
        let to = open_in_place(&self.ground.lower, path, node, OFlags::RDWR)?;
        overwrite(&from, &to, &Meta::of(&saved))?;
        Ok(true)
    }

    fn unset(&self, path: &[u8], node: Id, old: &Meta) -> io::Result<bool> {
        if self.on_host(path)? != Some(node) {
            return self.is_where_it_was(path, node);
        }
        let file = self.ground.lower.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        // The times tell of the host's content.
        if self.is_written { old.set_but_times(file.as_fd()) } else { old.set(file.as_fd()) }?;
        Ok(true)
    }

    fn unlink(&self, path: &[u8], node: Id) -> io::Result<bool> {
        match self.on_host(path)? {
            None => Ok(true),
            Some(id) if id == node => {
                let Parent { directory: dir, name, _lent } = &self.parent(path)?;
                unlinkat(dir, *name, AtFlags::empty())?;
                Ok(true)
            }
            Some(_) => Ok(self.reason.is_unfinished()),
        }
    }

    /// Whether what is there came back as a copy of what was put there: it was exchanged for something after that.
    fn is_a_copy_of(&self, node: Id) -> io::Result<bool> {
        let (layer, path) = (self.step.layer, &self.step.path);
        for step in self.steps.list.iter().filter(|step| (step.layer, &step.path) == (layer, path)) {
            if let Action::Swap { old, new } = step.action
                && old == node
            {
                return Ok(self.in_slot_of(step)? == Some(new));
            }
        }
        Ok(false)
    }

    /// Whether a file that is changed after the renames is where it was before them, or on its way: nothing was done to it
    /// yet.
    fn is_where_it_was(&self, path: &[u8], node: Id) -> io::Result<bool> {
        let before = path_then(&self.steps.settled, &self.ground.absolute(path));
        let Some(before) = self.ground.relative(&before).filter(|before| *before != path) else {
            return Ok(false);
        };
        if self.on_host(before)? == Some(node) {
            return Ok(true);
        }
        let took = |step: &&Step| {
            step.layer == self.step.layer
                && step.action.clears()
                && beneath::is_within(before, step.path.as_bytes())
        };
        for step in self.steps.list.iter().filter(took) {
            let below = before.get(step.path.as_bytes().len()..).unwrap_or_default();
            if self.in_depot(&[step.slot.as_bytes(), below].concat())? == Some(node) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn in_slot(&self) -> io::Result<Option<Id>> {
        self.in_slot_of(self.step)
    }

    fn in_slot_of(&self, step: &Step) -> io::Result<Option<Id>> {
        self.in_depot(step.slot.as_bytes())
    }

    fn in_depot(&self, path: &[u8]) -> io::Result<Option<Id>> {
        self.ground.depot.as_ref().map_or(Ok(None), |depot| id_at(depot, path))
    }

    fn on_host(&self, path: &[u8]) -> io::Result<Option<Id>> {
        id_at(&self.ground.lower, path)
    }
}

/// Whether `node`, which `put` renamed, is where it was before: an undo that was cut off came so far.
pub(super) fn has_moved_back(ground: &Ground, steps: &Steps, put: &Step, node: Id) -> io::Result<bool> {
    let is_take = |step: &&Step| {
        (step.layer, &step.slot) == (put.layer, &put.slot) && matches!(step.action, Action::Take { .. })
    };
    let Some(take) = steps.list.iter().find(is_take) else { return Ok(false) };
    Ok(id_at(&ground.lower, take.path.as_bytes())? == Some(node))
}

/// What is at a path; nothing, where its folder is not there.
pub(super) fn node_at(root: &Pinned, path: &[u8]) -> io::Result<Option<Node>> {
    match root.stat(path) {
        Err(error) if beneath::is_absent(&error) => Ok(None),
        stat => Ok(stat?.map(|stat| Node::of_stat(&stat))),
    }
}

fn id_at(root: &Pinned, path: &[u8]) -> io::Result<Option<Id>> {
    Ok(node_at(root, path)?.map(|node| node.id))
}

/// A directory that is changed, and the name of the entry.
struct Parent<'p> {
    directory: OwnedFd,
    name: &'p [u8],
    _lent: Option<Lent>,
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::EXIST | Errno::NOTEMPTY | Errno::STALE | Errno::XDEV))
}
