//! The text that files held before a run changed them: one file beside the base journal, only ever appended to.
//!
//! Merging needs it, nothing else: where it is not kept, a merge is refused. What the journal says about a part of it
//! is checked against the digest when it is read, so a part that a crash tore is not taken for what was there.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Where a content is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub(super) at: u64,
    pub(super) length: u64,
}

/// The file, to append to.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    length: u64,
    /// By the digest of the base.
    known: HashMap<String, Kept>,
}

impl Pack {
    /// Opens the one of the run whose folder is `run`; `known` is what its journal says of it.
    pub(super) fn open(run: &Path, known: HashMap<String, Kept>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(run.join(PACK_FILE))?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, known })
    }

    /// Keeps a content that is text, while there is room.
    pub(super) fn keep(&mut self, digest: &str, content: &[u8]) -> Option<Kept> {
        if let Some(kept) = self.known.get(digest) {
            return Some(*kept);
        }
        let length = content.len() as u64;
        if !is_text(content) || self.length.saturating_add(length) > LARGEST_PACK {
            return None;
        }
        let kept = Kept { at: self.length, length };
        if self.file.write_all(content).is_err() {
            // What was written of it stays, and is nothing.
            self.length = self.file.metadata().map_or(LARGEST_PACK, |data| data.len());
            return None;
        }
        self.length += length;
        self.known.insert(digest.to_owned(), kept);
        Some(kept)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads what is kept.
pub(super) fn read(run: &Path, kept: Kept) -> io::Result<Vec<u8>> {
    if kept.length > super::LARGEST_HASHED {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut content = vec![0; usize::try_from(kept.length).map_err(io::Error::other)?];
    File::open(run.join(PACK_FILE))?.read_exact_at(&mut content, kept.at)?;
    Ok(content)
}

/// What lines can be told of.
pub(crate) fn is_text(content: &[u8]) -> bool {
    !content.contains(&0)
}

const PACK_FILE: &str = "base.pack";
/// So much of a run is kept at most.
const LARGEST_PACK: u64 = 64 << 20;
