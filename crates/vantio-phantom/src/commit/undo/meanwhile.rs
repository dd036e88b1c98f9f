//! What the host did after an undo was cut off, and before it is finished.
//!
//! What an undo had not come to is judged again. It has moved change times by then, so a file of which it changed
//! anything, or a name, is known by the time of its content.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
};

use rustix::{fd::AsFd as _, fs::OFlags};

use super::super::{
    journal::{Record, Steps},
    meta::{LENT, Meta},
    rollback::{Ground, has_moved_back, node_at},
    since::Since,
    steps::{Action, Id, Step},
    ways,
};
use crate::changes::{
    Node, Stamp,
    beneath::{self, join},
    data_after,
    node::xattrs_of,
};

/// What became of the steps of an undo that was cut off.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    /// Those that are not taken back any more, by index.
    pub(super) stays: BTreeSet<usize>,
    /// Those that are taken back, and of which the host changed what comes back.
    pub(super) changed: BTreeSet<usize>,
}

/// What an undo that has begun has moved the change time of.
pub(in super::super) struct Begun {
    at: Stamp,
    /// Files of which it changes something, or a name.
    touched: HashSet<Id>,
    /// Files that it writes in place, which is judged by itself.
    written: HashSet<Id>,
    /// The places to which it has brought something back, maybe a copy.
    back: HashSet<Vec<u8>>,
}

impl Begun {
    fn new(steps: &Steps, at: Stamp) -> Self {
        let (mut touched, mut written) = (HashSet::new(), HashSet::new());
        for step in &steps.list {
            match &step.action {
                Action::Put { .. } | Action::Make { .. } => {}
                Action::Swap { old, .. } => touched.extend([*old]),
                action => touched.extend(action.ids()),
            }
            if let Action::Rewrite { node, .. } = step.action {
                written.insert(node);
            }
        }
        Self { at, touched, written, back: HashSet::new() }
    }

    /// Whether that explains the change time of `node`, which is at `place`: its content is older.
    pub(in super::super) fn has_moved(&self, place: &[u8], node: &Node, done: Stamp) -> bool {
        let mut above = place;
        while !above.is_empty() && !self.back.contains(above) {
            above = beneath::split(above).0;
        }
        self.written.contains(&node.id)
            || self.touched.contains(&node.id) && node.modified <= done
            || !above.is_empty() && node.modified < self.at
    }
}

/// Judges the steps `asked` of an undo that has begun at `begun`; `stays` are those that it leaves anyway.
pub(super) fn judge(
    record: &Record,
    grounds: &[Ground],
    asked: &BTreeSet<usize>,
    stays: &BTreeSet<usize>,
    begun: Stamp,
) -> io::Result<Meanwhile> {
    let mut meanwhile = Meanwhile { stays: stays.clone(), ..Meanwhile::default() };
    let (Some(steps), Some(done)) = (&record.steps, record.applied) else { return Ok(meanwhile) };
    let mut known = Since::new(record, steps, done);
    known.begun = Some(Begun::new(steps, begun));
    let mut judge = Judge { steps, known, begun };
    let mut back = record.undone.steps.clone();
    // In the order in which they are taken back.
    for (index, step) in steps.list.iter().enumerate().rev() {
        let is_asked = asked.contains(&index) && !record.undone.steps.contains(&index);
        let Some(ground) = grounds.get(step.layer).filter(|_| is_asked && !stays.contains(&index)) else {
            continue;
        };
        let state = ground.lending(step.path.as_bytes(), || judge.state(ground, step))?;
        if matches!(state, State::Back | State::Written) {
            back.insert(index);
            let place = ground.absolute(step.path.as_bytes());
            judge.known.begun.iter_mut().for_each(|begun| begun.back.extend([place.clone()]));
        }
        match state {
            State::Changed => meanwhile.stays.extend([index]),
            State::Written => meanwhile.changed.extend([index]),
            State::Waits | State::Back => {}
        }
    }
    ways::close(grounds, steps, &back, &mut meanwhile.stays)?;
    Ok(meanwhile)
}

/// How far an undo has come with a step.
#[derive(Clone, Copy)]
enum State {
    /// It is to be taken back, or that may be repeated.
    Waits,
    /// The host changed its outcome.
    Changed,
    /// It was taken back.
    Back,
    /// The same, or it may be; and the host wrote to what comes back.
    Written,
}

struct Judge<'a> {
    steps: &'a Steps,
    known: Since<'a>,
    begun: Stamp,
}

impl Judge<'_> {
    fn state(&self, ground: &Ground, step: &Step) -> io::Result<State> {
        let Some(depot) = &ground.depot else { return Ok(State::Waits) };
        let path = step.path.as_bytes();
        let (host, slot) = (node_at(&ground.lower, path)?, node_at(depot, step.slot.as_bytes())?);
        let is_there = |wanted: Id| host.as_ref().is_some_and(|host| host.id == wanted);
        Ok(match &step.action {
            Action::Put { .. } if slot.is_some() => State::Back,
            Action::Put { node } if is_there(*node) => self.whole(ground, step)?,
            Action::Put { node } if has_moved_back(ground, self.steps, step, *node)? => State::Back,
            Action::Take { node } if slot.is_none() && (is_there(*node) || self.is_copied(ground, step)) => {
                self.back(ground, path)?
            }
            Action::Swap { new, .. } => match slot {
                Some(slot) if slot.id == *new => self.back(ground, path)?,
                Some(_) if is_there(*new) => self.whole(ground, step)?,
                Some(_) => State::Changed,
                None => State::Waits,
            },
            Action::Rewrite { node, backup } if is_there(*node) => {
                self.written(ground, path, host.as_ref(), backup)?
            }
            Action::Meta { node, old, new } if is_there(*node) => {
                let Some(host) = &host else { return Ok(State::Changed) };
                let modes = [old.mode, new.mode, old.mode | LENT, new.mode | LENT];
                let is_ours = modes.contains(&host.mode)
                    && [old.uid, new.uid].contains(&host.uid)
                    && [old.gid, new.gid].contains(&host.gid)
                    && has_only(ground, path, [old, new])?;
                match is_ours {
                    false => State::Changed,
                    true if ground.is_known(path, host, &self.known)? => State::Waits,
                    true => State::Written,
                }
            }
            _ => State::Waits,
        })
    }

    fn whole(&self, ground: &Ground, step: &Step) -> io::Result<State> {
        Ok(if ground.is_unchanged_since(step, &self.known)? { State::Waits } else { State::Changed })
    }

    /// Of what an undo puts back the content is older than the undo. What is in a directory is looked at where all of it
    /// is noted anew.
    fn back(&self, ground: &Ground, path: &[u8]) -> io::Result<State> {
        let mut places = vec![path.to_vec()];
        if ground.is_away() {
            places.extend(ground.below(path)?.iter().map(|below| join(path, below)));
        }
        for place in places {
            if node_at(&ground.lower, &place)?
                .is_some_and(|node| !node.is_dir() && node.modified >= self.begun)
            {
                return Ok(State::Written);
            }
        }
        Ok(State::Back)
    }

    /// Whether what a step took comes back as a copy: it was not renamed.
    fn is_copied(&self, ground: &Ground, take: &Step) -> bool {
        let is_put = |step: &Step| {
            (step.layer, &step.slot) == (take.layer, &take.slot) && matches!(step.action, Action::Put { .. })
        };
        ground.is_away() && !self.steps.list.iter().any(is_put)
    }

    /// What is written back in place may be repeated, unless the host has written there.
    fn written(&self, ground: &Ground, path: &[u8], host: Option<&Node>, backup: &str) -> io::Result<State> {
        let (Some(depot), Some(node)) = (&ground.depot, host) else { return Ok(State::Waits) };
        if node.changed <= self.known.done || node.modified <= self.known.done {
            return Ok(State::Waits);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let (now, saved) = (ground.lower.at(path, flags), depot.at(backup.as_bytes(), flags));
        let (Ok(now), Ok(saved)) = (now, saved) else { return Ok(State::Changed) };
        Ok(if is_begun(&now.into(), &saved.into())? { State::Waits } else { State::Changed })
    }
}

/// Whether what is at `path` has no attributes but those that it had before a change or after it.
fn has_only(ground: &Ground, path: &[u8], metas: [&Meta; 2]) -> io::Result<bool> {
    let file = ground.lower.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let found = match xattrs_of(file.as_fd()) {
        // Who may not read them cannot have set them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
        found => found?,
    };
    let is_known = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        let mut known = metas.iter().flat_map(|meta| &meta.xattrs);
        known.any(|known| (known.0.as_bytes(), known.1.as_bytes()) == (&name[..], &value[..]))
    };
    Ok(found.iter().all(is_known))
}

/// Whether `now` is a copy of `saved`, as far as it goes: zeros follow where a copy was cut off.
fn is_begun(now: &File, saved: &File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let (mut offset, mut is_cut) = (0, false);
    while let Some(data) = data_after(now, offset)? {
        let length = usize::try_from(data.end - data.start).unwrap_or(BLOCK).min(BLOCK);
        now.read_exact_at(&mut left[..length], data.start)?;
        right[..length].fill(0);
        fill(saved, &mut right[..length], data.start)?;
        let same = left.iter().zip(&right[..length]).take_while(|(left, right)| left == right).count();
        is_cut |= same < length;
        if is_cut && left[same..length].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset = data.start + length as u64;
    }
    Ok(true)
}

/// Reads as much as there is.
fn fill(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = file.read_at(buffer, offset)?;
        if count == 0 {
            break;
        }
        buffer = &mut buffer[count..];
        offset += count as u64;
    }
    Ok(())
}

const BLOCK: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_copy_that_was_cut_off_is_known_from_a_change() {
        let file = |bytes: &[u8], length: u64| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.set_len(length).unwrap();
            file
        };
        let text: Vec<u8> = (0..200_000_u32).map(|number| (number % 251 + 1) as u8).collect();
        let saved = file(&text, 200_000);
        for (bytes, length, is) in [
            (&[][..], 0, true),
            (&text[..70_000], 70_000, true),
            (&text[..70_001], 200_000, true),
            (&text, 200_000, true),
            (b"host", 4, false),
            (&text, 200_001, true),
            (&[&text[..], b"host"].concat(), 200_004, false),
            (&[&text[..100], b"host"].concat(), 200_000, false),
        ] {
            assert_eq!(is_begun(&file(bytes, length), &saved).unwrap(), is, "{} {length}", bytes.len());
        }
    }
}
