//! Which changes a commit takes.

use std::{
    collections::{HashMap, HashSet},
    os::fd::BorrowedFd,
};

use super::{
    CommitError, CommitReport, Conflict, Held, HunkChoice, Offer, Options, Reason,
    conflict::{self, Known},
    merge::Merge,
    replace::{Grounds, Replacement, Replacements},
};
use crate::changes::{
    Change, ChangeKind, ChangeSet, LayerRoot, PathBytes, RunFolder, ScanError, Sides, beneath,
};

/// A path of the host and everything below it, literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    path: Vec<u8>,
}

impl Selector {
    /// Selects the absolute path `path`: without `.`, `..`, empty components
    /// or a slash at the end.
    pub fn new(path: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into() }
    }

    /// True for the path itself and what is below it.
    pub(super) fn names(&self, path: &[u8]) -> bool {
        beneath::is_within(path, &self.path)
    }

    /// The path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    fn covers(&self, change: &Change) -> bool {
        beneath::is_within(&change.path, &self.path)
            || change.from.as_ref().is_some_and(|from| beneath::is_within(from, &self.path))
    }
}

/// What a commit is asked for.
pub(super) struct Asked<'a> {
    pub(super) selection: &'a [Selector],
    pub(super) options: Options<'a>,
    /// Paths that the host changed while an earlier attempt was at work.
    pub(super) late: &'a [Vec<u8>],
    pub(super) host_root: BorrowedFd<'a>,
}

/// What a commit takes.
pub(super) struct Chosen {
    /// The changes, ordered by path.
    pub(super) indices: Vec<usize>,
    pub(super) replacements: Replacements,
    /// What bases know those by that are committed in spite of a conflict.
    pub(super) overruled: Vec<PathBytes>,
    /// Those of the changes in whose place the host had another, which is gone.
    pub(super) forced: Vec<usize>,
}

/// Lists the changes to commit, with what is committed in the place of some, and reports the rest.
pub(super) fn choose(
    run: &RunFolder,
    layers: &[LayerRoot],
    set: &ChangeSet,
    Asked { selection, options, late, host_root }: &Asked<'_>,
    report: &mut CommitReport,
) -> Result<Chosen, CommitError> {
    let needs = needs(set);
    let mut asked = asked(run, set, selection, *options)?;
    let kept = trees_of_kept(set, options.ours);
    asked.extend(&kept);
    let wanted = closure(&asked, &needs);
    let along = wanted.difference(&asked).map(|index| &set.changes()[*index]);
    let renamed = along.clone().filter(|change| change.kind == ChangeKind::Renamed);
    report.looks = renamed.map(|change| (change.path.clone(), change.metadata())).collect();
    report.looks.retain(|_, what| !what.is_empty());
    report.along = along.map(|change| change.path.clone()).collect();
    let known = Known::of_run(run)?;
    let sides = Sides::new(layers, *host_root);
    let sides = sides.map_err(|source| ScanError::Read { path: b"/".to_vec(), source })?;
    let grounds = Grounds { known: &known, layers, sides };
    let (mut replacements, mut overruled) = (Replacements::new(), HashSet::new());
    let withheld: HashSet<&[u8]> = options.withheld.iter().map(Vec::as_slice).collect();
    let late: HashSet<usize> = late.iter().flat_map(|path| concerned(set, path)).collect();
    let mut stopped = HashSet::new();
    for index in sorted(&wanted) {
        let change = &set.changes()[index];
        let covered = |selectors: &[Selector]| selectors.iter().any(|selector| selector.covers(change));
        if covered(options.ours) || kept.contains(&index) {
            report.dropped.push(change.path.clone());
            stopped.insert(index);
        } else if withheld.contains(change.path.as_slice()) {
            stopped.insert(index);
        } else if let Some(blocked) = change.blocked {
            report.never.push((change.path.clone(), blocked));
            stopped.insert(index);
        } else if late.contains(&index) {
            let offer = Merge::of(change, &grounds).map_or_else(Offer::Impossible, Merge::offer);
            report.conflicts.push(conflict(set, change, Reason::Moved, offer));
            stopped.insert(index);
        } else if let Some(reason) = reason(change, &grounds)? {
            let has_hunks = options.hunks.iter().any(|choice| choice.path == change.path);
            let is_forced = covered(options.theirs) && can_be_forced(set, change) && !has_hunks;
            let may_merge = covered(options.merge) && !has_hunks;
            let is_wanted = |merge: &Merge| may_merge && (merge.is_clean() || options.with_markers);
            match Merge::of(change, &grounds) {
                _ if is_forced => {}
                Ok(merge) if is_wanted(&merge) => drop(replacements.insert(index, merge.replacement)),
                merge => {
                    let offer = merge.map_or_else(Offer::Impossible, Merge::offer);
                    report.conflicts.push(conflict(set, change, reason, offer));
                    stopped.insert(index);
                    continue;
                }
            }
            overruled.insert(index);
        } else if let Some(choice) = options.hunks.iter().find(|choice| choice.path == change.path)
            && let Some(part) = Replacement::of_hunks(change, choice, &grounds.sides)?
        {
            replacements.insert(index, part);
        }
    }
    let chosen = without_dependents(set, &wanted, &needs, stopped, report);
    replacements.retain(|index, _| chosen.binary_search(index).is_ok());
    overruled.retain(|index| chosen.binary_search(index).is_ok());
    let forced = sorted(&overruled).into_iter().filter(|index| !replacements.contains_key(index)).collect();
    let overruled = overruled.iter().flat_map(|index| known.names(&set.changes()[*index])).collect();
    Ok(Chosen { indices: chosen, replacements, overruled, forced })
}

/// The removals of folders in which something stays that the run removed: they cannot be made.
fn trees_of_kept(set: &ChangeSet, ours: &[Selector]) -> HashSet<usize> {
    let is_kept = |change: &&Change| {
        change.kind == ChangeKind::Deleted && ours.iter().any(|selector| selector.covers(change))
    };
    let mut trees = HashSet::new();
    for kept in set.changes().iter().filter(is_kept) {
        let found = above(kept.host_path()).filter_map(|path| set.position(path));
        trees.extend(found.filter(|index| takes_tree(&set.changes()[*index])));
    }
    trees
}

/// The changes that cannot be made because the host changed `path`: what is moved piece by piece is one.
fn concerned(set: &ChangeSet, path: &[u8]) -> Vec<usize> {
    let all = || set.changes().iter().enumerate();
    let is_own = |change: &Change| change.path == path || change.from.as_deref() == Some(path);
    let own: Vec<usize> = all().filter(|(_, change)| is_own(change)).map(|(index, _)| index).collect();
    if !own.is_empty() {
        return own;
    }
    let holds = |change: &Change| {
        change.kind == ChangeKind::Renamed
            && (beneath::is_within(path, change.host_path()) || beneath::is_within(path, &change.path))
    };
    let above = all().filter(|(_, change)| holds(change)).max_by_key(|(_, change)| change.host_path().len());
    above.map(|(index, _)| index).into_iter().collect()
}

fn reason(change: &Change, grounds: &Grounds<'_>) -> Result<Option<Reason>, CommitError> {
    let failed = |source| ScanError::Read { path: change.path.clone(), source };
    Ok(conflict::of(change, grounds.known, grounds.layers).map_err(failed)?)
}

fn conflict(set: &ChangeSet, change: &Change, reason: Reason, offer: Offer) -> Conflict {
    Conflict { path: change.path.clone(), reason, offer, can_be_forced: can_be_forced(set, change) }
}

/// False for a rename of what the host has not any more, where the run did nothing else in it.
fn can_be_forced(set: &ChangeSet, change: &Change) -> bool {
    let is_in_it = |other: &Change| {
        other.path != change.path && other.after.is_some() && beneath::is_within(&other.path, &change.path)
    };
    !change.lost_its_source() || set.changes().iter().any(is_in_it)
}

fn asked(
    run: &RunFolder,
    set: &ChangeSet,
    selection: &[Selector],
    options: Options<'_>,
) -> Result<HashSet<usize>, CommitError> {
    if selection.is_empty() && options.hunks.is_empty() {
        return Ok((0..set.changes().len()).collect());
    }
    let settled = run.committed()?;
    let mut asked = HashSet::new();
    for HunkChoice { path, .. } in options.hunks {
        let found = set.position(path).filter(|index| set.changes()[*index].kind == ChangeKind::Modified);
        asked.insert(found.ok_or_else(|| CommitError::NoHunks { path: path.clone() })?);
    }
    let named = || selection.iter().chain(options.theirs).chain(options.ours).chain(options.merge);
    for selector in named() {
        let matching = (0..set.changes().len()).filter(|index| selector.covers(&set.changes()[*index]));
        let before = asked.len();
        asked.extend(matching);
        let was_settled =
            || settled.iter().any(|entry| beneath::is_within(entry.path.as_bytes(), &selector.path));
        let has_match =
            asked.len() > before || asked.iter().any(|index| selector.covers(&set.changes()[*index]));
        // What is in a folder that is moved whole goes with that.
        let is_below_another = || named().any(|other| other != selector && other.names(&selector.path));
        if !has_match && !was_settled() && !is_below_another() {
            return Err(CommitError::NoSuchChange { path: selector.path.clone() });
        }
    }
    Ok(asked)
}

/// For each change, the changes that must be on the host with it.
fn needs(set: &ChangeSet) -> Vec<Vec<usize>> {
    let changes = set.changes();
    let mut needs = vec![Vec::new(); changes.len()];
    let renames: HashMap<&[u8], usize> = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| change.kind == ChangeKind::Renamed)
        .map(|(index, change)| (change.host_path(), index))
        .collect();
    let removed: HashMap<&[u8], usize> = changes
        .iter()
        .enumerate()
        .flat_map(|(index, change)| trees(change).map(move |tree| (tree, index)))
        .collect();
    ring_links(set, &mut needs);
    for (index, change) in changes.iter().enumerate() {
        if change.kind == ChangeKind::Deleted {
            // A directory goes only with all that is in it.
            let place = change.host_path();
            let parent = container_of(set, &change.path, place);
            if let Some(parent) = parent.or_else(|| removed.get(beneath::split(place).0).copied()) {
                needs[parent].push(index);
            }
            continue;
        }
        if let Some(parent) = ancestor(set, &change.path, makes_directory) {
            needs[index].push(parent);
        }
        // What the host has in its place makes room first.
        let places = [Some(change.path.clone()), place_below_rename(set, &change.path)];
        let occupants = places.iter().flatten().filter_map(|place| renames.get(place.as_slice()));
        needs[index].extend(occupants.filter(|rename| **rename != index));
        if change.kind == ChangeKind::Renamed
            && let Some(container) = above(change.host_path()).find_map(|path| removed.get(path))
        {
            needs[*container].push(index);
        }
    }
    needs
}

/// The changed names of a file need each other: each the next, around.
fn ring_links(set: &ChangeSet, needs: &mut [Vec<usize>]) {
    for (index, change) in set.changes().iter().enumerate() {
        let Some(own) = change.links.iter().position(|name| *name == change.path) else { continue };
        let others = change.links[own + 1..].iter().chain(&change.links[..own]);
        needs[index].extend(others.filter_map(|name| set.position(name)).take(1));
    }
}

/// True for a change that brings the directory which things below it need.
pub(super) fn makes_directory(change: &Change) -> bool {
    matches!(change.kind, ChangeKind::Added | ChangeKind::Retyped | ChangeKind::Renamed)
}

/// True for a change that removes a directory of the host with all in it.
pub(super) fn takes_tree(change: &Change) -> bool {
    trees(change).next().is_some()
}

/// The directories of the host that a change removes with all in them.
fn trees(change: &Change) -> impl Iterator<Item = &[u8]> {
    let goes = matches!(change.kind, ChangeKind::Deleted | ChangeKind::Retyped);
    let before = change.before.iter().filter(move |_| goes).map(|node| (change.host_path(), node));
    let replaced = change.origin.replaced.iter().map(|(path, node)| (&path[..], node));
    before.chain(replaced).filter(|(_, node)| node.is_dir()).map(|(path, _)| path)
}

/// The change that removes the directory which the host has `place` in, with all in it. What goes may be `told` where it
/// would be by now, and what is above that be about another directory.
pub(super) fn container_of(set: &ChangeSet, told: &[u8], place: &[u8]) -> Option<usize> {
    let directory = beneath::split(place).0;
    let mut above = [beneath::split(told).0, directory].into_iter().filter_map(|path| set.position(path));
    above.find(|index| trees(&set.changes()[*index]).any(|tree| tree == directory))
}

/// Where the host has what is at `path` once the directory above that brings it is renamed.
fn place_below_rename(set: &ChangeSet, path: &[u8]) -> Option<Vec<u8>> {
    let above = &set.changes()[ancestor(set, path, makes_directory)?];
    let is_renamed = above.kind == ChangeKind::Renamed;
    is_renamed.then(|| [above.host_path(), &path[above.path.len()..]].concat())
}

/// The nearest change above `path` that `is_wanted`.
fn ancestor(set: &ChangeSet, path: &[u8], is_wanted: fn(&Change) -> bool) -> Option<usize> {
    let mut found = above(path).filter_map(|path| set.position(path));
    found.find(|index| is_wanted(&set.changes()[*index]))
}

/// The paths above `path`, the nearest first.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let up = |path| Some(beneath::split(path).0).filter(|above| !above.is_empty());
    std::iter::successors(up(path), move |path| up(path))
}

fn closure(asked: &HashSet<usize>, needs: &[Vec<usize>]) -> HashSet<usize> {
    let mut wanted = asked.clone();
    let mut waiting: Vec<usize> = asked.iter().copied().collect();
    while let Some(index) = waiting.pop() {
        waiting.extend(needs[index].iter().filter(|need| wanted.insert(**need)));
    }
    wanted
}

fn without_dependents(
    set: &ChangeSet,
    wanted: &HashSet<usize>,
    needs: &[Vec<usize>],
    stopped: HashSet<usize>,
    report: &mut CommitReport,
) -> Vec<usize> {
    let mut dependents: HashMap<usize, Vec<usize>> = HashMap::new();
    for index in wanted {
        for need in &needs[*index] {
            dependents.entry(*need).or_default().push(*index);
        }
    }
    let path = |index: usize| set.changes()[index].path.clone();
    let mut waiting = sorted(&stopped);
    let mut stopped = stopped;
    while let Some(on) = waiting.pop() {
        for index in dependents.remove(&on).unwrap_or_default() {
            if stopped.insert(index) {
                report.held.push(Held { path: path(index), on: path(on) });
                waiting.push(index);
            }
        }
    }
    report.held.sort_by(|one, other| one.path.cmp(&other.path));
    let mut chosen = sorted(wanted);
    chosen.retain(|index| !stopped.contains(index));
    report.along.retain(|path| set.position(path).is_some_and(|index| !stopped.contains(&index)));
    report.along.sort();
    chosen
}

fn sorted(indices: &HashSet<usize>) -> Vec<usize> {
    let mut list: Vec<usize> = indices.iter().copied().collect();
    list.sort_unstable();
    list
}
