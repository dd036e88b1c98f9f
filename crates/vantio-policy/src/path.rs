//! Path patterns: from text to canonical form, and from there, with the values
//! of the variables, to something that a path can be compared with.

mod miss;

use alloc::{string::String, vec::Vec};

use crate::{
    glob::{self, Glob, Parsed},
    state::Bindings,
};

/// Components from the first wildcard on that one pattern may have: they are
/// the bits of one word in [`Matcher::reach`].
const MAX_TAIL: usize = 60;
/// Bytes that one rule may have, as Linux's `PATH_MAX`.
pub(crate) const MAX_TEXT: usize = 4096;

/// What begins a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Anchor {
    Root,
    Home,
    Workspace,
    Tmp,
}

/// What stands between two slashes of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Component {
    Literal(Vec<u8>),
    Glob(Glob),
    /// `**`: any number of components, none included.
    Deep,
}

/// A pattern over paths, variables unexpanded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathPattern {
    pub(crate) anchor: Anchor,
    pub(crate) components: Vec<Component>,
}

/// Why a text is not a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("a path is empty")]
    Empty,
    #[error("a path begins with `/`, `~/`, a variable or `**/`")]
    Anchor,
    #[error("a path has white space around it")]
    WhiteSpace,
    #[error("a path has a control character in it")]
    Control,
    #[error("a path has `..` in it")]
    DotDot,
    #[error("there is no variable `${{{0}}}`")]
    UnknownVariable(String),
    #[error("a variable is followed by something other than `/`")]
    GluedVariable,
    #[error("a variable is not closed")]
    UnclosedVariable,
    #[error("braces are not supported")]
    Braces,
    #[error("`**` stands beside other characters")]
    GluedStars,
    #[error("a backslash has nothing to escape")]
    TrailingBackslash,
    #[error("`]` has no `[`")]
    StrayBracket,
    #[error("a class is empty")]
    EmptyClass,
    #[error("a class is not closed")]
    UnclosedClass,
    #[error("`^` does not negate a class")]
    CaretClass,
    #[error("a range in a class runs backwards")]
    ReversedRange,
    #[error("a path is longer than {MAX_TEXT} bytes")]
    TooLong,
    #[error("a path has more than {MAX_TAIL} components after its first wildcard")]
    TooManyComponents,
}

impl PathPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        check_text(text)?;
        let (anchor, rest) = split_anchor(text)?;
        let mut components: Vec<Component> = Vec::new();
        for part in rest.split('/') {
            let component = match part {
                "" | "." => continue,
                ".." => return Err(PatternError::DotDot),
                "**" if components.last() == Some(&Component::Deep) => continue,
                "**" => Component::Deep,
                other => match glob::parse(other)? {
                    Parsed::Literal(name) if name == b"." || name == b".." => {
                        return Err(PatternError::DotDot);
                    }
                    Parsed::Literal(name) => Component::Literal(name),
                    Parsed::Glob(glob) => Component::Glob(glob),
                },
            };
            components.push(component);
        }
        let pattern = Self { anchor, components };
        if pattern.components.len() - pattern.literal_length() > MAX_TAIL {
            return Err(PatternError::TooManyComponents);
        }
        Ok(pattern)
    }

    /// The one text that every spelling of this pattern shares.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::from(match self.anchor {
            Anchor::Root => "",
            Anchor::Home => "~",
            Anchor::Workspace => "${workspace}",
            Anchor::Tmp => "${tmp}",
        });
        for (index, component) in self.components.iter().enumerate() {
            let is_floating = index == 0 && self.anchor == Anchor::Root && self.components.len() > 1;
            if !(is_floating && *component == Component::Deep) {
                text.push('/');
            }
            match component {
                Component::Literal(name) => glob::write_literal(name, &mut text),
                Component::Glob(glob) => glob.write(&mut text),
                Component::Deep => text.push_str("**"),
            }
        }
        if text.is_empty() || text == "~" {
            text.push('/');
        }
        text
    }

    /// The path up to the first wildcard, or `None` where the variable that it
    /// begins with has no absolute value. The root is empty.
    pub(crate) fn literal_prefix(&self, bindings: &Bindings) -> Option<Vec<u8>> {
        let mut prefix = match self.anchor {
            Anchor::Root => Vec::new(),
            Anchor::Home => absolute(&bindings.home)?,
            Anchor::Workspace => absolute(&bindings.workspace)?,
            Anchor::Tmp => absolute(&bindings.tmp)?,
        };
        for component in &self.components[..self.literal_length()] {
            if let Component::Literal(name) = component {
                prefix.push(b'/');
                prefix.extend_from_slice(name);
            }
        }
        Some(prefix)
    }

    /// What paths are compared with: one matcher for the pattern as it stands, and
    /// one for each alias that its literal beginning lies in.
    pub(crate) fn matchers(&self, bindings: &Bindings, kind: Kind) -> Vec<Matcher> {
        let prefixes = self.literal_prefixes(bindings).into_iter();
        prefixes.map(|prefix| self.matcher(prefix, kind)).collect()
    }

    /// The pattern without variables, as it stands and for each alias that its literal
    /// beginning lies in; nothing where its variable has no absolute value.
    #[cfg(feature = "document")]
    pub(crate) fn bound(&self, bindings: &Bindings) -> Vec<Self> {
        let tail = &self.components[self.literal_length()..];
        let with_tail = |prefix: Vec<u8>| {
            let mut bound = Self::literal(&prefix);
            bound.components.extend_from_slice(tail);
            bound
        };
        self.literal_prefixes(bindings).into_iter().map(with_tail).collect()
    }

    /// The pattern of one absolute path.
    #[cfg(feature = "document")]
    pub(crate) fn literal(path: &[u8]) -> Self {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let components = names.map(|name| Component::Literal(name.to_vec())).collect();
        Self { anchor: Anchor::Root, components }
    }

    /// [`PathPattern::literal_prefix`], and where each alias that it lies in leads.
    pub(crate) fn literal_prefixes(&self, bindings: &Bindings) -> Vec<Vec<u8>> {
        let Some(prefix) = self.literal_prefix(bindings) else { return Vec::new() };
        let mut prefixes = Vec::from([prefix.clone()]);
        for (from, to) in &bindings.aliases {
            let (Some(from), Some(to)) = (absolute(from), absolute(to)) else { continue };
            if is_within(&prefix, &from) {
                let mut led = to;
                led.extend_from_slice(&prefix[from.len()..]);
                if !prefixes.contains(&led) {
                    prefixes.push(led);
                }
            }
        }
        prefixes
    }

    /// What the pattern begins with.
    pub(crate) const fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// What follows the anchor.
    pub(crate) fn components(&self) -> &[Component] {
        &self.components
    }

    /// Whether there is no wildcard.
    pub(crate) fn is_literal(&self) -> bool {
        self.literal_length() == self.components.len()
    }

    fn matcher(&self, prefix: Vec<u8>, kind: Kind) -> Matcher {
        let mut tail = self.components[self.literal_length()..].to_vec();
        let ends_deep = tail.last() == Some(&Component::Deep);
        if ends_deep {
            tail.pop();
            tail.push(Component::Glob(Glob::anything()));
        }
        let ends_literal = !matches!(tail.last(), Some(Component::Glob(_)));
        let needs = tail.iter().fold(fingerprints(&prefix), |needs, component| match component {
            Component::Literal(name) => needs | fingerprint(name),
            _ => needs,
        });
        let covers_below = ends_literal || ends_deep || kind == Kind::Deny;
        Matcher { prefix, tail, covers_below, ends_deep, needs }
    }

    fn literal_length(&self) -> usize {
        self.components.iter().take_while(|component| matches!(component, Component::Literal(_))).count()
    }
}

fn check_text(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        Err(PatternError::Empty)
    } else if text.len() > MAX_TEXT {
        Err(PatternError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(PatternError::Control)
    } else if without_space(text) != text {
        Err(PatternError::WhiteSpace)
    } else {
        Ok(())
    }
}

/// A text without white space around it, nor before the slashes and dots at its end, which mean
/// nothing: its canonical form would end with it.
pub(crate) fn without_space(mut text: &str) -> &str {
    loop {
        text = text.trim();
        let mut name = text;
        while let Some(rest) = name.strip_suffix('/').or_else(|| name.strip_suffix("/.")) {
            name = rest;
        }
        if !name.ends_with(char::is_whitespace) {
            return text;
        }
        text = name;
    }
}

fn split_anchor(text: &str) -> Result<(Anchor, &str), PatternError> {
    if let Some(rest) = text.strip_prefix("~/") {
        return Ok((Anchor::Home, rest));
    }
    if text.starts_with('/') || text.starts_with("**/") {
        return Ok((Anchor::Root, text));
    }
    let after = text.strip_prefix("${").ok_or(PatternError::Anchor)?;
    let (name, rest) = after.split_once('}').ok_or(PatternError::UnclosedVariable)?;
    let anchor = match name {
        "home" => Anchor::Home,
        "workspace" => Anchor::Workspace,
        "tmp" => Anchor::Tmp,
        other => return Err(PatternError::UnknownVariable(other.into())),
    };
    if rest.is_empty() || rest.starts_with('/') {
        Ok((anchor, rest))
    } else {
        Err(PatternError::GluedVariable)
    }
}

/// An absolute path without its trailing slashes, so that the root is empty.
pub(crate) fn absolute(path: &[u8]) -> Option<Vec<u8>> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    Some(path[..end].to_vec())
}

/// Whether `path` is `ancestor` or lies below it; both without trailing slash.
pub(crate) fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// What a list does with the paths that its patterns match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Allow,
    Deny,
}

/// A pattern whose variables have values.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    /// Literal beginning, without trailing slash.
    prefix: Vec<u8>,
    /// What follows; a final `**` is written as `*` here.
    tail: Vec<Component>,
    /// Whether everything below a match is covered too.
    covers_below: bool,
    /// Whether the pattern ended in `**`.
    ends_deep: bool,
    /// The fingerprints of the literal components: what a covered path must have.
    needs: u64,
}

/// How far a path leads into a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Neither the path nor anything below it can match.
    Apart,
    /// The path is an ancestor, this many bytes long, of the literal beginning.
    Above(usize),
    /// Bit `i` is set when the path may stand before component `i` of the tail; the
    /// bit after the last component means a match.
    Inside(u64),
    /// An ancestor matched and covers the path.
    Below,
}

impl Matcher {
    /// A matcher of one path and what is below it.
    pub(crate) fn literal(prefix: Vec<u8>) -> Self {
        let needs = fingerprints(&prefix);
        Self { prefix, tail: Vec::new(), covers_below: true, ends_deep: false, needs }
    }

    /// Whether the path is covered.
    pub(crate) fn covers(&self, path: &CanonicalPath) -> bool {
        self.needs & !path.fingerprint == 0
            && match self.reach(path.bytes) {
                Reach::Below => true,
                Reach::Inside(bits) => bits & self.accept() != 0,
                _ => false,
            }
    }

    /// Whether the path is covered, or is the directory that a final `**` stands in.
    pub(crate) fn covers_or_lists(&self, path: &CanonicalPath) -> bool {
        self.needs & !path.fingerprint == 0
            && match self.reach(path.bytes) {
                Reach::Below => true,
                Reach::Inside(bits) => {
                    bits & (self.accept() | if self.ends_deep { self.accept() >> 1 } else { 0 }) != 0
                }
                _ => false,
            }
    }

    /// Whether the path and everything below it is covered.
    pub(crate) fn covers_subtree(&self, path: &CanonicalPath) -> bool {
        self.covers_below && self.covers(path)
    }

    /// Whether the pattern matches other names below `path` than it would if the last
    /// component had a name that no pattern mentions.
    pub(crate) fn depends_on_name(&self, path: &CanonicalPath) -> bool {
        match (self.reach(path.bytes), self.reach(path.parent().bytes)) {
            (Reach::Apart, _) => false,
            (Reach::Inside(bits), Reach::Inside(above)) => bits != self.step_any(above),
            _ => true,
        }
    }

    /// How far `path` (without trailing slash) leads into the pattern.
    pub(crate) fn reach(&self, path: &[u8]) -> Reach {
        let Some(rest) = path.strip_prefix(self.prefix.as_slice()) else {
            let is_above = is_within(&self.prefix, path);
            return if is_above { Reach::Above(path.len()) } else { Reach::Apart };
        };
        if rest.first().is_some_and(|byte| *byte != b'/') {
            return Reach::Apart;
        }
        let mut bits = self.skip_deep(1);
        for name in rest.split(|byte| *byte == b'/').skip(1) {
            if bits & self.accept() != 0 && self.covers_below {
                return Reach::Below;
            }
            bits = self.step(bits, name);
            if bits == 0 {
                return Reach::Apart;
            }
        }
        Reach::Inside(bits)
    }

    /// The literal beginning; the root is empty.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether there is no wildcard.
    #[cfg(feature = "document")]
    pub(crate) fn is_literal(&self) -> bool {
        self.tail.is_empty()
    }

    fn accept(&self) -> u64 {
        1 << self.tail.len()
    }

    fn step(&self, bits: u64, name: &[u8]) -> u64 {
        let mut next = 0;
        for (index, component) in self.tail.iter().enumerate() {
            if bits & 1 << index == 0 {
                continue;
            }
            next |= match component {
                Component::Deep => 1 << index,
                Component::Literal(literal) if literal == name => 2 << index,
                Component::Glob(glob) if glob.matches(name) => 2 << index,
                _ => 0,
            };
        }
        self.skip_deep(next)
    }

    /// The positions after a name that matches nothing but `*` and `**`.
    fn step_any(&self, bits: u64) -> u64 {
        let mut next = 0;
        for (index, component) in self.tail.iter().enumerate() {
            if bits & 1 << index != 0 {
                next |= match component {
                    Component::Deep => 1 << index,
                    Component::Glob(glob) if glob.is_anything() => 2 << index,
                    _ => 0,
                };
            }
        }
        self.skip_deep(next)
    }

    /// Adds the positions reached by letting each `**` stand for nothing.
    fn skip_deep(&self, mut bits: u64) -> u64 {
        for (index, component) in self.tail.iter().enumerate() {
            if bits & 1 << index != 0 && *component == Component::Deep {
                bits |= 2 << index;
            }
        }
        bits
    }
}

/// An absolute path without empty, `.` and `..` components, NUL and trailing slash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CanonicalPath<'a> {
    /// The bytes; the root is empty.
    pub(crate) bytes: &'a [u8],
    /// The union of the components' fingerprints.
    fingerprint: u64,
}

impl<'a> CanonicalPath<'a> {
    /// `None` when the path is not canonical.
    pub(crate) fn new(path: &'a [u8]) -> Option<Self> {
        if path == b"/" {
            return Some(Self { bytes: b"", fingerprint: 0 });
        }
        let rest = path.strip_prefix(b"/")?;
        let mut all = 0;
        for name in rest.split(|byte| *byte == b'/') {
            if matches!(name, b"" | b"." | b"..") || name.contains(&0) {
                return None;
            }
            all |= fingerprint(name);
        }
        Some(Self { bytes: path, fingerprint: all })
    }

    /// The directory that the path stands in; the root's is the root.
    pub(crate) fn parent(self) -> Self {
        let end = self.bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        // A larger fingerprint than the parent's own only costs time.
        Self { bytes: &self.bytes[..end], fingerprint: self.fingerprint }
    }
}

/// The union over the components of a path.
fn fingerprints(path: &[u8]) -> u64 {
    path.split(|byte| *byte == b'/').skip(1).fold(0, |all, name| all | fingerprint(name))
}

/// One bit of 64 for a name: a path can only match a literal whose bit it has.
fn fingerprint(name: &[u8]) -> u64 {
    let first = name.first().copied().unwrap_or_default();
    let last = name.last().copied().unwrap_or_default();
    let sum = usize::from(first) * 7 + usize::from(last) * 3 + name.len() % 64;
    1 << (sum % 64)
}
