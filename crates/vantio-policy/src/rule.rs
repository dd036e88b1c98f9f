//! Rules and the lists they stand in.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use vantio_core::Section;

use crate::{
    named::{NamedError, NamedPattern},
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
    /// A tool, model or heap type.
    Named(NamedPattern),
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error(transparent)]
    Path(#[from] PatternError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Named(#[from] NamedError),
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
        match family(section) {
            Family::Path => Ok(Self::Path(PathPattern::parse(text)?)),
            Family::Program => Self::parse_program(text),
            Family::Net => Ok(Self::Net(NetPattern::parse(text, kind(section), map_name)?)),
            Family::Named => Ok(Self::Named(NamedPattern::parse(text)?)),
        }
    }

    pub(crate) fn parse_program(text: &str) -> Result<Self, RuleError> {
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

    /// What it is a pattern over; a program may be named by a path too.
    pub(crate) const fn family(&self) -> Family {
        match self {
            Self::Path(_) => Family::Path,
            Self::Program(_) => Family::Program,
            Self::Net(_) => Family::Net,
            Self::Named(_) => Family::Named,
        }
    }

    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Path(pattern) => pattern.canonical(),
            Self::Program(name) => name.clone(),
            Self::Net(pattern) => pattern.canonical(),
            Self::Named(pattern) => pattern.canonical(),
        }
    }

    fn path(&self) -> Option<&PathPattern> {
        match self {
            Self::Path(pattern) | Self::Net(NetPattern::Unix(pattern)) => Some(pattern),
            _ => None,
        }
    }
}

/// What the patterns of a list are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Path,
    Program,
    Net,
    Named,
}

/// What the patterns of one of [`SECTIONS`] are over.
pub(crate) const fn family(section: Section) -> Family {
    match section {
        Section::ExecAllow | Section::ExecDeny => Family::Program,
        Section::NetAllow | Section::NetDeny => Family::Net,
        Section::ToolsAllow | Section::ToolsDeny | Section::InferModels => Family::Named,
        _ => Family::Path,
    }
}

/// Whether a section permits or refuses.
pub(crate) const fn kind(section: Section) -> Kind {
    if section.is_deny() { Kind::Deny } else { Kind::Allow }
}

/// How many lists of patterns a policy has.
pub(crate) const LISTS: usize = 10;

/// The lists of patterns in the order in which they are stored and encoded.
pub(crate) const SECTIONS: [Section; LISTS] = [
    Section::FsRead,
    Section::FsWrite,
    Section::FsDeny,
    Section::ExecAllow,
    Section::ExecDeny,
    Section::NetAllow,
    Section::NetDeny,
    Section::ToolsAllow,
    Section::ToolsDeny,
    Section::InferModels,
];

/// The lists of patterns. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Arc<[Vec<Rule>; LISTS]>);

impl Rules {
    /// Sorts the lists and drops all but the first spelling of each rule. The lists
    /// are in the order of [`SECTIONS`].
    pub(crate) fn new(mut lists: [Vec<Rule>; LISTS]) -> Self {
        for list in &mut lists {
            list.sort_by(|left, right| left.pattern.cmp(&right.pattern));
            list.dedup_by(|later, first| later.pattern == first.pattern);
        }
        Self(Arc::new(lists))
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
