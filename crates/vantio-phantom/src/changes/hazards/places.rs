//! Where things are on this host: programs, policies, and files that are
//! known by a second name through a symlink.

use std::collections::{BTreeSet, HashSet};

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2, readlinkat},
};

use super::{
    super::{
        Surroundings,
        beneath::{Pinned, below_root, is_within, magic, split, stat_at},
    },
    names::{Pattern, folded, literal},
    table::{POLICY_FILES, POLICY_FOLDERS, ROWS},
};

/// What of the host decides about hazards.
pub(super) struct Places {
    pub(super) workspace: Vec<u8>,
    policies: HashSet<Vec<u8>>,
    policy_files: Vec<Pattern>,
    policy_folders: Vec<Pattern>,
    /// Folders in which the host looks for programs, canonical.
    program_folders: Vec<Vec<u8>>,
    /// Where a name of the table leads, and that name.
    aliases: Vec<(Vec<u8>, Vec<u8>)>,
    host: Option<Pinned>,
}

impl Places {
    pub(super) fn new(surroundings: &Surroundings, host_root: BorrowedFd<'_>) -> Self {
        let root = Root::of(host_root);
        let folders = surroundings.search_path.iter();
        let folders = folders.map(|folder| root.canonical(folder).unwrap_or_else(|| folder.clone()));
        Self {
            workspace: surroundings.workspace.clone(),
            policies: surroundings.policies.iter().cloned().collect(),
            policy_files: POLICY_FILES.iter().map(|text| Pattern::new(text)).collect(),
            policy_folders: POLICY_FOLDERS.iter().map(|text| Pattern::new(text)).collect(),
            program_folders: folders.collect(),
            aliases: aliases(surroundings, &root),
            host: Pinned::open(host_root, b"").ok(),
        }
    }

    /// The names of the table by which the host reaches `path`, if it does
    /// through a symlink.
    pub(super) fn aliases(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let reached = self.aliases.iter().filter(|(real, _)| is_within(path, real));
        reached.map(|(real, alias)| [alias, &path[real.len()..]].concat()).collect()
    }

    pub(super) fn is_policy(&self, path: &[u8]) -> bool {
        self.policies.contains(path) || {
            let names = folded(path);
            self.policy_files.iter().any(|pattern| pattern.matches(&names))
        }
    }

    /// True for what holds a document that a policy is made of, or would
    /// hold one.
    pub(super) fn holds_policy(&self, path: &[u8]) -> bool {
        self.policies.iter().any(|policy| is_within(policy, path)) || {
            let names = folded(path);
            self.policy_folders.iter().any(|pattern| pattern.matches(&names))
        }
    }

    pub(super) fn is_program_folder(&self, folder: &[u8]) -> bool {
        self.program_folders.iter().any(|program_folder| program_folder == folder)
    }

    /// True when the host finds a program of this name in its PATH.
    pub(super) fn has_program(&self, name: &[u8]) -> bool {
        let Some(host) = &self.host else { return true };
        self.program_folders.iter().any(|folder| {
            let folder = Pinned::open(host.as_fd(), below_root(folder));
            folder.is_ok_and(|folder| !matches!(stat_at(folder.as_fd(), name), Ok(None)))
        })
    }

    /// What the symlink at the absolute `path` of the host says.
    pub(super) fn symlink(&self, path: &[u8]) -> Option<Vec<u8>> {
        let host = self.host.as_ref()?;
        let (parent, name) = split(below_root(path));
        let dir = Pinned::open(host.as_fd(), parent).ok()?;
        readlinkat(&dir, name, Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }
}

/// Resolves the literal names of the table below the home and the workspace.
fn aliases(surroundings: &Surroundings, root: &Root<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let patterns = ROWS.iter().flat_map(|row| row.paths).chain(POLICY_FILES);
    let relative = patterns.filter(|pattern| !pattern.starts_with('/')).map(|pattern| literal(pattern));
    let names: BTreeSet<String> = relative.flat_map(|name| with_parents(&name)).collect();
    let mut found = Vec::new();
    for folder in [&surroundings.home, &surroundings.workspace] {
        if folder.is_empty() {
            continue;
        }
        let mut present = HashSet::from([""]);
        for name in &names {
            // Nothing is below what is not there; a folder comes before what is in it.
            if !present.contains(name.rsplit_once('/').map_or("", |(parent, _)| parent)) {
                continue;
            }
            let alias = [folder, &b"/"[..], name.as_bytes()].concat();
            let Some(real) = root.canonical(&alias) else { continue };
            present.insert(name.as_str());
            if real != alias {
                found.push((real, alias));
            }
        }
    }
    found
}

/// A relative path and every folder on its way.
fn with_parents(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    (1..=parts.len()).map(|length| parts[..length].join("/")).collect()
}

/// The host's root directory, below which paths are resolved.
struct Root<'a> {
    fd: BorrowedFd<'a>,
    /// What the kernel calls it.
    path: Vec<u8>,
}

impl<'a> Root<'a> {
    fn of(fd: BorrowedFd<'a>) -> Self {
        let path =
            readlinkat(CWD, magic(fd), Vec::new()).map(std::ffi::CString::into_bytes).unwrap_or_default();
        Self { fd, path: if path == b"/" { Vec::new() } else { path } }
    }

    /// Where a path of the host leads, symlinks followed; `None` when nowhere.
    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(self.fd, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
        let real = readlinkat(CWD, magic(found.as_fd()), Vec::new()).ok()?.into_bytes();
        real.strip_prefix(self.path.as_slice()).filter(|real| real.starts_with(b"/")).map(<[u8]>::to_vec)
    }
}
