//! Where things are on this host: programs, policies, and files that are
//! known by a second name through a symlink.

use std::collections::{BTreeSet, HashSet};

use rustix::fd::BorrowedFd;

use super::{
    super::{Surroundings, beneath::is_within},
    aliases::{Alias, aliases},
    index::Index,
    names::{Pattern, folded},
    root::Root,
    table::{POLICY_FILES, POLICY_FOLDERS},
};

/// What of the host decides about hazards.
pub(super) struct Places {
    pub(super) workspace: Vec<u8>,
    home: Vec<u8>,
    policies: HashSet<Vec<u8>>,
    policy_files: Vec<Pattern>,
    policy_folders: Vec<Pattern>,
    /// Folders in which the host looks for programs, under each name that they have.
    program_folders: BTreeSet<Vec<u8>>,
    /// Those, and every symlink and folder through which the host comes to them.
    ways_to_programs: HashSet<Vec<u8>>,
    aliases: Vec<Alias>,
    root: Option<Root>,
}

impl Places {
    pub(super) fn new(surroundings: &Surroundings, host_root: BorrowedFd<'_>, index: &Index) -> Self {
        let root = Root::of(host_root);
        let (mut program_folders, mut ways_to_programs) = (BTreeSet::new(), HashSet::new());
        for folder in &surroundings.search_path {
            match &root {
                Some(root) => {
                    let way = root.way(folder);
                    program_folders.extend(way.names);
                    ways_to_programs.extend(way.passed);
                }
                None => drop(program_folders.insert(folder.clone())),
            }
        }
        Self {
            workspace: surroundings.workspace.clone(),
            home: surroundings.home.clone(),
            policies: surroundings.policies.iter().cloned().collect(),
            policy_files: POLICY_FILES.iter().map(|text| Pattern::new(text)).collect(),
            policy_folders: POLICY_FOLDERS.iter().map(|text| Pattern::new(text)).collect(),
            program_folders,
            ways_to_programs,
            aliases: root.as_ref().map_or_else(Vec::new, |root| aliases(surroundings, root, index)),
            root,
        }
    }

    /// The names of the table by which the host reaches `path`, if it does
    /// through a symlink.
    pub(super) fn aliases(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let reached = self.aliases.iter().filter(|(real, _)| is_within(path, real));
        reached.map(|(real, alias)| [alias, &path[real.len()..]].concat()).collect()
    }

    /// The names of the table by which the host would reach something else
    /// with a symlink at `path`.
    pub(super) fn aliases_through(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let reached = self.aliases.iter().filter(|(real, _)| real != path && is_within(real, path));
        reached.map(|(_, alias)| alias.clone()).collect()
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
        self.program_folders.contains(folder)
    }

    /// True for a folder of PATH, and for what the host passes to come to one.
    pub(super) fn leads_to_programs(&self, path: &[u8]) -> bool {
        self.ways_to_programs.contains(path)
    }

    /// True when the host finds a program of this name in its PATH.
    pub(super) fn has_program(&self, name: &[u8]) -> bool {
        let Some(root) = &self.root else { return true };
        self.program_folders.iter().any(|folder| root.has(folder, name))
    }

    /// True for the workspace, the home, the folders of PATH and of policies,
    /// and every folder above one.
    pub(super) fn depends_on(&self, path: &[u8]) -> bool {
        is_within(&self.workspace, path)
            || is_within(&self.home, path)
            || self.leads_to_programs(path)
            || self.holds_policy(path)
    }

    /// What the symlink at the absolute `path` of the host says.
    pub(super) fn symlink(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.root.as_ref()?.symlink(path)
    }
}
