//! Which steps of a commit are taken back for some paths, and what must go with them.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::super::{
    CommitError, Selector,
    journal::{Record, Steps},
    rollback::Ground,
    steps::{Action, Id, Step},
};
use crate::changes::{Committed, Node, PathBytes, beneath::is_within};

/// A part of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Steps, by index.
    pub(super) steps: BTreeSet<usize>,
    /// Settled paths that wait again, each with the step that it hangs on.
    freed: Vec<(PathBytes, Option<usize>)>,
    /// Nothing of the commit is left without it.
    #[serde(default)]
    pub(super) is_all: bool,
}

impl Part {
    /// The part of a commit that `selection` names; `None` where a selector names nothing of it.
    pub(super) fn of(
        record: &Record,
        grounds: &[Ground],
        selection: &[Selector],
    ) -> Result<Option<Self>, CommitError> {
        let Some(steps) = &record.steps else { return Ok(None) };
        let finder = Finder { steps, grounds, paths: absolute(steps, grounds), undone: &record.undone.steps };
        let mut found = BTreeSet::new();
        let is_left = |entry: &&Committed| {
            finder.step_of(entry).is_none_or(|step| !record.undone.steps.contains(&step))
        };
        for selector in selection {
            let own = finder.indices().filter(|index| selector.names(&finder.paths[*index]));
            let own: Vec<usize> = own.collect();
            let settled = steps.settled.iter().filter(|entry| selector.names(entry.path.as_bytes()));
            let settled: Vec<&Committed> = settled.filter(is_left).collect();
            if own.is_empty() && settled.is_empty() {
                return Ok(None);
            }
            for entry in settled {
                let Some(step) = finder.step_of(entry) else { continue };
                if is_below(entry.path.as_bytes(), &finder.paths[step]) && !own.contains(&step) {
                    let (path, with) = (entry.path.0.clone(), finder.paths[step].clone());
                    return Err(CommitError::CameWith { path, with });
                }
                found.insert(step);
            }
            found.extend(own);
        }
        let taken = finder.closed(found);
        let is_freed = |entry: &&Committed| match finder.step_of(entry) {
            Some(step) => taken.contains(&step),
            // It was dropped: nothing on the host says so.
            None => selection.iter().any(|selector| selector.names(entry.path.as_bytes())),
        };
        let (freed, kept): (Vec<_>, Vec<_>) = steps.settled.iter().partition(is_freed);
        let is_all = finder.indices().all(|index| taken.contains(&index)) && !kept.iter().any(is_left);
        let freed = freed.into_iter().map(|entry| (entry.path.clone(), finder.step_of(entry))).collect();
        Ok(Some(Self { steps: taken, freed, is_all }))
    }

    /// All that is left of a commit.
    pub(super) fn whole(record: &Record, grounds: &[Ground]) -> Self {
        let Some(steps) = &record.steps else { return Self::default() };
        let finder = Finder { steps, grounds, paths: absolute(steps, grounds), undone: &record.undone.steps };
        let freed = steps.settled.iter().map(|entry| (entry.path.clone(), finder.step_of(entry)));
        let is_left = |step: &Option<usize>| step.is_none_or(|step| !record.undone.steps.contains(&step));
        let freed = freed.filter(|(_, step)| is_left(step)).collect();
        Self { steps: finder.indices().collect(), freed, is_all: true }
    }

    /// The settled paths that wait again when the steps `stayed` were not taken back.
    pub(super) fn freed(&self, steps: &Steps, stayed: &BTreeSet<usize>) -> Vec<Committed> {
        let is_freed = |entry: &&Committed| {
            let mut freed = self.freed.iter().filter(|(path, _)| *path == entry.path);
            freed.any(|(_, step)| step.is_none_or(|step| !stayed.contains(&step)))
        };
        steps.settled.iter().filter(is_freed).cloned().collect()
    }

    /// What `selection` did not name.
    pub(super) fn along(&self, record: &Record, grounds: &[Ground], selection: &[Selector]) -> Vec<Vec<u8>> {
        let Some(steps) = &record.steps else { return Vec::new() };
        let paths = absolute(steps, grounds);
        let own = self.steps.iter().map(|index| paths[*index].clone());
        let all: BTreeSet<Vec<u8>> = own.chain(self.freed.iter().map(|(path, _)| path.0.clone())).collect();
        let is_named = |path: &[u8]| selection.iter().any(|selector| selector.names(path));
        // A rename is known by its new name.
        let is_old = |path: &[u8]| {
            let is = |name: &PathBytes| name.as_bytes() == path;
            !steps.settled.iter().any(|entry| is(&entry.path))
                && steps.settled.iter().any(|entry| entry.from.as_ref().is_some_and(is))
        };
        all.into_iter().filter(|path| !is_named(path) && !is_old(path)).collect()
    }
}

struct Finder<'a> {
    steps: &'a Steps,
    grounds: &'a [Ground],
    /// The path of each step.
    paths: Vec<Vec<u8>>,
    undone: &'a BTreeSet<usize>,
}

impl Finder<'_> {
    /// Steps that are still there to be taken back.
    fn indices(&self) -> impl Iterator<Item = usize> {
        (0..self.paths.len()).filter(|index| !self.undone.contains(index))
    }

    /// The step that brought a settled path: its own, that of a directory above it, or that of another name.
    fn step_of(&self, entry: &Committed) -> Option<usize> {
        let path = entry.path.as_bytes();
        let all = || 0..self.paths.len();
        let own = all().filter(|index| self.paths[*index] == path).max_by_key(|index| self.is_put(*index));
        let above = || {
            let covering =
                all().filter(|index| is_tree(self.step(*index)) && is_below(path, &self.paths[*index]));
            covering.max_by_key(|index| (self.paths[*index].len(), self.is_put(*index)))
        };
        own.or_else(above).or_else(|| self.other_name(path))
    }

    /// The step that wrote in place a file of which `path` is another name.
    fn other_name(&self, path: &[u8]) -> Option<usize> {
        (0..self.paths.len()).find(|index| {
            let step = self.step(*index);
            let Action::Rewrite { node, .. } = &step.action else { return false };
            let ground = self.grounds.get(step.layer);
            let found = ground.and_then(|ground| ground.lower.stat(ground.relative(path)?).ok()?);
            found.is_some_and(|stat| Node::of_stat(&stat).id == *node)
        })
    }

    /// Adds what cannot stay when these are taken back.
    fn closed(&self, found: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut by_path: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let mut by_id: HashMap<Id, Vec<usize>> = HashMap::new();
        for index in self.indices() {
            by_path.entry(&self.paths[index]).or_default().push(index);
            for id in self.step(index).action.ids() {
                by_id.entry(id).or_default().push(index);
            }
        }
        let mut taken = found.clone();
        let mut waiting: Vec<usize> = found.into_iter().collect();
        while let Some(index) = waiting.pop() {
            let (step, path) = (self.step(index), &self.paths[index]);
            let mut needed: Vec<usize> = by_path.get(&path[..]).cloned().unwrap_or_default();
            needed.extend(step.action.ids().iter().filter_map(|id| by_id.get(id)).flatten());
            if is_tree(step) {
                needed.extend(self.indices().filter(|other| is_below(&self.paths[*other], path)));
            }
            if step.action.clears() {
                // It returns to a directory that is there again only then.
                let went = |other: &usize| {
                    (self.step(*other).action.clears()
                        || matches!(self.step(*other).action, Action::Swap { .. }))
                        && is_below(path, &self.paths[*other])
                };
                needed.extend(self.indices().filter(went));
            }
            waiting.extend(needed.into_iter().filter(|need| taken.insert(*need)));
        }
        taken
    }

    fn step(&self, index: usize) -> &Step {
        &self.steps.list[index]
    }

    fn is_put(&self, index: usize) -> bool {
        !self.step(index).action.clears()
    }
}

fn absolute(steps: &Steps, grounds: &[Ground]) -> Vec<Vec<u8>> {
    let of = |step: &Step| grounds.get(step.layer).map(|ground| ground.absolute(step.path.as_bytes()));
    steps.list.iter().map(|step| of(step).unwrap_or_default()).collect()
}

/// True for a step that brings or takes what is below its path too.
fn is_tree(step: &Step) -> bool {
    matches!(
        step.action,
        Action::Take { .. } | Action::Make { .. } | Action::Put { .. } | Action::Swap { .. }
    )
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path != folder && is_within(path, folder)
}

/// What was undone cannot be told apart any more from what never was, by its slot alone.
pub(super) fn garbage(steps: &Steps, done: &BTreeSet<usize>) -> Vec<(usize, String, Id)> {
    let is_shared = |step: &Step| {
        let takes = |other: &&Step| other.layer == step.layer && other.slot == step.slot;
        steps.list.iter().filter(takes).any(|other| matches!(other.action, Action::Take { .. }))
    };
    let mut garbage = Vec::new();
    for step in done.iter().filter_map(|index| steps.list.get(*index)) {
        match &step.action {
            Action::Put { node } | Action::Swap { new: node, .. } if !is_shared(step) => {
                garbage.push((step.layer, step.slot.clone(), *node));
            }
            _ => {}
        }
    }
    garbage
}
