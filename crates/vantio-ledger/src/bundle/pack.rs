//! Writing a bundle.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write},
};

use sha2::{Digest as _, Sha256};
use vantio_core::{Hash, RunId};

use super::{manifest::Manifest, names};
use crate::{
    Entry, Filter, LedgerError, Reader,
    note::{SignedNote, TreeHead},
    tree::{self, TILE_WIDTH, Tile, Tiles, TreeError, encode_tile},
};

/// What a bundle is to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct BundleOptions {
    /// The entries of one run; of all without it.
    pub run: Option<RunId>,
    /// Entries with what was asked and answered, where it was kept.
    pub with_details: bool,
}

/// What a bundle has.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// The tree that proves the entries.
    pub head: TreeHead,
    /// How many entries it has.
    pub entries: u64,
    /// How many it lacks because no checkpoint covers them yet.
    pub uncovered: u64,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No checkpoint covers an entry that was asked for.
    #[error("no checkpoint covers an entry of it yet")]
    Uncovered,
    /// The tree cannot be read.
    #[error("{0}")]
    Tree(#[from] TreeError<LedgerError>),
    /// It cannot be written.
    #[error("the bundle cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl PackError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Uncovered => "E_LEDGER_UNCOVERED",
            Self::Tree(error) => error.code(),
            Self::Write(_) => "E_LEDGER_EXPORT",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.help(),
            Self::Uncovered => "`vantio ledger checkpoint` makes a checkpoint of all entries",
            Self::Tree(error) => error.help(),
            Self::Write(_) => "check the destination and the space on it",
        }
    }
}

impl Reader {
    /// Writes the entries that `options` select, as far as the newest checkpoint covers them.
    /// `attach` gives what is not the ledger's own, under the names that [`names`] has for it: the
    /// policies of these hashes, and the authority.
    pub fn bundle(
        &self,
        options: BundleOptions,
        attach: impl FnOnce(&BTreeSet<Hash>) -> Vec<(String, Vec<u8>)>,
        writer: &mut dyn Write,
    ) -> Result<Bundled, PackError> {
        let (note, head) = self.newest_head()?.ok_or(PackError::Uncovered)?;
        let lines = self.lines(options, head.size())?;
        if lines.count == 0 {
            return Err(PackError::Uncovered);
        }
        let mut members = attach(&lines.policies);
        if options.run.is_some() {
            members.extend(self.tiles_over(&lines.tiles, head.size())?);
        }
        members.extend(self.own(&note)?);
        members.sort();
        let digest = |(name, bytes): &(String, Vec<u8>)| (name.clone(), Hash::of(bytes));
        let mut digests: BTreeMap<String, Hash> = members.iter().map(digest).collect();
        digests.insert(names::ENTRIES.into(), lines.digest);
        let manifest = Manifest { run: options.run, has_details: options.with_details, digests };

        let mut archive = tar::Builder::new(writer);
        let text = manifest.to_string();
        append(&mut archive, names::MANIFEST, text.len() as u64, text.as_bytes())?;
        for (name, bytes) in &members {
            append(&mut archive, name, bytes.len() as u64, bytes.as_slice())?;
        }
        append(&mut archive, names::ENTRIES, lines.bytes, &lines.file)?;
        archive.into_inner()?.flush()?;
        Ok(Bundled { head, entries: lines.count, uncovered: lines.uncovered })
    }

    /// The entries as lines, aside: a tar says how long a file is before it has it.
    fn lines(&self, options: BundleOptions, size: u64) -> Result<Lines, PackError> {
        let mut lines = Lines {
            file: tempfile::tempfile()?,
            digest: Hash::ZERO,
            bytes: 0,
            count: 0,
            uncovered: 0,
            tiles: BTreeSet::new(),
            policies: BTreeSet::new(),
        };
        let mut hasher = Sha256::new();
        let mut output = BufWriter::new(&lines.file);
        for entry in self.entries(&Filter { run_id: options.run, ..Filter::default() }) {
            let entry = entry?;
            if entry.seq >= size {
                lines.uncovered += 1;
                continue;
            }
            lines.tiles.insert(entry.seq / u64::from(TILE_WIDTH));
            lines.policies.insert(entry.policy_hash);
            let entry = if options.with_details { entry } else { Entry { detail: None, ..entry } };
            let line = entry.to_line() + "\n";
            hasher.update(&line);
            output.write_all(line.as_bytes())?;
            lines.bytes += line.len() as u64;
            lines.count += 1;
        }
        output.flush()?;
        drop(output);
        lines.digest = Hash(hasher.finalize().into());
        lines.file.rewind()?;
        Ok(lines)
    }

    /// The tiles that lead from those of level 0 to the root.
    fn tiles_over(&self, leaves: &BTreeSet<u64>, size: u64) -> Result<Vec<(String, Vec<u8>)>, PackError> {
        let recorder = Recorder { reader: self, read: RefCell::default() };
        for index in leaves {
            // The way up is the same for all entries of a tile.
            let first = index * u64::from(TILE_WIDTH);
            tree::inclusion(first, size, &recorder)?;
            let tile = Tile::in_tree(0, *index, size).ok_or(TreeError::Beyond { wanted: first, size })?;
            recorder.tile(tile)?;
        }
        let read = recorder.read.into_inner();
        Ok(read.into_iter().map(|(tile, hashes)| (tile.to_string(), encode_tile(&hashes))).collect())
    }

    fn own(&self, note: &SignedNote) -> Result<Vec<(String, Vec<u8>)>, PackError> {
        let mut members = vec![(names::CHECKPOINT.to_owned(), note.to_string().into_bytes())];
        let key = self.verifier_key()?.map(|key| format!("{key}\n").into_bytes());
        members.extend(key.map(|key| (names::KEY.to_owned(), key)));
        Ok(members)
    }
}

/// Entries that were written aside.
struct Lines {
    file: File,
    digest: Hash,
    bytes: u64,
    count: u64,
    uncovered: u64,
    /// The tiles of level 0 that they are in.
    tiles: BTreeSet<u64>,
    policies: BTreeSet<Hash>,
}

/// Remembers every tile that is read, and reads none twice.
struct Recorder<'reader> {
    reader: &'reader Reader,
    read: RefCell<BTreeMap<Tile, Vec<Hash>>>,
}

impl Tiles for Recorder<'_> {
    type Error = LedgerError;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LedgerError> {
        if let Some(hashes) = self.read.borrow().get(&tile) {
            return Ok(hashes.clone());
        }
        let mut hashes = self.reader.tile(tile)?;
        // A full tile serves in the place of a partial one, and says more than the tree has.
        hashes.truncate(tile.width().into());
        self.read.borrow_mut().insert(tile, hashes.clone());
        Ok(hashes)
    }
}

/// Adds a file that says nothing about who wrote it and when.
fn append(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append(&header, content)
}
