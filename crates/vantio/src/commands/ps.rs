//! `vantio ps`

use std::io;

use vantio_phantom::checkpoint;

use crate::{
    approvals,
    failure::Failure,
    nested,
    present::{self, Table, age, note, now_ms, width},
    store::{Outcome, Record, State, Store, StoreError},
};

/// Lists the runs that live or wait for review; with `all`, every run.
pub fn ps(store: &Store, all: bool, json: bool) -> Result<u8, Failure> {
    let mut rows = Vec::new();
    for id in store.ids()? {
        let record = match store.read(id) {
            Ok(record) => record,
            // It is only being made, or was dropped meanwhile.
            Err(StoreError::Unknown { .. }) => continue,
            Err(error) => {
                note(format!("vantio: {error}: {}\n", error.advice()));
                continue;
            }
        };
        let is_live = record.state == State::Running && store.is_held(id)?;
        // One that died, and could not be cleaned up for want of room, is called running still.
        if all || record.state == State::Running || record.waits() {
            let waiting = if is_live { approvals::count(store, id) } else { Some(0) };
            let checkpoints = checkpoint::list(&store.world(&record)).unwrap_or_default();
            let bytes = checkpoints.iter().map(|(_, bytes)| bytes).sum();
            let checkpoints = (checkpoints.len(), bytes);
            rows.push(Row { short: store.short(id), record, is_live, waiting, checkpoints });
        }
    }
    if json {
        let list: serde_json::Value = rows.iter().map(to_json).collect();
        present::print_json(serde_json::json!({ "runs": list }))?;
    } else if rows.is_empty() {
        let hint =
            if all { "start one: vantio run -- CMD" } else { "`vantio ps --all` lists the finished ones" };
        let hint = nested::said_inside().unwrap_or_else(|| hint.to_owned());
        note(format!("no run {}; {hint}\n", if all { "yet" } else { "lives or waits for review" }));
    } else {
        present::print(table(&rows))?;
    }
    Ok(0)
}

/// A run, how many questions of it wait for an answer (`None` where it does not say), and how many checkpoints it has in how many bytes.
struct Row {
    short: String,
    record: Record,
    is_live: bool,
    waiting: Option<usize>,
    checkpoints: (usize, u64),
}

fn table(rows: &[Row]) -> String {
    let (now, terminal) = (now_ms(), width(io::stdout()));
    let any_kept = rows.iter().any(|row| row.checkpoints.0 > 0);
    let titles = ["RUN", "NAME", "STATE", "AGE", "CHANGES", "CHECKPOINTS", "COMMAND"];
    let shown = |title: &&str| any_kept || *title != "CHECKPOINTS";
    let mut table = Table::new(&titles.into_iter().filter(shown).collect::<Vec<_>>());
    for Row { short, record, is_live, waiting, checkpoints: (count, bytes) } in rows {
        let waits = match waiting {
            Some(0) => String::new(),
            Some(waiting) => format!(", {waiting} to answer"),
            None => ", does not answer".into(),
        };
        let kept = if *count > 0 { format!("{count} ({} kB)", bytes.div_ceil(1000)) } else { "-".into() };
        let cells = [
            short.clone(),
            record.name.clone().unwrap_or_else(|| "-".into()),
            state(record, *is_live) + &waits,
            age(now.saturating_sub(record.started())),
            record.pending.map_or_else(|| "?".into(), |count| count.to_string()),
            kept,
            shorten(&record.command_line(), terminal),
        ];
        let cells = titles.iter().zip(cells).filter(|(title, _)| shown(title));
        table.row(cells.map(|(_, cell)| cell));
    }
    table.render_within(terminal)
}

fn state(record: &Record, is_live: bool) -> String {
    match (record.state, record.outcome) {
        (State::Running, _) if is_live && record.detached => "live, detached".into(),
        (State::Running, _) if is_live => "live".into(),
        // Its supervisor is gone, and the sweep could not be done.
        (State::Running, _) => "died, not cleaned up".into(),
        (State::Ended, Some(Outcome::Exited(0)) | None) => "ended".into(),
        (State::Ended, Some(Outcome::Exited(status))) => format!("ended ({status})"),
        (State::Ended, Some(Outcome::Signaled(signal))) => format!("ended (signal {signal})"),
        (State::Ended, Some(Outcome::NotFound)) => "not found".into(),
        (State::Ended, Some(Outcome::NotExecutable)) => "not executable".into(),
        (state, _) => state.name().into(),
    }
}

fn to_json(row: &Row) -> serde_json::Value {
    let mut value = serde_json::to_value(&row.record).unwrap_or_default();
    value["live"] = row.is_live.into();
    if row.record.state == State::Running && !row.is_live {
        value["state"] = State::Died.name().into();
    }
    value["waiting"] = row.waiting.into();
    let (count, bytes) = row.checkpoints;
    value["checkpoints"] = serde_json::json!({ "count": count, "bytes": bytes });
    value
}

/// The beginning of a command that has room in a table, which a terminal cuts at its own end.
pub fn shorten(text: &str, terminal: Option<usize>) -> String {
    let most = terminal.unwrap_or(60);
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
