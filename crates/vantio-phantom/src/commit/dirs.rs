//! The directories whose entries a commit changed, when it is taken back.

use std::{collections::BTreeSet, io};

use rustix::fd::{AsFd as _, OwnedFd};

use super::{
    journal::Steps,
    meta::Meta,
    rollback::{Ground, Reason, Scope},
    steps::{Action, Dir, Step},
};
use crate::changes::{
    Node, PathBytes,
    beneath::{self, stat_fd},
};

/// Gives directories the times that they are to have when all but the steps `stayed` is taken back.
pub(super) fn restore(
    grounds: &[Ground],
    steps: &Steps,
    reason: Reason<'_>,
    stayed: &BTreeSet<usize>,
) -> io::Result<()> {
    let whole = Scope::default();
    let scope = if let Reason::Undo(scope) = reason { scope } else { &whole };
    // Parents last: their times move with their entries.
    for dir in &steps.dirs {
        if let Some(ground) = grounds.get(dir.layer) {
            match scope.left_of(steps, dir, stayed) {
                Left::Nothing => restore_dir(ground, dir, reason)?,
                Left::Part => keep_times(ground, dir)?,
                Left::All => {}
            }
        }
    }
    Ok(())
}

fn restore_dir(ground: &Ground, dir: &Dir, reason: Reason<'_>) -> io::Result<()> {
    let Some((path, meta)) = &dir.before else { return Ok(()) };
    let opened = match open(ground, path) {
        Err(error) if beneath::is_absent(&error) => return Ok(()),
        other => other?,
    };
    let now = Node::of_stat(&stat_fd(opened.as_fd())?);
    let is = |meta: &Meta| (now.mode, now.uid, now.gid) == (meta.mode, meta.uid, meta.gid);
    let has_attributes = |meta: &Meta| meta.has_attributes_of(opened.as_fd()).unwrap_or(false);
    // A step of its own may have given it back its metadata, but not its times. Attributes that are the host's stay.
    let is_ours = match (reason, &dir.after) {
        (Reason::Undo(_), Some((_, after))) => is(meta) || is(after) && has_attributes(after),
        _ => true,
    };
    let set = match is_ours {
        true if is(meta) => meta.set_times(opened.as_fd()),
        true => meta.set(opened.as_fd()),
        false => Ok(()),
    };
    match set {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Sets the times that a directory has after a commit of which it still holds a part.
fn keep_times(ground: &Ground, dir: &Dir) -> io::Result<()> {
    let Some((path, meta)) = &dir.after else { return Ok(()) };
    let opened = match open(ground, path) {
        Err(error) if beneath::is_absent(&error) => return Ok(()),
        other => other?,
    };
    match meta.set_times(opened.as_fd()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

fn open(ground: &Ground, path: &PathBytes) -> io::Result<OwnedFd> {
    ground.lending(path.as_bytes(), || ground.lower.dir(path.as_bytes()))
}

/// What of the commit is left in a directory.
enum Left {
    Nothing,
    Part,
    All,
}

impl Scope {
    /// In a directory whose entries the steps changed. Where nothing was left out, the host's own changes do not count.
    fn left_of(&self, steps: &Steps, dir: &Dir, stayed: &BTreeSet<usize>) -> Left {
        if self.left_out.is_empty() {
            return Left::Nothing;
        }
        let place = |end: &Option<(PathBytes, Meta)>| end.as_ref().map(|(path, _)| path.0.clone());
        let places = [place(&dir.before), place(&dir.after)];
        let is_in = |step: &Step| {
            let path = step.path.as_bytes();
            let within = match step.action {
                Action::Rewrite { .. } => return false,
                Action::Meta { .. } => path,
                _ => beneath::split(path).0,
            };
            step.layer == dir.layer && places.iter().flatten().any(|place| place == within)
        };
        let here =
            steps.list.iter().enumerate().filter(|(index, step)| !self.undone.contains(index) && is_in(step));
        let (left, back): (Vec<_>, Vec<_>) =
            here.partition(|(index, _)| self.left_out.contains(index) || stayed.contains(index));
        match (back.is_empty(), left.is_empty()) {
            (true, _) => Left::All,
            (false, false) => Left::Part,
            (false, true) => Left::Nothing,
        }
    }
}
