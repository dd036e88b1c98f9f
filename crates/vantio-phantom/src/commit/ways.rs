//! Whether what a commit took from a place can go back there.
//!
//! What was renamed goes back as a whole or not at all: it is nowhere else. So does a repository: its index and its
//! branches name objects that are files of their own. So the undo of a step is not begun where another that it needs
//! cannot be done.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
};

use super::{
    journal::Steps,
    rollback::{Ground, node_at},
    steps::{Action, Step},
};
use crate::changes::beneath::{self, Pinned};

/// Adds to the steps that must stay those that cannot go back without them, or have no place to go to, and says of these
/// at which path in their layer what they cannot go back without is, or should be. `undone` are those that went back before.
pub(super) fn close(
    grounds: &[Ground],
    steps: &Steps,
    undone: &BTreeSet<usize>,
    stays: &mut BTreeSet<usize>,
) -> io::Result<BTreeMap<usize, Vec<u8>>> {
    let ways = Ways::new(grounds, steps, undone)?;
    let mut without = BTreeMap::new();
    loop {
        let others = ways.left.iter().copied().filter(|index| !stays.contains(index));
        let blocked = others.filter_map(|index| Some((index, ways.obstacle(index, stays)?)));
        let blocked: Vec<_> = blocked.collect();
        if blocked.is_empty() {
            return Ok(without);
        }
        stays.extend(blocked.iter().map(|(index, _)| *index));
        without.extend(blocked.into_iter().map(|(index, path)| (index, path.to_vec())));
    }
}

struct Ways<'a> {
    steps: &'a Steps,
    /// The steps that are not undone yet, by index.
    left: Vec<usize>,
    /// Those at a path, by layer.
    at: HashMap<(usize, &'a [u8]), Vec<usize>>,
    /// Those that move something by a slot, by layer.
    moving: HashMap<(usize, &'a str), Vec<usize>>,
    /// Those in a repository, by layer.
    repositories: HashMap<(usize, &'a [u8]), Vec<usize>>,
    /// Where the steps that took something have it go.
    places: HashMap<usize, Place>,
}

/// A place that something was taken from.
struct Place {
    /// Where it is now, if something is there.
    occupied: Option<Vec<u8>>,
    /// So much of that moves back with the folder itself.
    moving: usize,
    /// Whether its folder is there.
    has_folder: bool,
    /// The step that took its folder, or one above.
    above: Option<usize>,
}

impl<'a> Ways<'a> {
    fn new(grounds: &[Ground], steps: &'a Steps, undone: &BTreeSet<usize>) -> io::Result<Self> {
        let left = (0..steps.list.len()).filter(|index| !undone.contains(index)).collect();
        let (at, moving) = (HashMap::new(), HashMap::new());
        let (repositories, places) = (HashMap::new(), HashMap::new());
        let mut ways = Self { steps, left, at, moving, repositories, places };
        for index in &ways.left {
            let step = &steps.list[*index];
            ways.at.entry((step.layer, step.path.as_bytes())).or_default().push(*index);
            if moves(step) {
                ways.moving.entry((step.layer, &step.slot[..])).or_default().push(*index);
            }
            if let Some(repository) = repository(step.path.as_bytes()) {
                ways.repositories.entry((step.layer, repository)).or_default().push(*index);
            }
        }
        for index in &ways.left {
            let step = &steps.list[*index];
            if let (true, Some(ground)) = (step.action.clears(), grounds.get(step.layer)) {
                let path = step.path.as_bytes();
                let place = ground.lending(path, || ways.place(step, &ground.lower))?;
                ways.places.insert(*index, place);
            }
        }
        Ok(ways)
    }

    fn place(&self, step: &Step, lower: &Pinned) -> io::Result<Place> {
        let path = step.path.as_bytes();
        let above = self.above(step);
        let (now, moving) = match above.map(|above| &self.steps.list[above]) {
            Some(taken) if !matches!(taken.action, Action::Remove { .. }) => {
                let Some(put) = self.put_of(taken) else {
                    // Nobody can have put anything there: its folder is kept.
                    return Ok(Place { occupied: None, moving: 0, has_folder: true, above });
                };
                let below = path.get(taken.path.as_bytes().len()..).unwrap_or_default();
                ([put, below].concat(), put.len())
            }
            _ => (path.to_vec(), 0),
        };
        // A directory that was removed may be there again.
        let is_removed = matches!(step.action, Action::Remove { .. });
        let occupied =
            node_at(lower, &now)?.filter(|node| !(is_removed && node.is_dir())).map(|_| now.clone());
        let has_folder = match lower.dir(beneath::split(&now).0) {
            Err(error) if beneath::is_absent(&error) => false,
            folder => folder.map(|_| true)?,
        };
        Ok(Place { occupied, moving, has_folder, above })
    }

    /// The step that took the nearest folder above that was taken, or replaced.
    fn above(&self, step: &Step) -> Option<usize> {
        let mut folder = step.path.as_bytes();
        while !folder.is_empty() {
            folder = beneath::split(folder).0;
            let mut there = self.at.get(&(step.layer, folder)).into_iter().flatten();
            let takes = |action: &Action| action.clears() || matches!(action, Action::Swap { .. });
            if let Some(above) = there.find(|index| takes(&self.steps.list[**index].action)) {
                return Some(*above);
            }
        }
        None
    }

    /// Where what was taken is now; `None` where that is kept.
    fn put_of(&self, taken: &Step) -> Option<&[u8]> {
        let mut with = self.moving.get(&(taken.layer, &taken.slot[..])).into_iter().flatten();
        let put = with.find(|index| !self.steps.list[**index].action.clears())?;
        Some(self.steps.list[*put].path.as_bytes())
    }

    /// What keeps a step from going back, if anything does.
    fn obstacle<'w>(&'w self, index: usize, stays: &BTreeSet<usize>) -> Option<&'w [u8]> {
        let step = &self.steps.list[index];
        let mut with = self.moving.get(&(step.layer, &step.slot[..])).into_iter().flatten();
        if let (true, Some(other)) = (moves(step), with.find(|other| stays.contains(other))) {
            return Some(self.steps.list[*other].path.as_bytes());
        }
        let mut beside = repository(step.path.as_bytes())
            .and_then(|repository| self.repositories.get(&(step.layer, repository)))
            .into_iter()
            .flatten();
        if let Some(other) = beside.find(|other| stays.contains(other)) {
            return Some(self.steps.list[*other].path.as_bytes());
        }
        let place = self.places.get(&index)?;
        if let Some(path) = &place.occupied
            && !self.goes(step.layer, path, place.moving, stays)
        {
            return Some(path);
        }
        match place.above {
            Some(above) => stays.contains(&above).then(|| self.steps.list[above].path.as_bytes()),
            None => (!place.has_folder).then(|| beneath::split(step.path.as_bytes()).0),
        }
    }

    /// Whether what is at `path` goes when the steps that do not stay are undone: itself, or a folder above it that is not
    /// among the first `moving` bytes.
    fn goes(&self, layer: usize, path: &[u8], moving: usize, stays: &BTreeSet<usize>) -> bool {
        let mut at = path;
        while at.len() > moving {
            let mut there = self.at.get(&(layer, at)).into_iter().flatten();
            if there.any(|other| !stays.contains(other) && brings(&self.steps.list[*other].action)) {
                return true;
            }
            at = beneath::split(at).0;
        }
        false
    }
}

/// The folder of a version control system that `path` is, or is in.
pub fn repository(path: &[u8]) -> Option<&[u8]> {
    let starts = [0].into_iter().chain((1..=path.len()).filter(|at| path[at - 1] == b'/'));
    starts
        .map(|start| (start, path[start..].split(|byte| *byte == b'/').next().unwrap_or_default()))
        .find(|(_, name)| REPOSITORIES.contains(name))
        .map(|(start, name)| &path[..start + name.len()])
}

const REPOSITORIES: [&[u8]; 4] = [b".git", b".hg", b".jj", b".svn"];

/// Whether something is at the path that was not there before.
const fn brings(action: &Action) -> bool {
    matches!(action, Action::Put { .. } | Action::Swap { .. } | Action::Make { .. } | Action::Link { .. })
}

fn moves(step: &Step) -> bool {
    matches!(step.action, Action::Take { .. } | Action::Put { .. })
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn a_repository_is_known_by_its_name() {
        for (path, found) in [
            ("a/.git/index", Some("a/.git")),
            (".git", Some(".git")),
            ("/w/.hg/store/data", Some("/w/.hg")),
            ("a/.git/modules/.git/x", Some("a/.git")),
            ("a/.gitignore", None),
            ("a.git/index", None),
            ("", None),
        ] {
            assert_eq!(repository(path.as_bytes()), found.map(str::as_bytes), "{path}");
        }
    }
}
