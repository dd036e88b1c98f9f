//! Files of the host that are obeyed under a name of the table to which a
//! symlink leads.

use std::collections::{BTreeSet, HashMap};

use rustix::fd::AsFd as _;

use super::{
    super::{
        Surroundings,
        beneath::{Pinned, stat_at},
    },
    index::Index,
    names::{Pattern, folded, literal},
    root::Root,
    table::{POLICY_FILES, POLICY_FOLDERS, PROGRAM_FOLDERS, ROWS},
};

/// Where a name of the table leads, and that name.
pub(super) type Alias = (Vec<u8>, Vec<u8>);

/// Every alias that is found.
pub(super) fn aliases(surroundings: &Surroundings, root: &Root, index: &Index) -> Vec<Alias> {
    let mut found = BTreeSet::new();
    for folder in [&surroundings.home, &surroundings.workspace] {
        if !folder.is_empty() {
            add_named(folder, root, &mut found);
        }
    }
    if !surroundings.workspace.is_empty() && !surroundings.is_glance {
        add_below(&surroundings.workspace, root, index, &mut found);
    }
    found.into_iter().collect()
}

/// Follows the literal names of the table in `folder`.
fn add_named(folder: &[u8], root: &Root, found: &mut BTreeSet<Alias>) {
    let patterns = ROWS.iter().flat_map(|row| row.paths).chain(POLICY_FILES);
    let relative = patterns.filter(|pattern| !pattern.starts_with('/')).map(|pattern| literal(pattern));
    let names: BTreeSet<String> = relative.flat_map(|name| with_parents(&name)).collect();
    // A folder comes before what is in it.
    let mut present: HashMap<&str, Pinned> =
        root.folder(folder).map(|folder| ("", folder)).into_iter().collect();
    for name in &names {
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
        // Most are not there.
        if present.get(parent).is_none_or(|dir| matches!(stat_at(dir.as_fd(), last.as_bytes()), Ok(None))) {
            continue;
        }
        let alias = [folder, &b"/"[..], name.as_bytes()].concat();
        let real = root.canonical(&alias);
        if let Some(dir) = real.as_deref().and_then(|real| root.folder(real)) {
            present.insert(name, dir);
        }
        // A symlink may lead to what is still to come.
        if real.map_or_else(|| root.symlink(&alias).is_some(), |real| real != alias) {
            follow(&alias, root, found);
        }
    }
}

/// Follows the symlinks with a name of the table anywhere in the workspace.
fn add_below(workspace: &[u8], root: &Root, index: &Index, found: &mut BTreeSet<Alias>) {
    let policies: Vec<_> = POLICY_FILES.iter().chain(POLICY_FOLDERS).map(|text| Pattern::new(text)).collect();
    for alias in root.symlinks_below(workspace, INSTALLED, MOST_ENTRIES) {
        let names = folded(&alias);
        let is_listed = index.is_about(&names)
            || policies.iter().any(|policy| policy.matches(&names) || policy.leads_to(&names))
            || names.last().is_some_and(|name| PROGRAM_FOLDERS.contains(&name.as_str()));
        if is_listed {
            follow(&alias, root, found);
        }
    }
}

fn follow(alias: &[u8], root: &Root, found: &mut BTreeSet<Alias>) {
    // A name that a symlink on the way has is one by which others reach the file, too.
    let reals = root.way(alias).names.into_iter().skip(1);
    found.extend(reals.filter(|real| real != alias && !real.is_empty()).map(|real| (real, alias.to_vec())));
}

/// A relative path and every folder on its way.
fn with_parents(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    (1..=parts.len()).map(|length| parts[..length].join("/")).collect()
}

/// What is in such folders a package manager installed, and there is much of it.
const INSTALLED: &[u8] = b"node_modules";
/// Files and folders of the workspace among which symlinks are looked for.
const MOST_ENTRIES: usize = 50_000;
