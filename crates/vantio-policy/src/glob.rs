//! Wildcards within one path component.
//!
//! `*` is any run of characters, `?` one character, `[a-z]` and `[!a]` are
//! classes, a backslash makes the next character ordinary. Bytes are compared
//! as they are. Where a name is not UTF-8, `?` and a class stand for one byte.

use alloc::{string::String, vec::Vec};

use crate::path::PatternError;

/// A component of a pattern that has a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glob(pub(crate) Vec<Token>);

/// What a glob is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token {
    Literal(Vec<u8>),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// What a component's text turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Literal(Vec<u8>),
    Glob(Glob),
}

/// Parses the text of one component.
pub(crate) fn parse(text: &str) -> Result<Parsed, PatternError> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let token = match character {
            '\\' => {
                literal.push(characters.next().ok_or(PatternError::TrailingBackslash)?);
                continue;
            }
            '*' if matches!(tokens.last(), Some(Token::Many)) && literal.is_empty() => {
                return Err(PatternError::GluedStars);
            }
            '*' => Token::Many,
            '?' => Token::One,
            '[' => parse_class(&mut characters)?,
            ']' => return Err(PatternError::StrayBracket),
            '{' | '}' => return Err(PatternError::Braces),
            ordinary => {
                literal.push(ordinary);
                continue;
            }
        };
        if !literal.is_empty() {
            tokens.push(Token::Literal(core::mem::take(&mut literal).into_bytes()));
        }
        tokens.push(token);
    }
    if tokens.is_empty() {
        return Ok(Parsed::Literal(literal.into_bytes()));
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal.into_bytes()));
    }
    Ok(Parsed::Glob(Glob(tokens)))
}

/// Parses a class after its opening bracket.
fn parse_class(characters: &mut core::str::Chars) -> Result<Token, PatternError> {
    let mut rest = characters.as_str();
    if rest.starts_with('^') {
        return Err(PatternError::CaretClass);
    }
    let negated = rest.starts_with('!');
    if negated {
        characters.next();
        rest = characters.as_str();
    }
    if rest.starts_with(']') {
        return Err(PatternError::EmptyClass);
    }
    let mut ranges = Vec::new();
    loop {
        let first = match characters.next().ok_or(PatternError::UnclosedClass)? {
            ']' => break,
            '\\' => characters.next().ok_or(PatternError::UnclosedClass)?,
            other => other,
        };
        let is_range = characters.as_str().starts_with('-') && !characters.as_str().starts_with("-]");
        if !is_range {
            ranges.push((first, first));
            continue;
        }
        characters.next();
        let last = match characters.next().ok_or(PatternError::UnclosedClass)? {
            '\\' => characters.next().ok_or(PatternError::UnclosedClass)?,
            other => other,
        };
        if last < first {
            return Err(PatternError::ReversedRange);
        }
        ranges.push((first, last));
    }
    Ok(Token::Class { negated, ranges: merge(ranges) })
}

/// Sorts ranges and joins those that touch.
fn merge(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut merged: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => {
                previous.1 = previous.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

impl Glob {
    /// The pattern `*`.
    pub(crate) fn anything() -> Self {
        Self(alloc::vec![Token::Many])
    }

    /// A text in which only `*` is a wildcard.
    pub(crate) fn stars(text: &str) -> Parsed {
        if !text.contains('*') {
            return Parsed::Literal(text.as_bytes().to_vec());
        }
        let mut tokens = Vec::new();
        for (index, part) in text.split('*').enumerate() {
            if index > 0 {
                tokens.push(Token::Many);
            }
            if !part.is_empty() {
                tokens.push(Token::Literal(part.as_bytes().to_vec()));
            }
        }
        Parsed::Glob(Self(tokens))
    }

    /// The bytes that every match begins with.
    pub(crate) fn head(&self) -> &[u8] {
        Self::literal(self.0.first())
    }

    /// The bytes that every match ends with.
    pub(crate) fn tail(&self) -> &[u8] {
        Self::literal(self.0.last())
    }

    /// Whether a name matches that begins with [`Glob::head`] or, where there is none, ends
    /// with [`Glob::tail`], whatever else it has.
    pub(crate) fn is_decided_by_end(&self) -> bool {
        matches!(self.0.as_slice(), [Token::Literal(_), Token::Many] | [Token::Many, Token::Literal(_)])
    }

    fn literal(token: Option<&Token>) -> &[u8] {
        if let Some(Token::Literal(bytes)) = token { bytes } else { &[] }
    }

    /// Whether the pattern is `*`.
    pub(crate) fn is_anything(&self) -> bool {
        matches!(self.0.as_slice(), [Token::Many])
    }

    /// Whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        let is_text = !name.is_ascii() && core::str::from_utf8(name).is_ok();
        let mut token = 0;
        let mut position = 0;
        // Where to go on when what follows the last `*` did not match: one
        // retry point suffices, because an earlier `*` can never help more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match self.0.get(token) {
                None if position == name.len() => return true,
                None => None,
                Some(Token::Many) => {
                    retry = Some((token + 1, position));
                    token += 1;
                    continue;
                }
                Some(Token::Literal(bytes)) => name[position..].starts_with(bytes).then_some(bytes.len()),
                Some(Token::One) => (position < name.len()).then(|| width(&name[position..], is_text)),
                Some(Token::Class { negated, ranges }) => {
                    matches_class(*negated, ranges, &name[position..], is_text)
                }
            };
            if let Some(length) = step {
                position += length;
                token += 1;
                continue;
            }
            match retry {
                Some((after, from)) if from < name.len() => {
                    let from = from + width(&name[from..], is_text);
                    retry = Some((after, from));
                    token = after;
                    position = from;
                }
                _ => return false,
            }
        }
    }

    /// Appends the one canonical text.
    pub(crate) fn write(&self, text: &mut String) {
        for token in &self.0 {
            match token {
                Token::Literal(bytes) => write_literal(bytes, text),
                Token::One => text.push('?'),
                Token::Many => text.push('*'),
                Token::Class { negated, ranges } => write_class(*negated, ranges, text),
            }
        }
    }
}

/// Bytes of the first character of a name that is not empty.
fn width(name: &[u8], is_text: bool) -> usize {
    if !is_text {
        return 1;
    }
    // INVARIANT: `is_text` names are UTF-8 and positions stay on its boundaries,
    // for a literal is UTF-8 too; the lead byte then gives the width.
    match name[0] {
        0..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
    .min(name.len())
}

/// The length of what the class took, or `None`.
fn matches_class(negated: bool, ranges: &[(char, char)], name: &[u8], is_text: bool) -> Option<usize> {
    let length = if name.is_empty() { return None } else { width(name, is_text) };
    let character = match core::str::from_utf8(&name[..length]) {
        Ok(text) => text.chars().next(),
        Err(_) => None,
    };
    let inside = character
        .is_some_and(|character| ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)));
    (inside != negated).then_some(length)
}

/// Appends a literal component, escaping what would be a wildcard.
pub(crate) fn write_literal(bytes: &[u8], text: &mut String) {
    for character in String::from_utf8_lossy(bytes).chars() {
        if matches!(character, '\\' | '*' | '?' | '[' | ']' | '{' | '}') {
            text.push('\\');
        }
        text.push(character);
    }
}

fn write_class(negated: bool, ranges: &[(char, char)], text: &mut String) {
    text.push('[');
    if negated {
        text.push('!');
    }
    for (first, last) in ranges {
        write_class_character(*first, text);
        if first != last {
            text.push('-');
            write_class_character(*last, text);
        }
    }
    text.push(']');
}

fn write_class_character(character: char, text: &mut String) {
    if matches!(character, '\\' | ']' | '[' | '-' | '!' | '^' | '*' | '?' | '{' | '}') {
        text.push('\\');
    }
    text.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &[u8]) -> bool {
        match parse(pattern).unwrap() {
            Parsed::Literal(bytes) => bytes == name,
            Parsed::Glob(glob) => glob.matches(name),
        }
    }

    #[test]
    fn wildcards_match_as_described() {
        for (pattern, name) in [
            ("*", "anything"),
            ("*", ""),
            ("a*c", "abbc"),
            ("a*b*c", "aXbYbZc"),
            ("?", "é"),
            ("*é?", "aéß"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[é]", "é"),
            ("\\*", "*"),
            ("[\\]]", "]"),
        ] {
            assert!(matches(pattern, name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a*c", "ab"), ("?", ""), ("?", "ab"), ("[a-c]", "é"), ("\\*", "a"), ("*.rs", ".r")]
        {
            assert!(!matches(pattern, name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf_8_is_one_character() {
        assert!(matches("a?", b"a\xff"));
        assert!(matches("??", b"\xc3\xff"));
        assert!(!matches("?", b"\xc3\xff"));
        assert!(matches("[!a]", b"\xff"));
        assert!(!matches("[a-\u{10ffff}]", b"\xff"));
    }

    #[test]
    fn canonical_texts_parse_to_the_same_glob() {
        for text in ["[c-da-b]*", "[!\\]\\-]", "a\\*?", "[a\\!]"] {
            let Parsed::Glob(glob) = parse(text).unwrap() else { panic!("{text} has a wildcard") };
            let mut canonical = String::new();
            glob.write(&mut canonical);
            assert_eq!(parse(&canonical), Ok(Parsed::Glob(glob)), "{text} as {canonical}");
        }
    }
}
