//! What deserves a look before it reaches the host.
//!
//! To add a hazard: a variant, a line in [`Hazard::reason`], a line in
//! [`RULES`].

use serde::Serialize;

use super::{ChangeKind, FileType, Node};

/// A property of a change by which a commit can harm more than its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// Runs as its owner or group.
    Setuid,
    /// Runs with capabilities.
    Capabilities,
    /// Gives access to a device.
    Device,
    /// A socket that nobody listens on.
    Socket,
    /// Git runs it.
    GitHook,
    /// Git obeys it, and it can name programs to run.
    GitConfig,
    /// Leads out of the directory tree it stands in.
    LeavingSymlink,
}

impl Hazard {
    /// What it is, in a few words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Setuid => "runs as its owner or group (setuid or setgid)",
            Self::Capabilities => "runs with file capabilities",
            Self::Device => "device node",
            Self::Socket => "socket",
            Self::GitHook => "git runs it (hook)",
            Self::GitConfig => "git configuration, which can name programs to run",
            Self::LeavingSymlink => "symlink that leads out of the workspace",
        }
    }
}

/// The hazards of `node` at the absolute `path`. A symlink leads out when its
/// target is not below `workspace`.
pub(crate) fn of(path: &[u8], node: &Node, kind: ChangeKind, workspace: &[u8]) -> Vec<Hazard> {
    let subject = Subject { path, node, kind, workspace };
    RULES.iter().filter(|(_, holds)| holds(&subject)).map(|(hazard, _)| *hazard).collect()
}

struct Subject<'a> {
    path: &'a [u8],
    node: &'a Node,
    kind: ChangeKind,
    workspace: &'a [u8],
}

type Rule = fn(&Subject<'_>) -> bool;

const RULES: &[(Hazard, Rule)] = &[
    (Hazard::Setuid, |subject| {
        subject.node.file_type == FileType::File
            && (subject.node.mode & 0o4000 != 0 || subject.node.mode & 0o2010 == 0o2010)
    }),
    (Hazard::Capabilities, |subject| subject.node.xattrs.contains_key(&b"security.capability"[..])),
    (Hazard::Device, |subject| matches!(subject.node.file_type, FileType::Character | FileType::Block)),
    (Hazard::Socket, |subject| subject.node.file_type == FileType::Socket),
    (Hazard::GitHook, |subject| {
        // Git runs no sample, and every clone brings a dozen.
        if subject.path.ends_with(b".sample") {
            return false;
        }
        !subject.node.is_dir() && has_parents(subject.path, &[b".git", b"hooks"])
            || subject.kind == ChangeKind::Renamed
                && (subject.path.ends_with(b"/.git/hooks") || subject.path.ends_with(b"/.git"))
            || has_any(subject.path, b"hooks")
                && has_any(subject.path, b"modules")
                && has_any(subject.path, b".git")
    }),
    (Hazard::GitConfig, |subject| {
        subject.path.ends_with(b"/.git/config")
            || subject.path.ends_with(b"/.git/config.worktree")
            || subject.path.ends_with(b"/.gitconfig")
            || subject.path.ends_with(b"/config")
                && has_any(subject.path, b"modules")
                && has_any(subject.path, b".git")
    }),
    (Hazard::LeavingSymlink, |subject| leaves(subject)),
];

/// True when the path's directory ends in `names`.
fn has_parents(path: &[u8], names: &[&[u8]]) -> bool {
    let mut components = path.rsplit(|byte| *byte == b'/').skip(1);
    names.iter().rev().all(|name| components.next() == Some(*name))
}

/// True when `name` is a component of the path, the last one excepted.
fn has_any(path: &[u8], name: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').skip(1).any(|component| component == name)
}

fn leaves(subject: &Subject<'_>) -> bool {
    let Some(target) = &subject.node.target else { return false };
    let mut place: Vec<&[u8]> = Vec::new();
    if !target.starts_with(b"/") {
        place.extend(components(subject.path));
        place.pop();
    }
    for component in components(target) {
        match component {
            b".." => drop(place.pop()),
            name => place.push(name),
        }
    }
    !place.starts_with(&components(subject.workspace).collect::<Vec<_>>())
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}
