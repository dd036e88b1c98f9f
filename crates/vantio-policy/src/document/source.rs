//! A document's text, and from the parser's positions to places in it.

use std::{ops::Range, path::Path};

use super::{
    codes,
    error::{Place, PolicyError, Problem},
};

/// Bytes that a document may have.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// What tells how a document is written.
pub(super) const FORMATS: &str = "the format is told by the ending: .toml, .json, else YAML";

/// Bytes from the document's beginning.
pub(super) type Span = Range<usize>;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Json,
    Toml,
}

impl Format {
    /// The format that a file's ending names; YAML for any other.
    fn of(file_name: &str) -> Self {
        let extension = Path::new(file_name).extension();
        let is = |name| extension.is_some_and(|extension| extension.eq_ignore_ascii_case(name));
        if is("json") {
            Self::Json
        } else if is("toml") {
            Self::Toml
        } else {
            Self::Yaml
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
            Self::Toml => "TOML",
        }
    }
}

/// A document's text without byte order mark.
pub(super) struct Source<'a> {
    pub(super) file_name: &'a str,
    pub(super) format: Format,
    pub(super) text: &'a str,
    /// The byte that each line begins at.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8], file_name: &'a str) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            let message = format!("a policy is larger than {MAX_BYTES} bytes");
            let help = "split the work among several policies, or name folders instead of files";
            return Err(PolicyError::unplaced(file_name, codes::TOO_LARGE, &message, Some(help)));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let message = format!("a policy is not UTF-8 at byte {}, line {line}", error.valid_up_to() + 1);
            PolicyError::unplaced(file_name, codes::ENCODING, &message, Some("save the file as UTF-8"))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let breaks =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Ok(Self { file_name, format: Format::of(file_name), text, lines })
    }

    /// Whether the first line that says something says it in TOML.
    pub(super) fn is_like_toml(&self) -> bool {
        let mut lines = self.text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        let is_key = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte == b'.' || is_bare(byte));
        first.split_once('=').is_some_and(|(key, _)| is_key(key.trim()))
            || first.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_key)
    }

    /// An error that shows this document.
    pub(super) fn error(&self, problems: Vec<Problem>) -> PolicyError {
        PolicyError::new(self.file_name, self.format.name(), self.text, problems)
    }

    /// The place of a span, without the white space at its end.
    pub(super) fn place(&self, span: &Span) -> Place {
        let start = self.floor(span.start);
        let end = self.floor(span.end).max(start);
        let length = self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        // A span of several lines is shown by its first one.
        let first_line =
            self.text.get(start..start + length).and_then(|text| text.lines().next()).map_or(0, str::len);
        let line = self.lines.partition_point(|begin| *begin <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Place { bytes: start..start + first_line, line, column }
    }

    /// The nearest boundary of a character at or before a byte.
    fn floor(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        (0..=byte).rev().find(|byte| self.text.is_char_boundary(*byte)).unwrap_or(0)
    }

    /// The line that a place stands in.
    pub(super) fn line(&self, line: usize) -> &str {
        let begin = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.text[begin..end].trim_end_matches(['\n', '\r'])
    }

    /// A problem of the document as a text.
    pub(super) fn problem(
        &self,
        code: &'static str,
        message: &str,
        span: &Span,
        help: Option<&str>,
    ) -> Problem {
        Problem {
            code,
            message: message.to_owned(),
            help: help.map(str::to_owned),
            label: "here".to_owned(),
            place: Some(self.place(span)),
        }
    }
}

/// Whether a key of TOML may have it without quotes.
const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
