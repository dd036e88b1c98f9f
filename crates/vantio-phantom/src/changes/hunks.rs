//! The parts of a changed text, which can be committed one by one.
//!
//! A *piece* is a run of lines that the run replaced. A *hunk* is what a patch shows together: pieces that are near
//! each other.

use std::{
    collections::BTreeSet,
    io::Read as _,
    ops::Range,
    time::{Duration, Instant},
};

use rustix::fd::BorrowedFd;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use similar::{DiffOp, DiffTag, TextDiff, TextDiffConfig};

use super::{
    Change, ChangeKind, ChangeSet, FileType, Node, RunFolder, ScanError,
    base::{LARGEST_HASHED, is_text},
    scan::open_layers,
    sides::Sides,
};

/// The parts of one changed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunks {
    /// Lines that both texts begin with, and that are left away.
    above: usize,
    old: Lines,
    new: Lines,
    pieces: Vec<Piece>,
    /// Which pieces are in each hunk.
    groups: Vec<Range<usize>>,
}

/// Lines that were replaced, and those that stand for them; by index, end excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    old: Range<usize>,
    new: Range<usize>,
}

impl Hunks {
    /// Compares two texts; `None` where one is not text, or has too many lines.
    pub fn between(old: Vec<u8>, new: Vec<u8>) -> Option<Self> {
        // Without a limit of time, so that the same texts always have the same hunks.
        (is_fit(&old) && is_fit(&new)).then(|| Self::compare(old, new, &TextDiff::configure()))
    }

    /// Compares two texts of any size, to be shown: the same texts may have other hunks where it took long.
    pub(super) fn of_any(old: Vec<u8>, new: Vec<u8>) -> Self {
        if is_fit(&old) && is_fit(&new) {
            return Self::compare(old, new, &TextDiff::configure());
        }
        let middle = Middle::of(&old, &new);
        let [old, new] = [(old, &middle.old), (new, &middle.new)].map(|(mut text, range)| {
            text.truncate(range.end);
            text.drain(..range.start);
            text
        });
        let lines = [&old, &new].map(|text| lines(text));
        let pieces = by_windows(&lines[0], &lines[1]);
        let [old_ends, new_ends] = lines.map(|lines| ends(&lines));
        let (old, new) = (Lines { text: old, ends: old_ends }, Lines { text: new, ends: new_ends });
        Self { above: middle.above, ..Self::with_pieces(old, new, pieces) }
    }

    fn compare(old: Vec<u8>, new: Vec<u8>, configured: &TextDiffConfig) -> Self {
        let lines = [&old, &new].map(|text| lines(text));
        let diff = configured.diff_slices(&lines[0], &lines[1]);
        let whole = |ops: &Vec<DiffOp>| {
            let (first, last) = (ops.first()?, ops.last()?);
            Some(Piece {
                old: first.old_range().start..last.old_range().end,
                new: first.new_range().start..last.new_range().end,
            })
        };
        let pieces: Vec<Piece> =
            diff.grouped_ops(0).iter().filter_map(|ops| whole(&without_equal(ops))).collect();
        let [old_ends, new_ends] = lines.map(|lines| ends(&lines));
        let (old, new) = (Lines { text: old, ends: old_ends }, Lines { text: new, ends: new_ends });
        Self::with_pieces(old, new, pieces)
    }

    fn with_pieces(old: Lines, new: Lines, pieces: Vec<Piece>) -> Self {
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            match groups.last_mut() {
                Some(hunk) if piece.old.start - pieces[index - 1].old.end <= 2 * CONTEXT => {
                    hunk.end = index + 1;
                }
                _ => groups.push(index..index + 1),
            }
        }
        Self { above: 0, old, new, pieces, groups }
    }

    /// The hunks, each as the pieces in it.
    pub fn hunks(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Names the two texts: what was chosen of these hunks holds of no others.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(Sha256::digest(&self.old.text));
        hasher.update(Sha256::digest(&self.new.text));
        hasher.finalize().into()
    }

    /// The old text with only these pieces replaced.
    pub fn with(&self, chosen: &BTreeSet<usize>) -> Vec<u8> {
        let (mut text, mut done) = (Vec::new(), 0);
        for (index, piece) in self.pieces.iter().enumerate() {
            text.extend_from_slice(self.old.range(&(done..piece.old.start)));
            let replacing =
                if chosen.contains(&index) { self.new.range(&piece.new) } else { self.old.range(&piece.old) };
            text.extend_from_slice(replacing);
            done = piece.old.end;
        }
        text.extend_from_slice(self.old.range(&(done..self.old.ends.len())));
        text
    }

    /// These neighbouring pieces as a hunk of a unified patch, its header first.
    pub fn text(&self, pieces: &Range<usize>) -> Vec<u8> {
        let Some((old, new)) = self.span(pieces) else { return Vec::new() };
        let placed = |lines: &Range<usize>| counted(&(lines.start + self.above..lines.end + self.above));
        let mut text = format!("@@ -{} +{} @@\n", placed(&old), placed(&new)).into_bytes();
        let mut done = old.start;
        for piece in &self.pieces[pieces.clone()] {
            self.old.write(done..piece.old.start, b' ', &mut text);
            self.old.write(piece.old.clone(), b'-', &mut text);
            self.new.write(piece.new.clone(), b'+', &mut text);
            done = piece.old.end;
        }
        self.old.write(done..old.end, b' ', &mut text);
        text
    }

    /// For programs: a list of `{number old_start old_lines new_start new_lines removed added}`, numbers from 1.
    pub fn to_json(&self) -> Value {
        let describe = |(index, pieces): (usize, &Range<usize>)| {
            let (old, new) = self.span(pieces).unwrap_or_default();
            let pieces = &self.pieces[pieces.clone()];
            json!({
                "number": index + 1,
                "old_start": first_of(&old), "old_lines": old.len(),
                "new_start": first_of(&new), "new_lines": new.len(),
                "removed": pieces.iter().map(|piece| piece.old.len()).sum::<usize>(),
                "added": pieces.iter().map(|piece| piece.new.len()).sum::<usize>(),
            })
        };
        self.groups.iter().enumerate().map(describe).collect()
    }

    /// The lines of both sides that a patch shows of these pieces.
    fn span(&self, pieces: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        let (first, last) = (self.pieces.get(pieces.start)?, self.pieces.get(pieces.end.checked_sub(1)?)?);
        // Where a hunk was split, the context ends at the next piece.
        let before = pieces.start.checked_sub(1).map_or(0, |index| self.pieces[index].old.end);
        let after = self.pieces.get(pieces.end).map_or(self.old.ends.len(), |piece| piece.old.start);
        let above = (first.old.start - before).min(CONTEXT);
        let below = (after - last.old.end).min(CONTEXT);
        Some((first.old.start - above..last.old.end + below, first.new.start - above..last.new.end + below))
    }
}

impl ChangeSet {
    /// The hunks of a change; `None` where it is not a changed text of at most a mebibyte and 40,000 lines that has
    /// one name.
    pub fn hunks(
        &self,
        change: &Change,
        run: &RunFolder,
        host_root: BorrowedFd<'_>,
    ) -> Result<Option<Hunks>, ScanError> {
        if of_text(change).is_none() {
            return Ok(None);
        }
        let failed = |source| ScanError::Read { path: change.path.clone(), source };
        let layers = open_layers(run, host_root)?;
        Sides::new(&layers, host_root).map(|sides| sides.hunks(change)).map_err(failed)
    }

    /// As [`Self::to_json`], and with each changed text its `hunks`.
    pub fn to_json_with_hunks(&self, run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<Value, ScanError> {
        let mut document = self.to_json();
        if !self.changes().iter().any(|change| of_text(change).is_some()) {
            return Ok(document);
        }
        let layers = open_layers(run, host_root)?;
        let sides = Sides::new(&layers, host_root);
        let sides = sides.map_err(|source| ScanError::Read { path: b"/".to_vec(), source })?;
        if let Some(list) = document.get_mut("changes").and_then(Value::as_array_mut) {
            for (json, change) in list.iter_mut().zip(self.changes()) {
                if let Some(hunks) = sides.hunks(change) {
                    json["hunks"] = hunks.to_json();
                }
            }
        }
        Ok(document)
    }
}

impl Sides<'_> {
    /// The hunks of a change that has some.
    pub(crate) fn hunks(&self, change: &Change) -> Option<Hunks> {
        let (before, after) = of_text(change)?;
        let read = |file: std::fs::File| {
            let mut text = Vec::new();
            let length = file.take(LARGEST_HASHED + 1).read_to_end(&mut text).ok()?;
            (length as u64 <= LARGEST_HASHED).then_some(text)
        };
        let old = read(self.host_file(change.host_path(), before).ok()?)?;
        let new = read(self.run_file(change, after).ok()?)?;
        Hunks::between(old, new)
    }
}

/// Both sides of a change that may be one of text.
fn of_text(change: &Change) -> Option<(&Node, &Node)> {
    let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
    let is_small = |node: &Node| node.file_type == FileType::File && node.size <= LARGEST_HASHED;
    let is_one = change.kind == ChangeKind::Modified && change.blocked.is_none() && after.links == 1;
    (is_one && is_small(before) && is_small(after)).then_some((before, after))
}

/// What two texts have between what they begin with and what they end with, and some lines of that, by bytes.
struct Middle {
    old: Range<usize>,
    new: Range<usize>,
    /// How many lines are above it.
    above: usize,
}

impl Middle {
    fn of(old: &[u8], new: &[u8]) -> Self {
        let same = old.iter().zip(new).take_while(|(one, other)| one == other).count();
        let mut start = same;
        for _ in 0..=CONTEXT {
            start = old[..start].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        }
        start += usize::from(old.get(start) == Some(&b'\n') && start > 0);
        let rest = old[same..].iter().rev().zip(new[same..].iter().rev());
        let tail = rest.take_while(|(one, other)| one == other).count();
        // The first line of the tail may not be a whole one.
        let mut end = old.len() - tail;
        for _ in 0..=CONTEXT {
            let length = old[end..].iter().position(|byte| *byte == b'\n');
            end = length.map_or(old.len(), |length| end + length + 1);
        }
        let below = old.len() - end;
        let above = old[..start].split_inclusive(|byte| *byte == b'\n').count();
        Self { old: start..end, new: start..new.len() - below, above }
    }
}

/// Compares a window of both texts after the other, so that what a line costs does not grow with the text. What has
/// nothing in common within a window, or comes when the time is over, counts as replaced.
fn by_windows(old: &[&[u8]], new: &[&[u8]]) -> Vec<Piece> {
    let ends_at = Instant::now() + DIFF_TIME;
    let mut pieces = Vec::new();
    let (mut at_old, mut at_new) = (0, 0);
    loop {
        let same = old[at_old..].iter().zip(&new[at_new..]).take_while(|(one, other)| one == other).count();
        (at_old, at_new) = (at_old + same, at_new + same);
        if at_old == old.len() && at_new == new.len() {
            return pieces;
        }
        let window = [&old[at_old..], &new[at_new..]].map(|lines| &lines[..lines.len().min(WINDOW)]);
        let is_last = at_old + window[0].len() == old.len() && at_new + window[1].len() == new.len();
        let diff = TextDiff::configure().deadline(ends_at).diff_slices(window[0], window[1]);
        // Up to the last lines that are equal: what is below them goes on in the next window.
        let last = diff.ops().iter().rposition(|op| op.tag() == DiffTag::Equal);
        let count = match last {
            _ if is_last => diff.ops().len(),
            Some(last) if Instant::now() < ends_at => last,
            _ => {
                pieces.push(Piece { old: at_old..old.len(), new: at_new..new.len() });
                return pieces;
            }
        };
        for op in diff.ops()[..count].iter().filter(|op| op.tag() != DiffTag::Equal) {
            let moved = |range: Range<usize>, by: usize| range.start + by..range.end + by;
            join(
                &mut pieces,
                Piece { old: moved(op.old_range(), at_old), new: moved(op.new_range(), at_new) },
            );
        }
        match diff.ops().get(count) {
            Some(next) => {
                (at_old, at_new) = (at_old + next.old_range().start, at_new + next.new_range().start);
            }
            None => return pieces,
        }
    }
}

/// Adds a piece, to the last one where there is nothing between them.
fn join(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.old.end == piece.old.start && last.new.end == piece.new.start => {
            (last.old.end, last.new.end) = (piece.old.end, piece.new.end);
        }
        _ => pieces.push(piece),
    }
}

/// Only a newline ends a line: a carriage return alone does not, for whoever applies a patch.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// A text and where each of its lines ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    fn range(&self, lines: &Range<usize>) -> &[u8] {
        let at = |line: usize| line.checked_sub(1).map_or(0, |line| self.ends[line]);
        &self.text[at(lines.start)..at(lines.end)]
    }

    fn write(&self, lines: Range<usize>, sign: u8, out: &mut Vec<u8>) {
        for line in lines {
            let line = self.range(&(line..line + 1));
            out.push(sign);
            out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }
}

fn ends(lines: &[&[u8]]) -> Vec<usize> {
    let end = |end: &mut usize, line: &&[u8]| {
        *end += line.len();
        Some(*end)
    };
    lines.iter().scan(0, end).collect()
}

/// True for text that is compared and merged in reasonable time, whoever wrote it.
pub(crate) fn is_fit(content: &[u8]) -> bool {
    content.len() as u64 <= LARGEST_HASHED
        && is_text(content)
        && content.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() <= MOST_LINES
}

fn without_equal(ops: &[DiffOp]) -> Vec<DiffOp> {
    ops.iter().copied().filter(|op| op.tag() != DiffTag::Equal).collect()
}

/// Lines as a patch counts them: from 1, and an empty range by the line before it.
fn counted(lines: &Range<usize>) -> String {
    match lines.len() {
        1 => first_of(lines).to_string(),
        count => format!("{},{count}", first_of(lines)),
    }
}

fn first_of(lines: &Range<usize>) -> usize {
    if lines.is_empty() { lines.start } else { lines.start + 1 }
}

/// Texts of more lines are compared by windows and with a limit of time, and not by hunk.
const MOST_LINES: usize = 40_000;
/// Lines around a change that a patch shows.
const CONTEXT: usize = 3;
/// Lines of a larger text that are compared at once.
const WINDOW: usize = 4096;
/// After this long the rest of a larger text counts as replaced.
const DIFF_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec!["a\n", "b\n", "c\n", "d\r\n", "e\r", "\n", "f"]);
        prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn all_pieces_are_the_new_text_and_none_the_old(old in text(), new in text()) {
            let hunks = Hunks::between(old.clone(), new.clone()).unwrap();
            prop_assert_eq!(hunks.with(&(0..hunks.pieces()).collect()), new);
            prop_assert_eq!(hunks.with(&BTreeSet::new()), old);
        }

        #[test]
        fn what_one_piece_leaves_are_the_other_pieces(old in text(), new in text(), first in 0..8usize) {
            let hunks = Hunks::between(old, new.clone()).unwrap();
            let part = hunks.with(&BTreeSet::from([first]));
            let rest = Hunks::between(part, new.clone()).unwrap();
            prop_assert_eq!(rest.with(&(0..rest.pieces()).collect()), new);
        }

        #[test]
        fn a_hunk_reads_as_the_patch_does(old in text(), new in text()) {
            let without_returns =
                |text: Vec<u8>| text.into_iter().filter(|byte| *byte != b'\r').collect::<Vec<_>>();
            let (old, new) = (without_returns(old), without_returns(new));
            let hunks = Hunks::between(old.clone(), new.clone()).unwrap();
            let written: Vec<u8> = hunks.hunks().iter().flat_map(|pieces| hunks.text(pieces)).collect();
            let diff = TextDiff::configure().diff_lines(&old[..], &new[..]);
            let mut wanted = Vec::new();
            diff.unified_diff().context_radius(3).to_writer(&mut wanted).unwrap();
            prop_assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(wanted).unwrap());
        }
    }

    #[test]
    fn a_large_text_is_compared_where_it_changed() {
        let old: Vec<String> = (0..200_000).map(|number| format!("line {}\n", number % 1000)).collect();
        let mut new = old.clone();
        new[99] = "changed\n".into();
        new.insert(50_000, "added\n".into());
        new.drain(150_000..150_002);
        new[199_990].pop();
        let hunks = Hunks::of_any(old.concat().into_bytes(), new.concat().into_bytes());
        let text: Vec<u8> = hunks.hunks().iter().flat_map(|pieces| hunks.text(pieces)).collect();
        let text = String::from_utf8(text).unwrap();
        let heads: Vec<_> = text.lines().filter(|line| line.starts_with("@@")).collect();
        let wanted = [
            "@@ -97,7 +97,7 @@",
            "@@ -49998,6 +49998,7 @@",
            "@@ -149997,8 +149998,6 @@",
            "@@ -199989,8 +199988,7 @@",
        ];
        assert_eq!(heads, wanted, "{text}");
    }

    proptest! {
        #[test]
        fn a_text_in_windows_reads_as_whole(old in text(), new in text()) {
            let (one, other) = (lines(&old), lines(&new));
            let mut done = 0;
            let mut made = Vec::new();
            for piece in by_windows(&one, &other) {
                made.extend(one[done..piece.old.start].concat());
                made.extend(other[piece.new.clone()].concat());
                done = piece.old.end;
            }
            made.extend(one[done..].concat());
            prop_assert_eq!(made, new);
        }

        #[test]
        fn a_middle_leaves_whole_lines_that_are_equal(old in text(), new in text()) {
            let middle = Middle::of(&old, &new);
            prop_assert_eq!(&old[..middle.old.start], &new[..middle.new.start]);
            prop_assert_eq!(&old[middle.old.end..], &new[middle.new.end..]);
            for (text, range) in [(&old, &middle.old), (&new, &middle.new)] {
                prop_assert!(range.start <= range.end);
                prop_assert!(range.start == 0 || text[range.start - 1] == b'\n');
                prop_assert!(range.end == text.len() || text[range.end - 1] == b'\n');
            }
            prop_assert_eq!(middle.above, lines(&old[..middle.old.start]).len());
        }
    }

    #[test]
    fn what_is_not_text_has_none() {
        assert_eq!(Hunks::between(b"a\0".to_vec(), b"b".to_vec()), None);
        assert_eq!(Hunks::between(b"a\n".repeat(MOST_LINES + 1), b"b".to_vec()), None);
    }
}
