//! What a disk may have when its power fails.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    Change, Kept, Random, Record,
    sectors::{Loss, Pending, apply, settle},
};

/// A moment in a record at which the power fails.
#[derive(Clone)]
pub struct Cut<'r> {
    record: &'r Record,
    place: usize,
    random: Random,
    files: HashMap<u64, File>,
    folders: HashMap<u64, Folder>,
    moves: Vec<Move>,
}

#[derive(Clone, Default)]
struct File {
    mode: u32,
    disk: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Default)]
struct Folder {
    mode: u32,
    disk: Names,
    pending: Vec<Renaming>,
    /// As programs see it.
    seen: Names,
}

type Names = BTreeMap<OsString, u64>;

#[derive(Clone)]
enum Renaming {
    Add(OsString, u64),
    Remove(OsString),
    /// With what comes in its place, if it is an exchange.
    Move(OsString, OsString, u64, Option<u64>),
}

/// A renaming from one folder to another that no sync has kept yet: it is done in both or in none.
#[derive(Clone)]
struct Move {
    from: (u64, OsString),
    to: (u64, OsString),
    moved: u64,
    other: Option<u64>,
}

impl<'r> Cut<'r> {
    /// Before anything was done, on an empty disk.
    pub fn new(record: &'r Record, seed: u64) -> Self {
        let root = Folder { mode: 0o700, ..Folder::default() };
        let (files, folders) = (HashMap::new(), HashMap::from([(1, root)]));
        Self { record, place: 0, random: Random::new(seed), files, folders, moves: Vec::new() }
    }

    /// Lets time pass, until so many changes were made.
    pub fn advance(&mut self, place: usize) {
        let record = self.record;
        for change in record.changes.iter().take(place).skip(self.place) {
            self.step(change);
        }
        self.place = self.place.max(place);
    }

    /// The content of a file of this name, in whichever folder, as programs see it.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let node = self.folders.values().find_map(|folder| folder.seen.get(OsStr::new(name)));
        let Some(file) = node.and_then(|node| self.files.get(node)) else { return Vec::new() };
        let mut content = file.disk.clone();
        for change in &file.pending {
            apply(change, &mut content);
        }
        content
    }

    /// Makes in the folder `place` what the disk may have: all that was synced; of the rest some
    /// sectors of so many bytes and not others, some torn, each as it was at a time of its own. What
    /// was to be longer may be longer and have anything there. Each call makes another image.
    ///
    /// # Errors
    /// Where that folder cannot be written.
    pub fn write_image(&mut self, place: &Path, sector: usize) -> io::Result<()> {
        let loss = Loss::any(sector, &mut self.random);
        let settled = |(number, folder): (&u64, &Folder)| (*number, folder.settled(&loss, &mut self.random));
        let mut names: HashMap<u64, Names> = self.folders.iter().map(settled).collect();
        for step in &self.moves {
            let is_done = names.get(&step.to.0).and_then(|names| names.get(&step.to.1)) == Some(&step.moved);
            for ((folder, name), node) in step.outcome(is_done) {
                // What a move that is not done would have replaced is still there.
                if let Some(names) = names.get_mut(folder).filter(|_| is_done || node.is_some()) {
                    set(names, name, node);
                }
            }
        }
        self.write_folder(1, place, &loss, &names, &mut HashMap::new())
    }

    fn write_folder(
        &mut self,
        number: u64,
        place: &Path,
        loss: &Loss,
        names: &HashMap<u64, Names>,
        written: &mut HashMap<u64, PathBuf>,
    ) -> io::Result<()> {
        for (name, node) in names.get(&number).into_iter().flatten() {
            let path = place.join(name);
            if let Some(other) = written.get(node) {
                fs::hard_link(other, path)?;
            } else if let Some(inner) = self.folders.get(node) {
                DirBuilder::new().mode(inner.mode & 0o777).create(&path)?;
                self.write_folder(*node, &path, loss, names, written)?;
            } else if let Some(file) = self.files.get(node) {
                let content = settle(&file.disk, &file.pending, loss, &mut self.random);
                let mut made = OpenOptions::new();
                made.write(true).create_new(true).mode(file.mode & 0o777).open(&path)?.write_all(&content)?;
                written.insert(*node, path);
            }
        }
        Ok(())
    }

    fn step(&mut self, change: &Change) {
        match change {
            Change::Make { parent, name, node, is_folder, mode } => {
                if *is_folder {
                    self.folders.insert(*node, Folder { mode: *mode, ..Folder::default() });
                } else {
                    self.files.insert(*node, File { mode: *mode, ..File::default() });
                }
                self.rename(*parent, Renaming::Add(name.clone(), *node));
            }
            Change::Link { parent, name, node } => self.rename(*parent, Renaming::Add(name.clone(), *node)),
            Change::Unlink { parent, name } => self.rename(*parent, Renaming::Remove(name.clone())),
            Change::Rename { parent, name, new_parent, new_name, is_exchange } => {
                let node = |folder: u64, name| {
                    self.folders.get(&folder).and_then(|found| found.seen.get(name)).copied()
                };
                let Some(moved) = node(*parent, name) else { return };
                let other = node(*new_parent, new_name).filter(|_| *is_exchange);
                if parent == new_parent {
                    self.rename(*parent, Renaming::Move(name.clone(), new_name.clone(), moved, other));
                } else {
                    self.rename(*new_parent, Renaming::Add(new_name.clone(), moved));
                    self.rename(
                        *parent,
                        other.map_or(Renaming::Remove(name.clone()), |other| {
                            Renaming::Add(name.clone(), other)
                        }),
                    );
                    let (from, to) = ((*parent, name.clone()), (*new_parent, new_name.clone()));
                    self.moves.push(Move { from, to, moved, other });
                }
            }
            Change::Write { node, offset, data } => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                self.write(*node, Pending::Write { offset, data: data.clone() });
            }
            Change::Resize { node, size } => {
                self.write(*node, Pending::Resize(usize::try_from(*size).unwrap_or(usize::MAX)));
            }
            Change::Sync { node, kept } => self.sync(*node, *kept),
        }
    }

    fn rename(&mut self, folder: u64, renaming: Renaming) {
        if let Some(folder) = self.folders.get_mut(&folder) {
            renaming.apply(&mut folder.seen);
            folder.pending.push(renaming);
        }
    }

    fn write(&mut self, file: u64, pending: Pending) {
        if let Some(file) = self.files.get_mut(&file) {
            file.pending.push(pending);
        }
    }

    fn sync(&mut self, node: u64, kept: Kept) {
        let loss = match kept {
            Kept::All => Loss::NONE,
            Kept::Some => Loss::any(512, &mut self.random),
            Kept::Nothing => return,
        };
        // Names are in a journal: what a failed sync has not kept, a later one does.
        if let (Some(folder), Kept::All) = (self.folders.get_mut(&node), kept) {
            folder.disk = folder.settled(&loss, &mut self.random);
            folder.pending.clear();
            let is_kept = |step: &mut Move| step.from.0 == node || step.to.0 == node;
            for step in self.moves.extract_if(.., is_kept) {
                for ((folder, name), node) in step.outcome(true) {
                    if let Some(folder) = self.folders.get_mut(folder) {
                        set(&mut folder.disk, name, node);
                    }
                }
            }
        }
        if let Some(file) = self.files.get_mut(&node) {
            file.disk = settle(&file.disk, &file.pending, &loss, &mut self.random);
            file.pending.clear();
        }
    }
}

impl Move {
    /// What its two names lead to when it is done, or not: nothing, or a node.
    fn outcome(&self, is_done: bool) -> [(&(u64, OsString), Option<u64>); 2] {
        if is_done {
            [(&self.from, self.other), (&self.to, Some(self.moved))]
        } else {
            [(&self.from, Some(self.moved)), (&self.to, self.other)]
        }
    }
}

/// Lets a name lead to a node, or to nothing.
fn set(names: &mut Names, name: &OsString, node: Option<u64>) {
    match node {
        Some(node) => drop(names.insert(name.clone(), node)),
        None => drop(names.remove(name)),
    }
}

impl Folder {
    /// A journal keeps all changes up to one; without one, any may be kept.
    fn settled(&self, loss: &Loss, random: &mut Random) -> Names {
        let mut names = self.disk.clone();
        let is_journaled = random.is_in(50);
        let last = random.below(self.pending.len() as u64 + 1);
        for (place, renaming) in self.pending.iter().enumerate() {
            let is_kept = if is_journaled { (place as u64) < last } else { random.is_in(loss.kept) };
            if is_kept || loss.kept == 100 {
                renaming.apply(&mut names);
            }
        }
        names
    }
}

impl Renaming {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Move(name, new_name, node, other) => {
                names.remove(name);
                names.insert(new_name.clone(), *node);
                names.extend(other.map(|other| (name.clone(), other)));
            }
        }
    }
}
