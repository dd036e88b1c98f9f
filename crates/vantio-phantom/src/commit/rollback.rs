//! Walking the steps of a commit backwards.

use std::{fs::File, io, os::fd::BorrowedFd, path::Path};

use rustix::{
    fd::AsFd as _,
    fs::{AtFlags, OFlags, RenameFlags, unlinkat},
    io::Errno,
};

use super::{
    apply::open_in_place,
    depot,
    journal::{Record, Steps},
    links,
    meta::{Meta, overwrite},
    moving::rename,
    steps::{Action, Dir, Id, Step},
};
use crate::changes::{
    Node, RunFolder, Stamp,
    base::note_again,
    beneath::{self, Pinned, join, stat_at, stat_fd},
    names_in, path_then,
};

/// Why steps are taken back.
#[derive(Clone, Copy)]
pub(super) enum Reason<'a> {
    /// A commit did not reach its end: every file goes back.
    Unfinished,
    /// A commit is undone; the steps with these indices stay.
    Undo(&'a [usize]),
}

impl Reason<'_> {
    fn is_unfinished(self) -> bool {
        matches!(self, Self::Unfinished)
    }
}

/// The steps, by index, that an undo must leave because the host changed
/// their outcome after `done`. To be asked before the first is taken back:
/// that moves change times.
pub(super) fn changed_since(grounds: &[Ground], steps: &Steps, done: Stamp) -> io::Result<Vec<usize>> {
    let mut changed = Vec::new();
    for (index, step) in steps.list.iter().enumerate() {
        let Some(ground) = grounds.get(step.layer) else { continue };
        if !ground.is_as_committed(step, done)? {
            changed.push(index);
        }
    }
    Ok(changed)
}

/// The two directories of a layer that a commit worked on.
pub(super) struct Ground {
    mount_point: Vec<u8>,
    pub(super) lower: Pinned,
    pub(super) depot: Option<Pinned>,
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
            let lower = Pinned::open(host_root, mount_point.strip_prefix(b"/").unwrap_or(&mount_point))?;
            let depot = match &ground.depot {
                Some(place) => match depot::open(place, folder, &lower) {
                    Err(error) if beneath::is_absent(&error) => None,
                    other => Some(other?),
                },
                None => None,
            };
            Ok(Self { mount_point, lower, depot })
        };
        record.begin.layers.iter().map(open).collect()
    }

    /// True when the host still has what the step left, and nothing at or
    /// below it changed after `done`.
    fn is_as_committed(&self, step: &Step, done: Stamp) -> io::Result<bool> {
        let (wanted, is_whole) = match &step.action {
            Action::Take { .. } => return Ok(true),
            Action::Put { node } | Action::Swap { new: node, .. } | Action::Rewrite { node, .. } => {
                (node, true)
            }
            Action::Meta { node, .. } | Action::Link { node, .. } => (node, false),
        };
        let Some(stat) = self.lower.stat(step.path.as_bytes())? else { return Ok(false) };
        let node = Node::of_stat(&stat);
        if node.id != *wanted {
            return Ok(false);
        }
        match &step.action {
            Action::Meta { new, .. } => Ok((node.mode, node.uid, node.gid) == (new.mode, new.uid, new.gid)),
            _ if is_whole => self.is_unchanged_since(step.path.as_bytes(), done),
            _ => Ok(true),
        }
    }

    fn is_unchanged_since(&self, path: &[u8], done: Stamp) -> io::Result<bool> {
        let mut waiting = vec![path.to_vec()];
        while let Some(path) = waiting.pop() {
            let Some(stat) = self.lower.stat(&path)? else { return Ok(false) };
            let node = Node::of_stat(&stat);
            if node.changed > done && !node.is_dir() {
                return Ok(false);
            }
            if node.is_dir() {
                let dir = self.lower.at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                waiting.extend(names_in(&dir)?.iter().map(|name| join(&path, name)));
            }
        }
        Ok(true)
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        let root = if self.mount_point == b"/" { &b""[..] } else { &self.mount_point };
        [root, b"/", path].concat()
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
) -> io::Result<Vec<Vec<u8>>> {
    let mut stayed = Vec::new();
    let mut back_again = Vec::new();
    for (index, step) in steps.list.iter().enumerate().rev() {
        let Some(ground) = grounds.get(step.layer) else { continue };
        let path = ground.absolute(step.path.as_bytes());
        if matches!(reason, Reason::Undo(stays) if stays.contains(&index)) {
            stayed.push(path);
            continue;
        }
        let back = Back { ground, step, reason };
        match back.take_back() {
            Ok(true) if matches!(step.action, Action::Put { .. } | Action::Link { .. }) => {}
            // What a step takes, it takes before the renames; the others
            // find their file where a rename has put it.
            Ok(true) if matches!(step.action, Action::Take { .. }) => back_again.push(path),
            Ok(true) => back_again.push(path_then(&steps.settled, &path)),
            Ok(false) => stayed.push(path),
            Err(error) if beneath::is_absent(&error) || is_occupied(&error) => {
                stayed.push(path);
            }
            Err(error) => return Err(error),
        }
    }
    // Parents last: their times move with their entries.
    for dir in &steps.dirs {
        if let Some(ground) = grounds.get(dir.layer) {
            restore_dir(ground, dir, reason)?;
        }
    }
    if !run.is_discarded() {
        let settled = run.committed().map_err(io::Error::other)?;
        let earlier: Vec<_> = settled.into_iter().filter(|entry| !steps.settled.contains(entry)).collect();
        let known_by = |place: Vec<u8>| (path_then(&earlier, &place), place);
        note_again(run.path(), host_root, &back_again.into_iter().map(known_by).collect::<Vec<_>>())?;
    }
    stayed.sort();
    stayed.dedup();
    Ok(stayed)
}

fn restore_dir(ground: &Ground, dir: &Dir, reason: Reason<'_>) -> io::Result<()> {
    let Some((path, meta)) = &dir.before else { return Ok(()) };
    let opened = match ground.lower.dir(path.as_bytes()) {
        Err(error) if beneath::is_absent(&error) => return Ok(()),
        other => other?,
    };
    let now = Node::of_stat(&stat_fd(opened.as_fd())?);
    let is = |meta: &Meta| (now.mode, now.uid, now.gid) == (meta.mode, meta.uid, meta.gid);
    // A step of its own may have given it back its metadata, but not its times.
    let is_ours = match (reason, &dir.after) {
        (Reason::Undo(_), Some((_, after))) => is(after) || is(meta),
        _ => true,
    };
    let set = match is_ours {
        true if is(meta) => meta.set_times(opened.as_fd()),
        true => meta.set(opened.as_fd()),
        false => Ok(()),
    };
    match set {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

struct Back<'a> {
    ground: &'a Ground,
    step: &'a Step,
    reason: Reason<'a>,
}

impl Back<'_> {
    /// False when the host's own change is in the way.
    fn take_back(&self) -> io::Result<bool> {
        let path = self.step.path.as_bytes();
        match &self.step.action {
            Action::Take { node } => self.untake(path, *node),
            Action::Put { node } => self.unput(path, *node),
            Action::Swap { old, new } => self.unswap(path, *old, *new),
            Action::Rewrite { node, backup } => self.unwrite(path, *node, backup),
            Action::Meta { node, old, .. } => self.unset(path, *node, old),
            Action::Link { node, .. } => self.unlink(path, *node),
        }
    }

    fn untake(&self, path: &[u8], node: Id) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        if self.in_slot()?.is_none() {
            // Not taken, or back already.
            return Ok(true);
        }
        let (dir, name) = self.ground.lower.parent(path)?;
        links::restore(depot, self.step.slot.as_bytes(), &dir, node)?;
        rename((depot.as_fd(), self.step.slot.as_bytes()), (dir.as_fd(), name), RenameFlags::NOREPLACE)?;
        Ok(true)
    }

    fn unput(&self, path: &[u8], node: Id) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        if self.in_slot()?.is_some() {
            return Ok(true);
        }
        match self.on_host(path)? {
            Some(found) if found == node => {}
            // A directory that is renamed was not even taken from where it was.
            None if self.reason.is_unfinished() => return Ok(true),
            _ => return Ok(false),
        }
        let (dir, name) = self.ground.lower.parent(path)?;
        rename((dir.as_fd(), name), (depot.as_fd(), self.step.slot.as_bytes()), RenameFlags::NOREPLACE)?;
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
        let (dir, name) = self.ground.lower.parent(path)?;
        links::restore(depot, self.step.slot.as_bytes(), &dir, old)?;
        rename((depot.as_fd(), self.step.slot.as_bytes()), (dir.as_fd(), name), RenameFlags::EXCHANGE)?;
        Ok(true)
    }

    fn unwrite(&self, path: &[u8], node: Id, backup: &str) -> io::Result<bool> {
        let Some(depot) = &self.ground.depot else { return Ok(self.reason.is_unfinished()) };
        let Some(saved) = Node::at(depot.as_fd(), backup.as_bytes())? else { return Ok(true) };
        if self.on_host(path)? != Some(node) {
            return Ok(false);
        }
        let from = File::from(depot.at(backup.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW)?);
        let to = open_in_place(&self.ground.lower, path, node, OFlags::RDWR)?;
        overwrite(&from, &to, &Meta::of(&saved))?;
        Ok(true)
    }

    fn unset(&self, path: &[u8], node: Id, old: &Meta) -> io::Result<bool> {
        if self.on_host(path)? != Some(node) {
            return Ok(false);
        }
        let file = self.ground.lower.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        old.set(file.as_fd())?;
        Ok(true)
    }

    fn unlink(&self, path: &[u8], node: Id) -> io::Result<bool> {
        match self.on_host(path)? {
            None => Ok(true),
            Some(id) if id == node => {
                let (dir, name) = self.ground.lower.parent(path)?;
                unlinkat(&dir, name, AtFlags::empty())?;
                Ok(true)
            }
            Some(_) => Ok(self.reason.is_unfinished()),
        }
    }

    fn in_slot(&self) -> io::Result<Option<Id>> {
        let Some(depot) = &self.ground.depot else { return Ok(None) };
        let stat = stat_at(depot.as_fd(), self.step.slot.as_bytes())?;
        Ok(stat.map(|stat| Node::of_stat(&stat).id))
    }

    fn on_host(&self, path: &[u8]) -> io::Result<Option<Id>> {
        Ok(self.ground.lower.stat(path)?.map(|stat| Node::of_stat(&stat).id))
    }
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::EXIST | Errno::NOTEMPTY | Errno::STALE | Errno::XDEV))
}
