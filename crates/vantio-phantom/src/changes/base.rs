//! What the host had when a run first changed a path.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::fd::BorrowedFd,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::readlinkat,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    FileType, Node, PathBytes, Readable, Stamp,
    beneath::{self, Pinned},
    node::xattrs_of_opened,
};

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
    let mut text = vec![b'\n'];
    for (path, place) in paths {
        let base = describe(host_root, place)?;
        serde_json::to_writer(&mut text, &Line { path: path.clone().into(), base, again: true })?;
        text.push(b'\n');
    }
    OpenOptions::new().append(true).create(true).open(run.join(BASE_FILE))?.write_all(&text)
}

/// The append-only journal of bases, written while the run runs.
#[derive(Debug)]
pub struct BaseJournal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: HashSet<Vec<u8>>,
    file: BufWriter<File>,
}

impl BaseJournal {
    /// Opens the journal of the run whose folder is `run`, creating it.
    pub fn open(run: &Path) -> io::Result<Self> {
        let path = run.join(BASE_FILE);
        let seen = Bases::read(&path)?.known.into_keys().collect();
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        // A line that a crash tore must not swallow the next one.
        file.write_all(b"\n")?;
        Ok(Self { state: Mutex::new(State { seen, file: BufWriter::new(file) }) })
    }

    /// Remembers what the host has at the absolute `path`, the first time the
    /// path is named. `host_root` is the host's root directory.
    pub fn note(&self, host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        if self.lock().seen.contains(path) {
            return Ok(());
        }
        let base = describe(host_root, path)?;
        let mut state = self.lock();
        if state.seen.contains(path) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&Line { path: path.into(), base, again: false })?;
        line.push(b'\n');
        // Past this process at once: a supervisor that is killed must not take it along.
        state.file.write_all(&line)?;
        state.file.flush()?;
        state.seen.insert(path.to_vec());
        Ok(())
    }

    /// Hands what was noted so far to the kernel.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().file.flush()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A base journal that was read back.
#[derive(Debug, Default)]
pub struct Bases {
    known: HashMap<Vec<u8>, Option<Base>>,
}

impl Bases {
    /// Reads the journal of the run whose folder is `run`.
    pub fn of_run(run: &Path) -> io::Result<Self> {
        Self::read(&run.join(BASE_FILE))
    }

    /// What is known of the absolute `path`: `None` when nothing was noted,
    /// `Some(None)` when the host had nothing there.
    pub fn get(&self, path: &[u8]) -> Option<Option<&Base>> {
        self.known.get(path).map(Option::as_ref)
    }

    fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let mut known = HashMap::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // A torn line says nothing; its path then counts as not noted,
            // for which the run's start stands in.
            match serde_json::from_slice(line) {
                Ok(Line { path, base, again: true }) => drop(known.insert(path.0, base)),
                Ok(Line { path, base, again: false }) => drop(known.entry(path.0).or_insert(base)),
                Err(_) => {}
            }
        }
        Ok(Self { known })
    }
}

/// The digest that [`Base`] keeps: of content or target, then of the extended attributes of what can
/// be opened. It is made in a run's mount namespace too, where the `/proc` is the run's.
pub(crate) fn digest(file: &Readable<'_>) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let opened = match file.node.file_type {
        FileType::File => {
            let opened = file.open()?;
            hash_file(opened.try_clone()?, &mut hasher)?;
            Some(opened)
        }
        FileType::Directory => Some(file.open()?),
        FileType::Symlink => {
            hasher.update(readlinkat(file.dir, file.name, Vec::new())?.as_bytes());
            None
        }
        _ => None,
    };
    let attributes = opened.map(|opened| xattrs_of_opened(opened.as_fd())).transpose()?;
    for (name, value) in attributes.unwrap_or_default() {
        hasher.update(b"\0");
        hasher.update(Sha256::digest(name));
        hasher.update(Sha256::digest(value));
    }
    Ok(hexadecimal(&hasher.finalize()))
}

fn hash_file(fd: OwnedFd, hasher: &mut Sha256) -> io::Result<()> {
    let mut file = File::from(fd);
    let mut buffer = vec![0; 65_536];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn describe(host_root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Base>> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
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
    let digest = if is_small { digest(&file).ok() } else { None };
    Ok(Some(Base {
        dev: node.id.0,
        ino: node.id.1,
        kind: node.file_type,
        size: node.size,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        modified: node.modified,
        changed: node.changed,
        digest,
    }))
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
