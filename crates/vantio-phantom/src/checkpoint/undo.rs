//! Putting back what one segment of a journal says.
//!
//! Every step may be taken again: a slot that is not there any more has been put in its place.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsStr,
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    rc::Rc,
};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{
        CWD, Dev, Mode, OFlags, RenameFlags, chmod, ftruncate, mkdirat, mknodat, openat, readlinkat,
        renameat, renameat_with, symlinkat,
    },
    io::Errno,
};

use super::{
    CheckpointError,
    record::{Born, Id, Line, Move, Notes, Place, Segment, Source, State, identity},
    restore::Clock,
    trash::Trash,
    upper::{Ground, node_of, open_to_read, set_notes},
};
use crate::{
    changes::{
        Escaped, FileType, Node,
        beneath::{self, magic, reopen, stat_at},
        copy_content,
    },
    commit::{discard::remove_tree, meta::Meta},
};

/// Of a copy of a run's layers: what it has in common with them.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// Files that are the run's own and must not change.
    pub(super) borrowed: HashSet<Id>,
    /// The directories of the copy, by those of the run.
    pub(super) directories: HashMap<Id, Id>,
}

/// Puts things back in the layers, from the slots of one checkpoint.
pub(super) struct Undo<'a> {
    grounds: &'a [Ground],
    slots: OwnedFd,
    trash: &'a Trash,
    place: &'a Path,
    twins: &'a mut Twins,
    clock: &'a Clock<'a>,
    loosened: Vec<(Place, OwnedFd, u32)>,
    /// The directory that was opened last.
    last: Option<(Place, Rc<OwnedFd>)>,
}

/// What a segment says of a name, all its lines taken together.
struct Was<'s> {
    /// What was said first.
    first: &'s State,
    kept: Option<&'s str>,
    copied: Option<(&'s str, bool)>,
    /// Which file the slot of the copy is, where that has its metadata too, and since when.
    whole: Option<(Id, Born)>,
}

impl Was<'_> {
    /// What it was besides its content, where this is where it is said.
    fn meta(&self) -> Option<&Meta> {
        match self.first {
            State::Directory(meta) | State::Copied { meta, .. } | State::Same(meta) => Some(meta),
            State::Kept { meta, .. } => meta.as_ref(),
            State::Absent | State::Whiteout => None,
        }
    }
}

type Result<T> = std::result::Result<T, CheckpointError>;

impl<'a> Undo<'a> {
    pub(super) fn new(
        grounds: &'a [Ground],
        place: &'a Path,
        trash: &'a Trash,
        twins: &'a mut Twins,
        clock: &'a Clock<'a>,
    ) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let slots = openat(CWD, place, flags, Mode::empty());
        let slots = slots.map_err(|error| CheckpointError::failed("open", place, error))?;
        Ok(Self { grounds, slots, trash, place, twins, clock, loosened: Vec::new(), last: None })
    }

    /// Puts back what the lines of `segment` say.
    pub(super) fn lines(&mut self, segment: &Segment) -> Result<()> {
        let names = fold(&segment.lines);
        self.inodes(segment, |source| matches!(source, Source::Slot(_)))?;
        for (at, was) in &names {
            self.name(at, was).map_err(|error| self.failed(at, error))?;
            self.clock.tick()?;
        }
        self.inodes(segment, |source| matches!(source, Source::Name(_)))?;
        for (at, was) in &names {
            self.in_place(at, was).map_err(|error| self.failed(at, error))?;
        }
        for (at, notes) in gone(&segment.lines) {
            self.ground(at)
                .and_then(|ground| set_notes(ground, at.path.as_bytes(), notes))
                .map_err(|error| self.failed(at, error))?;
        }
        // From below: what is closed last lets nobody in.
        for (at, was) in names.iter().rev() {
            if let State::Directory(meta) = was.first {
                let file = self.ground(at).and_then(|ground| ground.root.dir(at.path.as_bytes()));
                file.and_then(|file| meta.set(file.as_fd())).map_err(|error| self.failed(at, error))?;
            }
        }
        self.tighten(|at| names.get(at).is_some_and(|was| matches!(was.first, State::Directory(_))));
        self.clock.tick()
    }

    /// What a name stands for.
    fn name(&mut self, at: &Place, was: &Was<'_>) -> io::Result<()> {
        let (directory, name) = self.parent(at)?;
        let directory = directory.as_fd();
        match was.first {
            State::Absent => self.trash.take(directory, name),
            State::Whiteout => {
                if Node::at(directory, name)?.is_some_and(|node| node.is_whiteout()) {
                    return Ok(());
                }
                self.trash.take(directory, name)?;
                let kind = rustix::fs::FileType::CharacterDevice;
                Ok(mknodat(directory, name, kind, Mode::empty(), NO_DEVICE)?)
            }
            State::Directory(_) => {
                if stat_at(directory, name)?.is_some_and(|stat| Node::of_stat(&stat).is_dir()) {
                    return Ok(());
                }
                if name.is_empty() {
                    return Err(Errno::NOENT.into());
                }
                self.trash.take(directory, name)?;
                Ok(mkdirat(directory, name, Mode::RWXU)?)
            }
            State::Kept { .. } | State::Copied { .. } | State::Same(_) => match (was.copied, was.kept) {
                (Some((slot, false)), _) if was.whole.is_some() => self.exchange(slot, was, directory, name),
                (Some((slot, false)), _) | (_, Some(slot)) => self.put(slot, was.meta(), directory, name),
                _ => Ok(()),
            },
        }
    }

    /// Exchanges a slot that has everything with what took its place, unless that was done before.
    fn exchange(
        &mut self,
        slot: &str,
        was: &Was<'_>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> io::Result<()> {
        let Some(now) = stat_at(directory, name)?.map(|stat| identity(&stat)) else {
            return self.put(slot, None, directory, name);
        };
        if was.whole.is_some_and(|(id, born)| now.0 == id && (born.is_none() || now.1 == born)) {
            return Ok(());
        }
        let slots = self.slots.as_fd();
        match renameat_with(slots, slot, directory, name, RenameFlags::EXCHANGE) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A file system that exchanges nothing; a directory that its owner may not write in.
            Err(_) => self.put(slot, None, directory, name),
        }
    }

    /// Puts a slot in its place.
    fn put(
        &mut self,
        slot: &str,
        meta: Option<&Meta>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> io::Result<()> {
        let slots = self.slots.as_fd();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(file) = absent(openat(slots, slot, flags, Mode::empty()))? else { return Ok(()) };
        let file =
            if meta.is_some() { own(self.twins, slots, (slots, slot.as_bytes()), file)? } else { None };
        if let Some((meta, file)) = meta.zip(file) {
            meta.set(file.as_fd())?;
        }
        // Not replaced by the rename: file systems write the new one to disk before that.
        self.trash.take(directory, name)?;
        Ok(renameat(self.slots.as_fd(), slot, directory, name)?)
    }

    /// Content and metadata of what has its name.
    fn in_place(&mut self, at: &Place, was: &Was<'_>) -> io::Result<()> {
        match (was.copied, was.first) {
            (Some((copy, true)), _) => self.rewrite(&Source::Name(at.clone()), Some(copy), was.meta()),
            (None, State::Same(meta)) => self.rewrite(&Source::Name(at.clone()), None, Some(meta)),
            _ => Ok(()),
        }
    }

    fn inodes(&mut self, segment: &Segment, is_wanted: impl Fn(&Source) -> bool) -> Result<()> {
        for line in &segment.lines {
            if let Line::Inode { of, meta, copy } = line
                && is_wanted(of)
            {
                let done = self.rewrite(of, copy.as_deref(), meta.as_ref());
                done.map_err(|error| CheckpointError::failed("restore from", self.place, error))?;
            }
        }
        Ok(())
    }

    /// Rewrites a file where it is, so that all its names follow.
    fn rewrite(&mut self, of: &Source, copy: Option<&str>, meta: Option<&Meta>) -> io::Result<()> {
        let (directory, name) = match of {
            Source::Name(at) => self.parent(at)?,
            Source::Slot(slot) => (Rc::new(self.slots.try_clone()?), slot.as_bytes()),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(file) = absent(openat(directory.as_fd(), name, flags, Mode::empty()))? else {
            return Ok(());
        };
        let node = node_of(file.as_fd())?;
        let owned = own(self.twins, self.slots.as_fd(), (directory.as_fd(), name), file)?;
        let Some(file) = owned else { return Ok(()) };
        let Some(copy) = copy else {
            return meta.map_or(Ok(()), |meta| meta.set(file.as_fd()));
        };
        let from = openat(&self.slots, copy, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let to = match reopen(file.as_fd(), OFlags::WRONLY) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                chmod(magic(file.as_fd()), Mode::from_raw_mode(node.mode | 0o200))?;
                reopen(file.as_fd(), OFlags::WRONLY)?
            }
            other => other?,
        };
        let meta = meta.cloned().unwrap_or_else(|| Meta::of(&node));
        let (from, to) = (File::from(from), File::from(to));
        ftruncate(&to, 0)?;
        copy_content(&from, &to)?;
        meta.set(to.as_fd())
    }

    /// Which directory has to get its name of before: what is at the new name, if the move was carried out.
    pub(super) fn moved(&mut self, segment: &Segment) -> Result<Option<Id>> {
        let Some(by) = &segment.by else { return Ok(None) };
        let to = Place::new(by.layer, by.to.as_bytes());
        let node = match self.ground(&to).and_then(|ground| ground.node(by.to.as_bytes())) {
            Err(error) => return Err(self.failed(&to, error)),
            Ok(node) => node.map(|node| node.id),
        };
        let known = self.twins.directories.get(&by.node).copied().unwrap_or(by.node);
        Ok(match segment.was_carried {
            Some(true) => Some(node.ok_or_else(|| lost(by))?),
            Some(false) => None,
            // Nothing came after it, so it is the same directory still.
            None if node == Some(known) => node,
            None => {
                let from = Place::new(by.layer, by.from.as_bytes());
                let stayed = self.ground(&from).and_then(|ground| ground.node(by.from.as_bytes()));
                let stayed = stayed.map_err(|error| self.failed(&from, error))?;
                return if stayed.is_some_and(|node| node.id == known) { Ok(None) } else { Err(lost(by)) };
            }
        })
    }

    /// Gives the directory `node`, which moved, its name of before.
    pub(super) fn take_back(&mut self, by: &Move, node: Id) -> Result<()> {
        let place = |path: &[u8]| Place::new(by.layer, path);
        let (from, to) = (place(by.from.as_bytes()), place(by.to.as_bytes()));
        let moved = self.rename_back(by, node, (&from, &to));
        let moved = moved.map_err(|error| self.failed(&from, error));
        self.tighten(|_| false);
        if !moved? {
            return Err(lost(by));
        }
        let ground = self.ground(&from).map_err(|error| self.failed(&from, error))?;
        set_notes(ground, by.from.as_bytes(), &by.notes).map_err(|error| self.failed(&from, error))?;
        if let Some((_, notes)) = &by.other {
            set_notes(ground, by.to.as_bytes(), notes).map_err(|error| self.failed(&to, error))?;
        }
        Ok(())
    }

    /// Whether it has its name of before.
    fn rename_back(&mut self, by: &Move, wanted: Id, (from, to): (&Place, &Place)) -> io::Result<bool> {
        let (old, old_name) = self.parent(from)?;
        let at_from = Node::at(old.as_fd(), old_name)?;
        if at_from.as_ref().is_some_and(|node| node.id == wanted) {
            return Ok(true);
        }
        let (new, new_name) = self.parent(to)?;
        if Node::at(new.as_fd(), new_name)?.is_none_or(|node| node.id != wanted) {
            return Ok(false);
        }
        let flags = match at_from {
            Some(_) if by.exchanged => RenameFlags::EXCHANGE,
            Some(node) if node.is_whiteout() => {
                self.trash.take(old.as_fd(), old_name)?;
                RenameFlags::NOREPLACE
            }
            _ => RenameFlags::NOREPLACE,
        };
        self.loosen(to)?;
        renameat_with(new.as_fd(), new_name, old.as_fd(), old_name, flags)?;
        Ok(true)
    }

    /// The directory of a name, made usable where its owner made it otherwise.
    fn parent<'p>(&mut self, at: &'p Place) -> io::Result<(Rc<OwnedFd>, &'p [u8])> {
        let (parent, name) = beneath::split(at.path.as_bytes());
        let name = if at.path.as_bytes().is_empty() { b"." } else { name };
        // Names come in order, those of one directory one after the other.
        if let Some((last, directory)) = &self.last
            && last.layer == at.layer
            && last.path.as_bytes() == parent
        {
            return Ok((Rc::clone(directory), name));
        }
        let ends = parent.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        if !rustix::process::geteuid().is_root() {
            for end in ends.chain([parent.len()]) {
                self.loosen(&Place::new(at.layer, &parent[..end]))?;
            }
        }
        let directory = Rc::new(self.ground(at)?.root.dir(parent)?);
        self.last = Some((Place::new(at.layer, parent), Rc::clone(&directory)));
        Ok((directory, name))
    }

    /// Lets its owner do everything in a directory, until [`Self::tighten`].
    fn loosen(&mut self, at: &Place) -> io::Result<()> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let file = self.ground(at)?.root.dir(at.path.as_bytes())?;
        let node = Node::of_stat(&beneath::stat_fd(file.as_fd())?);
        if node.mode & 0o700 != 0o700 {
            chmod(magic(file.as_fd()), Mode::from_raw_mode(node.mode | 0o700))?;
            self.loosened.push((at.clone(), file, node.mode));
        }
        Ok(())
    }

    /// Takes [`Self::loosen`] back, but for those that have got their modes anew.
    fn tighten(&mut self, is_settled: impl Fn(&Place) -> bool) {
        self.last = None;
        while let Some((at, file, mode)) = self.loosened.pop() {
            if !is_settled(&at) {
                // A failure leaves the run's copy more readable for its owner.
                let _ = chmod(magic(file.as_fd()), Mode::from_raw_mode(mode));
            }
        }
    }

    fn ground(&self, at: &Place) -> io::Result<&'a Ground> {
        self.grounds.get(at.layer).ok_or_else(|| Errno::NOENT.into())
    }

    fn failed(&self, at: &Place, error: io::Error) -> CheckpointError {
        let mount_point = self.grounds.get(at.layer).map_or(&b""[..], |ground| &ground.mount_point);
        let path = [mount_point, b"/", at.path.as_bytes()].concat();
        CheckpointError::failed("restore", Path::new(OsStr::from_bytes(&path)), error)
    }
}

/// The file `at` itself; where it is the run's and must not change, a copy that takes its name; `None` where there
/// cannot be one.
fn own(
    twins: &Twins,
    slots: BorrowedFd<'_>,
    at: (BorrowedFd<'_>, &[u8]),
    file: OwnedFd,
) -> io::Result<Option<OwnedFd>> {
    if twins.borrowed.is_empty() {
        return Ok(Some(file));
    }
    let node = node_of(file.as_fd())?;
    if !twins.borrowed.contains(&node.id) {
        return Ok(Some(file));
    }
    remove_tree(slots, OWNED.as_bytes())?;
    match node.file_type {
        FileType::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = File::from(openat(slots, OWNED, flags, Mode::RUSR | Mode::WUSR)?);
            copy_content(&File::from(open_to_read(file.as_fd(), &node)?), &to)?;
        }
        FileType::Symlink => symlinkat(&readlinkat(&file, "", Vec::new())?, slots, OWNED)?,
        FileType::Fifo => mknodat(slots, OWNED, rustix::fs::FileType::Fifo, Mode::RUSR, NO_DEVICE)?,
        FileType::Socket => mknodat(slots, OWNED, rustix::fs::FileType::Socket, Mode::RUSR, NO_DEVICE)?,
        _ => return Ok(None),
    }
    let copy = openat(slots, OWNED, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    Meta::of(&node).set(copy.as_fd())?;
    renameat(slots, OWNED, at.0, at.1)?;
    Ok(Some(copy))
}

fn fold(lines: &[Line]) -> BTreeMap<&Place, Was<'_>> {
    let mut names = BTreeMap::new();
    for line in lines {
        let Line::Was { at, state } = line else { continue };
        let was = names.entry(at).or_insert(Was { first: state, kept: None, copied: None, whole: None });
        match state {
            State::Kept { slot, .. } if was.kept.is_none() => was.kept = Some(slot),
            State::Copied { slot, shared, whole, born, .. } if was.copied.is_none() => {
                was.copied = Some((slot, *shared));
                // What was said first may be other metadata.
                was.whole = whole.filter(|_| std::ptr::eq(was.first, state)).map(|id| (id, *born));
            }
            _ => {}
        }
    }
    names
}

fn lost(by: &Move) -> CheckpointError {
    let what = format!("the directory `{}` of the run is gone", Escaped(by.to.as_bytes()));
    CheckpointError::Lost { what }
}

fn gone(lines: &[Line]) -> impl Iterator<Item = (&Place, &Notes)> {
    lines.iter().filter_map(|line| if let Line::Gone { at, notes } = line { Some((at, notes)) } else { None })
}

/// `None` where nothing is.
fn absent<T>(result: std::result::Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Err(Errno::NOENT) => Ok(None),
        other => Ok(other.map(Some)?),
    }
}

/// A whiteout has the device number 0; what is no device has none.
const NO_DEVICE: Dev = 0;
const OWNED: &str = ".owned";
