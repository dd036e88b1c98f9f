//! A document's text, and from the parser's positions to places in it.

use std::ops::Range;

use super::error::{Place, PolicyError, Problem};

/// Bytes that a document may have.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Characters from the document's beginning, as the parser counts them.
pub(super) type Span = Range<usize>;

/// A document's text without byte order mark.
pub(super) struct Source<'a> {
    pub(super) file_name: &'a str,
    pub(super) text: &'a str,
    /// For each character its byte; empty when every character is one byte.
    offsets: Vec<u32>,
    /// The byte that each line begins at.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8], file_name: &'a str) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            let message = format!("a policy is larger than {MAX_BYTES} bytes");
            let help = "split the work among several policies, or name folders instead of files";
            return Err(PolicyError::unplaced(file_name, "E_POLICY_TOO_LARGE", &message, Some(help)));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let message = format!("a policy is not UTF-8 at byte {}, line {line}", error.valid_up_to() + 1);
            PolicyError::unplaced(file_name, "E_POLICY_ENCODING", &message, Some("save the file as UTF-8"))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(offset, _)| offset as u32).collect()
        };
        let breaks =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        let source = Self { file_name, text, offsets, lines };
        match source.control_character() {
            Some(problem) => Err(source.error(vec![problem])),
            None => Ok(source),
        }
    }

    /// An error that shows this document.
    pub(super) fn error(&self, problems: Vec<Problem>) -> PolicyError {
        PolicyError::new(self.file_name, self.text.to_owned(), problems)
    }

    /// The place of a span, without the white space at its end.
    pub(super) fn place(&self, span: &Span) -> Place {
        let start = self.byte(span.start);
        let end = self.byte(span.end).max(start);
        let length = self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        // A span of several lines is shown by its first one.
        let first_line =
            self.text.get(start..start + length).and_then(|text| text.lines().next()).map_or(0, str::len);
        let line = self.lines.partition_point(|begin| *begin <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Place { bytes: start..start + first_line, line, column }
    }

    /// The line that a place stands in.
    pub(super) fn line(&self, line: usize) -> &str {
        let begin = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.text[begin..end].trim_end_matches(['\n', '\r'])
    }

    fn byte(&self, character: usize) -> usize {
        if self.offsets.is_empty() {
            return character.min(self.text.len());
        }
        self.offsets.get(character).map_or(self.text.len(), |offset| *offset as usize)
    }

    /// The parser takes NUL for the end of the text: what follows would not be read.
    fn control_character(&self) -> Option<Problem> {
        let is_control =
            |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}');
        let (index, character) =
            self.text.chars().enumerate().find(|(_, character)| is_control(*character))?;
        Some(Problem {
            code: "E_POLICY_CONTROL",
            message: format!("a policy has the control character U+{:04X} in it", u32::from(character)),
            help: Some("remove it".to_owned()),
            label: "here".to_owned(),
            place: Some(self.place(&(index..index + 1))),
        })
    }
}
