//! From chosen changes to steps.

use std::collections::{HashMap, HashSet};

use super::{
    meta::Meta,
    pieces::{Piece, Pieces},
    replace::{Replacement, Replacements},
    select::{container_of, makes_directory},
    steps::Dir,
};
use crate::changes::{
    Change, ChangeKind, ChangeSet, Layer, LayerRoot, Node, PathBytes, Shared, beneath, moved, same_metadata,
};

/// A step that is not staged yet.
pub(super) struct Planned<'a> {
    pub(super) layer: usize,
    /// On the host, relative to the layer.
    pub(super) path: Vec<u8>,
    pub(super) slot: String,
    pub(super) kind: Kind<'a>,
}

/// What a planned step does, and what it expects on the host.
pub(super) enum Kind<'a> {
    /// Move this away from the host.
    Take(&'a Node),
    /// Remove this directory of the host, which is empty by then.
    Remove(&'a Node),
    /// Make the directory that an earlier `Remove` removed elsewhere.
    Make(&'a Node),
    /// Put what an earlier `Take` moved to the same slot.
    PutMoved(&'a Node),
    /// Put what was staged.
    PutNew,
    /// Exchange this for what was staged.
    Swap(&'a Node),
    /// Write what was staged into this.
    Rewrite(&'a Node),
    /// Change the metadata of this.
    Meta(&'a Node, &'a Node),
    /// Make a link to the file at this path of the same layer.
    Link(Vec<u8>),
}

/// A file to copy into a depot.
pub(super) struct Item<'a> {
    pub(super) change: &'a Change,
    pub(super) layer: usize,
    /// Path within the depot.
    pub(super) at: Vec<u8>,
    /// An earlier item of which this is another name.
    pub(super) link_to: Option<Vec<u8>>,
    pub(super) replacement: Option<&'a Replacement>,
}

impl Item<'_> {
    /// What the copy is.
    pub(super) fn node(&self) -> Option<&Node> {
        self.replacement.map(|replacement| &replacement.node).or(self.change.after.as_ref())
    }
}

/// Everything a commit will do.
pub(super) struct Plan<'a> {
    pub(super) set: &'a ChangeSet,
    pub(super) shared: Shared<'a>,
    pub(super) steps: Vec<Planned<'a>>,
    pub(super) items: Vec<Item<'a>>,
    /// Old and new path of every rename among the steps.
    renames: Vec<(&'a [u8], &'a [u8])>,
    /// Which of the changes it commits.
    chosen: HashSet<usize>,
}

impl<'a> Plan<'a> {
    /// Plans the commit of `chosen`, which are ordered by path.
    pub(super) fn new(
        layers: &[LayerRoot],
        set: &'a ChangeSet,
        chosen: &[usize],
        replacements: &'a Replacements,
        pieces: &'a Pieces,
    ) -> Self {
        let mut planner = Planner {
            layers,
            set,
            replacements,
            pieces,
            plan: Self {
                set,
                shared: Shared::new(set),
                steps: Vec::new(),
                items: Vec::new(),
                renames: Vec::new(),
                chosen: chosen.iter().copied().collect(),
            },
            cleared: HashSet::new(),
            put: HashSet::new(),
            moved: HashMap::new(),
            staged: HashMap::new(),
            first_copies: HashMap::new(),
            in_place: HashSet::new(),
            moves_directories: layers.iter().map(LayerRoot::moves_directories).collect(),
            next_slot: 0,
        };
        // What goes, goes by its place on the host, deepest first.
        for (path, index, goes) in going(set, chosen) {
            let change = &set.changes()[index];
            match goes {
                Goes::Own => planner.take(index),
                Goes::Replaced(_) if planner.goes_with_container(change, path, path) => {}
                Goes::Replaced(node) => drop(planner.clear(change, path, node)),
            }
        }
        for index in chosen {
            planner.put(*index);
        }
        for index in chosen {
            planner.link(*index);
        }
        // Last: what is known of a file of which another name goes or is exchanged is what it was before.
        // A directory after what is in it, which it may close.
        let is_dir = |index: &&usize| set.changes()[**index].before.as_ref().is_some_and(Node::is_dir);
        let (dirs, files): (Vec<&usize>, Vec<&usize>) = chosen.iter().partition(is_dir);
        for index in files.into_iter().chain(dirs.into_iter().rev()) {
            planner.in_place(*index);
        }
        planner.plan
    }

    /// The layers that the plan touches.
    pub(super) fn layers(&self) -> HashSet<usize> {
        self.steps.iter().map(|step| step.layer).collect()
    }

    /// The files of the host that got another name.
    pub(super) fn linked(&self, layers: &[LayerRoot]) -> HashSet<(u64, u64)> {
        let linked = self.steps.iter().filter(|step| matches!(step.kind, Kind::Link(_)));
        let found = linked.filter_map(|step| layers[step.layer].lower.stat(&step.path).ok().flatten());
        found.map(|stat| Node::of_stat(&stat).id).collect()
    }

    /// Where a path of the run's view is on the host before the first step.
    pub(super) fn before(&self, absolute: &[u8]) -> Vec<u8> {
        moved(absolute, self.renames.iter().map(|(from, to)| (*to, *from)))
    }

    /// Where a path of the host is after the last step.
    fn after(&self, absolute: &[u8]) -> Vec<u8> {
        moved(absolute, self.renames.iter().copied())
    }

    /// Where what the plan has at `path` of a layer is before the first step.
    pub(super) fn now(&self, layer: &Layer, path: &[u8]) -> Vec<u8> {
        layer.relative(&self.before(&layer.absolute(path))).unwrap_or_default().to_vec()
    }

    /// The directories that are made anew or whose entries change, and what they are afterwards.
    pub(super) fn dirs(&self, layers: &[LayerRoot]) -> std::io::Result<Vec<Dir>> {
        let mut seen = HashSet::new();
        let mut dirs = Vec::new();
        for step in &self.steps {
            let own = matches!(step.kind, Kind::Make(_)).then_some(&step.path[..]);
            for place in own.into_iter().chain([beneath::split(&step.path).0]) {
                let absolute = layers[step.layer].layer.absolute(place);
                let (before, after) = match step.kind {
                    Kind::Take(_) | Kind::Remove(_) => (absolute.clone(), self.after(&absolute)),
                    Kind::Rewrite(_) | Kind::Meta(..) => continue,
                    _ => (self.before(&absolute), absolute),
                };
                if seen.insert((before.clone(), after.clone())) {
                    dirs.push(self.dir(layers, step.layer, &before, &after)?);
                }
            }
        }
        // Deepest first, so that setting a parent's times comes last.
        dirs.sort_by(|one, other| path_of(other).cmp(&path_of(one)));
        Ok(dirs)
    }

    fn dir(&self, layers: &[LayerRoot], index: usize, before: &[u8], after: &[u8]) -> std::io::Result<Dir> {
        let layer = &layers[index];
        let chosen = |path: &[u8]| {
            let found = self.set.position(path).filter(|index| self.chosen.contains(index));
            found.map(|index| &self.set.changes()[index])
        };
        let change = chosen(after);
        let is_else = |change: &Change| change.after.as_ref().is_some_and(|after| !after.is_dir());
        let is_new = change.is_some_and(|change| {
            let is_moved = change.kind == ChangeKind::Renamed && !change.lost_its_source();
            makes_directory(change) && !is_moved && !is_else(change)
        });
        let relative = |path| layer.layer.relative(path).unwrap_or_default().to_vec();
        let old = if is_new { None } else { full_host_node(layer, &relative(before))? };
        let run = upper_node(layer, &relative(after))?;
        let is_deleted = |change: &Change| change.kind == ChangeKind::Deleted;
        // A deletion is known by where the host has it.
        let is_gone = self.before(after) != before || chosen(before).is_some_and(is_deleted);
        let goes = is_gone || change.is_some_and(|change| is_deleted(change) || is_else(change));
        let wanted = change.filter(|change| !is_deleted(change)).and_then(|change| change.after.as_ref());
        let mut new = wanted.or(old.as_ref()).map(Meta::of);
        if let (Some(new), Some(run)) = (&mut new, &run) {
            let host = old.as_ref().map(|old| old.modified);
            new.modified = host.map_or(run.modified, |host| host.max(run.modified));
        }
        if let (Some(new), Some(old)) = (&mut new, &old) {
            new.accessed = old.accessed;
        }
        Ok(Dir {
            layer: index,
            before: old.as_ref().map(|old| (PathBytes(relative(before)), Meta::of(old))),
            after: new.filter(|_| !goes).map(|new| (PathBytes(relative(after)), new)),
        })
    }
}

/// What goes with a change.
enum Goes<'a> {
    /// What it is about.
    Own,
    /// What stands where something is moved to.
    Replaced(&'a Node),
}

/// What goes with the `chosen` changes, by its place on the host, what is in a directory before that.
fn going<'a>(set: &'a ChangeSet, chosen: &[usize]) -> Vec<(&'a [u8], usize, Goes<'a>)> {
    let mut going = Vec::new();
    for index in chosen {
        let change = &set.changes()[*index];
        going.push((change.host_path(), *index, Goes::Own));
        let replaced = change.origin.replaced.iter();
        going.extend(replaced.map(|(path, node)| (&path[..], *index, Goes::Replaced(node))));
    }
    going.sort_by(|(one, ..), (other, ..)| other.cmp(one));
    going
}

fn path_of(dir: &Dir) -> Option<&PathBytes> {
    dir.after.as_ref().or(dir.before.as_ref()).map(|(path, _)| path)
}

fn upper_node(layer: &LayerRoot, path: &[u8]) -> std::io::Result<Option<Node>> {
    match &layer.upper {
        Some(upper) if !path.is_empty() => Ok(upper.stat(path)?.map(|stat| Node::of_stat(&stat))),
        _ => Ok(None),
    }
}

/// The directory that the host has at `path`, with its attributes.
pub(super) fn full_host_node(layer: &LayerRoot, path: &[u8]) -> std::io::Result<Option<Node>> {
    use rustix::fd::AsFd as _;
    let fd = match layer.lower.dir(path) {
        Err(error) if beneath::is_absent(&error) => return Ok(None),
        other => other?,
    };
    let mut node = Node::of_stat(&beneath::stat_fd(fd.as_fd())?);
    node.xattrs = crate::changes::node::xattrs_of(fd.as_fd())?;
    Ok(Some(node))
}

struct Planner<'a, 'l> {
    layers: &'l [LayerRoot],
    set: &'a ChangeSet,
    replacements: &'a Replacements,
    /// What renamed entries are moved as.
    pieces: &'a Pieces,
    plan: Plan<'a>,
    /// From where a step takes something away, by layer.
    cleared: HashSet<(usize, Vec<u8>)>,
    /// To where one moves something, by layer.
    put: HashSet<(usize, Vec<u8>)>,
    /// What goes to another place, by change, and its slots.
    moved: HashMap<usize, Vec<(&'a Piece, String)>>,
    /// Where a new directory is staged, by its path on the host.
    staged: HashMap<&'a [u8], Vec<u8>>,
    /// The staged copy of a file with several names in the run.
    first_copies: HashMap<(usize, u64), Vec<u8>>,
    /// Files of the host that are changed where they are.
    in_place: HashSet<(u64, u64)>,
    /// By layer, whether what goes may go with its directory.
    moves_directories: Vec<bool>,
    next_slot: u64,
}

impl<'a> Planner<'a, '_> {
    fn take(&mut self, index: usize) {
        let change: &'a Change = &self.set.changes()[index];
        match (change.kind, &change.before) {
            (ChangeKind::Deleted, Some(before))
                if !self.goes_with_container(change, &change.path, change.host_path()) =>
            {
                self.clear(change, change.host_path(), before);
            }
            (ChangeKind::Renamed, Some(_)) => {
                for piece in self.pieces.get(&index).into_iter().flatten().rev() {
                    let path = piece.path(change.host_path());
                    if !self.cleared.contains(&(change.origin.layer, path.clone())) {
                        let slot = self.clear(change, &path, &piece.node);
                        self.moved.entry(index).or_default().push((piece, slot));
                    }
                }
            }
            (ChangeKind::Modified | ChangeKind::Retyped, Some(before))
                if self.becomes_link(change) || self.is_stuck(change, before) =>
            {
                self.clear(change, change.host_path(), before);
            }
            _ => {}
        }
    }

    /// Has nothing be at `path`, where the host has `node`, and returns the slot that has it then.
    fn clear(&mut self, change: &'a Change, path: &[u8], node: &'a Node) -> String {
        let slot = self.slot();
        let kind = if self.is_stuck(change, node) { Kind::Remove(node) } else { Kind::Take(node) };
        self.step(change, path, slot.clone(), kind);
        self.cleared.insert((change.origin.layer, path.to_vec()));
        slot
    }

    /// True for a directory that can only be removed, not moved.
    fn is_stuck(&self, change: &Change, node: &Node) -> bool {
        node.is_dir() && !self.moves_directories[change.origin.layer]
    }

    fn put(&mut self, index: usize) {
        let change: &'a Change = &self.set.changes()[index];
        match (change.kind, &change.before) {
            (ChangeKind::Renamed, Some(_)) => {
                self.plan.renames.push((change.host_path(), &change.path));
                for (piece, slot) in self.moved.remove(&index).into_iter().flatten().rev() {
                    let node = &piece.node;
                    let path = piece.path(&change.path);
                    let kind =
                        if self.is_stuck(change, node) { Kind::Make(node) } else { Kind::PutMoved(node) };
                    self.step(change, &path, slot, kind);
                    self.put.insert((change.origin.layer, path));
                }
            }
            (ChangeKind::Added | ChangeKind::Modified | ChangeKind::Retyped, _)
                if self.becomes_link(change) => {}
            // Of what the host has not any more, what the run did in it is left.
            (ChangeKind::Added, _) | (ChangeKind::Renamed, None) => self.add(change),
            (ChangeKind::Retyped, Some(before)) if self.is_stuck(change, before) => {
                let slot = self.stage(change, None);
                self.step(change, &change.path, slot, Kind::PutNew);
            }
            (ChangeKind::Modified | ChangeKind::Retyped | ChangeKind::Metadata, Some(before))
                if !self.is_in_place(change) =>
            {
                let slot = self.stage(change, None);
                self.step(change, &change.path, slot, Kind::Swap(before));
            }
            _ => {}
        }
    }

    /// Changes a file where it is, once for all names that it has on the host.
    fn in_place(&mut self, index: usize) {
        let change: &'a Change = &self.set.changes()[index];
        let (Some(before), Some(after)) = (&change.before, &change.after) else { return };
        if change.kind == ChangeKind::Renamed {
            if !self.is_stuck(change, before) && !same_metadata(before, after) {
                let slot = self.slot();
                self.step(change, &change.path, slot, Kind::Meta(before, after));
            }
            return;
        }
        if !self.is_in_place(change) || !self.in_place.insert(before.id) {
            return;
        }
        // A directory that is made anew gets at once what it is to be.
        if self.is_stuck(change, before) && self.put.contains(&(change.origin.layer, change.path.clone())) {
            return;
        }
        if change.kind == ChangeKind::Metadata {
            let slot = self.slot();
            let after = self.replacement(change).map_or(after, |replacement| &replacement.node);
            self.step(change, &change.path, slot, Kind::Meta(before, after));
        } else {
            let slot = self.stage(change, None);
            self.step(change, &change.path, slot, Kind::Rewrite(before));
        }
    }

    fn add(&mut self, change: &'a Change) {
        let parent = self.staged.get(beneath::split(&change.path).0).cloned();
        let is_inside = parent.is_some();
        let slot = self.stage(change, parent);
        if !is_inside {
            self.step(change, &change.path, slot, Kind::PutNew);
        }
    }

    fn link(&mut self, index: usize) {
        let change: &'a Change = &self.set.changes()[index];
        let Some(existing) = self.link_target(change) else { return };
        let layer = &self.layers[change.origin.layer].layer;
        let existing = layer.relative(existing).unwrap_or_default().to_vec();
        let slot = self.slot();
        self.step(change, &change.path, slot, Kind::Link(existing));
    }

    /// True for what the move of its directory takes away.
    fn goes_with_container(&self, change: &Change, told: &[u8], place: &[u8]) -> bool {
        self.moves_directories[change.origin.layer]
            && container_of(self.set, told, place).is_some_and(|index| self.plan.chosen.contains(&index))
    }

    /// True for a change that all names of the file follow, and that comes with all that the run did to these: what waits
    /// finds them as they were.
    fn is_in_place(&self, change: &Change) -> bool {
        let is_whole = self.plan.shared.of(change).iter().all(|name| self.plan.chosen.contains(name));
        is_whole && self.plan.shared.is_in_place(change)
    }

    fn becomes_link(&self, change: &'a Change) -> bool {
        self.link_target(change).is_some()
    }

    /// For a new name of a file that stays on the host, one of the file's
    /// names there.
    fn link_target(&self, change: &'a Change) -> Option<&'a [u8]> {
        let after = change.after.as_ref()?;
        let is_new = matches!(change.kind, ChangeKind::Added | ChangeKind::Modified | ChangeKind::Retyped);
        if after.is_dir() || after.links < 2 || !is_new || self.is_in_place(change) {
            return None;
        }
        let set = self.set;
        let kept = set.kept_links.get(&(change.origin.layer, after.id.1)).and_then(|names| names.first());
        let stays = |other: &&'a Change| self.is_in_place(other);
        kept.map(Vec::as_slice).or_else(|| {
            let others =
                change.links.iter().filter(|name| **name != change.path).filter_map(|name| set.get(name));
            others.filter(stays).map(|other| other.path.as_slice()).next()
        })
    }

    /// Lists `change` for staging, in a slot of its own or inside a staged
    /// directory, and returns the slot.
    fn stage(&mut self, change: &'a Change, parent: Option<Vec<u8>>) -> String {
        let slot = self.slot();
        let at = match parent {
            Some(parent) => beneath::join(&parent, beneath::split(&change.path).1),
            None => slot.clone().into_bytes(),
        };
        let Some(after) = &change.after else { return slot };
        let mut link_to = None;
        if after.is_dir() {
            self.staged.insert(&change.path, at.clone());
        } else if after.links > 1 {
            let key = (change.origin.layer, after.id.1);
            link_to = self.first_copies.get(&key).cloned();
            self.first_copies.entry(key).or_insert_with(|| at.clone());
        }
        let replacement = self.replacement(change);
        self.plan.items.push(Item { change, layer: change.origin.layer, at, link_to, replacement });
        slot
    }

    fn step(&mut self, change: &'a Change, path: &[u8], slot: String, kind: Kind<'a>) {
        let layer = change.origin.layer;
        let path = self.layers[layer].layer.relative(path).unwrap_or_default().to_vec();
        self.plan.steps.push(Planned { layer, path, slot, kind });
    }

    fn replacement(&self, change: &Change) -> Option<&'a Replacement> {
        self.set.position(&change.path).and_then(|index| self.replacements.get(&index))
    }

    fn slot(&mut self) -> String {
        self.next_slot += 1;
        self.next_slot.to_string()
    }
}
