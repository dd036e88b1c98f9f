//! Reading a bundle, whoever wrote it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};
use vantio_core::{Hash, RunId};

use super::{manifest::Manifest, names};

/// A bundle whose files are those that its manifest lists. What they say is yet to be checked.
#[derive(Debug)]
pub struct Bundle {
    file: File,
    manifest: Manifest,
    members: BTreeMap<String, Place>,
    unknown: Vec<String>,
}

/// Where a file is.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    size: u64,
    digest: Hash,
}

/// Why a file is not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum OpenBundleError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("{0}")]
    Shape(String),
    /// A file in it is missing, or not the one that the manifest lists.
    #[error("`{name}` {reason}")]
    Member {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl OpenBundleError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "E_INPUT",
            Self::Shape(_) => "E_BUNDLE_FORMAT",
            Self::Member { .. } => "E_BUNDLE_DAMAGED",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Read(_) => "give the path of a file that can be read",
            Self::Shape(_) => "give a file that `vantio ledger export --format bundle` wrote",
            Self::Member { .. } => "keep the file as evidence, and ask for the bundle again",
        }
    }
}

impl Bundle {
    /// Opens a bundle, and compares every file in it with the manifest.
    pub fn open(path: &Path) -> Result<Self, OpenBundleError> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(shape("it is not a regular file"));
        }
        let mut members = index(&file)?;
        let manifest = members.remove(names::MANIFEST).ok_or_else(|| shape("it has no MANIFEST"))?;
        let manifest = text(&file, names::MANIFEST, manifest)?;
        let manifest = Manifest::parse(&manifest).map_err(OpenBundleError::Shape)?;
        for (name, place) in &members {
            match manifest.digests.get(name) {
                Some(digest) if *digest == place.digest => {}
                Some(_) => return Err(member(name, "is not the one that MANIFEST lists")),
                None => return Err(member(name, "is not in MANIFEST")),
            }
        }
        if let Some(name) = manifest.digests.keys().find(|name| !members.contains_key(*name)) {
            return Err(member(name, "is in MANIFEST and not in the bundle"));
        }
        let unknown = members.keys().filter(|name| !names::is_known(name)).cloned().collect();
        Ok(Self { file, manifest, members, unknown })
    }

    /// The run that it is of; none when it is of the whole ledger.
    pub const fn run(&self) -> Option<RunId> {
        self.manifest.run
    }

    /// Whether it claims to have what was asked and answered.
    pub const fn has_details(&self) -> bool {
        self.manifest.has_details
    }

    /// How many files its manifest lists.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True when its manifest lists nothing.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Files that this version has no word for.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// A file, where it is in the bundle.
    pub fn member(&self, name: &str) -> Result<Option<Vec<u8>>, OpenBundleError> {
        self.members.get(name).map(|place| bytes(&self.file, name, *place)).transpose()
    }

    /// A text, which must be in the bundle.
    pub(super) fn text(&self, name: &str) -> Result<String, OpenBundleError> {
        let place = self.members.get(name).ok_or_else(|| member(name, "is missing"))?;
        text(&self.file, name, *place)
    }

    /// The entries' lines.
    pub(super) fn lines(&self) -> Result<impl BufRead + '_, OpenBundleError> {
        let place = self.members.get(names::ENTRIES).ok_or_else(|| member(names::ENTRIES, "is missing"))?;
        Ok(BufReader::with_capacity(1 << 16, Part::new(&self.file, *place)))
    }
}

/// Where every file is, with its digest.
fn index(file: &File) -> Result<BTreeMap<String, Place>, OpenBundleError> {
    let length = file.metadata()?.len();
    let mut archive = tar::Archive::new(file);
    let mut members = BTreeMap::new();
    // Raw: no extension of the format gets to say what a file is called or how long it is.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.map_err(|error| shape(&format!("it is not a tar, or cut short: {error}")))?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| shape("a name is not text"))?;
        let is_plain = entry.header().entry_type() == tar::EntryType::Regular;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if !is_plain || offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(member(&name, "is not a whole plain file"));
        }
        let mut hasher = Hasher(Sha256::new());
        if io::copy(&mut entry, &mut hasher)? != size {
            return Err(member(&name, "is cut short"));
        }
        let place = Place { offset, size, digest: Hash(hasher.0.finalize().into()) };
        if members.insert(name.clone(), place).is_some() {
            return Err(member(&name, "is there twice"));
        }
        if members.len() > MAX_MEMBERS {
            return Err(shape("it has more files than any bundle"));
        }
    }
    Ok(members)
}

fn bytes(file: &File, name: &str, place: Place) -> Result<Vec<u8>, OpenBundleError> {
    if place.size > MAX_MEMBER {
        return Err(member(name, "is too long"));
    }
    let mut bytes = Vec::new();
    Part::new(file, place).read_to_end(&mut bytes)?;
    // What was compared with the manifest is what is used, though the file be changed meanwhile.
    if Hash::of(&bytes) == place.digest { Ok(bytes) } else { Err(member(name, "was changed meanwhile")) }
}

fn text(file: &File, name: &str, place: Place) -> Result<String, OpenBundleError> {
    String::from_utf8(bytes(file, name, place)?).map_err(|_| member(name, "is not text"))
}

fn shape(reason: &str) -> OpenBundleError {
    OpenBundleError::Shape(reason.into())
}

pub(super) fn member(name: &str, reason: &str) -> OpenBundleError {
    OpenBundleError::Member { name: name.chars().take(100).collect(), reason: reason.into() }
}

/// A part of a file, read by position: others read the same file meanwhile.
struct Part<'file> {
    file: &'file File,
    rest: Range<u64>,
}

impl<'file> Part<'file> {
    fn new(file: &'file File, place: Place) -> Self {
        Self { file, rest: place.offset..place.offset + place.size }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.rest.start)?;
        self.rest.start += read as u64;
        Ok(read)
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The tiles of a run of a hundred million entries are fewer.
const MAX_MEMBERS: usize = 1 << 20;
/// No file but the entries is longer; a compiled policy is the longest.
const MAX_MEMBER: u64 = 16 << 20;
