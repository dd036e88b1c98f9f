//! What was asked of a disk, in order.

use std::{
    ffi::{OsStr, OsString},
    io,
    sync::{Mutex, PoisonError},
};

/// All that changed a folder, from when it was mounted; first what was in it already.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The changes, in the order in which they were made.
    pub changes: Vec<Change>,
}

/// One change. Files and folders are told apart by numbers; the mounted folder is 1.
#[derive(Clone, Debug)]
pub enum Change {
    /// A file or folder was made.
    Make {
        /// The folder that it is in.
        parent: u64,
        /// Its name there.
        name: OsString,
        /// Its number.
        node: u64,
        /// Whether it is a folder.
        is_folder: bool,
        /// Its permissions.
        mode: u32,
    },
    /// A file got another name.
    Link {
        /// The folder of the new name.
        parent: u64,
        /// The new name.
        name: OsString,
        /// The file.
        node: u64,
    },
    /// A name was removed.
    Unlink {
        /// The folder.
        parent: u64,
        /// The name.
        name: OsString,
    },
    /// A name was exchanged for another, in place of what had it.
    Rename {
        /// The folder of the old name.
        parent: u64,
        /// The old name.
        name: OsString,
        /// The folder of the new name.
        new_parent: u64,
        /// The new name.
        new_name: OsString,
        /// Whether what had the new name has the old one now.
        is_exchange: bool,
    },
    /// Bytes were written.
    Write {
        /// The file.
        node: u64,
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file got another length.
    Resize {
        /// The file.
        node: u64,
        /// The length.
        size: u64,
    },
    /// A file or folder was synced.
    Sync {
        /// The file or folder.
        node: u64,
        /// What came of it.
        kept: Kept,
    },
}

/// What a sync has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All that was written before.
    All,
    /// Nothing, although it says so.
    Nothing,
    /// Some; of a file, what was not will never be.
    Some,
}

impl Record {
    /// Where in the record a file of this name, in whichever folder, was written to.
    pub fn writes_to(&self, name: &str) -> Vec<usize> {
        let mut node = None;
        let mut places = Vec::new();
        for (place, change) in self.changes.iter().enumerate() {
            match change {
                Change::Make { name: made, node: number, .. } if made == OsStr::new(name) => {
                    node = Some(*number);
                }
                Change::Write { node: written, .. } if Some(*written) == node => places.push(place),
                _ => {}
            }
        }
        places
    }
}

/// Where a record is kept, if it is.
pub(crate) struct Recorder(Option<Mutex<Record>>);

impl Recorder {
    pub fn new(is_recorded: bool) -> Self {
        Self(is_recorded.then(Mutex::default))
    }

    pub fn record(&self) -> Record {
        let copy = |record: &Mutex<Record>| record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.0.as_ref().map(copy).unwrap_or_default()
    }

    /// Records a change.
    pub fn add(&self, change: Change) {
        if let Some(record) = &self.0 {
            record.lock().unwrap_or_else(PoisonError::into_inner).changes.push(change);
        }
    }

    /// Does something, and records it if it succeeds; nothing else is recorded meanwhile.
    pub fn note<T>(
        &self,
        work: impl FnOnce() -> io::Result<T>,
        change: impl FnOnce(&T) -> Change,
    ) -> io::Result<T> {
        let Some(record) = &self.0 else { return work() };
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work()?;
        record.changes.push(change(&done));
        Ok(done)
    }
}
