//! From single paths to rules.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{Evidence, Host, names, places::Places};
use crate::path::is_within;

/// What was done with a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Use {
    pub(super) evidence: Evidence,
    /// Whether the run made this folder.
    pub(super) is_made: bool,
    /// Whether everything below was meant.
    pub(super) is_whole: bool,
}

/// Paths that were read, or written.
pub(super) type Uses = BTreeMap<Vec<u8>, Use>;

/// A rule to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The path and all below.
    Whole(Vec<u8>),
    /// The entry alone, which is a folder.
    Entry(Vec<u8>),
    /// Names like this one, and all below them.
    Wild(Vec<u8>),
}

/// What opens folders.
pub(super) struct Gardener<'a> {
    pub(super) places: &'a Places,
    pub(super) host: &'a dyn Host,
    /// Whether the learning policy would have permitted everything below a folder.
    pub(super) may_open: &'a dyn Fn(&[u8]) -> bool,
}

impl Gardener<'_> {
    /// The rules that cover `uses`, each with its evidence.
    pub(super) fn rules(&self, uses: &Uses) -> Vec<(Shape, Evidence)> {
        let mut rules = Vec::new();
        self.folder(b"", uses, &mut rules);
        rules
    }

    /// Rules for what lies at and below `folder`.
    fn folder(&self, folder: &[u8], uses: &Uses, rules: &mut Vec<(Shape, Evidence)>) {
        let own = uses.get(folder);
        let children = children(folder, uses);
        let is_open = own.is_some_and(|own| own.is_whole || own.is_made && !self.places.is_shared(folder))
            || !self.places.is_shared(folder) && has_evidence(&children, uses);
        if is_open && !folder.is_empty() && (self.may_open)(folder) {
            let mut evidence = Evidence::default();
            for (_, one) in below(folder, uses) {
                evidence.add(&one.evidence);
            }
            rules.push((Shape::Whole(folder.to_vec()), evidence));
            return;
        }
        if let Some(own) = own {
            let is_folder = own.is_made || !children.is_empty() || self.host.is_directory(or_root(folder));
            let shape = if names::is_random(last(folder)) && children.is_empty() {
                Shape::Wild(folder.to_vec())
            } else if is_folder {
                Shape::Entry(folder.to_vec())
            } else {
                Shape::Whole(folder.to_vec())
            };
            let is_entry = matches!(shape, Shape::Entry(_));
            rules.push((shape, Evidence { is_entry, ..own.evidence.clone() }));
        }
        for child in children {
            self.folder(&child, uses, rules);
        }
    }
}

/// Whether so much was used of a folder that a person would open it whole: several entries, or
/// one that will have another name the next time and that no wildcard describes.
fn has_evidence(children: &[Vec<u8>], uses: &Uses) -> bool {
    let mut kinds: Vec<Vec<u8>> = Vec::new();
    for child in children {
        let name = last(child);
        let Some(stem) = names::stem(name) else {
            kinds.push(name.to_vec());
            continue;
        };
        // A wildcard covers entries: not what lies below one, nor one that is moved whole.
        let is_single = uses.get(child).is_some_and(|own| !own.is_whole && !own.is_made)
            && below(child, uses).count() == 1;
        if stem.is_empty() || !is_single {
            return true;
        }
        kinds.push(stem.to_vec());
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len() >= ENOUGH
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The paths directly below `folder` that were used, or have something below that was.
fn children(folder: &[u8], uses: &Uses) -> Vec<Vec<u8>> {
    let mut children: Vec<Vec<u8>> = below(folder, uses)
        .filter(|(path, _)| path.len() > folder.len())
        .map(|(path, _)| {
            let rest = &path[folder.len() + 1..];
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            path[..folder.len() + 1 + end].to_vec()
        })
        .collect();
    children.sort_unstable();
    children.dedup();
    children
}

fn below<'u>(folder: &'u [u8], uses: &'u Uses) -> impl Iterator<Item = (&'u Vec<u8>, &'u Use)> {
    uses.range(folder.to_vec()..)
        .take_while(move |(path, _)| path.starts_with(folder))
        .filter(move |(path, _)| is_within(path, folder))
}

fn or_root(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

/// Entries of one folder that are evidence for the rest of it.
const ENOUGH: usize = 3;
