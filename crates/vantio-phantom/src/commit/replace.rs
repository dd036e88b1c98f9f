//! What is committed in the place of what the run left: a merge, or some hunks of a change.

use std::{collections::HashMap, io};

use super::{CommitError, HunkChoice, Known, journal::Rebased};
use crate::changes::{
    Base, Change, ChangeSet, Committed, LayerRoot, Node, RunFolder, ScanError, Sides, Stamp,
    base::{digest_of, keep_all},
    path_then,
};

/// Replacements, by the index of the change.
pub(super) type Replacements = HashMap<usize, Replacement>;

/// What is committed for a change.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// What the host's file is afterwards, content apart.
    pub(super) node: Node,
    /// Its content, where that is not the run's.
    pub(super) content: Option<Vec<u8>>,
    /// The change goes on: what is committed becomes its base.
    pub(super) is_part: bool,
    /// Hunks of it wait.
    pub(super) leaves_hunks: bool,
}

impl Replacement {
    /// A content that neither side had.
    pub(super) fn new(like: &Node, content: Vec<u8>) -> Self {
        let size = content.len() as u64;
        let node = Node { size, allocated: size, modified: Stamp::now(), ..like.clone() };
        Self { node, content: Some(content), is_part: false, leaves_hunks: false }
    }

    /// Some hunks of a change, or all: metadata stay the host's. `None` where that is the whole change.
    pub(super) fn of_hunks(
        change: &Change,
        choice: &HunkChoice,
        sides: &Sides<'_>,
    ) -> Result<Option<Self>, CommitError> {
        let path = || change.path.clone();
        let (Some(hunks), Some(before)) = (sides.hunks(change), &change.before) else {
            return Err(CommitError::NoHunks { path: path() });
        };
        if hunks.digest() != choice.of || choice.pieces.iter().any(|piece| *piece >= hunks.pieces()) {
            return Err(CommitError::OtherHunks { path: path() });
        }
        let leaves_hunks = choice.pieces.len() < hunks.pieces();
        if !leaves_hunks && change.metadata().is_empty() {
            return Ok(None);
        }
        let part = Self::new(before, hunks.with(&choice.pieces));
        Ok(Some(Self { is_part: true, leaves_hunks, ..part }))
    }
}

/// The bases of changes of which a part is committed, as they are after it; their content is kept.
pub(super) fn rebased(
    run: &RunFolder,
    set: &ChangeSet,
    replacements: &Replacements,
    settling: &[Committed],
) -> Result<Vec<Rebased>, ScanError> {
    let parts: Vec<_> = replacements.iter().filter(|(_, replacement)| replacement.is_part).collect();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut settled = run.committed()?;
    settled.extend(settling.iter().cloned());
    let mut places = Vec::new();
    let mut bases = Vec::new();
    for (index, Replacement { node, content, .. }) in parts {
        let content = content.as_deref().unwrap_or_default();
        let attributes = node.xattrs.iter().map(|(name, value)| (&name[..], &value[..]));
        let listed = node.xattrs.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
        // The file gets its number and its change time as it is put in place: content decides.
        bases.push((
            Base {
                dev: 0,
                ino: 0,
                digest: Some(digest_of(content, attributes)),
                attributes: Some(listed.collect()),
                ..Base::of(node)
            },
            content,
        ));
        places.push(&set.changes()[*index].path);
    }
    let failed = |source: io::Error| ScanError::Read { path: b"/".to_vec(), source };
    let bases = keep_all(run.path(), bases).map_err(failed)?;
    let rebased = |(place, base): (&Vec<u8>, Base)| Rebased {
        known_by: path_then(&settled, place).into(),
        place: place.clone().into(),
        base,
    };
    Ok(places.into_iter().zip(bases).map(rebased).collect())
}

/// Where both sides of changes are read, and what is known of the host's past.
pub(super) struct Grounds<'a> {
    pub(super) known: &'a Known,
    pub(super) layers: &'a [LayerRoot],
    pub(super) sides: Sides<'a>,
}
