//! `vantio ledger`

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use vantio_ledger::{Checkpoint, Entry, ExportError, Filter, Reader, VerifyError};

use crate::{
    account,
    arguments::Ledger,
    failure::Failure,
    present::{self, Table, clock, now_ms, shown_path},
    store::Store,
};

/// Performs a command on the ledger.
pub fn ledger(store: &Store, command: &Ledger, json: bool) -> Result<u8, Failure> {
    let reader = Reader::open(&store.ledger())?;
    match command {
        Ledger::List { run, op, limit } => list(store, &reader, run.as_deref(), op.clone(), *limit, json)?,
        Ledger::Show { seq } => show(&reader, *seq, json)?,
        Ledger::Verify { checkpoint } => verify(&reader, checkpoint.as_deref(), json)?,
        Ledger::Checkpoint => checkpoint(&reader, json)?,
        Ledger::Export { output } => export(&reader, output.as_deref())?,
    }
    Ok(0)
}

fn list(
    store: &Store,
    reader: &Reader,
    run: Option<&str>,
    op: Option<String>,
    limit: u64,
    json: bool,
) -> Result<(), Failure> {
    let run_id = run.map(|run| store.resolve(run)).transpose()?;
    let is_filtered = run_id.is_some() || op.is_some();
    let mut filter = Filter { run_id, op, ..Filter::default() };
    if limit > 0 && !is_filtered {
        filter.since_seq = reader.checkpoint()?.size.saturating_sub(limit);
    }
    let entries = newest(reader, &filter, limit)?;
    if json {
        let lines: Vec<String> = entries.iter().map(|entry| entry.to_line() + "\n").collect();
        return present::print(lines.concat());
    }
    let now = now_ms();
    let mut table = Table::new(&["SEQ", "TIME", "RUN", "PID", "OP", "VERDICT", "DETAIL"]);
    for entry in &entries {
        let time = u64::try_from(entry.time.as_millisecond()).unwrap_or(0);
        table.row([
            entry.seq.to_string(),
            clock(time, now),
            store.short(entry.run_id),
            if entry.pid == 0 { "-".into() } else { entry.pid.to_string() },
            entry.op.clone(),
            entry.decision.map_or("-", |decision| decision.name()).into(),
            account::detail(entry),
        ]);
    }
    present::print(table.render())
}

/// The last `limit` entries that `filter` selects; all of them for 0.
fn newest(reader: &Reader, filter: &Filter, limit: u64) -> Result<VecDeque<Entry>, Failure> {
    let mut entries = VecDeque::new();
    for entry in reader.entries(filter) {
        entries.push_back(entry?);
        if limit > 0 && entries.len() as u64 > limit {
            entries.pop_front();
        }
    }
    Ok(entries)
}

fn show(reader: &Reader, seq: u64, json: bool) -> Result<(), Failure> {
    let entry = reader.entry(seq)?.ok_or_else(|| {
        Failure::misuse("E_LEDGER_SEQ", format!("the ledger has no entry {seq}"))
            .help("`vantio ledger list` shows the newest entries with their numbers")
    })?;
    if json {
        return present::print(entry.to_line() + "\n");
    }
    let value = account::to_json(&entry.to_json());
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    // JSON escapes C0 controls; what else a terminal would obey is escaped here.
    let lines: Vec<String> = text.lines().map(|line| present::shown(line) + "\n").collect();
    present::print(lines.concat())
}

fn verify(reader: &Reader, checkpoint: Option<&Path>, json: bool) -> Result<(), Failure> {
    let checkpoint = checkpoint.map(read_checkpoint).transpose()?;
    let verified = match &checkpoint {
        Some(checkpoint) => reader.verify_against(checkpoint),
        None => reader.verify(),
    };
    let verified = verified.map_err(|error| unverified(&error))?;
    if json {
        return present::print_json(&serde_json::json!({
            "verified": true, "entries": verified.size, "head": verified.head.to_string(),
            "checkpoint": checkpoint.map(|checkpoint| checkpoint.size),
        }));
    }
    let against = match checkpoint {
        Some(checkpoint) => format!(", and the checkpoint of {} entries is part of them", checkpoint.size),
        None => String::new(),
    };
    present::print(format!("verified: {} entries{against}\nhead: {}\n", verified.size, verified.head))
}

/// As text it is for a file, to be given to verify later.
fn checkpoint(reader: &Reader, json: bool) -> Result<(), Failure> {
    let checkpoint = reader.checkpoint()?;
    if json {
        return present::print_json(&serde_json::json!({
            "version": 1, "entries": checkpoint.size, "head": checkpoint.head.to_string(),
            "time": checkpoint.time.to_string(), "checkpoint": checkpoint.to_string(),
        }));
    }
    present::print(checkpoint.to_string())
}

fn unverified(error: &VerifyError) -> Failure {
    Failure::unverified(error.code(), format!("the ledger does not verify: {error}")).help(error.help())
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let wrong = || {
        let message = format!("`{}` is not a checkpoint", shown_path(path));
        Failure::misuse("E_LEDGER_CHECKPOINT", message)
            .help("`vantio ledger checkpoint > FILE` writes one; keep its lines as they are")
    };
    let text = fs::read_to_string(path).map_err(|cause| wrong().because(cause))?;
    text.parse().map_err(|error: vantio_ledger::ParseCheckpointError| wrong().because(error))
}

fn export(reader: &Reader, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else {
        return match reader.export(&mut BufWriter::new(io::stdout().lock())) {
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map(drop).map_err(unexported),
        };
    };
    let failed = |cause: io::Error| {
        let message = format!("`{}` cannot be written", shown_path(path));
        Failure::new("E_OUTPUT", message).because(cause).help("name a file in a folder that you may write in")
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let count = reader.export(&mut BufWriter::new(&mut temporary)).map_err(unexported)?;
    temporary.flush().and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    present::note(format!("{count} entries written to {}\n", shown_path(path)));
    Ok(())
}

fn unexported(error: ExportError) -> Failure {
    match error {
        ExportError::Ledger(error) => error.into(),
        ExportError::Write(cause) => Failure::new("E_OUTPUT", "the export cannot be written").because(cause),
    }
}
