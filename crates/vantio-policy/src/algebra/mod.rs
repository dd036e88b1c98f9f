//! Containment: whether one rule covers everything that another does.
//!
//! The answer is sound, for every value of the variables: yes is said only where it holds.
//! It is as complete as documents need; where it would take long, the answer is no.

mod hosts;
mod paths;
mod sequence;

use alloc::vec::Vec;

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

/// Whether the list `outer` covers every target that `inner` does on the host of
/// `bindings`, symbolic links and programs' names resolved. Each form of `inner` is covered by
/// one element.
pub(crate) fn list_covers(outer: &[Element<'_>], inner: Element<'_>, bindings: &Bindings) -> bool {
    let is_same = |element: &Element| *element == inner;
    if outer.iter().any(is_same) {
        return true;
    }
    let own = Some(bindings.host_addresses.as_slice());
    let Some(forms) = forms(inner.0, bindings) else {
        return outer.iter().any(|(pattern, sense)| pattern_covers(pattern, *sense, inner.0, inner.1, own));
    };
    let outer: Vec<(Pattern, Sense)> = outer
        .iter()
        .flat_map(|(pattern, sense)| {
            let forms = forms_or_self(pattern, bindings);
            forms.into_iter().map(|form| (form, *sense))
        })
        .collect();
    !forms.is_empty()
        && forms.iter().all(|form| {
            outer.iter().any(|(pattern, sense)| pattern_covers(pattern, *sense, form, inner.1, own))
        })
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

fn forms_or_self(pattern: &Pattern, bindings: &Bindings) -> Vec<Pattern> {
    forms(pattern, bindings).unwrap_or_else(|| Vec::from([pattern.clone()]))
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
