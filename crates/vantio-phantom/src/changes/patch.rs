//! Changes as a unified patch.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read as _, Write},
    time::Duration,
};

use rustix::fd::{AsFd as _, BorrowedFd};
use similar::TextDiff;

use super::{
    Change, ChangeKind, ChangeSet, Escaped, FileType, Hunks, Node, RunFolder, ScanError, beneath,
    hunks::is_fit,
    scan::open_layers,
    sides::Sides,
    tree::{moved, type_name},
};

impl ChangeSet {
    /// Writes the changes as a patch with git's headers, which `git apply` and
    /// `patch -p1` take from the root directory: deletions first, what is not
    /// text by its name only.
    pub fn write_patch(
        &self,
        run: &RunFolder,
        host_root: BorrowedFd<'_>,
        out: &mut dyn Write,
    ) -> Result<(), ScanError> {
        let layers = open_layers(run, host_root)?;
        let sides = Sides::new(&layers, host_root);
        let sides = sides.map_err(|source| ScanError::Read { path: b"/".to_vec(), source })?;
        let is_deletion = |change: &&Change| change.kind == ChangeKind::Deleted;
        let (deleted, kept): (Vec<_>, Vec<_>) = self.changes().iter().partition(is_deletion);
        for change in deleted.into_iter().chain(kept) {
            sides
                .write(self, change, out)
                .map_err(|source| ScanError::Read { path: change.path.clone(), source })?;
        }
        Ok(())
    }

    /// Writes the same of one of the changes.
    pub fn write_patch_of(
        &self,
        change: &Change,
        run: &RunFolder,
        host_root: BorrowedFd<'_>,
        out: &mut dyn Write,
    ) -> Result<(), ScanError> {
        let failed = |source| ScanError::Read { path: change.path.clone(), source };
        let layers = open_layers(run, host_root)?;
        Sides::new(&layers, host_root).and_then(|sides| sides.write(self, change, out)).map_err(failed)
    }
}

impl Sides<'_> {
    fn write(&self, set: &ChangeSet, change: &Change, out: &mut dyn Write) -> io::Result<()> {
        match (change.kind, &change.before, &change.after) {
            (ChangeKind::Renamed, ..) => self.write_renamed_tree(set, change, out),
            (ChangeKind::Deleted, Some(before), _) => self.write_removed(change.host_path(), before, out),
            (ChangeKind::Retyped, Some(before), Some(after)) => {
                self.write_removed(change.host_path(), before, out)?;
                self.write_added(change, after, out)
            }
            (ChangeKind::Added, _, Some(after)) => self.write_added(change, after, out),
            (_, Some(before), Some(after)) => self.write_modified(change, before, after, out),
            _ => Ok(()),
        }
    }

    fn write_removed(&self, path: &[u8], before: &Node, out: &mut dyn Write) -> io::Result<()> {
        let Some(mode) = git_mode(before) else {
            return note(out, "deleted", path, before);
        };
        let old = self.host_content(path, before);
        let name = beneath::below_root(path);
        header(out, name, name)?;
        writeln!(out, "deleted file mode {mode}")?;
        body(out, Some(name), None, old, Content::Text(Vec::new()))
    }

    fn write_added(&self, change: &Change, after: &Node, out: &mut dyn Write) -> io::Result<()> {
        let Some(mode) = git_mode(after) else {
            return note(out, "added", &change.path, after);
        };
        let name = beneath::below_root(&change.path);
        header(out, name, name)?;
        writeln!(out, "new file mode {mode}")?;
        body(out, None, Some(name), Content::Text(Vec::new()), self.run_content(change, after))
    }

    fn write_modified(
        &self,
        change: &Change,
        before: &Node,
        after: &Node,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let (Some(old_mode), Some(mode)) = (git_mode(before), git_mode(after)) else {
            return note(out, change.kind.name(), &change.path, after);
        };
        let name = beneath::below_root(&change.path);
        let old_name = beneath::below_root(change.host_path());
        let moved = moved(before, after);
        if !moved.is_empty() {
            writeln!(out, "# metadata: {} ({moved})", Escaped(&change.path))?;
        }
        if change.kind == ChangeKind::Metadata && old_mode == mode && change.from.is_none() {
            return Ok(());
        }
        header(out, old_name, name)?;
        if old_mode != mode {
            writeln!(out, "old mode {old_mode}\nnew mode {mode}")?;
        }
        if change.from.is_some() {
            write_rename(out, old_name, name, change.kind == ChangeKind::Metadata)?;
        }
        if change.kind == ChangeKind::Metadata {
            return Ok(());
        }
        let old = self.host_content(change.host_path(), before);
        body(out, Some(old_name), Some(name), old, self.run_content(change, after))
    }

    /// Git knows no directories: a renamed one is a rename of every file in
    /// it that has no change of its own.
    fn write_renamed_tree(&self, set: &ChangeSet, change: &Change, out: &mut dyn Write) -> io::Result<()> {
        let sources: HashSet<_> = set.changes().iter().filter_map(|other| other.from.as_deref()).collect();
        let mut waiting = vec![(change.host_path().to_vec(), change.path.clone())];
        while let Some((from, to)) = waiting.pop() {
            let Ok((dir, mut names)) = self.host_dir(&from) else { continue };
            names.sort_unstable_by(|one, other| other.cmp(one));
            for name in names {
                let old = beneath::join(&from, &name);
                let new = beneath::join(&to, &name);
                let is_settled = set.get(&old).is_some_and(|change| change.kind == ChangeKind::Deleted)
                    || sources.contains(old.as_slice())
                    || set.get(&new).is_some_and(|change| {
                        change.kind != ChangeKind::Deleted || change.from.as_ref() == Some(&old)
                    });
                let Some(node) = Node::at(dir.as_fd(), &name)? else { continue };
                if node.is_dir() {
                    waiting.push((old, new));
                } else if !is_settled && git_mode(&node).is_some() {
                    let (old, new) = (beneath::below_root(&old), beneath::below_root(&new));
                    header(out, old, new)?;
                    write_rename(out, old, new, true)?;
                }
            }
        }
        Ok(())
    }

    fn host_content(&self, path: &[u8], node: &Node) -> Content {
        read(node, || self.host_file(path, node))
    }

    fn run_content(&self, change: &Change, node: &Node) -> Content {
        read(node, || self.run_file(change, node))
    }
}

pub(super) enum Content {
    Text(Vec<u8>),
    Binary,
}

pub(super) fn read(node: &Node, open: impl FnOnce() -> io::Result<File>) -> Content {
    if let Some(target) = &node.target {
        return Content::Text(target.clone());
    }
    if node.size > LARGEST_TEXT {
        return Content::Binary;
    }
    let mut bytes = Vec::new();
    let length = open().and_then(|file| file.take(LARGEST_TEXT + 1).read_to_end(&mut bytes));
    match length {
        Ok(length) if length as u64 <= LARGEST_TEXT && !bytes.contains(&0) => Content::Text(bytes),
        _ => Content::Binary,
    }
}

pub(super) fn header(out: &mut dyn Write, old: &[u8], new: &[u8]) -> io::Result<()> {
    out.write_all(b"diff --git ")?;
    out.write_all(&quoted(b"a/", old))?;
    out.write_all(b" ")?;
    out.write_all(&quoted(b"b/", new))?;
    out.write_all(b"\n")
}

fn write_rename(out: &mut dyn Write, old: &[u8], new: &[u8], is_whole: bool) -> io::Result<()> {
    if is_whole {
        out.write_all(b"similarity index 100%\n")?;
    }
    out.write_all(
        &[b"rename from ", &quoted(b"", old)[..], b"\nrename to ", &quoted(b"", new), b"\n"].concat(),
    )
}

pub(super) fn body(
    out: &mut dyn Write,
    old_name: Option<&[u8]>,
    new_name: Option<&[u8]>,
    old: Content,
    new: Content,
) -> io::Result<()> {
    let label = |prefix, name: Option<&[u8]>| match name {
        Some(name) => quoted(prefix, name),
        None => b"/dev/null".to_vec(),
    };
    let (old_label, new_label) = (label(b"a/", old_name), label(b"b/", new_name));
    let (Content::Text(old), Content::Text(new)) = (old, new) else {
        return out
            .write_all(&[b"Binary files ", &old_label[..], b" and ", &new_label, b" differ\n"].concat());
    };
    let mut configured = TextDiff::configure();
    if !is_fit(&old) || !is_fit(&new) {
        configured.timeout(DIFF_TIME);
    }
    let hunks = Hunks::compare(old, new, &configured);
    if hunks.hunks().is_empty() {
        return Ok(());
    }
    // A tab ends a name that has a space, for `patch`.
    let end = |label: &[u8]| if label.contains(&b' ') && !label.starts_with(b"\"") { "\t\n" } else { "\n" };
    out.write_all(&[b"--- ", &old_label[..], end(&old_label).as_bytes()].concat())?;
    out.write_all(&[b"+++ ", &new_label[..], end(&new_label).as_bytes()].concat())?;
    hunks.hunks().iter().try_for_each(|pieces| out.write_all(&hunks.text(pieces)))
}

/// Names what a patch cannot hold; tools skip such a line.
pub(super) fn note<'n>(
    out: &mut dyn Write,
    what: &str,
    path: &[u8],
    node: impl Into<Option<&'n Node>>,
) -> io::Result<()> {
    let Some(node) = node.into() else { return Ok(()) };
    if node.is_dir() && what != "metadata" {
        return Ok(());
    }
    writeln!(out, "# {what}: {} ({}, mode {:04o})", Escaped(path), type_name(node.file_type), node.mode)
}

/// The mode that git gives a file, or `None` where it knows no such type.
pub(super) fn git_mode(node: &Node) -> Option<&'static str> {
    match node.file_type {
        FileType::File if node.mode & 0o100 != 0 => Some("100755"),
        FileType::File => Some("100644"),
        FileType::Symlink => Some("120000"),
        _ => None,
    }
}

/// A name as git writes it in a header: in quotes, with C escapes, where it
/// holds a control character, a quote, a backslash or a byte beyond ASCII.
fn quoted(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    let is_plain = name.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if is_plain {
        return [prefix, name].concat();
    }
    let mut text = vec![b'"'];
    for byte in prefix.iter().chain(name) {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b' '..=b'~' => text.push(*byte),
            other => text.extend(format!("\\{other:03o}").bytes()),
        }
    }
    text.push(b'"');
    text
}

/// Larger files are named, not shown.
const LARGEST_TEXT: u64 = 4 << 20;
/// After this long the rest of a larger file than [`Hunks`] are chosen of counts as replaced.
const DIFF_TIME: Duration = Duration::from_secs(2);
