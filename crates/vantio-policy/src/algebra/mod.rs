//! Containment: whether one rule covers everything that another does.
//!
//! The answer is sound, for every value of the variables: yes is said only where it holds.
//! It is as complete as documents need; where it would take long, the answer is no.

mod difference;
mod hosts;
mod inclusion;
mod paths;
mod sequence;

pub use difference::{Change, Difference, differences};
pub(crate) use difference::{caution, reticence, strictness};

use alloc::{borrow::Cow, vec::Vec};

use crate::{
    env::NamePattern,
    glob::{Glob, Token},
    net::NetPattern,
    path::{CanonicalPath, Kind, PathPattern},
    rule::Pattern,
    state::Bindings,
};

/// What a pattern stands for in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sense {
    /// What it permits to write, to execute, to reach.
    Allow,
    /// What it permits to read: a final `**` lets its own folder be listed too.
    Listing,
    /// What it refuses.
    Deny,
}

/// Whether `outer` covers every target that `inner` does, whatever the host is like.
pub(crate) fn covers(outer: &Pattern, outer_sense: Sense, inner: &Pattern, inner_sense: Sense) -> bool {
    pattern_covers(outer, outer_sense, inner, inner_sense, None)
}

/// A pattern in a list of this sense.
pub(crate) type Element<'p> = (&'p Pattern, Sense);

/// A list on one host: symbolic links and programs' names resolved.
pub(crate) struct Cover<'p> {
    /// Ascending.
    elements: Vec<Element<'p>>,
    forms: Vec<(Cow<'p, Pattern>, Sense)>,
    bindings: &'p Bindings,
}

impl<'p> Cover<'p> {
    pub(crate) fn new(elements: impl Iterator<Item = Element<'p>>, bindings: &'p Bindings) -> Self {
        let mut elements: Vec<Element> = elements.collect();
        elements.sort_unstable();
        let mut all = Vec::with_capacity(elements.len());
        for (pattern, sense) in &elements {
            match forms(pattern, bindings) {
                None => all.push((Cow::Borrowed(*pattern), *sense)),
                Some(forms) => all.extend(forms.into_iter().map(|form| (Cow::Owned(form), *sense))),
            }
        }
        Self { elements, forms: all, bindings }
    }

    /// Whether the list covers every target that `inner` does on this host: each form of
    /// `inner` is covered by one element. A program that this host does not have is covered
    /// only by its own name.
    pub(crate) fn covers(&self, inner: Element<'_>) -> bool {
        if self.elements.binary_search(&inner).is_ok() {
            return true;
        }
        let own = Some(self.bindings.host_addresses.as_slice());
        let (inner, inner_sense) = inner;
        let Some(forms) = forms(inner, self.bindings) else {
            let mut elements = self.elements.iter();
            return elements.any(|(outer, sense)| pattern_covers(outer, *sense, inner, inner_sense, own));
        };
        let is_covered = |form: &Pattern| {
            self.forms.iter().any(|(outer, sense)| pattern_covers(outer, *sense, form, inner_sense, own))
        };
        !forms.is_empty() && forms.iter().all(is_covered)
    }
}

/// Whether `outer` covers every name of a variable that `inner` does.
pub(crate) fn variable_covers(outer: &NamePattern, inner: &NamePattern) -> bool {
    sequence::glob_covers(&variable_glob(outer), &variable_glob(inner))
}

fn variable_glob(pattern: &NamePattern) -> Glob {
    let literal = || Glob(Vec::from([Token::Literal(pattern.text.clone().into_bytes())]));
    pattern.glob.clone().unwrap_or_else(literal)
}

fn pattern_covers(
    outer: &Pattern,
    outer_sense: Sense,
    inner: &Pattern,
    inner_sense: Sense,
    own: Option<&[core::net::IpAddr]>,
) -> bool {
    match (outer, inner) {
        (Pattern::Path(outer), Pattern::Path(inner)) => paths::covers(outer, outer_sense, inner, inner_sense),
        (Pattern::Program(outer), Pattern::Program(inner)) => outer == inner,
        (Pattern::Net(outer), Pattern::Net(inner)) => {
            hosts::covers(outer, outer_sense, inner, inner_sense, own)
        }
        (Pattern::Named(outer), Pattern::Named(inner)) => sequence::text_covers(&outer.0, &inner.0),
        _ => false,
    }
}

/// What a pattern of paths is on a host: `None` for what is the same on every one, or where
/// the host does not say.
fn forms(pattern: &Pattern, bindings: &Bindings) -> Option<Vec<Pattern>> {
    let forms: Vec<Pattern> = match pattern {
        Pattern::Path(path) => path.bound(bindings).into_iter().map(Pattern::Path).collect(),
        Pattern::Net(NetPattern::Unix(path)) => {
            let forms = path.bound(bindings).into_iter();
            forms.map(|path| Pattern::Net(NetPattern::Unix(path))).collect()
        }
        Pattern::Program(name) => {
            let (_, paths) = bindings.programs.iter().find(|(bound, _)| bound == name)?;
            let paths = paths.iter().filter(|path| CanonicalPath::new(path).is_some());
            return Some(paths.map(|path| Pattern::Path(PathPattern::literal(path))).collect());
        }
        Pattern::Net(NetPattern::Endpoint(_)) | Pattern::Named(_) => return None,
    };
    // A variable without value.
    (!forms.is_empty()).then_some(forms)
}

impl From<Kind> for Sense {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Allow => Self::Allow,
            Kind::Deny => Self::Deny,
        }
    }
}

#[cfg(test)]
mod tests;
