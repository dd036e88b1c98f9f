//! `vantio ps`

use crate::{
    approvals,
    failure::Failure,
    present::{self, Table, age, note, now_ms},
    store::{Outcome, Record, State, Store},
};

/// Lists the runs that live or wait for review; with `all`, every run.
pub fn ps(store: &Store, all: bool, json: bool) -> Result<u8, Failure> {
    let mut rows = Vec::new();
    for id in store.ids()? {
        let record = match store.read(id) {
            Ok(record) => record,
            Err(error) => {
                note(format!("vantio: {error}\n"));
                continue;
            }
        };
        let is_live = record.state == State::Running && store.is_held(id)?;
        let waits = record.pending != Some(0) && matches!(record.state, State::Ended | State::Died);
        if all || is_live || waits {
            let waiting = if is_live { approvals::count(store, id) } else { 0 };
            rows.push(Row { short: store.short(id), record, is_live, waiting });
        }
    }
    if json {
        let list: serde_json::Value = rows.iter().map(to_json).collect();
        present::print_json(&list)?;
    } else if rows.is_empty() {
        let hint =
            if all { "start one: vantio run -- CMD" } else { "`vantio ps --all` lists the finished ones" };
        note(format!("no run {}; {hint}\n", if all { "yet" } else { "lives or waits for review" }));
    } else {
        present::print(table(&rows))?;
    }
    Ok(0)
}

/// A run, and how many questions of it wait for an answer.
struct Row {
    short: String,
    record: Record,
    is_live: bool,
    waiting: usize,
}

fn table(rows: &[Row]) -> String {
    let now = now_ms();
    let mut table = Table::new(&["RUN", "NAME", "STATE", "AGE", "CHANGES", "COMMAND"]);
    for Row { short, record, is_live, waiting } in rows {
        let waits = if *waiting > 0 { format!(", {waiting} to answer") } else { String::new() };
        table.row([
            short.clone(),
            record.name.clone().unwrap_or_else(|| "-".into()),
            state(record, *is_live) + &waits,
            age(now.saturating_sub(record.started())),
            record.pending.map_or_else(|| "?".into(), |count| count.to_string()),
            shorten(&record.command_line()),
        ]);
    }
    table.render()
}

fn state(record: &Record, is_live: bool) -> String {
    match (record.state, record.outcome) {
        (State::Running, _) if is_live && record.detached => "live, detached".into(),
        (State::Running, _) if is_live => "live".into(),
        // Its supervisor is gone, and the sweep could not be done.
        (State::Running, _) => "died".into(),
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
    value["waiting"] = row.waiting.into();
    value
}

fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}
