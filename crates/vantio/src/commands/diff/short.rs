//! The patches that stand below the tree: deletions first and whole, the rest cut where it is long.

use std::io::{self, IsTerminal as _, Write};

use vantio_phantom::changes::{Change, ChangeKind, ChangeSet, ScanError};

use super::paint_line;
use crate::{
    commands::changes::scan_failure,
    failure::Failure,
    present::{self, Paint},
};

/// Prints the patches of what the tree shows one by one. `write` writes those of the changes it is told.
pub(super) fn print(
    changes: &ChangeSet,
    write: impl Fn(&dyn Fn(&Change) -> bool, &mut dyn Write) -> Result<(), ScanError>,
) -> Result<(), Failure> {
    let folded = changes.folded();
    let is_deletion = |change: &Change| change.kind == ChangeKind::Deleted;
    let mut deletions = Vec::new();
    write(&is_deletion, &mut deletions).map_err(|error| scan_failure(&error))?;
    let mut rest = Bounded { text: Vec::new(), is_full: false };
    let written = write(&|change| !is_deletion(change) && !folded.contains(&change.path), &mut rest);
    if !rest.is_full {
        written.map_err(|error| scan_failure(&error))?;
    }
    if deletions.is_empty() && rest.text.is_empty() {
        return Ok(());
    }
    let mut text = b"\n".to_vec();
    for file in files(&deletions) {
        show(&file, &mut text);
    }
    let mut files = files(&rest.text);
    if rest.is_full {
        // It was cut in the last one.
        files.pop();
    }
    for file in files {
        let is_deletion = file.get(1).is_some_and(|line| line.starts_with(b"deleted file mode"));
        let kept = if is_deletion { file.len() } else { file.len().min(LONGEST_FILE) };
        show(&file[..kept], &mut text);
        if kept < file.len() {
            let cut = file.len() - kept;
            text.extend(format!("# {cut} more lines: vantio diff RUN --patch\n").into_bytes());
        }
    }
    if rest.is_full {
        text.extend_from_slice(b"# and more files: vantio diff RUN --patch\n");
    }
    present::print(text)
}

/// A terminal gets nothing that it would obey; a file or pipe gets it as it is. Hunks have the numbers by which
/// `vantio commit` takes them.
fn show(lines: &[&[u8]], out: &mut Vec<u8>) {
    let is_terminal = io::stdout().is_terminal();
    let paint = Paint::for_stream(&io::stdout());
    let is_head = |line: &[u8]| line.starts_with(b"@@ ");
    let has_many = lines.iter().filter(|line| is_head(line)).count() > 1;
    let mut hunk = 0;
    for line in lines {
        let mut line = line.to_vec();
        if has_many && is_head(&line) {
            hunk += 1;
            line.extend(format!(" hunk {hunk}").into_bytes());
        }
        if is_terminal {
            out.extend(paint_line(paint, &line).into_bytes());
        } else {
            out.append(&mut line);
        }
        out.push(b'\n');
    }
}

/// The lines of a patch, those of each file together.
fn files(patch: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut files: Vec<Vec<&[u8]>> = Vec::new();
    if patch.is_empty() {
        return files;
    }
    for line in patch.strip_suffix(b"\n").unwrap_or(patch).split(|byte| *byte == b'\n') {
        match files.last_mut() {
            Some(file) if !line.starts_with(b"diff --git ") && !line.starts_with(b"# ") => file.push(line),
            _ => files.push(vec![line]),
        }
    }
    files
}

/// Takes so much and no more.
struct Bounded {
    text: Vec<u8>,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > LARGEST_TEXT {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of a file's patch that are shown with the tree.
const LONGEST_FILE: usize = 200;
/// Of what is no deletion, so much is shown.
const LARGEST_TEXT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_have_their_numbers_where_there_are_several() {
        let shown = |lines: &[&[u8]]| {
            let mut out = Vec::new();
            show(lines, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&[b"@@ -1 +1 @@", b"-@@ "]), "@@ -1 +1 @@\n-@@ \n");
        assert_eq!(
            shown(&[b"@@ -1 +1 @@", b"-@@ ", b"@@ -9 +9 @@"]),
            "@@ -1 +1 @@ hunk 1\n-@@ \n@@ -9 +9 @@ hunk 2\n"
        );
    }

    #[test]
    fn a_patch_falls_into_its_files() {
        let patch = b"diff --git a/x b/x\n@@ -1 +1 @@\n-# a\n+diff --git\n# added: /s (Socket, mode 0755)\ndiff --git a/y b/y\n";
        let lines: Vec<_> = files(patch).iter().map(Vec::len).collect();
        assert_eq!(lines, [4, 1, 1]);
    }
}
