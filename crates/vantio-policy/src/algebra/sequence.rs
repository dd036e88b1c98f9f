//! Patterns over characters: whether one matches all that another does.

use alloc::vec::Vec;

use super::inclusion::{Step, includes};
use crate::glob::{Glob, Token};

/// One place of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Symbol {
    /// One character of these ranges, which are ascending.
    Set(Vec<(u32, u32)>),
    /// Any number of any characters.
    Many,
}

/// What a name is made of: a name that is not UTF-8, or ASCII, is compared by byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Bytes,
    Characters,
}

/// Whether `outer` matches every name that `inner` does.
pub(super) fn glob_covers(outer: &Glob, inner: &Glob) -> bool {
    outer.is_anything()
        || outer == inner
        || [Alphabet::Bytes, Alphabet::Characters]
            .into_iter()
            .all(|alphabet| includes(&of_glob(outer, alphabet), &of_glob(inner, alphabet), &alphabet.any()))
}

/// As [`glob_covers`], for texts in which `*` is any run of characters.
pub(super) fn text_covers(outer: &str, inner: &str) -> bool {
    outer == inner || includes(&of_text(outer), &of_text(inner), &Alphabet::Characters.any())
}

fn of_glob(glob: &Glob, alphabet: Alphabet) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for token in &glob.0 {
        match token {
            Token::Many => symbols.push(Symbol::Many),
            Token::One => symbols.push(alphabet.any()),
            Token::Class { negated, ranges } => {
                symbols.push(Symbol::Set(alphabet.class(*negated, ranges)));
            }
            Token::Literal(bytes) => match (alphabet, core::str::from_utf8(bytes)) {
                (Alphabet::Characters, Ok(text)) => symbols.extend(text.chars().map(one)),
                _ => symbols.extend(bytes.iter().map(|byte| one((*byte).into()))),
            },
        }
    }
    symbols
}

fn of_text(text: &str) -> Vec<Symbol> {
    text.chars().map(|character| if character == '*' { Symbol::Many } else { one(character) }).collect()
}

fn one(character: char) -> Symbol {
    let code = u32::from(character);
    Symbol::Set(Vec::from([(code, code)]))
}

impl Alphabet {
    const fn last(self) -> u32 {
        match self {
            Self::Bytes => 0xff,
            Self::Characters => char::MAX as u32,
        }
    }

    /// Any one character.
    fn any(self) -> Symbol {
        Symbol::Set(Vec::from([(0, self.last())]))
    }

    /// A byte that is not ASCII is no character, and so in no class but a negated one.
    fn class(self, negated: bool, ranges: &[(char, char)]) -> Vec<(u32, u32)> {
        let last_in_class = if self == Self::Bytes { 0x7f } else { self.last() };
        let ranges = ranges.iter().map(|(first, last)| (u32::from(*first), u32::from(*last)));
        let ranges: Vec<(u32, u32)> = ranges
            .filter(|(first, _)| *first <= last_in_class)
            .map(|(first, last)| (first, last.min(last_in_class)))
            .collect();
        if !negated {
            return ranges;
        }
        let mut apart = Vec::new();
        let mut next = 0;
        for (first, last) in ranges {
            if next < first {
                apart.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= self.last() {
            apart.push((next, self.last()));
        }
        apart
    }
}

impl Step for Symbol {
    fn is_many(&self) -> bool {
        *self == Self::Many
    }

    fn covers(&self, inner: &Self) -> bool {
        matches!((self, inner), (Self::Set(own), Self::Set(set)) if is_subset(set, own))
    }
}

/// Whether every element of `inner` is in one range of `outer`, whose ranges do not touch.
fn is_subset(inner: &[(u32, u32)], outer: &[(u32, u32)]) -> bool {
    inner.iter().all(|(first, last)| outer.iter().any(|(from, to)| from <= first && last <= to))
}
