//! `vantio replay`

use std::{io, path::Path};

use vantio_core::RunId;
use vantio_ledger::{ExportError, Filter, Reader};
use vantio_policy::PolicyProgram;

use crate::{
    arguments,
    failure::Failure,
    output,
    present::{self, Paint, note, shown_path},
    replay::{self, Past},
    store::{Store, StoreError},
};

/// Decides again what was decided in a run, or in the run of a bundle.
pub fn replay(place: Option<&str>, arguments: &arguments::Replay, json: bool) -> Result<u8, Failure> {
    if !is_reference(&arguments.run) && Path::new(&arguments.run).is_file() {
        if arguments.export.is_some() {
            return Err(Failure::misuse("E_REPLAY_EXPORT", "a bundle is not exported again").help("copy it"));
        }
        return tell(replay::open(Path::new(&arguments.run))?, json);
    }
    if arguments.run.contains(['/', '.']) {
        let path = Path::new(&arguments.run);
        return Err(Failure::misuse("E_REPLAY_FILE", format!("there is no file `{}`", shown_path(path)))
            .help("name a run, or a file that `vantio replay RUN --export FILE` wrote"));
    }
    if let Some(file) = &arguments.export {
        output::must_be_free(file, arguments.force)?;
    }
    let store = super::open(place)?;
    let run_id = resolve(&store, &arguments.run)?;
    let reader = Reader::open_at(&store.ledger())?;
    let program = program(&store, &reader, run_id)?;
    if let Some(file) = &arguments.export {
        let written =
            output::create(file, arguments.force, |to| replay::write(&reader, run_id, &program, to));
        return told(run_id, file, written, json);
    }
    let filter = Filter { run_id: Some(run_id), ..Filter::default() };
    let entries = Box::new(reader.entries(&filter).map(|entry| Ok(entry?)));
    tell(Past { run_id, program, entries }, json)
}

fn tell(past: Past<'_>, json: bool) -> Result<u8, Failure> {
    let report = replay::replay(past)?;
    if json {
        present::print_json(report.to_json())?;
    } else {
        present::print(report.render(Paint::for_stream(&io::stdout())))?;
    }
    Ok(report.exit_code())
}

/// Whether it reads as the name of a run.
fn is_reference(text: &str) -> bool {
    text == "last" || text.chars().all(|character| character.is_ascii_hexdigit() || character == '-')
}

/// The run that is meant; of one whose folder is gone, its whole id.
fn resolve(store: &Store, reference: &str) -> Result<RunId, Failure> {
    match store.resolve(reference) {
        Err(error @ (StoreError::Unknown { .. } | StoreError::NoRuns)) => {
            reference.parse().map_err(|_| error.into())
        }
        other => Ok(other?),
    }
}

/// The policy that the run's first entry names.
fn program(store: &Store, reader: &Reader, run_id: RunId) -> Result<PolicyProgram, Failure> {
    let filter = Filter { run_id: Some(run_id), limit: Some(1), ..Filter::default() };
    let start = reader.entries(&filter).next().transpose()?.ok_or_else(|| {
        Failure::new("E_REPLAY_START", format!("the ledger has nothing of run {run_id}"))
            .help("`vantio ps --all` lists the runs; one that failed to start decided nothing")
    })?;
    store.program_of(start.policy_hash).ok_or_else(|| {
        Failure::new("E_REPLAY_PROGRAM", format!("the policy program of run {run_id} is not there"))
            .because(format!(
                "`{}` is missing, or is another program",
                shown_path(&store.program_file(start.policy_hash))
            ))
            .help(
                "put it back from a backup of the state folder, or replay a bundle that was exported before",
            )
    })
}

/// Says what was exported.
fn told(run_id: RunId, file: &Path, written: Result<u64, ExportError>, json: bool) -> Result<u8, Failure> {
    let count = written.map_err(|error| match error {
        ExportError::Ledger(error) => error.into(),
        ExportError::Write(cause) => output::unwritable(file, cause),
    })?;
    if json {
        present::print_json(serde_json::json!({ "run": run_id.to_string(), "entries": count }))?;
    } else {
        note(format!("{} and the policy program written to {}\n", present::entries(count), shown_path(file)));
    }
    Ok(0)
}
