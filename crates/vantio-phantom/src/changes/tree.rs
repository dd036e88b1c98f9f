//! Changes as a tree, for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use super::{Change, ChangeKind, ChangeSet, Escaped, FileType};

impl ChangeSet {
    /// Writes the changes as text: first every deletion, one a line, then the
    /// rest as a tree. A directory that brings many files is one line; a
    /// deletion, a hazard or a change of what the host has is never folded.
    pub fn write_tree(&self, out: &mut dyn Write, color: bool) -> io::Result<()> {
        let paint = Paint { color };
        if self.is_empty() {
            return writeln!(out, "no changes");
        }
        let (deleted, kept): (Vec<_>, Vec<_>) =
            self.changes().iter().partition(|change| change.kind == ChangeKind::Deleted);
        if !deleted.is_empty() {
            writeln!(out, "deleted:")?;
            deleted.iter().try_for_each(|change| write_deleted(out, paint, change))?;
        }
        let mut root = Branch::default();
        for change in kept {
            root.insert(change);
        }
        root.write(out, paint, 0)?;
        writeln!(out, "{}", self.totals())
    }

    /// The paths below directories that [`Self::write_tree`] shows as one line.
    pub fn folded(&self) -> BTreeSet<Vec<u8>> {
        let mut root = Branch::default();
        for change in self.changes().iter().filter(|change| change.kind != ChangeKind::Deleted) {
            root.insert(change);
        }
        let mut folded = BTreeSet::new();
        let mut waiting: Vec<(&Branch<'_>, bool)> =
            root.children.values().map(|child| (child, false)).collect();
        while let Some((branch, is_below)) = waiting.pop() {
            folded.extend(branch.change.filter(|_| is_below).map(|change| change.path.clone()));
            let is_folded = is_below || branch.is_folded();
            waiting.extend(branch.children.values().map(|child| (child, is_folded)));
        }
        folded
    }

    fn totals(&self) -> String {
        let kinds = [
            ChangeKind::Deleted,
            ChangeKind::Added,
            ChangeKind::Modified,
            ChangeKind::Renamed,
            ChangeKind::Retyped,
            ChangeKind::Metadata,
        ];
        let count = |kind| self.changes().iter().filter(|change| change.kind == kind).count();
        let parts: Vec<_> = kinds
            .into_iter()
            .map(|kind| (count(kind), kind.name()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        parts.join(", ")
    }
}

fn write_deleted(out: &mut dyn Write, paint: Paint, change: &Change) -> io::Result<()> {
    let node = change.before.as_ref();
    let is_dir = node.is_some_and(super::Node::is_dir);
    let size = node.filter(|node| node.file_type == FileType::File).map(|node| bytes(node.size));
    let line = format!(
        "- {}{}{}",
        Escaped(&change.path),
        if is_dir { "/" } else { "" },
        size.map(|size| format!("  ({size})")).unwrap_or_default()
    );
    writeln!(out, "  {}{}", paint.red(&line), blocked(change))
}

/// A node of the printed tree.
#[derive(Default)]
struct Branch<'a> {
    change: Option<&'a Change>,
    children: BTreeMap<&'a [u8], Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, change: &'a Change) {
        let mut branch = self;
        for name in change.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            branch = branch.children.entry(name).or_default();
        }
        branch.change = Some(change);
    }

    fn write(&self, out: &mut dyn Write, paint: Paint, depth: usize) -> io::Result<()> {
        for (name, child) in &self.children {
            let (label, child) = child.joined(name);
            child.write_line(out, paint, depth, &label)?;
            if !child.is_folded() {
                child.write(out, paint, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Joins a chain of unchanged directories into one label.
    fn joined(&self, name: &[u8]) -> (Vec<u8>, &Self) {
        let mut label = name.to_vec();
        let mut branch = self;
        while branch.change.is_none() && branch.children.len() == 1 {
            let Some((name, child)) = branch.children.iter().next() else { break };
            label = [&label[..], b"/", name].concat();
            branch = child;
        }
        (label, branch)
    }

    fn write_line(&self, out: &mut dyn Write, paint: Paint, depth: usize, label: &[u8]) -> io::Result<()> {
        let indent = "  ".repeat(depth.min(40) + 1);
        let root = if depth == 0 { "/" } else { "" };
        let Some(change) = self.change else {
            return writeln!(out, "{indent}  {root}{}/", Escaped(label));
        };
        let mut line = format!("{} {root}{}{}", change.kind.mark(), Escaped(label), detail(change));
        if self.is_folded() {
            let (files, size) = self.weight();
            line = format!("{line}  ({files} files, {})", bytes(size));
        }
        let line = match change.kind {
            ChangeKind::Added => paint.green(&line),
            _ => paint.yellow(&line),
        };
        let hazards: Vec<_> = change.hazards.iter().map(|hazard| hazard.reason()).collect();
        let hazards = if hazards.is_empty() { String::new() } else { format!("  ! {}", hazards.join("; ")) };
        writeln!(out, "{indent}{line}{}{}", paint.red(&hazards), blocked(change))
    }

    /// True for a new directory with so much in it that a list would hide
    /// the rest.
    fn is_folded(&self) -> bool {
        self.change.is_some_and(|change| change.kind == ChangeKind::Added)
            && self.weight().0 > FOLDED_FROM
            && self.is_harmless()
    }

    fn is_harmless(&self) -> bool {
        self.change.is_none_or(|change| {
            let is_told = change.blocked.is_some() || change.origin.is_conflict;
            change.kind == ChangeKind::Added && change.hazards.is_empty() && !is_told
        }) && self.children.values().all(Self::is_harmless)
    }

    fn weight(&self) -> (u64, u64) {
        let own = self.change.and_then(|change| change.after.as_ref()).filter(|node| !node.is_dir());
        self.children
            .values()
            .map(Self::weight)
            .fold(own.map_or((0, 0), |node| (1, node.size)), |(files, size), (more_files, more_size)| {
                (files + more_files, size.saturating_add(more_size))
            })
    }
}

fn detail(change: &Change) -> String {
    let Some(after) = &change.after else { return String::new() };
    let slash = if after.is_dir() { "/" } else { "" };
    let before = change.before.as_ref();
    let what = match (change.kind, after.file_type) {
        (ChangeKind::Renamed, _) => {
            let moved = change.metadata();
            let also = if moved.is_empty() { String::new() } else { format!("; {moved}") };
            format!("  (renamed from {}{also})", Escaped(change.host_path()))
        }
        (ChangeKind::Metadata, _) => match change.metadata() {
            // One that is closed, of which no more is known.
            moved if moved.is_empty() => moved,
            moved => format!("  ({moved})"),
        },
        (ChangeKind::Retyped, _) => {
            let old = before.map_or("", |node| type_name(node.file_type));
            format!("  ({old} -> {})", type_name(after.file_type))
        }
        (ChangeKind::Modified, FileType::File) => {
            let size = before.map_or(String::new(), |node| bytes(node.size));
            let moved = before.map_or(String::new(), |before| moved(before, after));
            let also = if moved.is_empty() { String::new() } else { format!("; {moved}") };
            format!("  ({size} -> {}{also})", bytes(after.size))
        }
        (_, FileType::File) => format!("  ({})", bytes(after.size)),
        (_, FileType::Symlink) => format!(" -> {}", Escaped(after.target.as_deref().unwrap_or_default())),
        (_, FileType::Directory) => String::new(),
        (_, other) => format!("  ({})", type_name(other)),
    };
    format!("{slash}{what}")
}

/// What became of mode, owner and attributes.
pub(super) fn moved(before: &super::Node, after: &super::Node) -> String {
    let mut parts = Vec::new();
    if before.mode != after.mode {
        parts.push(format!("mode {:04o} -> {:04o}", before.mode, after.mode));
    }
    if (before.uid, before.gid) != (after.uid, after.gid) {
        parts.push(format!("owner {}:{} -> {}:{}", before.uid, before.gid, after.uid, after.gid));
    }
    if before.xattrs != after.xattrs {
        parts.push("attributes".into());
    }
    parts.join(", ")
}

fn blocked(change: &Change) -> String {
    let conflict = if change.origin.is_conflict { "  (conflict)" } else { "" };
    let blocked = change.blocked.map(|blocked| format!("  ({})", blocked.reason()));
    format!("{conflict}{}", blocked.unwrap_or_default())
}

pub(super) const fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::File => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Character => "character device",
        FileType::Block => "block device",
    }
}

/// A size as people read it.
fn bytes(size: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let mut tenths = size / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A new directory with more files than this is one line.
const FOLDED_FROM: u64 = 12;
