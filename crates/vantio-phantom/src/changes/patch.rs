//! Changes as a unified patch.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write},
};

use rustix::fd::{AsFd as _, BorrowedFd};

use super::{
    Change, ChangeKind, ChangeSet, Escaped, FileType, Hunks, Node, RunFolder, ScanError,
    base::is_text,
    beneath,
    scan::open_layers,
    sides::Sides,
    tree::{moved, type_name},
};

impl ChangeSet {
    /// Writes the changes as a patch with git's headers, which `git apply` and
    /// `patch -p1` take from the root directory: deletions first, what is not
    /// text in a line that they skip.
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
        let name = Some(beneath::below_root(path));
        let head = format!("deleted file mode {mode}\n").into_bytes();
        body(out, &head, (name, old), (None, Content::Nothing))
    }

    fn write_added(&self, change: &Change, after: &Node, out: &mut dyn Write) -> io::Result<()> {
        let Some(mode) = git_mode(after) else {
            return note(out, "added", &change.path, after);
        };
        let name = Some(beneath::below_root(&change.path));
        let head = format!("new file mode {mode}\n").into_bytes();
        body(out, &head, (None, Content::Nothing), (name, self.run_content(change, after)))
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
        let mut head = Vec::new();
        if old_mode != mode {
            writeln!(head, "old mode {old_mode}\nnew mode {mode}")?;
        }
        if change.from.is_some() {
            write_rename(&mut head, old_name, name, change.kind == ChangeKind::Metadata)?;
        }
        if change.kind == ChangeKind::Metadata {
            header(out, old_name, name)?;
            return out.write_all(&head);
        }
        let old = self.host_content(change.host_path(), before);
        body(out, &head, (Some(old_name), old), (Some(name), self.run_content(change, after)))
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

/// What one side of a change holds.
pub(super) enum Content {
    /// There is no such side.
    Nothing,
    Text(Vec<u8>),
    /// Text that is written, and is too large to be compared.
    Large(LargeText),
    Binary,
}

/// An opened file of text, read once to its end.
pub(super) struct LargeText {
    file: File,
    bytes: u64,
    lines: u64,
}

pub(super) fn read(node: &Node, open: impl FnOnce() -> io::Result<File>) -> Content {
    if let Some(target) = &node.target {
        return Content::Text(target.clone());
    }
    let content =
        open().and_then(|file| if node.size > LARGEST_COMPARED { measure(file) } else { whole(file) });
    content.unwrap_or(Content::Binary)
}

fn whole(file: File) -> io::Result<Content> {
    let mut bytes = Vec::new();
    // One that grows meanwhile is cut.
    file.take(LARGEST_COMPARED).read_to_end(&mut bytes)?;
    Ok(if is_text(&bytes) { Content::Text(bytes) } else { Content::Binary })
}

/// Reads a file up to where it turns out to be no text: a hole is none.
fn measure(file: File) -> io::Result<Content> {
    let mut reader = BufReader::with_capacity(BLOCK, file);
    let (mut bytes, mut lines, mut is_line_open) = (0, 0, false);
    loop {
        let block = reader.fill_buf()?;
        let Some(last) = block.last() else { break };
        if !is_text(block) {
            return Ok(Content::Binary);
        }
        is_line_open = *last != b'\n';
        lines += block.iter().filter(|byte| matches!(byte, b'\n')).count() as u64;
        bytes += block.len() as u64;
        let length = block.len();
        reader.consume(length);
    }
    let mut file = reader.into_inner();
    file.rewind()?;
    Ok(Content::Large(LargeText { file, bytes, lines: lines + u64::from(is_line_open) }))
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

/// Writes a change of content, `head` after its first line; what is not text, or too much of it, as a note alone: of a
/// header without the content a tool would make another change.
pub(super) fn body(
    out: &mut dyn Write,
    head: &[u8],
    (old_name, old): (Option<&[u8]>, Content),
    (new_name, new): (Option<&[u8]>, Content),
) -> io::Result<()> {
    let label = |prefix, name: Option<&[u8]>| match name {
        Some(name) => quoted(prefix, name),
        None => b"/dev/null".to_vec(),
    };
    let (old_label, new_label) = (label(b"a/", old_name), label(b"b/", new_name));
    // A tab ends a name that has a space, for `patch`.
    let end = |label: &[u8]| if label.contains(&b' ') && !label.starts_with(b"\"") { "\t\n" } else { "\n" };
    let (first, second) =
        (old_name.or(new_name).unwrap_or_default(), new_name.or(old_name).unwrap_or_default());
    let begin = |out: &mut dyn Write| {
        header(out, first, second)?;
        out.write_all(head)
    };
    let name_both = |out: &mut dyn Write| {
        begin(out)?;
        out.write_all(&[b"--- ", &old_label[..], end(&old_label).as_bytes()].concat())?;
        out.write_all(&[b"+++ ", &new_label[..], end(&new_label).as_bytes()].concat())
    };
    match (old, new) {
        (Content::Binary, _) | (_, Content::Binary) => {
            let labels = [b"# Binary files ", &old_label[..], b" and ", &new_label, b" differ\n"];
            out.write_all(&labels.concat())
        }
        (Content::Nothing, Content::Large(text)) => {
            name_both(out)?;
            writeln!(out, "@@ -0,0 +1,{} @@", text.lines)?;
            text.write(b'+', out)
        }
        (Content::Large(text), Content::Nothing) => {
            name_both(out)?;
            writeln!(out, "@@ -1,{} +0,0 @@", text.lines)?;
            text.write(b'-', out)
        }
        (old @ Content::Large(_), new) | (old, new @ Content::Large(_)) => {
            let size = old.size().max(new.size());
            let labels = [b"# Files ", &old_label[..], b" and ", &new_label, b" differ"].concat();
            out.write_all(&labels)?;
            writeln!(out, ": too large to compare (text, {} MB)", size.div_ceil(1_000_000))
        }
        (old, new) => {
            let hunks = Hunks::of_any(old.into_text(), new.into_text());
            if hunks.hunks().is_empty() {
                return if head.is_empty() { Ok(()) } else { begin(out) };
            }
            name_both(out)?;
            hunks.hunks().iter().try_for_each(|pieces| out.write_all(&hunks.text(pieces)))
        }
    }
}

impl Content {
    fn into_text(self) -> Vec<u8> {
        if let Self::Text(text) = self { text } else { Vec::new() }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Large(text) => text.bytes,
            Self::Nothing | Self::Binary => 0,
        }
    }
}

impl LargeText {
    /// Writes as many lines as were counted, a sign before each.
    fn write(self, sign: u8, out: &mut dyn Write) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(BLOCK, self.file.take(self.bytes));
        let mut begins_line = true;
        loop {
            let block = reader.fill_buf()?;
            if block.is_empty() {
                break;
            }
            let mut signed = Vec::with_capacity(2 * block.len());
            for byte in block {
                if begins_line {
                    signed.push(sign);
                }
                signed.push(*byte);
                begins_line = *byte == b'\n';
            }
            out.write_all(&signed)?;
            let length = block.len();
            reader.consume(length);
        }
        if begins_line { Ok(()) } else { out.write_all(b"\n\\ No newline at end of file\n") }
    }
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

/// Larger texts are written where they are new or gone, and not compared.
const LARGEST_COMPARED: u64 = 64 << 20;
const BLOCK: usize = 1 << 16;
