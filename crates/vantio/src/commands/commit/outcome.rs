//! What a commit did and left, told.

use std::fmt::Write as _;

use serde_json::json;
use vantio_phantom::{
    changes::{Blocked, Escaped, PathBytes},
    commit::{CommitReport, Conflict, Held, Lines, Offer, Overlap, Unmoved},
};

use super::Outcome;
use crate::present::for_shell;

impl Outcome {
    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.report.is_nothing_pending() && self.hazards.is_empty()
    }

    /// Whether everything that was asked for is done.
    pub fn is_complete(&self) -> bool {
        !self.report.is_incomplete() && self.hazards.is_empty()
    }

    /// What was done and what was left, for a person.
    pub fn to_text(&self, short: &str) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let report = &self.report;
        if !report.committed.is_empty() {
            line(format!("committed {}", paths(report.committed.len())));
        }
        for path in &report.merged {
            line(format!("  merged: {}", Escaped(path)));
        }
        for path in &report.partly {
            let unmoved = report.unmoved.iter().find(|unmoved| unmoved.path == *path);
            line(match unmoved {
                None => format!("committed some hunks of {}: the others wait", Escaped(path)),
                Some(Unmoved { what, leaves_hunks: true, .. }) => {
                    format!("committed some hunks of {}: the others wait, and {what}", Escaped(path))
                }
                Some(Unmoved { what, .. }) => {
                    format!("committed the hunks of {}: still waiting: {what}", Escaped(path))
                }
            });
        }
        if !report.dropped.is_empty() {
            line(format!("dropped {}: the host's stay", paths(report.dropped.len())));
        }
        match self.forgotten {
            0 => {}
            1 => line("dropped its checkpoint: it was from before this commit".into()),
            count => line(format!("dropped its {count} checkpoints: they were from before this commit")),
        }
        for path in &report.along {
            let looks = report.looks.get(path).map_or_else(String::new, |what| format!("  ({what})"));
            line(format!("  came along: {}{looks}", Escaped(path)));
        }
        if !report.unkept.is_empty() {
            let count = paths(report.unkept.len());
            line(format!(
                "{count} cannot be taken back: what was there is not kept on another mount than the state folder's (VANTIO_STATE)"
            ));
        }
        for path in report.unkept.iter().take(UNKEPT_LINES) {
            line(format!("  not kept: {}", Escaped(path)));
        }
        if report.unkept.len() > UNKEPT_LINES {
            line(format!("  … and {} more: --json names them", report.unkept.len() - UNKEPT_LINES));
        }
        for conflict in &report.conflicts {
            line(format!("conflict: {conflict}"));
            offered(conflict).into_iter().for_each(&mut line);
            if self.parts.contains(&conflict.path) {
                line("  it is settled whole, not by hunks".into());
            }
        }
        if let Some(conflict) = report.conflicts.iter().find(|conflict| conflict.can_be_forced) {
            let command = self.settling(short, "--theirs", &conflict.path, "");
            line(format!("  to take the run's:   {command}"));
        }
        if let Some(conflict) = report.conflicts.first() {
            let command = self.settling(short, "--ours", &conflict.path, "");
            line(format!("  to keep the host's:  {command}"));
        }
        let has =
            |wanted: fn(&Offer) -> bool| report.conflicts.iter().find(|conflict| wanted(&conflict.offer));
        if let Some(conflict) = has(|offer| *offer == Offer::Clean) {
            let command = self.settling(short, "--merge", &conflict.path, "");
            line(format!("  to take both:        {command}"));
        }
        if let Some(conflict) = has(|offer| matches!(offer, Offer::Overlapping(_))) {
            let command = self.settling(short, "--merge", &conflict.path, " --markers");
            line(format!("  to mark the lines:   {command}"));
        }
        for held in &report.held {
            line(format!("waits: {} needs {}", Escaped(&held.path), Escaped(&held.on)));
        }
        for (path, reasons) in self.hazards.iter().take(HAZARD_LINES) {
            line(format!("hazard: {}: {}", Escaped(path), reasons.join(", ")));
        }
        if self.hazards.len() > HAZARD_LINES {
            line(format!("  … {} more hazards: vantio diff {short}", self.hazards.len() - HAZARD_LINES));
        }
        if let Some((path, _)) = self.hazards.first() {
            line(format!("  to commit one, name it:  vantio commit {short} {}", for_shell(path)));
            if let Some(command) = self.with_hazards(short) {
                line(format!("  to commit all of them:   {command}"));
            }
        }
        for (path, blocked) in &report.never {
            line(format!("never committed: {}: {}", Escaped(path), blocked.reason()));
        }
        text
    }

    /// The same, for a program.
    pub fn to_json(&self, run: &str) -> serde_json::Value {
        let report = &self.report;
        let conflicts = report.conflicts.iter().map(|conflict| {
            json!({
                "path": path_json(&conflict.path),
                "reason": conflict.reason.text(),
                "merge": offer_json(&conflict.offer),
            })
        });
        let hazards = self.hazards.iter().map(|(path, reasons)| hazard_json(path, reasons));
        let never = report.never.iter().map(|(path, blocked)| never_json(path, *blocked));
        json!({
            "run": run,
            "committed": paths_json(&report.committed),
            "along": paths_json(&report.along),
            "merged": paths_json(&report.merged),
            "partly": paths_json(&report.partly),
            "unmoved": paths_json(report.unmoved.iter().map(|unmoved| &unmoved.path)),
            "dropped": paths_json(&report.dropped),
            "unkept": paths_json(&report.unkept),
            "conflicts": conflicts.collect::<serde_json::Value>(),
            "held": held_json(&report.held),
            "hazards": hazards.collect::<serde_json::Value>(),
            "never": never.collect::<serde_json::Value>(),
            "pending": self.pending,
        })
    }

    /// What was asked for and waits still.
    pub(super) fn left(&self) -> impl Iterator<Item = &[u8]> {
        let CommitReport { conflicts, held, .. } = &self.report;
        let conflicts = conflicts.iter().map(|conflict| &conflict.path);
        let left = conflicts.chain(held.iter().map(|held| &held.path));
        left.chain(self.hazards.iter().map(|(path, _)| path)).map(Vec::as_slice)
    }

    /// Settles the conflict at `path` and brings, of all else, what was asked for.
    fn settling(&self, short: &str, way: &str, path: &[u8], more: &str) -> String {
        let path = for_shell(path);
        let rest = match self.scope.as_deref() {
            None => String::new(),
            // Named itself, it is all that is asked for.
            Some([]) => format!(" {path}"),
            Some(words) => format!(" {}", words.join(" ")),
        };
        format!("vantio commit {short} {way} {path}{more}{rest}")
    }

    /// Brings the hazards that were asked for; `None` where no words ask for them alone.
    fn with_hazards(&self, short: &str) -> Option<String> {
        match self.scope.as_deref() {
            None => Some(format!("vantio commit {short} --hazards")),
            Some([]) => None,
            Some(words) => Some(format!("vantio commit {short} --hazards {}", words.join(" "))),
        }
    }
}

/// What a merge would make of a conflict, for a person.
pub fn offered(conflict: &Conflict) -> Vec<String> {
    match &conflict.offer {
        Offer::Clean => vec!["  a merge has what both changed".into()],
        Offer::Impossible(_) if !conflict.can_be_forced => {
            vec!["  the run gave it another name only, so nothing of it is left to take".into()]
        }
        Offer::Impossible(why) => vec![format!("  no merge: {why}")],
        Offer::Overlapping(overlaps) => {
            let mut lines: Vec<String> = overlaps.iter().take(OVERLAPS).map(overlap).collect();
            if overlaps.len() > OVERLAPS {
                lines.push(format!("  … and lines in {} more places", overlaps.len() - OVERLAPS));
            }
            lines
        }
    }
}

fn overlap(overlap: &Overlap) -> String {
    let side = |lines: &Lines| match lines.text.first() {
        None => "nothing".to_owned(),
        Some(line) => {
            let text = Escaped(line.trim_ascii_end()).to_string();
            let short: String = text.chars().take(LONGEST_LINE).collect();
            let cut = if lines.text.len() > 1 || short.len() < text.len() { " …" } else { "" };
            format!("`{short}`{cut}")
        }
    };
    let line = overlap.host.first;
    format!(
        "  both changed line {line}: the host has {}, the run {}",
        side(&overlap.host),
        side(&overlap.run)
    )
}

fn offer_json(offer: &Offer) -> serde_json::Value {
    let lines = |lines: &Lines| {
        let text: Vec<_> = lines.text.iter().map(|line| path_json(line)).collect();
        json!({ "first": lines.first, "lines": text })
    };
    match offer {
        Offer::Clean => json!({ "state": "clean" }),
        Offer::Impossible(why) => json!({ "state": "impossible", "why": why.to_string() }),
        Offer::Overlapping(overlaps) => {
            let places = overlaps.iter().map(|overlap| {
                json!({ "before": lines(&overlap.before), "host": lines(&overlap.host), "run": lines(&overlap.run) })
            });
            json!({ "state": "overlapping", "overlaps": places.collect::<serde_json::Value>() })
        }
    }
}

/// What waits for another, or stays with it.
pub fn held_json(held: &[Held]) -> serde_json::Value {
    held.iter().map(|held| json!({ "path": path_json(&held.path), "on": path_json(&held.on) })).collect()
}

/// What is left because of a hazard.
pub fn hazard_json(path: &[u8], reasons: &[&str]) -> serde_json::Value {
    json!({ "path": path_json(path), "reasons": reasons })
}

/// What is never committed.
pub fn never_json(path: &[u8], blocked: Blocked) -> serde_json::Value {
    json!({ "path": path_json(path), "reason": blocked })
}

pub fn paths_json<'a>(paths: impl IntoIterator<Item = &'a Vec<u8>>) -> serde_json::Value {
    paths.into_iter().map(|path| path_json(path)).collect()
}

fn path_json(path: &[u8]) -> serde_json::Value {
    serde_json::to_value(PathBytes::from(path)).unwrap_or_default()
}

fn paths(count: usize) -> String {
    if count == 1 { "1 path".into() } else { format!("{count} paths") }
}

/// Hazards that a report names.
const HAZARD_LINES: usize = 20;

/// Displaced files that a report names.
const UNKEPT_LINES: usize = 20;

/// Overlaps of a conflict that a report names.
const OVERLAPS: usize = 5;

/// So much of a line is shown.
const LONGEST_LINE: usize = 60;
