//! `vantio checkpoint`

use serde_json::json;
use vantio_phantom::checkpoint::{self, Checkpoint};

use super::changes::{checkpoint_failure, claim_kept, entry, ledger};
use crate::{
    arguments,
    checkpoints::{kept, take, to_value},
    failure::Failure,
    present::{self, Table, age, note, now_ms},
    store::{Record, State, Store},
};

/// Takes a checkpoint of a run, or lists those that it has.
pub fn checkpoint(store: &Store, arguments: &arguments::Checkpoint, json: bool) -> Result<u8, Failure> {
    let id = store.resolve(&arguments.reference.run)?;
    let (record, short) = (store.read(id)?, store.short(id));
    let world = store.world(&record);
    let failed = |error| checkpoint_failure(store, &world, &error);
    let lives = record.state == State::Running && store.is_held(id)?;
    if arguments.list {
        let list = checkpoint::list(&world).map_err(failed)?;
        let kept = if lives && !list.is_empty() { kept(&store.folder(id)) } else { Vec::new() };
        if list.is_empty() && record.state == State::Discarded && !json {
            note(format!("run {short} was discarded: nothing of it is left\n"));
            return Ok(0);
        }
        return print_list((&record, &short), &list, &kept, json);
    }
    let label = arguments.label.as_deref();
    let taken = if lives {
        // The supervisor takes it, and writes it down.
        let taken = take(&store.folder(id), label, arguments.processes);
        let help = format!("try again at another moment, or keep its files alone: vantio checkpoint {short}");
        taken.map_err(|failure| if arguments.processes { failure.help(help) } else { failure })?
    } else if arguments.processes {
        return Err(Failure::new(
            "E_CHECKPOINT_PROCESSES",
            format!("run {short} has ended, and has no processes"),
        )
        .help(format!("keep its files: vantio checkpoint {short}")));
    } else {
        let claim = claim_kept(store, id)?;
        let taken = checkpoint::take_ended(&claim.world(), label).map_err(failed)?;
        ledger(store)?.append(entry(&claim.record, "run.checkpoint", to_value(&taken)))?;
        claim.release()?;
        taken
    };
    let how = if arguments.processes { " --processes" } else { "" };
    note(format!("checkpoint {}; to go back: vantio restore {short} {}{how}\n", named(&taken), taken.id));
    if taken.moving > 0 {
        let files =
            if taken.moving == 1 { "1 file was".into() } else { format!("{} files were", taken.moving) };
        note(format!("  {files} being written meanwhile: what is kept of it may be of no single moment\n"));
    }
    if json {
        let mut told = to_json(&taken, None, arguments.processes);
        told["run"] = id.to_string().into();
        present::print_json(told)?;
    }
    Ok(0)
}

fn print_list(
    (record, short): (&Record, &str),
    list: &[(Checkpoint, u64)],
    kept: &[u64],
    json: bool,
) -> Result<u8, Failure> {
    if json {
        let list: serde_json::Value = list
            .iter()
            .map(|(checkpoint, bytes)| to_json(checkpoint, Some(*bytes), kept.contains(&checkpoint.id)))
            .collect();
        present::print_json(json!({ "run": record.id.to_string(), "checkpoints": list }))?;
    } else if list.is_empty() {
        note(format!("run {short} has no checkpoint; take one: vantio checkpoint {short}\n"));
    } else {
        let now = now_ms();
        let mut table = Table::new(&["CHECKPOINT", "LABEL", "AGE", "WHY", "KEEPS", "PROCESSES"]);
        for (checkpoint, bytes) in list {
            table.row([
                checkpoint.id.to_string(),
                checkpoint.label.clone().unwrap_or_else(|| "-".into()),
                age(now.saturating_sub(checkpoint.time)),
                checkpoint.cause.name().to_owned(),
                format!("{} kB", bytes.div_ceil(1000)),
                if kept.contains(&checkpoint.id) { "kept" } else { "-" }.to_owned(),
            ]);
        }
        present::print(table.render())?;
    }
    Ok(0)
}

fn named(checkpoint: &Checkpoint) -> String {
    match &checkpoint.label {
        Some(label) => format!("{} ({label})", checkpoint.id),
        None => checkpoint.id.to_string(),
    }
}

fn to_json(checkpoint: &Checkpoint, bytes: Option<u64>, processes: bool) -> serde_json::Value {
    let mut value = json!({
        "id": checkpoint.id,
        "label": checkpoint.label,
        "cause": checkpoint.cause.name(),
        "time": checkpoint.time,
        "copied": checkpoint.copied,
        "moving": checkpoint.moving,
        "processes": processes,
    });
    if let Some(bytes) = bytes {
        value["bytes"] = bytes.into();
    }
    value
}
