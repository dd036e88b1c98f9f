//! What renamed entries are moved as.
//!
//! One rename does it, but on an overlay, as the root of a container is: there no directory is renamed that comes from a
//! lower layer. It is made anew where it goes, and what is in it is moved there, piece by piece.

use std::{collections::HashMap, io};

use rustix::{fd::AsFd as _, fs::OFlags};

use crate::changes::{ChangeKind, ChangeSet, LayerRoot, Node, beneath::join, names_in, node::xattrs_of};

/// What the host has of the renamed entries, by change: each directory before what is in it.
pub(super) type Pieces = HashMap<usize, Vec<Piece>>;

/// A renamed entry, or something in it that is moved by itself.
pub(super) struct Piece {
    /// Its path below the renamed entry; empty for that itself.
    pub(super) below: Vec<u8>,
    pub(super) node: Node,
}

impl Piece {
    /// Its path where the renamed entry is at `top`.
    pub(super) fn path(&self, top: &[u8]) -> Vec<u8> {
        if self.below.is_empty() { top.to_vec() } else { join(top, &self.below) }
    }
}

/// The pieces of what is renamed among the `chosen`.
pub(super) fn of(layers: &[LayerRoot], set: &ChangeSet, chosen: &[usize]) -> io::Result<Pieces> {
    let mut pieces = Pieces::new();
    for index in chosen {
        let change = &set.changes()[*index];
        let (ChangeKind::Renamed, Some(before)) = (change.kind, &change.before) else { continue };
        let layer = &layers[change.origin.layer];
        let found = if before.is_dir() && !layer.moves_directories() {
            within(layer, layer.layer.relative(change.host_path()).unwrap_or_default())?
        } else {
            vec![Piece { below: Vec::new(), node: before.clone() }]
        };
        pieces.insert(*index, found);
    }
    Ok(pieces)
}

fn within(layer: &LayerRoot, path: &[u8]) -> io::Result<Vec<Piece>> {
    let (mut found, mut waiting) = (Vec::new(), vec![Vec::new()]);
    while let Some(below) = waiting.pop() {
        let at = if below.is_empty() { path.to_vec() } else { join(path, &below) };
        let (dir, name) = layer.lower.parent(&at)?;
        let Some(mut node) = Node::at(dir.as_fd(), name)? else { continue };
        if node.is_dir() {
            let opened = layer.lower.at(&at, OFlags::RDONLY | OFlags::DIRECTORY)?;
            node.xattrs = xattrs_of(opened.as_fd())?;
            waiting.extend(names_in(&opened)?.iter().map(|name| join(&below, name)));
        }
        found.push(Piece { below, node });
    }
    Ok(found)
}
