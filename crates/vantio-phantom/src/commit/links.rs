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
    journal::Steps,
    meta::Meta,
    rollback::Ground,
    steps::{Action, Id, Step},
};
use crate::changes::{
    FileType, Node, Readable, Stamp,
    beneath::{Pinned, stat_at, stat_fd},
    copy_content, names_in, same_content,
};

/// Keeps copies of removed files that have names on the host still. May be repeated; a file that cannot be copied is kept
/// with its link. Returns those that nobody had changed since `done`, with the change time that they have for it now.
pub(super) fn release(grounds: &[Ground], steps: &Steps, done: Stamp) -> BTreeSet<(Id, Stamp)> {
    let kept: Vec<_> = steps.list.iter().filter_map(|step| Kept::of(grounds, step)).collect();
    let mut names: HashMap<Id, u32> = HashMap::new();
    for kept in &kept {
        *names.entry(kept.node.id).or_default() += 1;
    }
    let mut released = BTreeSet::new();
    for kept in &kept {
        if kept.node.links > names.get(&kept.node.id).copied().unwrap_or_default() {
            let file = kept.depot.at(kept.slot, OFlags::PATH | OFlags::NOFOLLOW);
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
        let ground = grounds.get(step.layer).filter(|_| went.contains(&node));
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

/// A regular file in the slot of a step that took it from the host.
struct Kept<'a> {
    depot: &'a Pinned,
    slot: &'a [u8],
    node: Node,
}

impl<'a> Kept<'a> {
    fn of(grounds: &'a [Ground], step: &'a Step) -> Option<Self> {
        let (Action::Take { .. } | Action::Swap { .. }) = step.action else { return None };
        let depot = grounds.get(step.layer)?.depot.as_ref()?;
        let slot = step.slot.as_bytes();
        let node = Node::at(depot.as_fd(), slot).ok()??;
        (node.file_type == FileType::File && node.links > 1).then_some(Self { depot, slot, node })
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
        let made = self.copy_to(&spare, changed.unwrap_or(Before::File(self.slot)));
        if made.is_err() {
            let _ = unlinkat(depot, &spare[..], AtFlags::empty());
        }
        made
    }

    fn copy_to(&self, spare: &[u8], before: Before<'_>) -> io::Result<()> {
        let depot = self.depot.as_fd();
        let name = if let Before::File(name) = before { name } else { self.slot };
        let node = Node::at(depot, name)?.ok_or(io::ErrorKind::NotFound)?;
        let from = File::from(Readable { node: &node, dir: depot, name }.open()?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = File::from(openat(depot, spare, flags, Mode::RUSR | Mode::WUSR)?);
        copy_content(&from, &to)?;
        let meta = Meta::of(&node);
        if let Before::Meta(old) = before { old } else { &meta }.set(to.as_fd())?;
        to.sync_all()?;
        Ok(renameat(depot, spare, depot, self.slot)?)
    }
}

/// Where what a file was before a commit is found.
#[derive(Clone, Copy)]
enum Before<'a> {
    /// In the depot.
    File(&'a [u8]),
    /// In the file itself, but for this.
    Meta(&'a Meta),
}

fn spare(slot: &[u8]) -> Vec<u8> {
    [slot, b"-spare"].concat()
}
