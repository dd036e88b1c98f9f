//! The walk over one layer.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Dir, Mode, OFlags, openat},
    io::Errno,
};

use super::{
    Bases, Blocked, Change, ChangeKind, FileType, LayerKind, Node, Origin, Readable, RunFolder, ScanError,
    beneath::{self, Pinned, join},
    layers::{Committed, path_now, path_then},
    node::xattr,
    roots::LayerRoot,
    same_content, same_metadata,
};

/// The state of a walk.
pub(crate) struct Walk<'a> {
    index: usize,
    root: &'a LayerRoot,
    committed: &'a [Committed],
    run: &'a RunFolder,
    /// What the host had, once that is asked for.
    bases: OnceCell<Bases>,
    /// Renames that wait: the directory's path in the upper layer, and where
    /// the host has it.
    renames: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where the host still has what was renamed.
    moved: HashSet<Vec<u8>>,
    pub(crate) changes: Vec<Change>,
    pub(crate) links: HashMap<u64, Vec<Vec<u8>>>,
    pub(crate) kept_apart: Vec<(u64, u64)>,
    pub(crate) retimed: Vec<(Vec<u8>, Node)>,
}

/// A directory to visit, relative to the layer's two roots.
struct Frame {
    upper: Vec<u8>,
    /// Where the host has it, if it does.
    lower: Option<Vec<u8>>,
    /// The run removed the host's directory and made it anew: what it does
    /// not hold now is deleted.
    opaque: bool,
    /// What the host has here, or above, was moved elsewhere.
    vacated: bool,
}

/// An entry of the upper layer with what the host has at the same place.
struct Entry<'f> {
    dir: BorrowedFd<'f>,
    name: &'f [u8],
    path: Vec<u8>,
    node: Node,
    lower: Option<Lower<'f>>,
    /// The run does not see what the host has here, even without a mark.
    hides: bool,
    vacated: bool,
}

struct Lower<'f> {
    dir: BorrowedFd<'f>,
    path: Vec<u8>,
    node: Node,
    /// Its attributes may not be read.
    is_sealed: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        index: usize,
        root: &'a LayerRoot,
        committed: &'a [Committed],
        run: &'a RunFolder,
    ) -> Self {
        Self {
            index,
            root,
            committed,
            run,
            bases: OnceCell::new(),
            renames: BTreeMap::new(),
            moved: HashSet::new(),
            changes: Vec::new(),
            links: HashMap::new(),
            kept_apart: Vec::new(),
            retimed: Vec::new(),
        }
    }

    /// Visits every directory of the upper layer.
    pub(crate) fn run(&mut self) -> Result<(), ScanError> {
        let Some(upper) = &self.root.upper else { return Ok(()) };
        self.find_renames(upper).map_err(|(path, source)| self.failed(&path, source))?;
        let mut waiting =
            vec![Frame { upper: Vec::new(), lower: Some(Vec::new()), opaque: false, vacated: false }];
        while let Some(frame) = waiting.pop() {
            self.visit(upper, &frame, &mut waiting).map_err(|source| self.failed(&frame.upper, source))?;
        }
        Ok(())
    }

    fn visit(&mut self, upper: &Pinned, frame: &Frame, waiting: &mut Vec<Frame>) -> io::Result<()> {
        let upper_dir = upper.at(&frame.upper, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = names_in(&upper_dir)?;
        if names.is_empty() && !frame.opaque {
            // What the run left alone need not even be readable.
            return Ok(());
        }
        let lower_dir = match &frame.lower {
            Some(path) => self.host_dir(path)?,
            None => None,
        };
        for name in &names {
            let path = join(&frame.upper, name);
            let Some(node) = self.upper_node(upper_dir.as_fd(), name, &path)? else { continue };
            let lower = match (&lower_dir, &frame.lower) {
                (Some(dir), Some(parent)) => match self.lower_at(dir.as_fd(), parent, name)? {
                    Found::Nothing => None,
                    Found::Mount => continue,
                    Found::Sealed => {
                        let place = if node.is_whiteout() { join(parent, name) } else { path };
                        self.push_sealed(&place, Some(node));
                        continue;
                    }
                    Found::Entry(lower) => Some(*lower),
                },
                _ => None,
            };
            let is_moved = |parent: &Vec<u8>| self.moved.contains(&join(parent, name));
            let vacated = frame.vacated || frame.lower.as_ref().is_some_and(is_moved);
            let hides = frame.opaque;
            self.entry(Entry { dir: upper_dir.as_fd(), name, path, node, lower, hides, vacated }, waiting)?;
        }
        if let (true, Some(parent)) = (frame.opaque, &frame.lower) {
            let kept: HashSet<_> = names.into_iter().collect();
            self.delete_entries(parent, |name| !kept.contains(name))?;
        }
        Ok(())
    }

    /// What the run has there, made readable.
    fn upper_node(&self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> io::Result<Option<Node>> {
        let Some(stat) = beneath::stat_at(dir, name)? else { return Ok(None) };
        let bare = Node::of_stat(&stat);
        let mode = self.root.true_mode(path, &bare)?;
        self.root.lend(path, &bare)?;
        let mut node = Node::complete(&stat, dir, name)?;
        node.set_mode(mode);
        Ok(Some(node))
    }

    fn entry(&mut self, entry: Entry<'_>, waiting: &mut Vec<Frame>) -> io::Result<()> {
        if entry.node.is_whiteout() {
            return entry.lower.map_or(Ok(()), |lower| self.delete(lower.path, lower.node));
        }
        if self.root.layer.absolute(&entry.path).len() > LONGEST_PATH {
            self.push(&entry, ChangeKind::Added, Some(Blocked::TooDeep));
            return Ok(());
        }
        if entry.node.is_dir() { self.directory(&entry, waiting) } else { self.leaf(&entry) }
    }

    fn directory(&mut self, entry: &Entry<'_>, waiting: &mut Vec<Frame>) -> io::Result<()> {
        if let Some(source) = self.renames.get(&entry.path).cloned() {
            return self.renamed(entry, source, waiting);
        }
        let mut frame =
            Frame { upper: entry.path.clone(), lower: None, opaque: false, vacated: entry.vacated };
        match &entry.lower {
            None => {
                self.push(entry, ChangeKind::Added, None);
                let had_lower = self.overlay_note(entry.dir, entry.name, "origin")?.is_some();
                if let Some(change) = self.changes.last_mut() {
                    change.origin.had_lower = had_lower;
                }
            }
            Some(lower) if !lower.node.is_dir() => self.push(entry, ChangeKind::Retyped, None),
            Some(lower) => {
                frame.lower = Some(lower.path.clone());
                frame.opaque = self.is_opaque(entry)? && !self.is_made_anew(&lower.path)?;
                if frame.opaque && self.host_list(&lower.path)?.is_closed() {
                    self.push(entry, ChangeKind::Metadata, Some(Blocked::Unreadable));
                } else if !lower.is_sealed && !same_metadata(&lower.node, &entry.node) {
                    self.push(entry, ChangeKind::Metadata, None);
                }
            }
        }
        waiting.push(frame);
        Ok(())
    }

    fn renamed(&mut self, entry: &Entry<'_>, source: Vec<u8>, waiting: &mut Vec<Frame>) -> io::Result<()> {
        let replaced = entry.lower.as_ref().filter(|lower| lower.node.is_dir());
        let blocked = replaced.map_or(Ok(None), |replaced| self.delete_all_in(&replaced.path))?;
        let (parent, name) = beneath::split(&source);
        let before = match self.host_dir(parent)? {
            Some(dir) => Node::at(dir.as_fd(), name)?,
            None => None,
        };
        let path = self.root.layer.absolute(&entry.path);
        let replaced =
            entry.lower.iter().map(|lower| (self.root.layer.absolute(&lower.path), lower.node.clone()));
        self.changes.push(Change {
            hazards: Vec::new(),
            path,
            kind: ChangeKind::Renamed,
            from: Some(self.root.layer.absolute(&source)),
            before,
            after: Some(entry.node.clone()),
            links: Arc::default(),
            blocked,
            origin: Origin {
                layer: self.index,
                upper: Some(entry.path.clone()),
                replaced: replaced.collect(),
                had_lower: true,
                is_vacated: entry.vacated,
                is_conflict: false,
            },
        });
        let vacated = entry.vacated;
        waiting.push(Frame { upper: entry.path.clone(), lower: Some(source), opaque: false, vacated });
        Ok(())
    }

    fn leaf(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if entry.node.links > 1 {
            let name = self.root.layer.absolute(&entry.path);
            self.links.entry(entry.node.id.1).or_default().push(name);
        }
        let blocked = match entry.node.file_type {
            FileType::Character | FileType::Block => Some(Blocked::Device),
            FileType::Socket => Some(Blocked::Socket),
            _ => None,
        };
        let Some(lower) = &entry.lower else {
            self.push(entry, ChangeKind::Added, blocked);
            return Ok(());
        };
        if lower.node.file_type != entry.node.file_type {
            let is_closed = if lower.node.is_dir() { self.delete_all_in(&lower.path)? } else { None };
            self.push(entry, ChangeKind::Retyped, blocked.or(is_closed));
            return Ok(());
        }
        if lower.is_sealed {
            self.push(entry, ChangeKind::Modified, Some(Blocked::Unreadable));
            return Ok(());
        }
        let upper = Readable { node: &entry.node, dir: entry.dir, name: entry.name };
        let (_, lower_name) = beneath::split(&lower.path);
        let host = Readable { node: &lower.node, dir: lower.dir, name: lower_name };
        match same_content(&upper, &host) {
            Ok(true) if same_metadata(&entry.node, &lower.node) => {
                self.kept_apart.extend((lower.node.links > 1).then_some(lower.node.id));
                if lower.node.modified != entry.node.modified {
                    self.retimed.push((self.root.layer.absolute(&entry.path), entry.node.clone()));
                }
            }
            Ok(true) => self.push(entry, ChangeKind::Metadata, blocked),
            Ok(false) => self.push(entry, ChangeKind::Modified, blocked),
            Err(_) if upper.open().is_ok() => self.push(entry, ChangeKind::Modified, blocked),
            Err(_) => self.push(entry, ChangeKind::Modified, Some(Blocked::Unreadable)),
        }
        Ok(())
    }

    fn push(&mut self, entry: &Entry<'_>, kind: ChangeKind, blocked: Option<Blocked>) {
        let path = self.root.layer.absolute(&entry.path);
        let lower = entry.lower.as_ref();
        self.changes.push(Change {
            hazards: Vec::new(),
            path,
            kind,
            from: lower
                .filter(|lower| lower.path != entry.path)
                .map(|lower| self.root.layer.absolute(&lower.path)),
            before: lower.map(|lower| lower.node.clone()),
            after: Some(entry.node.clone()),
            links: Arc::default(),
            blocked,
            origin: Origin {
                layer: self.index,
                upper: Some(entry.path.clone()),
                is_vacated: entry.vacated,
                ..Origin::default()
            },
        });
    }

    /// A change in a folder of the host that may not be looked into, and with it what is below.
    fn push_sealed(&mut self, path: &[u8], node: Option<Node>) {
        let after = node.filter(|node| !node.is_whiteout());
        let upper = after.is_some().then(|| path.to_vec());
        self.changes.push(Change {
            path: self.root.layer.absolute(path),
            kind: if after.is_some() { ChangeKind::Added } else { ChangeKind::Deleted },
            from: None,
            before: None,
            after,
            links: Arc::default(),
            hazards: Vec::new(),
            blocked: Some(Blocked::Unreadable),
            origin: Origin { layer: self.index, upper, ..Origin::default() },
        });
    }

    /// Lists a host's tree as deleted, without what was moved out of it.
    fn delete(&mut self, path: Vec<u8>, node: Node) -> io::Result<()> {
        let mut waiting = vec![(path, node)];
        while let Some((path, node)) = waiting.pop() {
            let mut blocked = None;
            if node.is_dir() {
                match self.host_children(&path) {
                    Ok(children) => waiting.extend(children),
                    Err(Unlisted::Mount) => blocked = Some(Blocked::Mount),
                    Err(Unlisted::Failed(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                        blocked = Some(Blocked::Unreadable);
                    }
                    Err(Unlisted::Failed(error)) => return Err(error),
                }
            }
            self.push_deleted(&path, node, blocked);
        }
        Ok(())
    }

    fn push_deleted(&mut self, path: &[u8], node: Node, blocked: Option<Blocked>) {
        self.changes.push(Change {
            path: self.root.layer.absolute(path),
            kind: ChangeKind::Deleted,
            from: None,
            before: Some(node),
            after: None,
            links: Arc::default(),
            hazards: Vec::new(),
            blocked,
            origin: Origin { layer: self.index, ..Origin::default() },
        });
    }

    /// Lists all that the host has in a directory as deleted; where that cannot be told, why what is in its place is not
    /// committed.
    fn delete_all_in(&mut self, path: &[u8]) -> io::Result<Option<Blocked>> {
        let listed = self.delete_entries(path, |_| true)?;
        Ok(listed.is_closed().then_some(Blocked::Unreadable))
    }

    fn delete_entries(&mut self, parent: &[u8], is_gone: impl Fn(&[u8]) -> bool) -> io::Result<Listed> {
        let listed = self.host_list(parent)?;
        let Listed::Open(dir) = &listed else { return Ok(listed) };
        for name in names_in(dir)?.iter().filter(|name| is_gone(name)) {
            match self.lower_at(dir.as_fd(), parent, name)? {
                Found::Entry(lower) => self.delete(lower.path, lower.node)?,
                Found::Sealed => self.push_sealed(&join(parent, name), None),
                Found::Nothing | Found::Mount => {}
            }
        }
        Ok(listed)
    }

    /// Opens a directory of the host whose entries are deleted.
    fn host_list(&self, path: &[u8]) -> io::Result<Listed> {
        let Some(dir) = self.host_dir(path)? else { return Ok(Listed::Settled) };
        match openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            // A commit has closed it, and removed what was in it.
            Err(Errno::ACCESS) if self.is_settled(path) => Ok(Listed::Settled),
            Err(Errno::ACCESS) => Ok(Listed::Closed),
            listed => Ok(Listed::Open(listed?)),
        }
    }

    fn host_children(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Node)>, Unlisted> {
        let dir = self.root.lower.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut children = Vec::new();
        for name in names_in(&dir)? {
            match self.lower_at(dir.as_fd(), path, &name)? {
                Found::Entry(lower) => children.push((lower.path, lower.node)),
                Found::Nothing => {}
                Found::Mount => return Err(Unlisted::Mount),
                Found::Sealed => return Err(Unlisted::Failed(io::ErrorKind::PermissionDenied.into())),
            }
        }
        Ok(children)
    }

    /// What the host has at `parent/name`, unless the run moved it away.
    fn lower_at<'f>(&self, dir: BorrowedFd<'f>, parent: &[u8], name: &[u8]) -> io::Result<Found<'f>> {
        let path = join(parent, name);
        if self.moved.contains(&path) {
            return Ok(Found::Nothing);
        }
        let stat = match beneath::stat_at(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Found::Sealed),
            stat => stat?,
        };
        let Some(stat) = stat else { return Ok(Found::Nothing) };
        if stat.stx_mnt_id != self.root.lower.mount() {
            return Ok(Found::Mount);
        }
        let (node, is_sealed) = match Node::complete(&stat, dir, name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (Node::of_stat(&stat), true),
            node => (node?, false),
        };
        Ok(Found::Entry(Box::new(Lower { dir, path, node, is_sealed })))
    }

    fn host_dir(&self, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        match self.root.lower.dir(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if beneath::is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds the directories that the overlay moved, before anything is
    /// compared: what was moved away is not at its old place any more.
    fn find_renames(&mut self, upper: &Pinned) -> Result<(), (Vec<u8>, io::Error)> {
        if self.root.layer.kind == LayerKind::User {
            return Ok(());
        }
        let mut waiting = vec![(Vec::new(), Vec::new())];
        while let Some((path, lower)) = waiting.pop() {
            self.renames_in(upper, &path, &lower, &mut waiting).map_err(|error| (path, error))?;
        }
        Ok(())
    }

    fn renames_in(
        &mut self,
        upper: &Pinned,
        path: &[u8],
        lower: &[u8],
        waiting: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> io::Result<()> {
        let dir = upper.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in directories_in(&dir)? {
            let child = join(path, &name);
            let mut source = join(lower, &name);
            if let Some(redirect) = self.overlay_note(dir.as_fd(), &name, "redirect")? {
                let target = self.redirect_target(&redirect, lower);
                // Moved away and back again is not moved.
                if let Some(target) =
                    target.filter(|target| *target != source && !self.is_committed_rename(&child))
                {
                    self.moved.insert(target.clone());
                    self.renames.insert(child.clone(), target.clone());
                    source = target;
                }
            }
            if child.len() < LONGEST_PATH {
                waiting.push((child, source));
            }
        }
        Ok(())
    }

    /// Where the host has a redirected directory now. The value is a name
    /// beside the directory, or a path from the overlay's root.
    fn redirect_target(&self, redirect: &[u8], lower_parent: &[u8]) -> Option<Vec<u8>> {
        let target = match redirect.strip_prefix(b"/") {
            Some(path) => path.to_vec(),
            None => join(lower_parent, redirect),
        };
        let is_normal = target.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."));
        if !is_normal {
            return None;
        }
        let absolute = path_now(self.committed, &self.root.layer.absolute(&target));
        self.root.layer.relative(&absolute).map(<[u8]>::to_vec)
    }

    /// True for a directory that the run made anew. The kernel marks only the
    /// topmost; below it, what has a redirect came with its old content.
    fn is_opaque(&self, entry: &Entry<'_>) -> io::Result<bool> {
        if entry.hides && self.overlay_note(entry.dir, entry.name, "redirect")?.is_none() {
            return Ok(true);
        }
        Ok(self.overlay_note(entry.dir, entry.name, "opaque")?.as_deref() == Some(b"y"))
    }

    /// Whether the host had nothing at `lower` when the run made it. What it has by now the run did not remove.
    fn is_made_anew(&self, lower: &[u8]) -> io::Result<bool> {
        if self.bases.get().is_none() {
            // Set once, and by nobody else.
            let _ = self.bases.set(Bases::of_run(self.run.path())?);
        }
        let path = path_then(self.committed, &self.root.layer.absolute(lower));
        Ok(self.bases.get().is_some_and(|bases| matches!(bases.get(&path), Some(None))))
    }

    fn is_settled(&self, path: &[u8]) -> bool {
        let path = self.root.layer.absolute(path);
        self.committed.iter().any(|entry| entry.path.as_bytes() == path)
    }

    fn is_committed_rename(&self, path: &[u8]) -> bool {
        let path = self.root.layer.absolute(path);
        self.committed.iter().filter_map(Committed::rename).any(|(_, to)| to == path)
    }

    fn overlay_note(&self, dir: BorrowedFd<'_>, name: &[u8], note: &str) -> io::Result<Option<Vec<u8>>> {
        xattr(dir, name, &format!("{}{note}", self.root.layer.kind.prefix()))
    }

    fn failed(&self, path: &[u8], source: io::Error) -> ScanError {
        ScanError::Read { path: self.root.layer.absolute(path), source }
    }
}

enum Found<'f> {
    Nothing,
    /// Another file system of the host covers it.
    Mount,
    /// The folder may not be looked into.
    Sealed,
    Entry(Box<Lower<'f>>),
}

/// What is in a directory of the host that the run removed, or made anew.
enum Listed {
    Open(OwnedFd),
    /// Nothing is left in it.
    Settled,
    /// It may not be looked into.
    Closed,
}

impl Listed {
    const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

enum Unlisted {
    Mount,
    Failed(io::Error),
}

impl From<io::Error> for Unlisted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The names in an opened directory, without `.` and `..`.
pub(crate) fn names_in(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    entries_in(dir, |_| true)
}

fn directories_in(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    use rustix::fs::FileType::{Directory, Unknown};
    entries_in(dir, |kind| matches!(kind, Directory | Unknown))
}

fn entries_in(dir: &OwnedFd, wanted: impl Fn(rustix::fs::FileType) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let names = typed_names_in(dir)?;
    Ok(names.into_iter().filter(|(_, kind)| wanted(*kind)).map(|(name, _)| name).collect())
}

/// The same names with the types that the file system tells.
pub(crate) fn typed_names_in(dir: &OwnedFd) -> io::Result<Vec<(Vec<u8>, rustix::fs::FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

/// `PATH_MAX` of Linux, less the terminating NUL and room for a folder's name.
const LONGEST_PATH: usize = 4000;
