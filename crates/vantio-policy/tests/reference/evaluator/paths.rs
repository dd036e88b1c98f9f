//! Path patterns, component by component.

use std::collections::BTreeSet;

use vantio_policy::Bindings;

/// A component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Exactly this name.
    Name(Vec<u8>),
    /// A name that has wildcards, as written.
    Glob(String),
    /// `**`
    Deep,
}

/// A pattern on one host.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub parts: Vec<Part>,
    /// How many of the parts the host gave: the value of a variable, where an alias leads.
    given: usize,
}

/// A component of a path; `None` is a name that no pattern mentions: only `*` and
/// `**` match it.
pub type Name<'a> = Option<&'a [u8]>;

/// A pattern with the values of its variables, and once more for each alias that its
/// literal beginning lies in. None when its variable has no absolute value.
pub fn readings(text: &str, bindings: &Bindings) -> Vec<Pattern> {
    let variables = [
        ("~/", &bindings.home),
        ("${home}", &bindings.home),
        ("${workspace}", &bindings.workspace),
        ("${tmp}", &bindings.tmp),
    ];
    let variable = variables.iter().find(|(name, _)| text.starts_with(name));
    let mut parts = Vec::new();
    if let Some((_, value)) = variable {
        let Some(names) = names_of_binding(value) else { return Vec::new() };
        parts.extend(names);
    }
    let given = parts.len();
    let rest = variable.map_or(text, |(name, _)| &text[name.len()..]);
    for component in rest.split('/').filter(|component| !matches!(*component, "" | ".")) {
        let part = part(component);
        if part != Part::Deep || parts.last() != Some(&Part::Deep) {
            parts.push(part);
        }
    }
    let mut readings = vec![Pattern { parts: parts.clone(), given }];
    for (from, to) in &bindings.aliases {
        if let (Some(from), Some(mut to)) = (names_of_binding(from), names_of_binding(to))
            && parts.starts_with(&from)
        {
            let given = to.len();
            to.extend_from_slice(&parts[from.len()..]);
            readings.push(Pattern { parts: to, given });
        }
    }
    readings
}

/// The paths of a program that is named without one.
pub fn programs(name: &str, bindings: &Bindings) -> Vec<Pattern> {
    let bound = bindings.programs.iter().filter(|(own, _)| own == name);
    let paths = bound.flat_map(|(_, paths)| paths).filter_map(|path| names_of_binding(path));
    paths.map(|parts| Pattern { given: parts.len(), parts }).collect()
}

fn names_of_binding(path: &[u8]) -> Option<Vec<Part>> {
    let rest = path.strip_prefix(b"/")?;
    let names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    Some(names.map(|name| Part::Name(name.to_vec())).collect())
}

fn part(text: &str) -> Part {
    if text == "**" {
        return Part::Deep;
    }
    let mut literal = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return Part::Glob(text.to_owned()),
            '\\' => literal.extend(characters.next()),
            other => literal.push(other),
        }
    }
    Part::Name(literal.into_bytes())
}

/// The names of a canonical path: absolute, no empty, `.` or `..` component, no
/// NUL, no slash at the end. `None` for any other.
pub fn names(path: &[u8]) -> Option<Vec<Name<'_>>> {
    if path == b"/" {
        return Some(Vec::new());
    }
    let names: Vec<&[u8]> = path.strip_prefix(b"/")?.split(|byte| *byte == b'/').collect();
    let is_canonical = names.iter().all(|name| !matches!(*name, b"" | b"." | b"..") && !name.contains(&0));
    is_canonical.then(|| names.into_iter().map(Some).collect())
}

/// Whether the pattern covers the path: as a whole or, where what it matches is
/// covered with everything below, from above.
pub fn covers(pattern: &[Part], path: &[Name<'_>], is_deny: bool) -> bool {
    if let [above @ .., Part::Deep] = pattern {
        return (0..path.len()).any(|length| matches(above, &path[..length]));
    }
    let from = if is_deny || ends_in_a_name(pattern) { 0 } else { path.len() };
    (from..=path.len()).any(|length| matches(pattern, &path[..length]))
}

/// Whether the pattern covers the path, or is for all below it.
pub fn covers_or_lists(pattern: &[Part], path: &[Name<'_>]) -> bool {
    let lists = matches!(pattern, [above @ .., Part::Deep] if matches(above, path));
    lists || covers(pattern, path, false)
}

/// Whether a pattern of an allow covers the path and whatever is below it.
pub fn covers_with_all_below(pattern: &[Part], path: &[Name<'_>]) -> bool {
    (ends_in_a_name(pattern) || pattern.last() == Some(&Part::Deep)) && covers(pattern, path, false)
}

fn ends_in_a_name(pattern: &[Part]) -> bool {
    matches!(pattern.last(), None | Some(Part::Name(_)))
}

/// What of a deny is still to be matched below the path: each number is how many
/// components of the pattern may have been used up. Where two paths leave the same,
/// the deny holds for the same names below both.
pub fn remains(pattern: &[Part], path: &[Name<'_>]) -> Vec<usize> {
    let mut pattern = pattern.to_vec();
    if let Some(last @ Part::Deep) = pattern.last_mut() {
        *last = Part::Glob("*".to_owned());
    }
    let used = (0..=pattern.len()).filter(|used| {
        let continues = pattern.get(*used) == Some(&Part::Deep);
        // A `**` that took a name may take another.
        matches(&pattern[..*used], path) || continues && matches(&pattern[..=*used], path)
    });
    used.collect()
}

/// Whether the deny holds for other names below the path than it would below one whose
/// last name no pattern mentions.
pub fn depends_on_last_name(pattern: &[Part], path: &[Name<'_>]) -> bool {
    let mut elsewhere = path[..path.len().saturating_sub(1)].to_vec();
    elsewhere.push(None);
    let here = remains(pattern, path);
    !here.is_empty() && here != remains(pattern, &elsewhere)
}

/// What of a deny is still to be matched below the path, whichever of its readings led
/// there; what the host gave is at its own place, and nowhere else.
pub fn left(patterns: &[Pattern], path: &[Name<'_>]) -> BTreeSet<(Vec<Part>, Vec<Part>)> {
    let mut left = BTreeSet::new();
    for Pattern { parts, given } in patterns {
        for used in remains(parts, path) {
            let place = if used < *given { parts[..*given].to_vec() } else { Vec::new() };
            left.insert((place, parts[used..].to_vec()));
        }
    }
    left
}

/// Whether something else is left than there would be below a name that no pattern mentions.
pub fn is_left_by_name(patterns: &[Pattern], path: &[Name<'_>]) -> bool {
    let mut elsewhere = path[..path.len().saturating_sub(1)].to_vec();
    elsewhere.push(None);
    let here = left(patterns, path);
    // The root has no name that could be another.
    !here.is_empty() && (path.is_empty() || here != left(patterns, &elsewhere))
}

fn matches(pattern: &[Part], path: &[Name<'_>]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((Part::Deep, rest)) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        Some((first, rest)) => {
            path.split_first().is_some_and(|(name, names)| matches_part(first, *name) && matches(rest, names))
        }
    }
}

fn matches_part(part: &Part, name: Name<'_>) -> bool {
    match (part, name) {
        (Part::Name(own), Some(name)) => own == name,
        (Part::Glob(glob), Some(name)) => matches_glob(glob, name, std::str::from_utf8(name).is_ok()),
        (Part::Glob(glob), None) => glob == "*",
        _ => false,
    }
}

/// Where a name is not UTF-8, `?` and a class stand for one byte of it.
fn matches_glob(glob: &str, name: &[u8], is_text: bool) -> bool {
    let mut characters = glob.chars();
    let Some(first) = characters.next() else { return name.is_empty() };
    let after = characters.as_str();
    let unit = if is_text { first_character(name) } else { name.len().min(1) };
    match first {
        '*' => matches_glob(after, name, is_text) || unit > 0 && matches_glob(glob, &name[unit..], is_text),
        '?' => unit > 0 && matches_glob(after, &name[unit..], is_text),
        '[' => {
            let (is_inside, after) = class(after, std::str::from_utf8(&name[..unit]).unwrap_or_default());
            unit > 0 && is_inside && matches_glob(after, &name[unit..], is_text)
        }
        '\\' => {
            let literal = characters.next().unwrap();
            matches_literal(literal, characters.as_str(), name, is_text)
        }
        literal => matches_literal(literal, after, name, is_text),
    }
}

fn matches_literal(literal: char, after: &str, name: &[u8], is_text: bool) -> bool {
    let mut buffer = [0; 4];
    let literal = literal.encode_utf8(&mut buffer).as_bytes();
    name.strip_prefix(literal).is_some_and(|rest| matches_glob(after, rest, is_text))
}

fn first_character(name: &[u8]) -> usize {
    (1..=name.len()).find(|length| std::str::from_utf8(&name[..*length]).is_ok()).unwrap_or(0)
}

/// Whether the class that `text` begins with, after its bracket, has the character (a
/// byte that is none is in no class but a negated one), and what follows it.
fn class<'t>(text: &'t str, character: &str) -> (bool, &'t str) {
    let mut members: Vec<(char, bool)> = Vec::new();
    let is_negated = text.starts_with('!');
    let mut characters = text[usize::from(is_negated)..].chars();
    loop {
        match characters.next().unwrap() {
            ']' => break,
            '\\' => members.push((characters.next().unwrap(), true)),
            other => members.push((other, false)),
        }
    }
    let mut is_member = false;
    let mut index = 0;
    while index < members.len() {
        let is_range = members.get(index + 1) == Some(&('-', false)) && index + 2 < members.len();
        let (first, last) = (members[index].0, members[if is_range { index + 2 } else { index }].0);
        is_member |= character.chars().any(|character| (first..=last).contains(&character));
        index += if is_range { 3 } else { 1 };
    }
    (is_member != is_negated, characters.as_str())
}
