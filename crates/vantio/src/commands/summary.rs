//! What is said after a run: what changed, what was refused and why, what to type next.

use std::{collections::HashMap, fmt::Write as _, io};

use serde_json::json;
use vantio_phantom::changes::{Change, ChangeKind, ChangeSet, Node};

use super::{
    changes::glance,
    commit::Outcome as Committed,
    why::{what, withheld},
};
use crate::{
    account::Refusal,
    failure::Failure,
    present::{Paint, folded, has_colour, note, plural, shown_rule, width},
    store::{Claim, Outcome, Record, Store},
};

/// A run that ended.
pub struct Summary {
    store: Store,
    record: Record,
    changes: ChangeSet,
    committed: Option<Committed>,
    refusals: Vec<Refusal>,
}

impl Summary {
    /// Gathers what there is to say, and writes down how many changes wait.
    pub fn new(
        store: &Store,
        claim: &mut Claim,
        committed: Option<Committed>,
        refusals: Vec<Refusal>,
    ) -> Result<Self, Failure> {
        let changes = glance(store, &claim.record)?;
        claim.record.pending = Some(changes.changes().len() as u64);
        Ok(Self { store: store.clone(), record: claim.record.clone(), changes, committed, refusals })
    }

    /// Prints to standard error. A run that changed nothing and was refused nothing is
    /// not spoken of.
    pub fn print(&self, as_json: bool) {
        if as_json {
            note(format!("{}\n", self.to_json()));
        } else {
            note(folded(&self.to_text(Paint::for_stream(&io::stderr())), width(io::stderr())));
        }
    }

    /// The summary as text.
    pub fn to_text(&self, paint: Paint) -> String {
        let mut text = String::new();
        self.write_ending(&mut text, paint);
        self.write_commit(&mut text, paint);
        self.write_changes(&mut text, paint);
        self.write_refusals(&mut text, paint);
        self.write_withheld(&mut text, paint);
        self.write_next(&mut text, paint);
        text
    }

    /// How the run is called in what is to be typed next.
    fn short(&self) -> String {
        self.store.short(self.record.id)
    }

    fn write_ending(&self, text: &mut String, paint: Paint) {
        if let Some(sentence) =
            self.record.outcome.and_then(|outcome| outcome.in_words(&self.record.program()))
        {
            say(text, &paint.red(&format!("vantio: {sentence}")));
        }
    }

    /// A program that failed may have missed a key.
    fn write_withheld(&self, text: &mut String, paint: Paint) {
        let has_failed = !matches!(self.record.outcome, Some(Outcome::Exited(0)) | None);
        if let Some(what) = withheld(&self.record).filter(|_| has_failed) {
            say(text, &paint.bold(&format!("vantio: {what}")));
            say(text, &paint.dim("  the policy names in env.allow what a run gets of it"));
        }
    }

    fn write_commit(&self, text: &mut String, paint: Paint) {
        let Some(committed) = self.committed.as_ref().filter(|committed| !committed.is_nothing()) else {
            return;
        };
        say(text, &paint.bold("vantio: the policy commits by itself"));
        committed.to_text(&self.short()).lines().for_each(|line| say(text, &format!("  {line}")));
    }

    fn write_changes(&self, text: &mut String, paint: Paint) {
        let count = self.changes.changes().len();
        if count == 0 {
            return;
        }
        let sentence = match (self.record.commit.as_str(), count) {
            ("never", _) => format!("{}; the policy commits none", plural(count, "change")),
            ("auto", _) if matches!(self.record.outcome, Some(Outcome::Signaled(_))) => {
                let changes = plural(count, "change");
                format!("{changes} to review: what a signal cut off is not committed by itself")
            }
            (_, 1) => "1 change waits for review".to_owned(),
            _ => format!("{count} changes wait for review"),
        };
        say(text, &paint.bold(&format!("vantio: {sentence}")));
        let (tree, deletions) = folded_tree(&self.changes, has_colour(&io::stderr()));
        let most = TREE_LINES.max(deletions + 1);
        tree.iter().take(most).for_each(|line| say(text, &format!("  {line}")));
        let rest = tree.len().saturating_sub(most);
        if rest > 0 {
            say(
                text,
                &paint.dim(&format!("  … {}: vantio diff {}", plural(rest, "more line"), self.short())),
            );
        }
    }

    fn write_refusals(&self, text: &mut String, paint: Paint) {
        let (observed, refused): (Vec<_>, Vec<_>) =
            self.refusals.iter().partition(|refusal| refusal.observed);
        let is_learning = self.record.mode == "learn";
        if is_learning && !observed.is_empty() {
            say(text, &paint.bold(&format!("vantio: {}", watched(observed.len()))));
        }
        let would_be = format!("{} would have been refused", plural(observed.len(), "action"));
        let observed = if is_learning { Vec::new() } else { observed };
        for (sentence, list) in [(plural(refused.len(), "refusal"), refused), (would_be, observed)] {
            if list.is_empty() {
                continue;
            }
            say(text, &paint.bold(&format!("vantio: {sentence}")));
            for refusal in list.iter().take(REFUSAL_LINES) {
                let times = if refusal.count > 1 { format!("  ×{}", refusal.count) } else { String::new() };
                say(text, &format!("  {}{times}", paint.red(&what(refusal))));
                say(text, &paint.dim(&format!("      {}", shown_rule(&refusal.reason))));
            }
            let rest = list.len().saturating_sub(REFUSAL_LINES);
            if rest > 0 {
                say(text, &paint.dim(&format!("  … {rest} more: vantio why {}", self.short())));
            }
        }
    }

    fn write_next(&self, text: &mut String, paint: Paint) {
        let steps = self.next_steps();
        let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
        for (index, (command, purpose)) in steps.iter().enumerate() {
            let lead = if index == 0 { "next:" } else { "     " };
            let gap = " ".repeat(width - command.len());
            say(text, &format!("{lead} {}{gap}  {}", paint.cyan(command), paint.dim(purpose)));
        }
    }

    /// What can be typed next, and what for.
    fn next_steps(&self) -> Vec<(String, &'static str)> {
        if self.changes.is_empty() && self.refusals.is_empty() && self.record.mode != "learn" {
            return Vec::new();
        }
        let short = self.short();
        let mut steps = Vec::new();
        if !self.changes.is_empty() {
            steps.push((format!("vantio diff {short} --patch"), "read the changes"));
            if self.record.commit != "never" {
                let mut changes = self.changes.changes().iter();
                let are_hazards = changes.all(|change| !change.hazards.is_empty());
                let flag = if are_hazards { " --hazards" } else { "" };
                steps.push((format!("vantio commit {short}{flag}"), "keep them"));
            }
            steps.push((format!("vantio discard {short}"), "drop them"));
        }
        if self.record.mode == "learn" {
            steps.push((format!("vantio policy suggest {short}"), "write a policy from what it did"));
        }
        let is_refused = self.refusals.iter().any(|refusal| !refusal.observed);
        let why = format!("vantio why {short}");
        if is_refused {
            steps.push((why, "what was refused, and what would permit it"));
        } else if !self.refusals.is_empty() && self.record.mode != "learn" {
            steps.push((why, "what would have been refused, and what would permit it"));
        }
        steps
    }

    /// The summary for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let count =
            |kind: ChangeKind| self.changes.changes().iter().filter(|change| change.kind == kind).count();
        let kinds = [
            ChangeKind::Added,
            ChangeKind::Modified,
            ChangeKind::Deleted,
            ChangeKind::Renamed,
            ChangeKind::Retyped,
            ChangeKind::Metadata,
        ];
        let kinds: serde_json::Map<_, _> =
            kinds.into_iter().map(|kind| (kind.name().to_owned(), count(kind).into())).collect();
        let id = self.record.id.to_string();
        json!({
            "version": 1,
            "run": id,
            "name": self.record.name,
            "ending": self.record.outcome,
            "policy_hash": self.record.policy_hash,
            "mode": self.record.mode,
            "pending": kinds,
            "commit": self.committed.as_ref().map(|committed| committed.to_json(&id)),
            "refusals": self.refusals,
            "withheld": self.record.withheld,
            "next_steps": self.next_steps().into_iter().map(|(command, _)| command).collect::<Vec<_>>(),
        })
    }
}

/// The lines of the tree, where a folder that was deleted with all that was in it is one, and how many of them are
/// deletions.
fn folded_tree(changes: &ChangeSet, has_colour: bool) -> (Vec<String>, usize) {
    let lines = |changes: &ChangeSet| -> Vec<String> {
        let mut tree = Vec::new();
        // Writing to a Vec cannot fail.
        drop(changes.write_tree(&mut tree, has_colour));
        String::from_utf8_lossy(&tree).lines().map(str::to_owned).collect()
    };
    let folders = deleted_folders(changes);
    let is_deletion = |change: &&Change| change.kind == ChangeKind::Deleted;
    if folders.is_empty() {
        return (lines(changes), changes.changes().iter().filter(is_deletion).count());
    }
    let kept = changes.filtered(|change| !above(&change.path).any(|folder| folders.contains_key(folder)));
    let mut tree = lines(&kept);
    let deleted = kept.changes().iter().filter(is_deletion);
    // Each is a line, after their heading.
    for (line, change) in tree.iter_mut().skip(1).zip(deleted.clone()) {
        if let Some(files) = folders.get(change.path.as_slice()).filter(|files| **files > 0) {
            // Writing to a String cannot fail.
            let _ = write!(line, "  ({})", plural(*files, "file"));
        }
    }
    // The totals are those of all.
    if let (Some(last), Some(total)) = (tree.last_mut(), lines(changes).pop()) {
        *last = total;
    }
    (tree, deleted.count())
}

/// The outermost folders of which nothing is left, and how many files they had.
fn deleted_folders(changes: &ChangeSet) -> HashMap<&[u8], usize> {
    let is_gone = |change: &&Change| change.kind == ChangeKind::Deleted && change.blocked.is_none();
    let is_folder = |change: &Change| change.before.as_ref().is_some_and(Node::is_dir);
    let changes = changes.changes();
    let gone = changes.iter().filter(is_gone).filter(|change| is_folder(change));
    let mut folders: HashMap<&[u8], usize> = gone.map(|change| (change.path.as_slice(), 0)).collect();
    for change in changes.iter().filter(|change| !is_gone(change)) {
        for folder in above(&change.path) {
            folders.remove(folder);
        }
    }
    for change in changes.iter().filter(|change| is_gone(change) && !is_folder(change)) {
        let outermost = above(&change.path).find(|folder| folders.contains_key(folder));
        if let Some(files) = outermost.and_then(|folder| folders.get_mut(folder)) {
            *files += 1;
        }
    }
    folders
}

/// The folders above a path, from the outermost.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}

/// What a run that was watched did beyond its rules, in a clause.
pub fn watched(count: usize) -> String {
    let were = if count == 1 { "was" } else { "were" };
    format!("{} {were} permitted because this run was watched", plural(count, "action"))
}

fn say(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// Lines of the tree in a summary; every deletion is shown all the same.
const TREE_LINES: usize = 40;
/// Refusals in a summary.
const REFUSAL_LINES: usize = 10;
