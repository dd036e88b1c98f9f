//! What the host had when a run first changed a path.

mod pack;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read as _, Write as _},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{CWD, Mode, OFlags, openat, readlinkat},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    FileType, Node, PathBytes, Readable, Stamp,
    beneath::{self, Pinned},
    node::xattrs_of_opened,
};
use crate::{Spec, snapshot};
use pack::Pack;

pub use pack::Kept;
pub(crate) use pack::is_text;

/// What the host had at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Type.
    pub kind: FileType,
    /// Length in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of content.
    pub modified: Stamp,
    /// Time of the last change of anything.
    pub changed: Stamp,
    /// SHA-256 over the content of a file of at most a mebibyte, or a symlink's
    /// target, and the extended attributes: tells touched from changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The extended attributes, where they are not large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<(PathBytes, PathBytes)>>,
    /// Where the content is kept, of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// Larger files are remembered without their content's digest.
pub(crate) const LARGEST_HASHED: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Line {
    path: PathBytes,
    base: Option<Base>,
    /// Replaces what was noted before: the commit itself touched the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

/// Notes anew what the host has at each `(path, place)`: `place` is where the
/// file is now, `path` what it is known by. For files that this program has
/// moved and put back, which moves their change time.
pub(crate) fn note_again(
    run: &Path,
    host_root: BorrowedFd<'_>,
    paths: &[(Vec<u8>, Vec<u8>)],
) -> io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut pack = Pack::open(run, Bases::of_run(run)?.kept)?;
    let mut again = Vec::new();
    for (path, place) in paths {
        match describe(host_root, place) {
            // In a folder that its owner may not look into: without a note it counts as changed by the host.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            found => again.push((path.clone().into(), found?.map(|found| found.kept_in(&mut pack)))),
        }
    }
    append(run, &again).map(drop)
}

/// Notes that these are the bases from now on, whatever was noted before, durably.
pub(crate) fn rebase<'a>(
    run: &Path,
    bases: impl Iterator<Item = (&'a PathBytes, &'a Base)>,
) -> io::Result<()> {
    let bases: Vec<_> = bases.map(|(path, base)| (path.clone(), Some(base.clone()))).collect();
    if bases.is_empty() { Ok(()) } else { append(run, &bases)?.sync_data() }
}

/// Keeps contents that a commit is about to bring to the host, durably: each is the base of what is left of its change.
pub(crate) fn keep_all(run: &Path, bases: Vec<(Base, &[u8])>) -> io::Result<Vec<Base>> {
    let mut pack = Pack::open(run, Bases::of_run(run)?.kept)?;
    let bases = bases.into_iter().map(|(base, content)| Base {
        kept: base.digest.as_deref().and_then(|digest| pack.keep(digest, content)),
        ..base
    });
    let bases = bases.collect();
    pack.sync()?;
    Ok(bases)
}

fn append(run: &Path, again: &[(PathBytes, Option<Base>)]) -> io::Result<File> {
    let mut text = vec![b'\n'];
    for (path, base) in again {
        serde_json::to_writer(&mut text, &Line { path: path.clone(), base: base.clone(), again: true })?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).open(run.join(BASE_FILE))?;
    file.write_all(&text)?;
    Ok(file)
}

/// The append-only journal of bases, written while the run runs.
#[derive(Debug)]
pub struct BaseJournal {
    state: Mutex<State>,
    /// What the run sees a copy of.
    frozen: Option<Frozen>,
}

/// A directory of the host, and what it had when the run started.
#[derive(Debug)]
struct Frozen {
    point: Vec<u8>,
    copy: OwnedFd,
    since: Stamp,
}

impl Frozen {
    /// What the host had at `path`, which is `relative` in the copy: what it has, unless that has changed.
    fn describe(&self, host_root: BorrowedFd<'_>, path: &[u8], relative: &[u8]) -> io::Result<Option<Found>> {
        let copied = describe(self.copy.as_fd(), relative)?;
        let is_copied = |Found { base: now, .. }: &Found| {
            now.changed <= self.since
                && copied.as_ref().is_some_and(|Found { base: copied, .. }| {
                    now.kind == copied.kind && (now.size, now.modified) == (copied.size, copied.modified)
                })
        };
        Ok(describe(host_root, path)?.filter(is_copied).or(copied))
    }
}

#[derive(Debug)]
struct State {
    seen: HashSet<Vec<u8>>,
    /// What a fork found before it changed it, while nobody knows whether that comes to stay.
    aside: BTreeMap<Vec<u8>, Option<Base>>,
    file: BufWriter<File>,
    pack: Pack,
}

impl BaseJournal {
    /// Opens the journal of the run whose folder is `run`, creating it.
    pub fn open(run: &Path) -> io::Result<Self> {
        let path = run.join(BASE_FILE);
        let bases = Bases::of_run(run)?;
        let pack = Pack::open(run, bases.kept)?;
        let seen = bases.known.into_keys().collect();
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        // A line that a crash tore must not swallow the next one.
        file.write_all(b"\n")?;
        let state = State { seen, aside: BTreeMap::new(), file: BufWriter::new(file), pack };
        Ok(Self { state: Mutex::new(state), frozen: None })
    }

    /// The same, of a run that may have a copy of a directory.
    pub(crate) fn frozen(self, spec: &Spec) -> io::Result<Self> {
        let Some(point) = &spec.frozen else { return Ok(self) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = openat(CWD, snapshot::copy_of(&spec.folder), flags, Mode::empty())?;
        let point = point.as_os_str().as_encoded_bytes().to_vec();
        Ok(Self { frozen: Some(Frozen { point, copy, since: spec.started }), ..self })
    }

    /// Remembers what the host has at the absolute `path`, the first time the
    /// path is named. `host_root` is the host's root directory.
    pub fn note(&self, host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        self.keep(host_root, path, |state| state.seen.contains(path), State::write)
    }

    /// As [`Self::note`], and nothing is noted before [`Self::take_over`].
    pub(crate) fn note_aside(&self, host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        let is_known = |state: &State| state.seen.contains(path) || state.aside.contains_key(path);
        self.keep(host_root, path, is_known, |state, path, base| {
            state.aside.insert(path.to_vec(), base);
            Ok(())
        })
    }

    /// Hands what the host has at a path to `into`, unless it is known, or becomes so while it is looked at.
    fn keep(
        &self,
        host_root: BorrowedFd<'_>,
        path: &[u8],
        is_known: impl Fn(&State) -> bool,
        into: impl FnOnce(&mut State, &[u8], Option<Base>) -> io::Result<()>,
    ) -> io::Result<()> {
        if is_known(&self.lock()) {
            return Ok(());
        }
        let found = self.find(host_root, path)?;
        let mut state = self.lock();
        if is_known(&state) {
            return Ok(());
        }
        let base = found.map(|found| found.kept_in(&mut state.pack));
        into(&mut state, path, base)
    }

    /// Notes what was put aside.
    pub(crate) fn take_over(&self) -> io::Result<()> {
        let mut state = self.lock();
        let aside = std::mem::take(&mut state.aside);
        aside.into_iter().try_for_each(|(path, base)| state.write(&path, base))
    }

    /// Forgets what was put aside.
    pub(crate) fn forget_aside(&self) {
        self.lock().aside.clear();
    }

    fn find(&self, host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Found>> {
        match self.frozen.as_ref().filter(|frozen| beneath::is_within(path, &frozen.point)) {
            Some(frozen) => frozen.describe(host_root, path, &path[frozen.point.len()..]),
            None => describe(host_root, path),
        }
    }

    /// Hands what was noted so far to the kernel.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().file.flush()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes down what the host had at a path, unless that is known.
    fn write(&mut self, path: &[u8], base: Option<Base>) -> io::Result<()> {
        if self.seen.contains(path) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&Line { path: path.into(), base, again: false })?;
        line.push(b'\n');
        // Past this process at once: a supervisor that is killed must not take it along.
        self.file.write_all(&line)?;
        self.file.flush()?;
        self.seen.insert(path.to_vec());
        Ok(())
    }
}

/// A base journal that was read back.
#[derive(Debug, Default)]
pub struct Bases {
    run: PathBuf,
    known: HashMap<Vec<u8>, Option<Base>>,
    /// Every content that was ever kept, by the digest of its base.
    kept: HashMap<String, Kept>,
}

impl Bases {
    /// Reads the journal of the run whose folder is `run`.
    pub fn of_run(run: &Path) -> io::Result<Self> {
        Ok(Self { run: run.to_path_buf(), ..Self::read(&run.join(BASE_FILE))? })
    }

    /// What is known of the absolute `path`: `None` when nothing was noted,
    /// `Some(None)` when the host had nothing there.
    pub fn get(&self, path: &[u8]) -> Option<Option<&Base>> {
        self.known.get(path).map(Option::as_ref)
    }

    /// What a file held, where that was kept.
    pub(crate) fn content(&self, base: &Base) -> Option<Vec<u8>> {
        let content = pack::read(&self.run, base.kept?).ok()?;
        let digest = digest_of(&content, attributes_of(base.attributes.as_deref()?));
        (Some(&digest) == base.digest.as_ref()).then_some(content)
    }

    fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let (mut known, mut kept) = (HashMap::new(), HashMap::new());
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // A torn line says nothing; its path then counts as not noted,
            // for which the run's start stands in.
            let Ok(Line { path, base, again }) = serde_json::from_slice(line) else { continue };
            if let Some(Base { digest: Some(digest), kept: Some(place), .. }) = &base {
                kept.insert(digest.clone(), *place);
            }
            if again {
                known.insert(path.0, base);
            } else {
                known.entry(path.0).or_insert(base);
            }
        }
        Ok(Self { run: PathBuf::new(), known, kept })
    }
}

/// What a digest is made of.
struct Whole {
    /// Content or target.
    content: Vec<u8>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Whole {
    /// Content or target, and the extended attributes of what can be opened. It is read in a run's mount namespace too,
    /// where the `/proc` is the run's.
    fn of(file: &Readable<'_>) -> io::Result<Self> {
        let mut content = Vec::new();
        let opened = match file.node.file_type {
            FileType::File => {
                let opened = File::from(file.open()?);
                if (&opened).take(LARGEST_HASHED + 1).read_to_end(&mut content)? as u64 > LARGEST_HASHED {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                Some(OwnedFd::from(opened))
            }
            FileType::Directory => Some(file.open()?),
            FileType::Symlink => {
                content = readlinkat(file.dir, file.name, Vec::new())?.into_bytes();
                None
            }
            _ => None,
        };
        let attributes = opened.map(|opened| xattrs_of_opened(opened.as_fd())).transpose()?;
        Ok(Self { content, attributes: attributes.unwrap_or_default() })
    }

    fn digest(&self) -> String {
        let attributes = self.attributes.iter();
        digest_of(&self.content, attributes.map(|(name, value)| (&name[..], &value[..])))
    }

    /// As they stand in the journal.
    fn listed(&self) -> Option<Vec<(PathBytes, PathBytes)>> {
        let size: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        let listed =
            || self.attributes.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
        (size <= LARGEST_ATTRIBUTES).then(|| listed().collect())
    }
}

/// What the host has, with the content that is worth keeping.
struct Found {
    base: Base,
    content: Option<Vec<u8>>,
}

impl Found {
    fn kept_in(self, pack: &mut Pack) -> Base {
        let Self { mut base, content } = self;
        if let (Some(digest), Some(content)) = (&base.digest, &content) {
            base.kept = pack.keep(digest, content);
        }
        base
    }
}

/// The digest that [`Base`] keeps.
pub(crate) fn digest(file: &Readable<'_>) -> io::Result<String> {
    Ok(Whole::of(file)?.digest())
}

/// The same, of what was read: the content, then the extended attributes by name.
pub(crate) fn digest_of<'a>(
    content: &[u8],
    attributes: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> String {
    let mut hasher = Sha256::new();
    hasher.update(content);
    for (name, value) in attributes {
        hasher.update(b"\0");
        hasher.update(Sha256::digest(name));
        hasher.update(Sha256::digest(value));
    }
    hexadecimal(&hasher.finalize())
}

/// The attributes of a base, to be digested.
pub(crate) fn attributes_of(listed: &[(PathBytes, PathBytes)]) -> impl Iterator<Item = (&[u8], &[u8])> {
    listed.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn describe(host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Found>> {
    let relative = beneath::below_root(path);
    let (parent, name) = beneath::split(relative);
    let dir = match Pinned::open(host_root, parent) {
        Err(error) if beneath::is_absent(&error) => return Ok(None),
        other => other?,
    };
    let name = if name.is_empty() { b"." } else { name };
    let Some(stat) = beneath::stat_at(dir.as_fd(), name)? else { return Ok(None) };
    let node = Node::of_stat(&stat);
    let is_small = node.file_type != FileType::File || node.size <= LARGEST_HASHED;
    let file = Readable { node: &node, dir: dir.as_fd(), name };
    let whole = if is_small { Whole::of(&file).ok() } else { None };
    let base = Base {
        digest: whole.as_ref().map(Whole::digest),
        attributes: whole.as_ref().and_then(Whole::listed),
        ..Base::of(&node)
    };
    let content = whole.map(|whole| whole.content).filter(|_| node.file_type == FileType::File);
    Ok(Some(Found { base, content }))
}

impl Base {
    /// What can be told without reading.
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            dev: node.id.0,
            ino: node.id.1,
            kind: node.file_type,
            size: node.size,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            modified: node.modified,
            changed: node.changed,
            digest: None,
            attributes: None,
            kept: None,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // INVARIANT: writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) const BASE_FILE: &str = "base.jsonl";
/// Larger sets of extended attributes are not listed.
const LARGEST_ATTRIBUTES: usize = 16 << 10;
