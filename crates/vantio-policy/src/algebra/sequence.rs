//! Patterns over characters: whether one matches all that another does.

use alloc::{collections::BTreeSet, vec::Vec};

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
            .all(|alphabet| includes(&of_glob(outer, alphabet), &of_glob(inner, alphabet), alphabet))
}

/// As [`glob_covers`], for texts in which `*` is any run of characters.
pub(super) fn text_covers(outer: &str, inner: &str) -> bool {
    outer == inner || includes(&of_text(outer), &of_text(inner), Alphabet::Characters)
}

fn of_glob(glob: &Glob, alphabet: Alphabet) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for token in &glob.0 {
        match token {
            Token::Many => symbols.push(Symbol::Many),
            Token::One => symbols.push(Symbol::Set(alphabet.all())),
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

    fn all(self) -> Vec<(u32, u32)> {
        Vec::from([(0, self.last())])
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

/// Whether every text of `inner` is one of `outer`: walks `inner`, with the set of the
/// places of `outer` that every text so far leads to.
fn includes(outer: &[Symbol], inner: &[Symbol], alphabet: Alphabet) -> bool {
    if outer.len() > MAX_OUTER {
        return false;
    }
    let all = alphabet.all();
    let mut seen = BTreeSet::new();
    let mut open = Vec::from([(0, skip(outer, 1))]);
    while let Some((at, places)) = open.pop() {
        if !seen.insert((at, places)) {
            continue;
        }
        if seen.len() > MAX_STATES {
            return false;
        }
        match inner.get(at) {
            None if places >> outer.len() & 1 == 1 => {}
            None => return false,
            Some(Symbol::Set(set)) => open.push((at + 1, step(outer, places, set))),
            Some(Symbol::Many) => {
                open.push((at + 1, places));
                open.push((at, step(outer, places, &all)));
            }
        }
    }
    true
}

/// The places after any one character of `set`.
fn step(outer: &[Symbol], places: u128, set: &[(u32, u32)]) -> u128 {
    let mut next = 0;
    for (index, symbol) in outer.iter().enumerate() {
        if places >> index & 1 == 1 {
            next |= match symbol {
                Symbol::Many => 1 << index,
                Symbol::Set(own) if is_subset(set, own) => 2 << index,
                Symbol::Set(_) => 0,
            };
        }
    }
    skip(outer, next)
}

/// Adds the places reached by letting each `*` stand for nothing.
fn skip(outer: &[Symbol], mut places: u128) -> u128 {
    for (index, symbol) in outer.iter().enumerate() {
        if places >> index & 1 == 1 && *symbol == Symbol::Many {
            places |= 2 << index;
        }
    }
    places
}

/// Whether every element of `inner` is in one range of `outer`, whose ranges do not touch.
fn is_subset(inner: &[(u32, u32)], outer: &[(u32, u32)]) -> bool {
    inner.iter().all(|(first, last)| outer.iter().any(|(from, to)| from <= first && last <= to))
}

/// Places are the bits of one word.
const MAX_OUTER: usize = 120;
/// What takes longer is taken for not covered.
const MAX_STATES: usize = 4096;
