//! What is wrong with a document.

use std::{fmt, ops::Range};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// A document that is no policy: one problem or several.
///
/// As a [`Diagnostic`] a single problem is shown as itself, several as related
/// diagnostics, each with its place in the document.
#[derive(Clone)]
pub struct PolicyError {
    file_name: String,
    source: Option<Box<NamedSource<String>>>,
    problems: Vec<Problem>,
    /// Whether there are more.
    is_cut: bool,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, such as `E_POLICY_UNKNOWN_KEY`.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// What to say beside the span.
    pub label: String,
    /// The place, `None` for what is wrong with the file as a whole.
    pub place: Option<Place>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the file's beginning.
    pub bytes: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl PolicyError {
    pub(super) fn new(file_name: &str, language: &str, source: &str, problems: Vec<Problem>) -> Self {
        let problems = problems.into_iter().map(Problem::shown).collect();
        let source = NamedSource::new(file_name, showable(source, false)).with_language(language);
        Self { file_name: file_name.to_owned(), source: Some(Box::new(source)), problems, is_cut: false }
    }

    /// An error about the file as a whole.
    pub(super) fn unplaced(file_name: &str, code: &'static str, message: &str, help: Option<&str>) -> Self {
        let problem = Problem {
            code,
            message: message.to_owned(),
            help: help.map(str::to_owned),
            label: String::new(),
            place: None,
        };
        Self { file_name: file_name.to_owned(), source: None, problems: vec![problem], is_cut: false }
    }

    /// The same, of a document that has more problems than are told.
    pub(super) fn cut(self) -> Self {
        Self { is_cut: true, ..self }
    }

    /// The document's name, as it was given.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// What is wrong, in the order of the document; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn single(&self) -> Option<&Problem> {
        match self.problems.as_slice() {
            [problem] => Some(problem),
            _ => None,
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(problem) if problem.place.is_none() => {
                write!(formatter, "`{}`: {}", self.file_name, problem.message)
            }
            Some(problem) => formatter.write_str(&problem.message),
            None if self.is_cut => {
                let (name, count) = (&self.file_name, self.problems.len());
                write!(formatter, "`{name}` has more than {count} problems; these are the first {count}")
            }
            None => write!(formatter, "`{}` has {} problems", self.file_name, self.problems.len()),
        }
    }
}

impl fmt::Debug for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("PolicyError");
        debug.field("file_name", &self.file_name).field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl std::error::Error for PolicyError {}

impl Diagnostic for PolicyError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self.single() {
            Some(problem) => problem.code(),
            None => Some(Box::new("E_POLICY")),
        }
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.single().and_then(Diagnostic::help)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.single().and_then(Diagnostic::labels)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as &dyn SourceCode)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.single() {
            Some(_) => None,
            None => Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic))),
        }
    }
}

impl Problem {
    /// The problem with nothing in it that a terminal would obey.
    fn shown(self) -> Self {
        let message = showable(&self.message, true);
        let help = self.help.map(|help| showable(&help, true));
        Self { message, help, ..self }
    }
}

/// A text without what would steer the terminal it is shown on: control characters and
/// changes of the direction of writing. Each is replaced by a character of as many bytes,
/// so that places stay what they are.
fn showable(text: &str, is_line: bool) -> String {
    let replace = |character: char| match character {
        '\n' | '\r' | '\t' if !is_line => character,
        '\u{0}'..='\u{1f}' | '\u{7f}' => '?',
        '\u{80}'..='\u{9f}' => '\u{b7}',
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => character,
    };
    text.chars().map(replace).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = (!self.label.is_empty()).then(|| self.label.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, place.bytes.start, place.bytes.len()))))
    }
}
