//! Files with several names, of which a commit removes one.
//!
//! What a commit removes is kept for an undo. Kept as it is, it would count as
//! another name of a file that the host still has. So a copy is kept instead,
//! and an undo makes it a name of that file again where it finds the file.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, Mode, OFlags, linkat, openat, renameat, unlinkat},
};

use super::{
    depot::keeping_times,
    journal::Steps,
    meta::Meta,
    moving::Lent,
    rollback::{Ground, node_at},
    steps::{Action, Id, Step},
};
use crate::changes::{
    FileType, Node, Readable, Stamp,
    beneath::{Pinned, join, stat_at, stat_fd},
    copy_content, names_in, same_content,
};

/// Keeps copies of removed files that have names on the host still. May be repeated; a file that cannot be copied is kept
/// with its link. Returns those that nobody had changed since `done`, with the change time that they have for it now.
pub(super) fn release(grounds: &[Ground], steps: &Steps, done: Stamp) -> BTreeSet<(Id, Stamp)> {
    let kept: Vec<_> = steps.list.iter().flat_map(|step| Kept::of(grounds, step)).collect();
    let mut names: HashMap<Id, u32> = HashMap::new();
    for kept in &kept {
        *names.entry(kept.node.id).or_default() += 1;
    }
    let mut released = BTreeSet::new();
    for kept in &kept {
        if kept.node.links > names.get(&kept.node.id).copied().unwrap_or_default() {
            let file = kept.depot.at(&kept.path, OFlags::PATH | OFlags::NOFOLLOW);
            let _ = kept.copy(steps);
            let now = file.and_then(|file| Ok(Node::of_stat(&stat_fd(file.as_fd())?)));
            released.extend(now.ok().filter(|_| kept.node.changed <= done).map(|now| (now.id, now.changed)));
        }
    }
    released
}

/// Files that were written in place and of which [`release`] took a name away, which moves their
/// change time: those that still are as they were written, with that time.
pub(super) fn touched(grounds: &[Ground], steps: &Steps) -> io::Result<BTreeSet<(Id, Stamp)>> {
    let went = |step: &Step| match step.action {
        Action::Take { node } | Action::Swap { old: node, .. } => Some(node),
        _ => None,
    };
    let went: HashSet<Id> = steps.list.iter().filter_map(went).collect();
    let mut touched = BTreeSet::new();
    for step in &steps.list {
        let Action::Rewrite { node, .. } = step.action else { continue };
        let ground = grounds.get(step.layer).filter(|ground| ground.is_away() || went.contains(&node));
        let Some((ground, depot)) = ground.and_then(|ground| Some((ground, ground.depot.as_ref()?))) else {
            continue;
        };
        let written = stat_at(depot.as_fd(), step.slot.as_bytes())?.map(|stat| Node::of_stat(&stat));
        let now = ground.lower.stat(step.path.as_bytes())?.map(|stat| Node::of_stat(&stat));
        if let (Some(written), Some(now)) = (written, now)
            && now.id == node
            && (now.size, now.modified, now.mode) == (written.size, written.modified, written.mode)
        {
            touched.insert((now.id, now.changed));
        }
    }
    Ok(touched)
}

/// Makes the copy in a slot a name of the file `wanted` again, where `dir`, the directory it returns to, still has another
/// name of that file, and the file is what it was.
pub(super) fn restore(depot: &Pinned, slot: &[u8], dir: &OwnedFd, wanted: Id) -> io::Result<()> {
    let is_copy = |node: &Node| node.id != wanted && node.file_type == FileType::File;
    let copy = stat_at(depot.as_fd(), slot)?.map(|stat| Node::of_stat(&stat)).filter(is_copy);
    let Some(copy) = copy else { return Ok(()) };
    let copied = Readable { node: &copy, dir: depot.as_fd(), name: slot };
    let is_wanted = |node: &Node, name: &[u8]| {
        node.id == wanted
            && Node { id: copy.id, ..node.clone() }.is_still(&copy)
            && same_content(&copied, &Readable { node, dir: dir.as_fd(), name }).is_ok_and(|same| same)
    };
    let readable = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for name in names_in(&readable)? {
        if stat_at(dir.as_fd(), &name)?.is_some_and(|stat| is_wanted(&Node::of_stat(&stat), &name)) {
            let spare = spare(slot);
            let _ = unlinkat(depot.as_fd(), &spare[..], AtFlags::empty());
            linkat(dir, &name[..], depot.as_fd(), &spare[..], AtFlags::empty())?;
            return Ok(renameat(depot.as_fd(), &spare[..], depot.as_fd(), slot)?);
        }
    }
    Ok(())
}

/// A file with several names that a step took from the host.
struct Kept<'a> {
    depot: &'a Pinned,
    slot: &'a [u8],
    /// Where in the depot it is.
    path: Vec<u8>,
    node: Node,
}

impl<'a> Kept<'a> {
    /// What is in the slot of a step; all that is in it where the depot is copied before long, which parts the names.
    fn of(grounds: &'a [Ground], step: &'a Step) -> Vec<Self> {
        let (Action::Take { .. } | Action::Swap { .. }) = step.action else { return Vec::new() };
        let Some(ground) = grounds.get(step.layer) else { return Vec::new() };
        let Some(depot) = &ground.depot else { return Vec::new() };
        let slot = step.slot.as_bytes();
        let (mut found, mut waiting) = (Vec::new(), vec![slot.to_vec()]);
        while let Some(path) = waiting.pop() {
            let Ok(Some(node)) = node_at(depot, &path) else { continue };
            if node.is_dir() && ground.is_away() {
                waiting.extend(names(depot, &path).unwrap_or_default().iter().map(|name| join(&path, name)));
            } else if node.file_type == FileType::File && node.links > 1 {
                found.push(Self { depot, slot, path, node });
            }
        }
        found
    }

    /// Copies the file as it was, also where a step changed it.
    fn copy(&self, steps: &Steps) -> io::Result<()> {
        let (depot, spare) = (self.depot.as_fd(), spare(self.slot));
        let _ = unlinkat(depot, &spare[..], AtFlags::empty());
        let changed = steps.list.iter().find_map(|step| match &step.action {
            Action::Rewrite { node, backup } if *node == self.node.id => {
                Some(Before::File(backup.as_bytes()))
            }
            Action::Meta { node, old, .. } if *node == self.node.id => Some(Before::Meta(old)),
            _ => None,
        });
        let made = self.copy_to(&spare, changed.unwrap_or(Before::Same));
        if made.is_err() {
            let _ = unlinkat(depot, &spare[..], AtFlags::empty());
        }
        made
    }

    fn copy_to(&self, spare: &[u8], before: Before<'_>) -> io::Result<()> {
        let depot = self.depot.as_fd();
        let (parent, own) = self.depot.parent(&self.path)?;
        let (dir, name) =
            if let Before::File(backup) = before { (depot, backup) } else { (parent.as_fd(), own) };
        let node = Node::at(dir, name)?.ok_or(io::ErrorKind::NotFound)?;
        let from = File::from(Readable { node: &node, dir, name }.open()?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = File::from(openat(depot, spare, flags, Mode::RUSR | Mode::WUSR)?);
        copy_content(&from, &to)?;
        let meta = Meta::of(&node);
        if let Before::Meta(old) = before { old } else { &meta }.set(to.as_fd())?;
        to.sync_all()?;
        let _lent = Lent::new(parent.try_clone()?, 0o300);
        keeping_times(parent.as_fd(), || Ok(renameat(depot, spare, &parent, own)?))
    }
}

/// The names in a directory of the depot.
fn names(depot: &Pinned, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let _lent = Lent::new(depot.dir(path)?, 0o500);
    names_in(&depot.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// Where what a file was before a commit is found.
#[derive(Clone, Copy)]
enum Before<'a> {
    /// In the file itself.
    Same,
    /// In the depot.
    File(&'a [u8]),
    /// In the file itself, but for this.
    Meta(&'a Meta),
}

fn spare(slot: &[u8]) -> Vec<u8> {
    [slot, b"-spare"].concat()
}
