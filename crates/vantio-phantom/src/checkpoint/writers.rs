//! Files that may be open for writing: what is in them can change without a further call.
//!
//! Whether one still is, the kernel tells: it grants a read lease (`fcntl(2)`, `F_SETLEASE`) only on a file that
//! nobody has open for writing, be it by a descriptor of any process, a mapping, or a descriptor that is on
//! its way through a socket.

use std::{collections::BTreeSet, io};

use rustix::{fd::AsFd as _, fs::OFlags, io::Errno};

use super::{record::Place, upper::Ground};
use crate::{
    changes::{
        FileType, Node,
        beneath::{self, Pinned},
    },
    sys::lease,
};

/// Names by which files were opened for writing since they were last seen closed.
#[derive(Debug, Default)]
pub(super) struct Writers {
    places: BTreeSet<Place>,
    /// How many there were when they were last looked at.
    seen: usize,
}

impl Writers {
    pub(super) fn opened(&mut self, place: Place) {
        self.places.insert(place);
    }

    /// Whether there are so many more than before that it is worth looking which are closed.
    pub(super) fn are_many(&self) -> bool {
        self.places.len() >= MANY.max(2 * self.seen)
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
            .places
            .range(from..)
            .take_while(|place| {
                place.layer == from.layer && place.path.as_bytes().starts_with(from.path.as_bytes())
            })
            .filter(is_below)
            .cloned()
            .collect();
        for place in moved {
            let rest = &place.path.as_bytes()[from.path.as_bytes().len()..];
            self.places.insert(Place::new(to.layer, &[to.path.as_bytes(), rest].concat()));
            self.places.remove(&place);
        }
    }

    /// The same file has a second name.
    pub(super) fn linked(&mut self, from: &Place, to: &Place) {
        if self.places.contains(from) {
            self.places.insert(to.clone());
        }
    }

    /// Those that anybody may still have open.
    pub(super) fn open(&self, grounds: &[Ground]) -> io::Result<BTreeSet<Place>> {
        let mut open = BTreeSet::new();
        // The names of a folder stand together.
        let mut folder: Option<(usize, &[u8], Pinned)> = None;
        for place in &self.places {
            let Some(ground) = grounds.get(place.layer) else { continue };
            let (parent, name) = beneath::split(place.path.as_bytes());
            if folder.as_ref().is_none_or(|(layer, path, _)| (*layer, *path) != (place.layer, parent)) {
                let opened = ground.root.dir(parent).and_then(Pinned::adopt);
                folder = opened.ok().map(|opened| (place.layer, parent, opened));
            }
            let is_open = match &folder {
                Some((.., folder)) => is_open(folder, name)?,
                // Why not, the whole path tells.
                None => is_open(&ground.root, place.path.as_bytes())?,
            };
            if is_open {
                open.insert(place.clone());
            }
        }
        Ok(open)
    }

    /// Those that there are could not be looked at.
    pub(super) fn keep_all(&mut self) {
        self.seen = self.places.len();
    }

    /// Forgets all but those.
    pub(super) fn keep(&mut self, open: BTreeSet<Place>) {
        self.seen = open.len();
        self.places = open;
    }
}

/// Whether anybody may have the file at `path`, from `folder` on, open for writing.
fn is_open(folder: &Pinned, path: &[u8]) -> io::Result<bool> {
    // Whatever is not a regular file: a fifo must not hold this thread up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOATIME;
    let file = match folder.at(path, flags) {
        Err(error) if beneath::is_absent(&error) => return Ok(false),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => return Ok(false),
        // Its owner may not read it; whoever saves it can.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
        other => other?,
    };
    if let Ok(is_written) = lease::is_written(&file) {
        return Ok(is_written);
    }
    // Only the owner of a file gets a lease on it, and there are none on anything else.
    let node = Node::of_stat(&beneath::stat_fd(file.as_fd())?);
    Ok(node.file_type == FileType::File && !matches!(lease::is_written_of(&file, node.uid), Ok(false)))
}

/// Fewer are looked at by whoever takes a checkpoint, sooner than it is felt.
const MANY: usize = 64;
