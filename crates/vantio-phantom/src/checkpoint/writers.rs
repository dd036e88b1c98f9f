//! Files that may be open for writing: what is in them can change without a further call.
//!
//! Whether one still is, the kernel tells: it grants a read lease (`fcntl(2)`, `F_SETLEASE`) only on a file that
//! nobody has open for writing, be it by a descriptor of any process, a mapping, or a descriptor that is on
//! its way through a socket.

use std::{collections::BTreeSet, io};

use rustix::{fd::AsFd as _, fs::OFlags, io::Errno};

use super::record::Place;
use crate::{
    changes::{
        FileType, Node,
        beneath::{self, Pinned},
    },
    sys::lease,
};

/// Names by which files were opened for writing since they were last seen closed.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeSet<Place>);

impl Writers {
    pub(super) fn opened(&mut self, place: Place) {
        self.0.insert(place);
    }

    /// What was at `from`, with all below it, is at `to` now.
    pub(super) fn renamed(&mut self, from: &Place, to: &Place) {
        if from == to {
            return;
        }
        let is_below = |place: &&Place| {
            place.layer == from.layer && beneath::is_within(place.path.as_bytes(), from.path.as_bytes())
        };
        let moved: Vec<Place> = self
            .0
            .range(from..)
            .take_while(|place| {
                place.layer == from.layer && place.path.as_bytes().starts_with(from.path.as_bytes())
            })
            .filter(is_below)
            .cloned()
            .collect();
        for place in moved {
            let rest = &place.path.as_bytes()[from.path.as_bytes().len()..];
            self.0.insert(Place::new(to.layer, &[to.path.as_bytes(), rest].concat()));
            self.0.remove(&place);
        }
    }

    /// The same file has a second name.
    pub(super) fn linked(&mut self, from: &Place, to: &Place) {
        if self.0.contains(from) {
            self.0.insert(to.clone());
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// Forgets those that are closed.
    pub(super) fn keep(&mut self, open: BTreeSet<Place>) {
        self.0 = open;
    }
}

/// Whether anybody may have the file at `path` open for writing.
pub(super) fn is_open(root: &Pinned, path: &[u8]) -> io::Result<bool> {
    // Whatever is not a regular file: a fifo must not hold this thread up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOATIME;
    let file = match root.at(path, flags) {
        Err(error) if beneath::is_absent(&error) => return Ok(false),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => return Ok(false),
        // Its owner may not read it; whoever saves it can.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
        other => other?,
    };
    let node = Node::of_stat(&beneath::stat_fd(file.as_fd())?);
    // Only the owner of a file gets a lease on it.
    Ok(node.file_type == FileType::File && !matches!(lease::is_written(&file, node.uid), Ok(false)))
}
