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
    let mut deletions = Bounded::to(LARGEST_DELETIONS);
    let written = write(&is_deletion, &mut deletions);
    if !deletions.is_full {
        written.map_err(|error| scan_failure(&error))?;
    }
    let mut rest = Beginnings::default();
    let written = write(&|change| !is_deletion(change) && !folded.contains(&change.path), &mut rest);
    if !rest.is_full {
        written.map_err(|error| scan_failure(&error))?;
    }
    if deletions.text.is_empty() && rest.text.is_empty() {
        return Ok(());
    }
    let mut text = b"\n".to_vec();
    for file in files(&deletions.text) {
        show(&file, &mut text);
    }
    if deletions.is_full {
        text.extend_from_slice(b"# and more deletions: vantio diff RUN --patch\n");
    }
    let files = files(&rest.text);
    for (index, (file, cut)) in files.iter().zip(&rest.cut).enumerate() {
        show(file, &mut text);
        if rest.is_full && index + 1 == files.len() {
            text.extend_from_slice(b"# perhaps more lines: vantio diff RUN --patch\n");
        } else if *cut > 0 {
            text.extend(format!("# {cut} more lines: vantio diff RUN --patch\n").into_bytes());
        }
    }
    if rest.is_full {
        text.extend_from_slice(b"# and perhaps more files: vantio diff RUN --patch\n");
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
            Some(file) if !begins_file(line) => file.push(line),
            _ => files.push(vec![line]),
        }
    }
    files
}

fn begins_file(line: &[u8]) -> bool {
    line.starts_with(b"diff --git ") || line.starts_with(b"# ")
}

/// Takes the first lines of each file's patch, of what a change of type removes all, and of all files together so much.
#[derive(Default)]
struct Beginnings {
    text: Vec<u8>,
    /// How many lines of each file were left.
    cut: Vec<usize>,
    is_full: bool,
    /// The line that is being written.
    line: Vec<u8>,
    /// How many lines of the file were taken.
    taken: usize,
    is_deletion: bool,
    looked_at: usize,
}

impl Beginnings {
    fn take_line(&mut self) {
        if begins_file(&self.line) || self.cut.is_empty() {
            self.cut.push(0);
            (self.taken, self.is_deletion) = (0, false);
        }
        self.is_deletion |= self.taken == 1 && self.line.starts_with(b"deleted file mode");
        if self.is_deletion || self.taken < LONGEST_FILE {
            self.text.append(&mut self.line);
            self.taken += 1;
        } else if let Some(cut) = self.cut.last_mut() {
            *cut += 1;
        }
        self.line.clear();
    }
}

impl Write for Beginnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.take_line();
            }
        }
        self.looked_at += bytes.len();
        if self.text.len() + self.line.len() > LARGEST_TEXT || self.looked_at > MOST_LOOKED_AT {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes so much and no more.
pub struct Bounded {
    /// What it took.
    pub text: Vec<u8>,
    /// Whether there was more.
    pub is_full: bool,
    most: usize,
}

impl Bounded {
    /// Takes no more than this.
    pub const fn to(most: usize) -> Self {
        Self { text: Vec::new(), is_full: false, most }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.most {
            let room = self.most - self.text.len();
            self.text.extend_from_slice(&bytes[..room]);
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
/// Of deletions, so much is shown.
const LARGEST_DELETIONS: usize = 64 << 20;
/// Of what is no deletion, so much is shown.
const LARGEST_TEXT: usize = 1 << 20;
/// Of the same, so much is looked at for the beginning of the next file.
const MOST_LOOKED_AT: usize = 64 << 20;

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
    fn of_each_file_the_first_lines_are_taken() {
        let mut taken = Beginnings::default();
        let long = "+x\n".repeat(100_000);
        for part in [
            "diff --git a/x b/x\n@@ -1 +1 @@\n",
            &long,
            "# added: /s (Socket, mode 0755)\ndiff --",
            "git a/y b/y\n+y\n",
        ] {
            taken.write_all(part.as_bytes()).unwrap();
        }
        let lines: Vec<_> = files(&taken.text).iter().map(Vec::len).collect();
        assert_eq!((lines, taken.cut), (vec![LONGEST_FILE, 1, 2], vec![100_002 - LONGEST_FILE, 0, 0]));
        let mut endless = Beginnings::default();
        let error = (0..1000).try_for_each(|_| endless.write_all(long.as_bytes())).unwrap_err();
        assert_eq!((error.kind(), endless.is_full), (io::ErrorKind::FileTooLarge, true));
    }

    #[test]
    fn a_patch_falls_into_its_files() {
        let patch = b"diff --git a/x b/x\n@@ -1 +1 @@\n-# a\n+diff --git\n# added: /s (Socket, mode 0755)\ndiff --git a/y b/y\n";
        let lines: Vec<_> = files(patch).iter().map(Vec::len).collect();
        assert_eq!(lines, [4, 1, 1]);
    }
}
