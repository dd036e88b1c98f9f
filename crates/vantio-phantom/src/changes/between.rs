//! What changed between two states of one run.
//!
//! Each state is a set of changes to the host, and layers to read what they are. A path that only one of the two
//! changed is in the other what the host has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Write},
    sync::Arc,
};

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::{
    Change, ChangeKind, ChangeSet, Node, Readable, RunFolder, ScanError,
    beneath::{self, Pinned, join},
    hazards,
    model::Origin,
    names_in, open_layers,
    patch::{Content, body, git_mode, header, note, read},
    roots::LayerRoot,
    same_content, same_metadata, scan_layers,
    sides::Sides,
};

/// What changed between two states.
pub struct Between {
    set: ChangeSet,
    sides: [Side; 2],
    host: Pinned,
}

/// One state.
struct Side {
    layers: Vec<LayerRoot>,
    /// What is at each path that is not as the host has it, or is as the host has it elsewhere.
    states: BTreeMap<Vec<u8>, Option<State>>,
    /// What is as the host has it but for its time.
    retimed: BTreeMap<Vec<u8>, Node>,
    /// Of a name of a file of the run that has several: all of them.
    names: HashMap<Vec<u8>, Arc<[Vec<u8>]>>,
}

#[derive(Clone)]
struct State {
    node: Node,
    source: Source,
}

impl State {
    /// What is there, for a change: what the run has there has no other names on the host, only such as are kept of it.
    fn of_one_name(self) -> Node {
        match self.source {
            Source::Host(_) => self.node,
            Source::Upper(..) => Node { links: 1, ..self.node },
        }
    }
}

#[derive(Clone)]
enum Source {
    /// The host has it at this path.
    Host(Vec<u8>),
    /// It is in this layer, at this path.
    Upper(usize, Vec<u8>),
}

/// Compares two states of the run: `first` and `second` have its layers as they were.
pub fn between(
    first: &RunFolder,
    second: &RunFolder,
    host_root: BorrowedFd<'_>,
) -> Result<Between, ScanError> {
    let failed = |source| ScanError::Read { path: b"/".to_vec(), source };
    let host = Pinned::open(host_root, b"").map_err(failed)?;
    let side = |run| Side::new(run, &host, host_root);
    let mut between = Between { sides: [side(first)?, side(second)?], set: ChangeSet::default(), host };
    let [one, other] = &between.sides;
    let paths: BTreeSet<&Vec<u8>> = one.states.keys().chain(other.states.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let change = between.compare(path);
        changes.extend(change.map_err(|source| ScanError::Read { path: path.clone(), source })?);
    }
    let mut set = ChangeSet { changes, ..ChangeSet::default() };
    let sides = Sides::new(&between.sides[1].layers, host_root).map_err(failed)?;
    hazards::mark(&mut set, &sides, second.surroundings(), host_root);
    // What is as the host has it brings nothing home.
    let is_of_host = |change: &&mut Change| change.after.is_some() && change.origin.upper.is_none();
    set.changes.iter_mut().filter(is_of_host).for_each(|change| change.hazards.clear());
    between.set = set;
    Ok(between)
}

impl Between {
    /// The changes, the first state in the place of the host.
    pub fn changes(&self) -> &ChangeSet {
        &self.set
    }

    /// As [`ChangeSet::write_patch`].
    pub fn write_patch(&self, out: &mut dyn Write) -> Result<(), ScanError> {
        self.write_patch_of(|_| true, out)
    }

    /// The same of some changes.
    pub fn write_patch_of(
        &self,
        is_wanted: impl Fn(&Change) -> bool,
        out: &mut dyn Write,
    ) -> Result<(), ScanError> {
        for change in self.set.changes().iter().filter(|change| is_wanted(change)) {
            let written = self.write(change, out);
            written.map_err(|source| ScanError::Read { path: change.path.clone(), source })?;
        }
        Ok(())
    }

    /// Opens what the second state has at `path`, a regular file.
    pub(crate) fn open_second(&self, path: &[u8]) -> io::Result<std::fs::File> {
        let state = self.state(1, path)?.ok_or(io::ErrorKind::NotFound)?;
        let (directory, name) = self.locate(1, &state)?;
        let file = Readable { node: &state.node, dir: directory.as_fd(), name: &name };
        Ok(file.open()?.into())
    }

    /// Files that only have another time in the second state, and what they are there.
    pub(crate) fn retimed(&self) -> io::Result<BTreeMap<Vec<u8>, Node>> {
        let paths: BTreeSet<&Vec<u8>> = self.sides.iter().flat_map(Side::paths).collect();
        let mut found = BTreeMap::new();
        for path in paths.into_iter().filter(|path| self.set.get(path).is_none()) {
            let [before, after] = [self.state(0, path)?, self.state(1, path)?];
            if let (Some(before), Some(after)) = (before, after)
                && before.node.modified != after.node.modified
                && !after.node.is_dir()
            {
                found.insert(path.clone(), after.node);
            }
        }
        Ok(found)
    }

    /// All names that a file of the run has in the second state, where it has several.
    pub(crate) fn names_of(&self, path: &[u8]) -> Option<&Arc<[Vec<u8>]>> {
        self.sides[1].names.get(path)
    }

    /// What has to be made anew for the same names to be one file as in the second state.
    pub(crate) fn relinked(&self) -> BTreeSet<&[u8]> {
        let [first, second] = &self.sides;
        let differs = |path: &&Vec<u8>| {
            let is_changed = self.set.get(path).is_some_and(|change| change.kind != ChangeKind::Metadata);
            is_changed || first.names.get(*path) != second.names.get(*path)
        };
        let found = first.names.keys().chain(second.names.keys()).filter(differs);
        let all = found.flat_map(|path| match second.names.get(path) {
            Some(names) => names.iter().map(Vec::as_slice).collect(),
            None => vec![path.as_slice()],
        });
        all.filter(|path| self.set.get(path).is_none_or(|change| change.after.is_some())).collect()
    }

    /// What the second state has at `path`.
    pub(crate) fn second(&self, path: &[u8]) -> io::Result<Option<Node>> {
        Ok(self.state(1, path)?.map(|state| state.node))
    }

    fn compare(&self, path: &[u8]) -> io::Result<Option<Change>> {
        let [before, after] = [self.state(0, path)?, self.state(1, path)?];
        let kind = match (&before, &after) {
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Deleted,
            (Some(before), Some(after)) if before.node.file_type != after.node.file_type => {
                ChangeKind::Retyped
            }
            (Some(before), Some(after)) if !self.is_same(before, after)? => ChangeKind::Modified,
            (Some(before), Some(after)) if !same_metadata(&before.node, &after.node) => ChangeKind::Metadata,
            _ => return Ok(None),
        };
        let upper = match after.as_ref().map(|state| &state.source) {
            Some(Source::Upper(layer, upper)) => Some((*layer, upper.clone())),
            Some(Source::Host(_)) | None => None,
        };
        let origin = upper.map_or_else(Origin::default, |(layer, upper)| Origin {
            layer,
            upper: Some(upper),
            ..Origin::default()
        });
        Ok(Some(Change {
            path: path.to_vec(),
            kind,
            from: None,
            before: before.map(State::of_one_name),
            after: after.map(|state| state.node),
            links: Arc::default(),
            hazards: Vec::new(),
            blocked: None,
            origin,
        }))
    }

    fn state(&self, side: usize, path: &[u8]) -> io::Result<Option<State>> {
        if let Some(state) = self.sides[side].states.get(path) {
            return Ok(state.clone());
        }
        let source = Source::Host(path.to_vec());
        let Some(node) = host_node(&self.host, path)? else { return Ok(None) };
        let modified = self.sides[side].retimed.get(path).map_or(node.modified, |own| own.modified);
        Ok(Some(State { node: Node { modified, ..node }, source }))
    }

    fn is_same(&self, before: &State, after: &State) -> io::Result<bool> {
        if before.node.id == after.node.id {
            return Ok(true);
        }
        let (one, other) = (self.locate(0, before)?, self.locate(1, after)?);
        let one = Readable { node: &before.node, dir: one.0.as_fd(), name: &one.1 };
        let other = Readable { node: &after.node, dir: other.0.as_fd(), name: &other.1 };
        // What cannot be read may be anything.
        Ok(same_content(&one, &other).unwrap_or(false))
    }

    fn locate(&self, side: usize, state: &State) -> io::Result<(OwnedFd, Vec<u8>)> {
        let (directory, name) = match &state.source {
            Source::Host(path) => {
                let (parent, name) = beneath::split(beneath::below_root(path));
                let directory = Pinned::open(self.host.as_fd(), parent)?;
                (directory.dir(b"")?, name)
            }
            Source::Upper(layer, path) => {
                let layer = self.sides[side].layers.get(*layer);
                let upper = layer.and_then(|layer| layer.upper.as_ref()).ok_or(io::ErrorKind::NotFound)?;
                upper.parent(path)?
            }
        };
        Ok((directory, name.to_vec()))
    }

    fn write(&self, change: &Change, out: &mut dyn Write) -> io::Result<()> {
        let name = beneath::below_root(&change.path);
        let modes = [&change.before, &change.after].map(|node| node.as_ref().and_then(git_mode));
        let content = |side: usize| -> io::Result<Content> {
            let Some(state) = self.state(side, &change.path)? else { return Ok(Content::Nothing) };
            let (directory, name) = self.locate(side, &state)?;
            {
                let file = Readable { node: &state.node, dir: directory.as_fd(), name: &name };
                Ok(read(&state.node, || file.open().map(Into::into)))
            }
        };
        let removed = |out: &mut dyn Write, mode: &str| -> io::Result<()> {
            let head = format!("deleted file mode {mode}\n").into_bytes();
            body(out, &head, (Some(name), content(0)?), (None, Content::Nothing))
        };
        let added = |out: &mut dyn Write, mode: &str| -> io::Result<()> {
            let head = format!("new file mode {mode}\n").into_bytes();
            body(out, &head, (None, Content::Nothing), (Some(name), content(1)?))
        };
        match (change.kind, modes) {
            (ChangeKind::Modified | ChangeKind::Metadata, [Some(old), Some(new)]) => {
                if change.kind == ChangeKind::Metadata && old == new {
                    return note(out, "metadata", &change.path, change.after.as_ref());
                }
                let mut head = Vec::new();
                if old != new {
                    writeln!(head, "old mode {old}\nnew mode {new}")?;
                }
                if change.kind == ChangeKind::Metadata {
                    header(out, name, name)?;
                    return out.write_all(&head);
                }
                body(out, &head, (Some(name), content(0)?), (Some(name), content(1)?))
            }
            (kind, [None, None]) => {
                let node = change.after.as_ref().or(change.before.as_ref());
                note(out, kind.name(), &change.path, node)
            }
            (_, [old, new]) => {
                old.map_or(Ok(()), |mode| removed(out, mode))?;
                new.map_or(Ok(()), |mode| added(out, mode))
            }
        }
    }
}

impl Side {
    fn new(run: &RunFolder, host: &Pinned, host_root: BorrowedFd<'_>) -> Result<Self, ScanError> {
        let layers = open_layers(run, host_root)?;
        let set = scan_layers(run, &layers)?;
        let mut states = BTreeMap::new();
        for change in set.changes() {
            let state = change.after.clone().zip(change.origin.upper.clone());
            let state =
                state.map(|(node, upper)| State { node, source: Source::Upper(change.origin.layer, upper) });
            states.insert(change.path.clone(), state);
        }
        let renames: BTreeMap<&[u8], &[u8]> = set
            .changes()
            .iter()
            .filter(|change| change.kind == ChangeKind::Renamed)
            .map(|change| (change.host_path(), &*change.path))
            .collect();
        for (from, to) in &renames {
            let moved = expand(&mut states, host, &set, (from, to), &|path| renames.contains_key(path));
            moved.map_err(|source| ScanError::Read { path: from.to_vec(), source })?;
        }
        Ok(Self { layers, states, names: names(&set), retimed: set.retimed })
    }

    /// All of which it tells something.
    fn paths(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.states.keys().chain(self.retimed.keys())
    }
}

/// Of every name of a file of the run that has several: all of them.
fn names(set: &ChangeSet) -> HashMap<Vec<u8>, Arc<[Vec<u8>]>> {
    let changed = set.changes().iter().map(|change| Arc::clone(&change.links));
    let unchanged = set.kept_links.values().map(|names| names.clone().into());
    let mut found = HashMap::new();
    for names in changed.chain(unchanged).filter(|names: &Arc<[_]>| names.len() > 1) {
        for name in names.iter() {
            found.entry(name.clone()).or_insert_with(|| Arc::clone(&names));
        }
    }
    found
}

/// Adds what a renamed directory brought along, and that it is gone where it was.
fn expand(
    states: &mut BTreeMap<Vec<u8>, Option<State>>,
    host: &Pinned,
    set: &ChangeSet,
    (from, to): (&[u8], &[u8]),
    is_renamed: &dyn Fn(&[u8]) -> bool,
) -> io::Result<()> {
    // What is new says nothing of what the host has at its path.
    let told = set.changes().iter().filter(|change| change.kind != ChangeKind::Added).map(Change::host_path);
    let replaced = set.changes().iter().flat_map(|change| &change.origin.replaced);
    let settled: BTreeSet<&[u8]> = told.chain(replaced.map(|(path, _)| &**path)).collect();
    states.entry(from.to_vec()).or_insert(None);
    let mut waiting = vec![(from.to_vec(), to.to_vec())];
    while let Some((from, to)) = waiting.pop() {
        let directory = Pinned::open(host.as_fd(), beneath::below_root(&from))?;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        for name in names_in(&directory.at(b"", flags)?)? {
            let (old, new) = (join(&from, &name), join(&to, &name));
            if is_renamed(&old) {
                continue;
            }
            let Some(node) = Node::at(directory.as_fd(), &name)? else { continue };
            let is_dir = node.is_dir();
            if !settled.contains(&*old) {
                // What the host had there, or what was moved away from there, is gone, and not what came.
                let moved = State { node, source: Source::Host(old.clone()) };
                states.entry(new.clone()).or_insert(None).get_or_insert(moved);
            }
            states.entry(old.clone()).or_insert(None);
            if is_dir {
                waiting.push((old, new));
            }
        }
    }
    Ok(())
}

fn host_node(host: &Pinned, path: &[u8]) -> io::Result<Option<Node>> {
    let (parent, name) = beneath::split(beneath::below_root(path));
    match Pinned::open(host.as_fd(), parent) {
        Err(error) if beneath::is_absent(&error) => Ok(None),
        other => Node::at(other?.as_fd(), name),
    }
}
