//! What the host changed since a commit.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
};

use rustix::{
    fd::AsFd as _,
    fs::{OFlags, Statx},
};

use super::{
    journal::{Rebased, Record, Steps},
    meta::Meta,
    moving::Lent,
    rollback::{Ground, node_at},
    steps::{Action, Folder, Id, Step},
    undo::Begun,
    ways,
};
use crate::changes::{
    Node, Readable, Stamp,
    base::digest,
    beneath::{self, join},
    names_in,
};

/// The steps that an undo must leave.
#[derive(Debug, Default)]
pub(super) struct Staying {
    /// By index.
    pub(super) steps: BTreeSet<usize>,
    /// Of those whose outcome the host did not change, the path in their layer without which they cannot go back.
    pub(super) without: BTreeMap<usize, Vec<u8>>,
    /// Of those whose outcome the host did not change, the ones that have nothing to go back to.
    pub(super) lost: BTreeSet<usize>,
}

/// The steps that an undo must leave because the host changed their outcome
/// since, or that of others, or because what they displaced is `unkept`. To be asked before the first is taken back:
/// that moves change times.
pub(super) fn changed_since(
    grounds: &[Ground],
    record: &Record,
    unkept: &BTreeSet<usize>,
) -> io::Result<Staying> {
    let (Some(steps), Some(done)) = (&record.steps, record.applied) else { return Ok(Staying::default()) };
    let mut changed = BTreeSet::new();
    let known = Since::new(record, steps, done);
    for (index, step) in steps.list.iter().enumerate() {
        let Some(ground) = grounds.get(step.layer) else { continue };
        if record.undone.steps.contains(&index) {
            continue;
        }
        let last = known.last.get(&(step.layer, step.path.as_bytes()));
        // What came of one that another followed is judged with that.
        let is_judged = last.is_none_or(|last| *last <= index);
        let judge = || ground.is_as_committed(step, &known);
        if is_judged && !ground.lending(step.path.as_bytes(), judge)? {
            changed.insert(index);
        }
    }
    let is_left = |index: &&usize| !record.undone.steps.contains(index) && !changed.contains(index);
    let lost: BTreeSet<_> = unkept.iter().filter(is_left).copied().collect();
    changed.extend(&lost);
    let without = ways::close(grounds, steps, &record.undone.steps, &mut changed)?;
    Ok(Staying { steps: changed, without, lost })
}

/// The steps, by index, that changed nothing but metadata of a file to which the host wrote since. To be asked before the
/// first is taken back.
pub(super) fn written_since(grounds: &[Ground], record: &Record) -> io::Result<BTreeSet<usize>> {
    let mut written = BTreeSet::new();
    let (Some(steps), Some(done)) = (&record.steps, record.applied) else { return Ok(written) };
    let known = Since::new(record, steps, done);
    for (index, step) in steps.list.iter().enumerate() {
        let (Some(ground), Action::Meta { node, .. }) = (grounds.get(step.layer), &step.action) else {
            continue;
        };
        let path = step.path.as_bytes();
        let is_written = || match node_at(&ground.lower, path)? {
            Some(now) if now.id == *node => Ok(!ground.is_known(path, &now, &known)?),
            _ => Ok(false),
        };
        if ground.lending(path, is_written)? {
            written.insert(index);
        }
    }
    Ok(written)
}

/// What this program itself did to the outcome of a commit.
pub(super) struct Since<'a> {
    /// When the commit was done.
    pub(super) done: Stamp,
    /// What came back since when a part of it was taken back.
    returned: &'a BTreeSet<(Id, Stamp)>,
    /// Of what it brought a part.
    parts: &'a [Rebased],
    /// What it did last at a path, by layer, but for what only took something away.
    last: HashMap<(usize, &'a [u8]), usize>,
    /// Its steps.
    steps: &'a [Step],
    /// The slots from which a step brings what another took from the host, by layer.
    taken: HashSet<(usize, &'a str)>,
    /// The directories that it brought, by layer and path, where that is known.
    folders: Option<HashMap<(usize, &'a [u8]), &'a Folder>>,
    /// What an undo has moved that was cut off.
    pub(super) begun: Option<Begun>,
}

impl<'a> Since<'a> {
    pub(super) fn new(record: &'a Record, steps: &'a Steps, done: Stamp) -> Self {
        // What was put there is judged by more than a change of its metadata.
        let is_last = |step: &Step| !step.action.clears() && !matches!(step.action, Action::Meta { .. });
        let lasting = steps.list.iter().enumerate().filter(|(_, step)| is_last(step));
        let last = lasting.map(|(index, step)| ((step.layer, step.path.as_bytes()), index)).collect();
        let taken = steps.list.iter().filter(|step| step.action.clears());
        let by_path = |folder: &'a Folder| ((folder.layer, folder.path.as_bytes()), folder);
        Self {
            done,
            returned: &record.undone.returned,
            parts: &steps.rebased,
            last,
            steps: &steps.list,
            taken: taken.map(|step| (step.layer, &step.slot[..])).collect(),
            folders: steps.folders.as_ref().map(|folders| folders.iter().map(by_path).collect()),
            begun: None,
        }
    }

    /// Whether a directory at `path`, which the commit did not bring, came with one that it moved. What an earlier version
    /// of this program committed counts as that.
    fn came_along(&self, layer: usize, path: &[u8]) -> bool {
        self.last_above(layer, path).is_some_and(|index| {
            self.folders.is_none() || self.taken.contains(&(layer, &self.steps[index].slot[..]))
        })
    }

    /// Whether the commit put something where `step` took something away, or into the place of what that was in.
    fn has_filled(&self, step: &Step) -> bool {
        self.last_above(step.layer, step.path.as_bytes()).is_some()
    }

    /// What the commit did last at a path, or else at the nearest above it.
    fn last_above(&self, layer: usize, mut path: &[u8]) -> Option<usize> {
        while !path.is_empty() {
            if let Some(index) = self.last.get(&(layer, path)) {
                return Some(*index);
            }
            path = beneath::split(path).0;
        }
        None
    }
}

impl Ground {
    /// True when the host still has what the step left, and nothing at or
    /// below it changed after `done`.
    fn is_as_committed(&self, step: &Step, known: &Since<'_>) -> io::Result<bool> {
        let (wanted, is_whole) = match &step.action {
            Action::Take { .. } | Action::Remove { .. } => {
                return Ok(known.has_filled(step) || self.lower.stat(step.path.as_bytes())?.is_none());
            }
            Action::Make { .. } => return Ok(self.lower.dir(step.path.as_bytes()).is_ok()),
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
            Action::Meta { new, .. } => self.is_like(step.path.as_bytes(), &node, new, known),
            _ if is_whole => self.is_unchanged_since(step, known),
            _ => Ok(true),
        }
    }

    /// Whether what is at a path has the mode, the owner and the attributes that a commit gave it.
    fn is_like(&self, path: &[u8], node: &Node, meta: &Meta, known: &Since<'_>) -> io::Result<bool> {
        if (node.mode, node.uid, node.gid) != (meta.mode, meta.uid, meta.gid) {
            return Ok(false);
        }
        let file = self.lower.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        match meta.has_attributes_of(file.as_fd()) {
            // Who may not read them goes by the change time.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(node.changed <= known.done),
            is_like => is_like,
        }
    }

    /// True for a file of which a part was committed and that is as it was then: a later part that came and
    /// went has moved its change time.
    fn is_part(&self, path: &[u8], node: &Node, parts: &[Rebased]) -> io::Result<bool> {
        let place = self.absolute(path);
        let Some(Rebased { base, .. }) = parts.iter().find(|part| part.place.as_bytes() == place) else {
            return Ok(false);
        };
        if (node.mode, node.uid, node.gid, node.size) != (base.mode, base.uid, base.gid, base.size) {
            return Ok(false);
        }
        let (dir, name) = self.lower.parent(path)?;
        let now = digest(&Readable { node, dir: dir.as_fd(), name }).ok();
        Ok(now.is_some() && now == base.digest)
    }

    /// Whether nobody but this program changed a file since.
    pub(super) fn is_known(&self, path: &[u8], node: &Node, known: &Since<'_>) -> io::Result<bool> {
        Ok(node.is_dir()
            || node.changed <= known.done
            || known.returned.contains(&(node.id, node.changed))
            || known
                .begun
                .as_ref()
                .is_some_and(|begun| begun.has_moved(&self.absolute(path), node, known.done))
            || self.is_part(path, node, known.parts)?)
    }

    /// The same of a directory, of which only its entries may have changed: they are judged themselves. One that is not
    /// the commit's is the host's, unless it was moved with another and is as old as the commit.
    fn is_known_folder(
        &self,
        layer: usize,
        path: &[u8],
        stat: &Statx,
        known: &Since<'_>,
    ) -> io::Result<bool> {
        let node = Node::of_stat(stat);
        if node.changed <= known.done || known.returned.contains(&(node.id, node.changed)) {
            return Ok(true);
        }
        let is_older = Node::born(stat).is_none_or(|born| born <= known.done);
        let folder = known.folders.as_ref().and_then(|folders| folders.get(&(layer, path)));
        // One that was made again in its place, by an undo too, holds nothing that is as old as the commit.
        if let Some(folder) = folder.filter(|folder| folder.node == node.id || !is_older) {
            return self.is_like(path, &node, &folder.meta, known);
        }
        let has_moved = |begun: &Begun| begun.has_moved(&self.absolute(path), &node, known.done);
        Ok(is_older && known.came_along(layer, path) || known.begun.as_ref().is_some_and(has_moved))
    }

    /// Whether nobody but this program changed what `step` put there, or anything in it, since.
    pub(super) fn is_unchanged_since(&self, step: &Step, known: &Since<'_>) -> io::Result<bool> {
        let (mut waiting, mut lent) = (vec![step.path.0.clone()], Vec::new());
        while let Some(path) = waiting.pop() {
            let Some(stat) = self.lower.stat(&path)? else { return Ok(false) };
            let node = Node::of_stat(&stat);
            if !node.is_dir() {
                if !self.is_known(&path, &node, known)? {
                    return Ok(false);
                }
                continue;
            }
            lent.extend(Lent::new(self.lower.dir(&path)?, 0o500));
            if !self.is_known_folder(step.layer, &path, &stat, known)? {
                return Ok(false);
            }
            let dir = self.lower.at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            waiting.extend(names_in(&dir)?.iter().map(|name| join(&path, name)));
        }
        Ok(true)
    }
}
