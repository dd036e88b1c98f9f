//! Rules and the lists they stand in.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::Section;

use crate::{
    net::{NetError, NetPattern},
    path::{Kind, MAX_TEXT, PathPattern, PatternError},
};

/// One element of a list in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    text: String,
    pub(crate) pattern: Pattern,
}

/// What a rule says, without how it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    Path(PathPattern),
    /// A program by its bare name.
    Program(String),
    Net(NetPattern),
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error(transparent)]
    Path(#[from] PatternError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("a program's name has a wildcard in it")]
    ProgramWildcard,
    #[error("a program is a bare name or begins with `/`, `~/`, a variable or `**/`")]
    RelativeProgram,
}

impl Rule {
    /// Parses a rule of `section`; names are mapped to A-labels by `map_name`.
    pub(crate) fn parse(
        section: Section,
        text: &str,
        map_name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RuleError> {
        let pattern = Pattern::parse(section, text, map_name)?;
        let text = if text.is_ascii() || !matches!(pattern, Pattern::Net(NetPattern::Endpoint(_))) {
            text.to_string()
        } else {
            pattern.canonical()
        };
        Ok(Self { text, pattern })
    }

    /// The rule as the document has it; a name in another script as A-labels.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The one text that every spelling of this rule shares.
    pub fn canonical(&self) -> String {
        self.pattern.canonical()
    }
}

impl Pattern {
    fn parse(
        section: Section,
        text: &str,
        map_name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RuleError> {
        match section {
            Section::FsRead | Section::FsWrite | Section::FsDeny => Ok(Self::Path(PathPattern::parse(text)?)),
            Section::ExecAllow | Section::ExecDeny => Self::parse_program(text),
            Section::NetAllow | Section::NetDeny => {
                Ok(Self::Net(NetPattern::parse(text, kind(section), map_name)?))
            }
        }
    }

    fn parse_program(text: &str) -> Result<Self, RuleError> {
        if text.contains('/') || text.starts_with("${") || text.starts_with('~') || text.starts_with("**") {
            return match PathPattern::parse(text) {
                Err(PatternError::Anchor) => Err(RuleError::RelativeProgram),
                other => Ok(Self::Path(other?)),
            };
        }
        if text.is_empty() {
            return Err(PatternError::Empty.into());
        }
        if text.len() > MAX_TEXT {
            return Err(PatternError::TooLong.into());
        }
        if text.trim() != text {
            return Err(PatternError::WhiteSpace.into());
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control.into());
        }
        if matches!(text, "." | "..") {
            return Err(PatternError::DotDot.into());
        }
        if text.contains(['*', '?', '[', ']', '{', '}', '\\']) && text != "[" {
            return Err(RuleError::ProgramWildcard);
        }
        Ok(Self::Program(text.to_string()))
    }

    fn canonical(&self) -> String {
        match self {
            Self::Path(pattern) => pattern.canonical(),
            Self::Program(name) => name.clone(),
            Self::Net(pattern) => pattern.canonical(),
        }
    }

    fn path(&self) -> Option<&PathPattern> {
        match self {
            Self::Path(pattern) | Self::Net(NetPattern::Unix(pattern)) => Some(pattern),
            _ => None,
        }
    }
}

/// Whether a section permits or refuses.
pub(crate) const fn kind(section: Section) -> Kind {
    match section {
        Section::FsRead | Section::FsWrite | Section::ExecAllow | Section::NetAllow => Kind::Allow,
        Section::FsDeny | Section::ExecDeny | Section::NetDeny => Kind::Deny,
    }
}

/// The seven lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules([Vec<Rule>; 7]);

/// The sections in the order in which they are stored and encoded.
pub(crate) const SECTIONS: [Section; 7] = [
    Section::FsRead,
    Section::FsWrite,
    Section::FsDeny,
    Section::ExecAllow,
    Section::ExecDeny,
    Section::NetAllow,
    Section::NetDeny,
];

impl Rules {
    /// Sorts the lists and drops all but the first spelling of each rule. The lists
    /// are in the order of [`SECTIONS`].
    pub(crate) fn new(mut lists: [Vec<Rule>; 7]) -> Self {
        for list in &mut lists {
            list.sort_by(|left, right| left.pattern.cmp(&right.pattern));
            list.dedup_by(|later, first| later.pattern == first.pattern);
        }
        Self(lists)
    }

    pub(crate) fn of(&self, section: Section) -> &[Rule] {
        &self.0[section as usize]
    }

    pub(crate) fn bare_programs(&self) -> impl Iterator<Item = &str> {
        let lists = [Section::ExecAllow, Section::ExecDeny];
        lists.into_iter().flat_map(|section| self.of(section)).filter_map(|rule| match &rule.pattern {
            Pattern::Program(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(crate) fn path_patterns(&self) -> impl Iterator<Item = &PathPattern> {
        self.0.iter().flatten().filter_map(|rule| rule.pattern.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_stored_at_their_own_index() {
        for (index, section) in SECTIONS.into_iter().enumerate() {
            assert_eq!(section as usize, index);
        }
    }
}
