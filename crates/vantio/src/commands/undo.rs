//! `vantio undo`

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    os::fd::AsFd as _,
};

use serde_json::json;
use vantio_core::json::Value;
use vantio_ledger::Draft;
use vantio_phantom::{
    changes::{Escaped, RunFolder},
    commit::{self, CommitError, Selector, UndoReport},
};

use super::{
    changes::{claim_ended, commit_failure, entry, glance, host_root, ledger},
    commit::{held_json, paths_json},
    interruption::Interruption,
    pick::absolute,
};
use crate::{
    arguments::Undo,
    failure::Failure,
    oracle::bytes_value,
    present::{note, plural, print, print_json, waited},
    run::policy::current_directory,
    store::Store,
};

/// Takes back the last commit of a run; what the host changed since stays and is named.
pub fn undo(store: &Store, arguments: &Undo, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let short = store.short(id);
    let mut claim = claim_ended(store, id)?;
    let world = claim.world();
    let selection = match selection(&world, arguments) {
        Err(failure) => {
            claim.release()?;
            return Err(failure);
        }
        Ok(selection) => selection,
    };
    let last = commit::undoable(&world).ok().flatten();
    let found = commit::undoable_paths(&world, &selection, host_root()?.as_fd());
    let found = match found {
        Err(error) if !matches!(error, CommitError::NothingToUndo) => {
            claim.release()?;
            return Err(commit_failure(&error));
        }
        other => other.ok(),
    };
    let Some(number) = found else {
        claim.release()?;
        note(format!("run {short}: no commit is left to take back\n"));
        return if json {
            print_json(json!({ "run": id.to_string(), "commit": null })).map(|()| 0)
        } else {
            Ok(0)
        };
    };
    let ledger = ledger(store)?;
    let mut request = vec![("commit", i64::try_from(number).map_or(Value::Null, Value::Integer))];
    if !selection.is_empty() {
        request
            .push(("paths", Value::Array(selection.iter().map(|path| bytes_value(path.path())).collect())));
    }
    let request = Value::object(request);
    ledger.append(entry(&claim.record, "phantom.undo", request.clone()))?;
    let root = host_root()?;
    // Half of an undo is of no use to anybody.
    let interruption = Interruption::listen()?;
    let (undone, pending) = waited("taking back", || {
        (commit::undo_paths(&world, &selection, root.as_fd()), glance(store, &claim.record))
    });
    claim.record.pending = Some(pending?.changes().len() as u64);
    claim.save()?;
    claim.release()?;
    if interruption.signal().is_some() {
        note("vantio: interrupted: the undo went on to its end\n");
    }
    let report = match undone {
        Err(CommitError::NothingToUndo) => None,
        other => Some(other.map_err(|error| commit_failure(&error))?),
    };
    let report = report.unwrap_or_default();
    // One that was cut off is finished first.
    let number = if report.number == 0 { number } else { report.number };
    let count = i64::try_from(report.stayed.len()).unwrap_or(i64::MAX);
    let response = Value::object([("stayed", Value::Integer(count))]);
    let end = store.read(id)?;
    ledger.append(Draft { response, ..entry(&end, "phantom.undo.end", request) })?;
    let passed = last.filter(|last| *last != number && selection.is_empty());
    if json {
        print_json(json!({
            "run": id.to_string(), "commit": number, "passed": passed, "stayed": paths_json(&report.stayed),
            "unkept": paths_json(&report.unkept), "held": held_json(&report.held), "along": paths_json(&report.along),
        }))?;
    } else {
        let told = Told { short, number, passed, is_part: !selection.is_empty(), world: &world };
        print(told.text(&report))?;
    }
    let is_whole = report.stayed.is_empty() && passed.is_none();
    Ok(if is_whole { 0 } else { 4 })
}

/// The paths of a command line, relative to the current folder, as the commits of the run have them.
fn selection(world: &RunFolder, arguments: &Undo) -> Result<Vec<Selector>, Failure> {
    let (directory, root) = (current_directory()?, host_root()?);
    let was_committed = |path: &[u8]| {
        let found = commit::undoable_paths(world, &[Selector::new(path)], root.as_fd());
        !matches!(found, Err(CommitError::NotCommitted { .. } | CommitError::NothingToUndo))
    };
    let paths = arguments.paths.iter().map(|path| absolute(&directory, path, was_committed));
    paths.map(|path| path.map(Selector::new)).collect()
}

/// What an undo was about.
struct Told<'a> {
    short: String,
    number: u64,
    /// The last commit, where that was passed over.
    passed: Option<u64>,
    is_part: bool,
    world: &'a RunFolder,
}

impl Told<'_> {
    fn text(&self, report: &UndoReport) -> String {
        let Self { short, number, .. } = self;
        // Writing to a String cannot fail.
        let mut text = String::new();
        if let Some(last) = self.passed {
            let _ =
                writeln!(text, "commit {last} of run {short} stays: the host has changed what it brought");
        }
        let part = if self.is_part { "a part of " } else { "" };
        let whole = if report.stayed.is_empty() { "" } else { ", but for what stays" };
        let then = if self.world.is_discarded() { DISCARDED } else { "its changes wait again" };
        let _ = if report.taken == 0 && !report.stayed.is_empty() {
            writeln!(text, "nothing of commit {number} of run {short} was taken back")
        } else {
            writeln!(text, "{part}commit {number} of run {short} taken back{whole}: {then}")
        };
        for path in &report.along {
            let _ = writeln!(text, "  went along: {}", Escaped(path));
        }
        let in_repositories = in_repositories(report);
        for path in &report.stayed {
            if !in_repositories.values().any(|(_, paths)| paths.contains(path)) {
                let _ = writeln!(text, "stays, because {}: {}", why_it_stays(report, path), Escaped(path));
            }
        }
        for (repository, (on, paths)) in in_repositories {
            let (repository, on, more) = (Escaped(repository), Escaped(on), plural(paths.len(), "path"));
            let _ = writeln!(text, "stays, because a repository goes back whole or not at all: {repository}");
            let _ = writeln!(text, "  {more} more beside {on}; its own history may lead back");
        }
        text
    }
}

/// A path that changed, and those that stay for it.
type Beside<'a> = (&'a [u8], BTreeSet<&'a Vec<u8>>);

/// What stays of each repository for another of its paths, with that.
fn in_repositories(report: &UndoReport) -> BTreeMap<&[u8], Beside<'_>> {
    let mut found = BTreeMap::new();
    for held in &report.held {
        let inside =
            commit::repository(&held.path).filter(|inside| commit::repository(&held.on) == Some(inside));
        if let Some(repository) = inside {
            let (_, paths) = found.entry(repository).or_insert((&held.on[..], BTreeSet::new()));
            paths.insert(&held.path);
        }
    }
    found
}

fn why_it_stays(report: &UndoReport, path: &Vec<u8>) -> String {
    match report.held.iter().find(|held| held.path == *path) {
        _ if report.unkept.contains(path) => NOT_KEPT.into(),
        Some(held) => format!("it cannot go back without {}", Escaped(&held.on)),
        None => "it changed since".into(),
    }
}

const DISCARDED: &str = "what it had brought is gone, for the run was discarded";
const NOT_KEPT: &str =
    "what was there before is not kept on another mount than the state folder's (VANTIO_STATE)";
