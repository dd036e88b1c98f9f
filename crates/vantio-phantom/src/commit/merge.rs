//! Merging what the host and the run each made of a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    ops::Range,
};

use similar::{ConflictStyle, TextMerge, TextMergeConfig};

use super::{
    replace::{Grounds, Replacement},
    report::{Lines, Offer, Overlap, Unmergeable},
};
use crate::changes::{
    Base, Change, ChangeKind, FileType, Node,
    base::{LARGEST_HASHED, attributes_of, digest_of, is_text},
    is_fit,
};

/// The outcome of a merge; where lines overlap, they stand in it with markers.
pub(super) struct Merge {
    pub(super) replacement: Replacement,
    overlaps: Vec<Overlap>,
}

impl Merge {
    /// Merges both sides of a change with what there was before them.
    pub(super) fn of(change: &Change, grounds: &Grounds<'_>) -> Result<Self, Unmergeable> {
        let (host, run) = match (change.kind, &change.before, &change.after) {
            (ChangeKind::Modified | ChangeKind::Metadata, Some(host), Some(run)) => (host, run),
            (ChangeKind::Renamed, None, _) => return Err(Unmergeable::Remains),
            (_, None, _) => return Err(Unmergeable::GoneFromHost),
            (_, _, None) => return Err(Unmergeable::GoneFromRun),
            _ => return Err(Unmergeable::OtherType),
        };
        // The links of a directory are those of what is in it.
        if run.links > 1 && !run.is_dir() {
            return Err(Unmergeable::SeveralNames);
        }
        let base = grounds.known.base(change)?;
        let metadata = Metadata::merged(base, host, run)?;
        if run.is_dir() {
            return Err(Unmergeable::OtherType);
        }
        if change.kind == ChangeKind::Metadata {
            let node = metadata.on(Node { modified: host.modified, ..run.clone() });
            let replacement = Replacement { node, content: None, is_part: false, leaves_hunks: false };
            return Ok(Self { replacement, overlaps: Vec::new() });
        }
        if host.file_type != FileType::File || base.is_some_and(|base| base.kind != FileType::File) {
            return Err(Unmergeable::OtherType);
        }
        let (content, overlaps) = merged(base, [host, run], change, grounds)?;
        let like = metadata.on(host.clone());
        Ok(Self { replacement: Replacement::new(&like, content), overlaps })
    }

    /// What to tell a person who is asked.
    pub(super) fn offer(self) -> Offer {
        if self.overlaps.is_empty() { Offer::Clean } else { Offer::Overlapping(self.overlaps) }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.overlaps.is_empty()
    }
}

fn merged(
    base: Option<&Base>,
    [host, run]: [&Node; 2],
    change: &Change,
    grounds: &Grounds<'_>,
) -> Result<(Vec<u8>, Vec<Overlap>), Unmergeable> {
    let sides = &grounds.sides;
    let host = read(host, sides.host_file(change.host_path(), host))?;
    let run = read(run, sides.run_file(change, run))?;
    if let Some(base) = base {
        // Changed on one side only, it need not even be text.
        let is_base = |content: &[u8]| {
            let attributes = base.attributes.as_deref();
            attributes.map(|listed| digest_of(content, attributes_of(listed))) == base.digest
                && base.digest.is_some()
        };
        if is_base(&host) {
            return Ok((run, Vec::new()));
        }
        if is_base(&run) {
            return Ok((host, Vec::new()));
        }
    }
    if !is_text(&host) || !is_text(&run) {
        return Err(Unmergeable::NotText);
    }
    let base = match base {
        Some(base) => grounds.known.content(base).ok_or(Unmergeable::Forgotten)?,
        // Both made it.
        None => Vec::new(),
    };
    if ![&base, &host, &run].iter().all(|content| is_fit(content)) {
        return Err(Unmergeable::Large);
    }
    let mut merge: TextMerge<'_, '_, '_, [u8]> =
        TextMergeConfig::default().merge_lines(&base[..], &host[..], &run[..]);
    let overlaps = merge.conflicts().map(|region| overlap(&merge, region)).collect();
    merge.conflict_style(ConflictStyle::Diff3).labels("before the run", "host", "run");
    let mut content = Vec::new();
    // Writing to a vector cannot fail.
    let _ = merge.to_writer(&mut content);
    Ok((content, overlaps))
}

fn read(node: &Node, file: io::Result<std::fs::File>) -> Result<Vec<u8>, Unmergeable> {
    let mut content = Vec::new();
    if node.size > LARGEST_HASHED {
        return Err(Unmergeable::Large);
    }
    let length = file.and_then(|file| file.take(LARGEST_HASHED + 1).read_to_end(&mut content));
    match length {
        Ok(length) if length as u64 <= LARGEST_HASHED => Ok(content),
        Ok(_) => Err(Unmergeable::Large),
        Err(_) => Err(Unmergeable::Unreadable),
    }
}

fn overlap(merge: &TextMerge<'_, '_, '_, [u8]>, region: &similar::MergeRegion) -> Overlap {
    let lines = |range: Range<usize>, line: &dyn Fn(usize) -> Vec<u8>| Lines {
        first: range.start + 1,
        text: range.map(line).collect(),
    };
    let owned = |line: Option<&[u8]>| line.unwrap_or_default().to_vec();
    Overlap {
        before: lines(region.base_range(), &|index| owned(merge.base_line(index))),
        host: lines(region.ours_range(), &|index| owned(merge.ours_line(index))),
        run: lines(region.theirs_range(), &|index| owned(merge.theirs_line(index))),
    }
}

/// Mode, owner and extended attributes.
struct Metadata {
    mode: u32,
    owner: (u32, u32),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Each by itself: what one side alone changed is as that side has it.
    fn merged(base: Option<&Base>, host: &Node, run: &Node) -> Result<Self, Unmergeable> {
        let mode = three(base.map(|base| &base.mode), host.mode, run.mode).ok_or(Unmergeable::Mode)?;
        let owner = |node: &Node| (node.uid, node.gid);
        let owner = three(base.map(|base| (base.uid, base.gid)).as_ref(), owner(host), owner(run));
        let owner = owner.ok_or(Unmergeable::Owner)?;
        let before = match base.map(|base| &base.attributes) {
            Some(Some(listed)) => Some(attributes_of(listed).collect::<BTreeMap<_, _>>()),
            _ => None,
        };
        let mut xattrs = BTreeMap::new();
        let names: BTreeSet<&Vec<u8>> = host.xattrs.keys().chain(run.xattrs.keys()).collect();
        for name in names {
            let then = before.as_ref().map(|before| before.get(&name[..]).map(|value| value.to_vec()));
            let now = |node: &Node| node.xattrs.get(name).cloned();
            let value = three(then.as_ref(), now(host), now(run));
            if let Some(value) = value.ok_or_else(|| Unmergeable::Attribute(name.clone()))? {
                xattrs.insert(name.clone(), value);
            }
        }
        Ok(Self { mode, owner, xattrs })
    }

    fn on(self, node: Node) -> Node {
        Node { mode: self.mode, uid: self.owner.0, gid: self.owner.1, xattrs: self.xattrs, ..node }
    }
}

/// `None` where both changed it, each to something else.
fn three<T: PartialEq>(before: Option<&T>, host: T, run: T) -> Option<T> {
    if host == run || before == Some(&run) {
        Some(host)
    } else if before == Some(&host) {
        Some(run)
    } else {
        None
    }
}
