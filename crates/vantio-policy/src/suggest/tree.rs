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
    /// How much of the name stays, where the path was there only for a while and the rest of its name will
    /// be another the next time.
    pub(super) stem: Option<usize>,
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
    /// Entries whose names begin as this one does, up to this many bytes.
    Wild(Vec<u8>, usize),
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
            let stem = stem(folder, uses).filter(|_| children.is_empty());
            let shape = if let Some(stem) = stem {
                Shape::Wild(folder.to_vec(), stem)
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
        let Some(stem) = stem(child, uses) else {
            kinds.push(name.to_vec());
            continue;
        };
        // A wildcard covers entries: not what lies below one, nor one that is moved whole.
        let is_single = uses.get(child).is_some_and(|own| !own.is_whole && !own.is_made)
            && below(child, uses).count() == 1;
        if stem == 0 || !is_single {
            return true;
        }
        kinds.push(name[..stem].to_vec());
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len() >= ENOUGH
}

/// How much of a path's name stays, where the rest looks random.
fn stem(path: &[u8], uses: &Uses) -> Option<usize> {
    let passing = uses.get(path).and_then(|own| own.stem);
    let looks = || names::stem(last(path)).map(<[u8]>::len);
    passing.or_else(looks).or_else(|| is_share(path, uses).then_some(0))
}

/// Whether a folder has its share of entries with random names by the two digits that they begin with, as in git's store
/// of objects: the next entry is in another one.
fn is_share(folder: &[u8], uses: &Uses) -> bool {
    let name = last(folder);
    let is_two_digits = name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit);
    let children = if is_two_digits { children(folder, uses) } else { Vec::new() };
    !children.is_empty() && children.iter().all(|child| stem(child, uses).is_some())
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
