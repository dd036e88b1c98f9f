//! `vantio prune`

use std::io;

use serde_json::json;
use vantio_core::{RunId, json::Value};
use vantio_ledger::Ledger;
use vantio_phantom::{checkpoint, commit};

use super::{
    changes::{checkpoint_failure, claim_ended, commit_failure, entry, ledger},
    discard::{discard_claimed, pending_value},
    ps::shorten,
    sweep,
};
use crate::{
    arguments::Prune,
    failure::Failure,
    present::{Table, age, note, now_ms, plural, print, print_json, waited, width},
    store::{Claim, Record, State, Store, StoreError},
};

/// Drops all that is kept of runs that are over, on a full disk too. One that cannot be dropped is told, and the others go on.
pub fn prune(place: Option<&str>, arguments: &Prune, json: bool) -> Result<u8, Failure> {
    let store = Store::open(place)?;
    store.spend_reserve();
    sweep::sweep(&store);
    let pruned = waited("dropping runs", || prune_all(&store, arguments));
    store.keep_reserve();
    let pruned = pruned?;
    for (id, failure) in &pruned.failed {
        note(format!("vantio: run {} could not be dropped: {failure}\n", store.short(*id)));
    }
    if json {
        print_json(pruned.to_json(arguments.dry_run))?;
    } else {
        pruned.tell(&store, arguments.dry_run)?;
    }
    Ok(if pruned.failed.is_empty() { 0 } else { 4 })
}

fn prune_all(store: &Store, arguments: &Prune) -> Result<Pruned, Failure> {
    let mut pruned = Pruned::default();
    let mut ready = Vec::new();
    for id in store.ids()? {
        match judge(store, id, arguments) {
            Ok(Fate::Dropped(record)) => ready.push(*record),
            Ok(Fate::Changed) => pruned.changed += 1,
            Ok(Fate::Committed) => pruned.committed += 1,
            Ok(Fate::Passed) => {}
            Err(failure) => pruned.failed.push((id, failure)),
        }
    }
    if arguments.dry_run || ready.is_empty() {
        pruned.dropped = ready;
        return Ok(pruned);
    }
    let ledger = ledger(store)?;
    for record in ready {
        match drop_run(store, &ledger, record.id, arguments) {
            Ok(true) => pruned.dropped.push(record),
            Ok(false) => {}
            Err(failure) => pruned.failed.push((record.id, failure)),
        }
    }
    Ok(pruned)
}

/// What is to become of a run.
enum Fate {
    Dropped(Box<Record>),
    /// It lives, is only being made, is gone, or is not old enough.
    Passed,
    /// Changes of it wait, or it has checkpoints.
    Changed,
    /// A commit of it can be taken back.
    Committed,
}

fn judge(store: &Store, id: RunId, arguments: &Prune) -> Result<Fate, Failure> {
    let record = match store.read(id) {
        Err(StoreError::Unknown { .. }) => return Ok(Fate::Passed),
        other => other?,
    };
    // Of one that died and is still called so, the sweep told.
    if record.state == State::Running || !is_old_enough(store, id, arguments)? {
        return Ok(Fate::Passed);
    }
    let world = store.world(&record);
    let checkpoints = checkpoint::list(&world).map_err(|error| checkpoint_failure(store, &world, &error))?;
    if !arguments.changed && (record.waits() || !checkpoints.is_empty()) {
        return Ok(Fate::Changed);
    }
    if !arguments.committed && undoable(store, &record)?.is_some() {
        return Ok(Fate::Committed);
    }
    Ok(Fate::Dropped(Box::new(record)))
}

fn is_old_enough(store: &Store, id: RunId, arguments: &Prune) -> Result<bool, Failure> {
    let Some(least) = arguments.older_than else { return Ok(true) };
    // What was touched in the future is young.
    Ok(store.touched(id)?.elapsed().unwrap_or_default() >= least)
}

/// The commit of a run that would be taken back next.
fn undoable(store: &Store, record: &Record) -> Result<Option<u64>, Failure> {
    commit::undoable(&store.world(record)).map_err(|error| commit_failure(&error))
}

/// Drops a run, unless it is to be kept by now; whether it did.
fn drop_run(store: &Store, ledger: &Ledger, id: RunId, arguments: &Prune) -> Result<bool, Failure> {
    let claim = match claim_ended(store, id) {
        // Another command dropped it.
        Err(_) if matches!(store.read(id), Err(StoreError::Unknown { .. })) => return Ok(false),
        other => other?,
    };
    if claim.was_abandoned() {
        let failure = Failure::new("E_RUN_UNFINISHED", "what a command that died left could not be finished");
        return Err(failure.help("see to what the next command says about it"));
    }
    // Nobody else changes it from here on.
    match judge(store, id, arguments)? {
        Fate::Dropped(_) => forget(store, ledger, claim).map(|()| true),
        _ => Ok(claim.release().map(|()| false)?),
    }
}

fn forget(store: &Store, ledger: &Ledger, mut claim: Claim) -> Result<(), Failure> {
    let undoable = undoable(store, &claim.record)?.and_then(|number| i64::try_from(number).ok());
    let request = Value::object([
        ("pending", pending_value(claim.record.pending)),
        ("undoable", undoable.map_or(Value::Null, Value::Integer)),
    ]);
    ledger.append(entry(&claim.record, "phantom.discard", request))?;
    if claim.record.state != State::Discarded {
        discard_claimed(&mut claim)?;
    }
    commit::forget(&claim.world()).map_err(|error| commit_failure(&error))?;
    Ok(claim.release()?)
}

/// What became of the runs.
#[derive(Default)]
struct Pruned {
    dropped: Vec<Record>,
    failed: Vec<(RunId, Failure)>,
    /// How many, of those that are old enough, are kept for changes or checkpoints, and for a commit.
    changed: usize,
    committed: usize,
}

impl Pruned {
    fn tell(&self, store: &Store, is_dry: bool) -> Result<(), Failure> {
        if is_dry && !self.dropped.is_empty() {
            print(self.table(store))?;
        }
        let were = if is_dry { "would be dropped" } else { "dropped" };
        note(format!("{} {were}\n", plural(self.dropped.len(), "run")));
        let kept = [
            (self.changed, "with changes or checkpoints", "--changed"),
            (self.committed, "with a commit that can be taken back", "--committed"),
        ];
        for (count, what, option) in kept.into_iter().filter(|(count, ..)| *count > 0) {
            note(format!("  kept: {} {what} ({option} drops such, too)\n", plural(count, "run")));
        }
        Ok(())
    }

    fn table(&self, store: &Store) -> String {
        let (now, terminal) = (now_ms(), width(io::stdout()));
        let mut table = Table::new(&["RUN", "NAME", "AGE", "CHANGES", "COMMAND"]);
        for record in &self.dropped {
            table.row([
                store.short(record.id),
                record.name.clone().unwrap_or_else(|| "-".into()),
                age(now.saturating_sub(record.started())),
                record.pending.map_or_else(|| "?".into(), |count| count.to_string()),
                shorten(&record.command_line(), terminal),
            ]);
        }
        table.render_within(terminal)
    }

    fn to_json(&self, is_dry: bool) -> serde_json::Value {
        let failed = self.failed.iter().map(|(id, failure)| {
            let told = failure.to_json();
            json!({ "run": id.to_string(), "error": told["error"], "detail": told["detail"] })
        });
        json!({
            "dry_run": is_dry,
            "dropped": self.dropped.iter().map(|record| record.id.to_string()).collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
            "kept": { "changed": self.changed, "committed": self.committed },
        })
    }
}
