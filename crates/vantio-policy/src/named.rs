//! Names of tools, models and heap types, in which `*` stands for any characters.

use alloc::string::String;

/// Bytes that a name may have.
const MAX_TEXT: usize = 256;

/// A name in which `*` matches any characters, none included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedPattern(pub(crate) String);

/// Why a text is not such a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamedError {
    #[error("a name is empty")]
    Empty,
    #[error("a name is longer than {MAX_TEXT} bytes")]
    TooLong,
    #[error("a name has white space around it or a control character in it")]
    WhiteSpace,
    #[error("`**` stands in a name")]
    Stars,
}

impl NamedPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, NamedError> {
        if text.is_empty() {
            Err(NamedError::Empty)
        } else if text.len() > MAX_TEXT {
            Err(NamedError::TooLong)
        } else if text.trim() != text || text.chars().any(char::is_control) {
            Err(NamedError::WhiteSpace)
        } else if text.contains("**") {
            Err(NamedError::Stars)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The one text that every spelling shares.
    pub(crate) fn canonical(&self) -> String {
        self.0.clone()
    }

    /// The text, in which only `*` is a wildcard.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*') {
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        name.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        let matches = |pattern: &str, name: &str| NamedPattern::parse(pattern).unwrap().matches(name);
        for (pattern, name) in
            [("*", ""), ("claude-*", "claude-3"), ("github/*", "github/a/b"), ("a*b*c", "aXbbYc"), ("x", "x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("claude-*", "claude"), ("a*a", "a"), ("a*b*c", "acb"), ("x", "xy")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
