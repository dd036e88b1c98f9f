//! What a commit was asked for, to ask for it again.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use vantio_phantom::changes::{Change, ChangeSet};

use super::{Outcome, hunks};
use crate::{arguments::Commit, commands::pick::Asked, failure::Failure, present::for_shell};

/// The words of a command line that name what of `asked` waits still. What does not wait any more is no change, and the
/// numbers of its hunks are those of others now.
pub(super) fn waiting(
    arguments: &Commit,
    asked: &Asked,
    changes: &ChangeSet,
    outcome: &Outcome,
) -> Result<Vec<String>, Failure> {
    let left: HashSet<&[u8]> = outcome.left().collect();
    let left: Vec<&Change> =
        changes.changes().iter().filter(|change| left.contains(change.path.as_slice())).collect();
    let waits = |asked: &Asked| left.iter().any(|change| asked.covers(change));
    let mut words = Vec::new();
    let is_held = |path: &[u8]| outcome.report.held.iter().any(|held| held.path == path);
    for text in hunks::naming(&arguments.hunks, changes, is_held)? {
        words.extend(["--hunks".to_owned(), word(text)]);
    }
    let named: Vec<String> =
        each(arguments, asked).filter(|(_, asked)| waits(asked)).map(|(text, _)| word(text)).collect();
    if arguments.glob && !named.is_empty() {
        words.push("--glob".into());
    }
    for word in named {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words)
}

/// Each path or pattern as it was typed, and what it asks for. Among patterns no path can stand.
fn each<'a>(arguments: &'a Commit, asked: &'a Asked) -> impl Iterator<Item = (&'a OsStr, Asked)> {
    let Commit { paths, theirs, ours, merge, .. } = arguments;
    let patterns = asked.patterns.iter().map(|pattern| pattern_alone(pattern));
    let literal = asked.paths.iter().map(|path| path_alone(path));
    let typed = paths.iter().chain(theirs).chain(ours).chain(merge).map(|path| path.as_os_str());
    let meant: Vec<Asked> = if arguments.glob { patterns.collect() } else { literal.collect() };
    typed.zip(meant)
}

fn path_alone(path: &[u8]) -> Asked {
    Asked { paths: vec![path.to_vec()], ..Asked::default() }
}

fn pattern_alone(pattern: &[u8]) -> Asked {
    Asked { patterns: vec![pattern.to_vec()], ..Asked::default() }
}

/// A word that is no option.
fn word(text: &OsStr) -> String {
    let mut word = OsString::from(if text.as_bytes().starts_with(b"-") { "./" } else { "" });
    word.push(text);
    for_shell(word.as_bytes())
}
