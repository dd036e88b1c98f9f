//! `vantio commit --interactive`: one question for each change, and for each hunk of a text.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, IsTerminal as _},
    ops::Range,
};

use vantio_phantom::{
    changes::{Change, ChangeKind, Hunks},
    commit::{Conflict, Offer},
};

use super::{
    Review,
    list::{Decision, List, title},
    part,
};
use crate::{
    commands::{offered, paint_line},
    failure::Failure,
    present::{self, Paint},
};

/// What a person says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// Yes, and to all that is left of the file or folder.
    All,
    /// No, and to all that is left of it.
    Done,
    Split,
    Merge,
    Run,
    Host,
    Quit,
    Help,
}

/// Asks about every change of the list; false when the answers ended without an end.
pub(super) fn ask(review: &Review<'_>, list: &mut List<'_>) -> Result<bool, Failure> {
    let mut answers = io::stdin().lock().lines();
    let mut next = move || answers.next().transpose().ok().flatten();
    let count = list.rows().len();
    for index in 0..count {
        list.selected = index;
        let Some(change) = list.current() else { break };
        if list.decision() != Decision::Open || change.blocked.is_some() {
            continue;
        }
        let title = title(change, &Decision::Open, list.folder());
        present::print(format!("({}/{count}) {}\n", index + 1, title.trim_start()))?;
        for hazard in &change.hazards {
            present::print(format!("! {}\n", hazard.reason()))?;
        }
        let decided = match (review.conflict(change), review.hunks(change)?) {
            (Some(conflict), _) => ask_conflict(review, change, conflict, &mut next)?,
            (None, Some(hunks)) => ask_hunks(change, &hunks, &mut next)?,
            (None, None) => ask_whole(review, change, &mut next)?,
        };
        match decided {
            Decided::Cut => return Ok(false),
            Decided::Quit(decision) => {
                list.set(decision);
                return Ok(true);
            }
            Decided::One(decision) => list.set(decision),
            Decided::WithAllBelow(decision) => list.decide(&decision),
        }
    }
    Ok(true)
}

enum Decided {
    One(Decision),
    WithAllBelow(Decision),
    /// The last one.
    Quit(Decision),
    /// Nobody answers any more.
    Cut,
}

fn ask_whole(
    review: &Review<'_>,
    change: &Change,
    next: &mut impl FnMut() -> Option<String>,
) -> Result<Decided, Failure> {
    show(&review.patch(change)?)?;
    let metadata = change.metadata();
    // A patch of a rename has nothing of it.
    if change.kind == ChangeKind::Renamed && !metadata.is_empty() {
        present::print(format!("also: {metadata}\n"))?;
    }
    let node = change.after.as_ref().or(change.before.as_ref());
    let is_dir = node.is_some_and(vantio_phantom::changes::Node::is_dir);
    let what = if change.kind == ChangeKind::Deleted { "deletion" } else { "change" };
    let keys = if is_dir { "ynadq?" } else { "ynq?" };
    Ok(match question(&format!("Commit this {what}"), keys, next)? {
        None => Decided::Cut,
        Some(Answer::Yes) => Decided::One(Decision::Accepted),
        Some(Answer::All) => Decided::WithAllBelow(Decision::Accepted),
        Some(Answer::Done) => Decided::WithAllBelow(Decision::Rejected),
        Some(Answer::Quit) => Decided::Quit(Decision::Open),
        Some(_) => Decided::One(Decision::Rejected),
    })
}

fn ask_conflict(
    review: &Review<'_>,
    change: &Change,
    conflict: &Conflict,
    next: &mut impl FnMut() -> Option<String>,
) -> Result<Decided, Failure> {
    present::print(format!("conflict: {}\n{}\n", conflict.reason.text(), offered(conflict).join("\n")))?;
    show(&review.patch(change)?)?;
    let (question_text, keys) = match conflict.offer {
        Offer::Clean => ("Merge, take the run's, keep the host's, or leave it", "mtonq?"),
        Offer::Overlapping(_) => {
            ("Merge with conflict markers, take the run's, keep the host's, or leave it", "mtonq?")
        }
        Offer::Impossible(_) if !conflict.can_be_forced => ("Keep the host's, or leave it", "onq?"),
        Offer::Impossible(_) => ("Take the run's, keep the host's, or leave it", "tonq?"),
    };
    Ok(match question(question_text, keys, next)? {
        None => Decided::Cut,
        Some(Answer::Merge) if conflict.offer == Offer::Clean => Decided::One(Decision::Merged),
        Some(Answer::Merge) => Decided::One(Decision::Marked),
        Some(Answer::Run) => Decided::One(Decision::Theirs),
        Some(Answer::Host) => Decided::One(Decision::Ours),
        Some(Answer::Quit) => Decided::Quit(Decision::Open),
        Some(_) => Decided::One(Decision::Rejected),
    })
}

fn ask_hunks(
    change: &Change,
    hunks: &Hunks,
    next: &mut impl FnMut() -> Option<String>,
) -> Result<Decided, Failure> {
    let metadata = change.metadata();
    if !metadata.is_empty() {
        present::print(format!("also: {metadata}\n"))?;
    }
    let mut is_all = metadata.is_empty();
    let mut waiting: Vec<Range<usize>> = hunks.hunks().iter().rev().cloned().collect();
    let mut chosen = BTreeSet::new();
    let mut has_quit = false;
    while let Some(pieces) = waiting.pop() {
        show(&hunks.text(&pieces))?;
        let keys = if pieces.len() > 1 { "ynadsq?" } else { "ynadq?" };
        match question("Commit this hunk", keys, next)? {
            None => return Ok(Decided::Cut),
            Some(Answer::Yes) => chosen.extend(pieces),
            Some(Answer::All) => {
                chosen.extend(pieces);
                chosen.extend(waiting.drain(..).flatten());
                is_all = true;
            }
            Some(Answer::Split) => waiting.extend(pieces.rev().map(|piece| piece..piece + 1)),
            Some(Answer::Done) => waiting.clear(),
            Some(Answer::Quit) => {
                has_quit = true;
                waiting.clear();
            }
            Some(_) => {}
        }
    }
    // It goes with the whole of the text alone.
    if chosen.len() == hunks.pieces() && !is_all {
        match question(&format!("Commit {metadata} too"), "ynq?", next)? {
            None => return Ok(Decided::Cut),
            Some(Answer::Yes) => is_all = true,
            answer => has_quit = answer == Some(Answer::Quit),
        }
    }
    let decision = part(chosen, hunks, !is_all);
    Ok(if has_quit { Decided::Quit(decision) } else { Decided::One(decision) })
}

/// Asks until there is an answer that is one; `None` where nobody answers.
fn question(
    text: &str,
    keys: &str,
    next: &mut impl FnMut() -> Option<String>,
) -> Result<Option<Answer>, Failure> {
    let listed: Vec<String> = keys.chars().map(String::from).collect();
    loop {
        let paint = Paint::for_stream(&io::stdout());
        present::print(paint.bold(&format!("{text} [{}]? ", listed.join(","))))?;
        let Some(line) = next() else {
            present::print("\n")?;
            return Ok(None);
        };
        if !io::stdin().is_terminal() {
            present::print("\n")?;
        }
        match line.trim().chars().next().filter(|key| keys.contains(*key)).map(answer) {
            Some(Answer::Help) | None => {
                for (key, what) in HELP.iter().filter(|(key, _)| keys.contains(*key)) {
                    present::print(format!("{key} - {what}\n"))?;
                }
            }
            answer => return Ok(answer),
        }
    }
}

fn answer(key: char) -> Answer {
    match key {
        'y' => Answer::Yes,
        'n' => Answer::No,
        'a' => Answer::All,
        'd' => Answer::Done,
        's' => Answer::Split,
        'm' => Answer::Merge,
        't' => Answer::Run,
        'o' => Answer::Host,
        'q' => Answer::Quit,
        _ => Answer::Help,
    }
}

/// Prints a patch so that a terminal obeys nothing in it.
fn show(patch: &[u8]) -> Result<(), Failure> {
    let paint = Paint::for_stream(&io::stdout());
    let text = patch.strip_suffix(b"\n").unwrap_or(patch);
    if text.is_empty() {
        return Ok(());
    }
    let lines = text.split(|byte| *byte == b'\n').map(|line| paint_line(paint, line));
    present::print(lines.collect::<Vec<_>>().join("\n") + "\n")
}

const HELP: [(char, &str); 10] = [
    ('y', "commit it"),
    ('n', "leave it"),
    ('a', "commit it, and all that is left of this file or folder but hazards"),
    ('d', "leave it, and all that is left of this file or folder"),
    ('s', "ask about smaller parts of it"),
    ('m', "commit a merge of what the host and the run have"),
    ('t', "commit what the run has over what the host has"),
    ('o', "keep what the host has, and drop the run's change"),
    ('q', "leave it and all that comes after it, and commit what was said yes to"),
    ('?', "this help"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_help_fits_a_terminal() {
        let wide = HELP.iter().find(|(_, what)| what.len() + 4 > 80);
        assert_eq!(wide, None);
    }
}
