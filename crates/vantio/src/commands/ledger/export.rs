//! `vantio ledger export`

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::Path,
};

use vantio_core::{Hash, RunId};
use vantio_ledger::{
    Entry, Filter, LedgerError, Reader, Source,
    bundle::{BundleOptions, PackError, names},
    ocsf_event, otlp_logs,
};
use vantio_policy::Export as ExportRule;

use crate::{
    arguments::{Export, ExportFormat},
    failure::Failure,
    output,
    present::{self, shown, shown_path},
    store::{Store, open_ledger},
};

/// Writes what was asked for, as it may be published.
pub fn export(store: &Store, arguments: &Export, json: bool) -> Result<(), Failure> {
    let run = arguments.run.as_deref().map(|run| store.resolve_recorded(run)).transpose()?;
    let reader = Reader::open_at(&store.ledger())?;
    let output = arguments.output.as_deref();
    if let Some(path) = output {
        output::must_be_free(path, arguments.force)?;
    }
    let place = Place { output, force: arguments.force, json };
    if arguments.details {
        refuse_details(store, &reader, run)?;
    }
    let entries = || kept(&reader, run, arguments.details);
    match arguments.format {
        ExportFormat::Jsonl => written(place, |writer| lines(entries(), writer, Entry::to_line)),
        ExportFormat::Ocsf => {
            let source = source(&reader)?;
            written(place, |writer| lines(entries(), writer, |entry| ocsf_event(entry, &source)))
        }
        ExportFormat::Otlp => {
            let source = source(&reader)?;
            let line = |entry: &Entry| otlp_logs(std::slice::from_ref(entry), &source);
            written(place, |writer| lines(entries(), writer, line))
        }
        ExportFormat::Bundle if output.is_none() && io::stdout().is_terminal() => {
            Err(Failure::misuse("E_OUTPUT", "a bundle is not text for a terminal").help("add --output FILE"))
        }
        ExportFormat::Bundle => {
            cover(store, &reader)?;
            let options = BundleOptions { run, with_details: arguments.details };
            written(place, |writer| bundle(store, &reader, options, writer))
        }
    }
}

/// Entries, with what was asked and answered or without.
fn kept(
    reader: &Reader,
    run: Option<RunId>,
    details: bool,
) -> impl Iterator<Item = Result<Entry, LedgerError>> {
    let entries = reader.entries(&Filter { run_id: run, ..Filter::default() });
    entries.map(move |entry| entry.map(|entry| if details { entry } else { Entry { detail: None, ..entry } }))
}

/// Each entry as a line.
fn lines(
    entries: impl Iterator<Item = Result<Entry, LedgerError>>,
    writer: &mut dyn Write,
    line: impl Fn(&Entry) -> String,
) -> Result<Count, Unwritten> {
    let mut count = 0;
    for entry in entries {
        writeln!(writer, "{}", line(&entry?))?;
        count += 1;
    }
    Ok(Count { entries: count, uncovered: 0 })
}

/// What was asked and answered leaves the machine where the policy of its run says so, and only there.
fn refuse_details(store: &Store, reader: &Reader, run: Option<RunId>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for entry in reader.entries(&Filter { run_id: run, ..Filter::default() }) {
        let entry = entry?;
        if !seen.insert((entry.run_id, entry.policy_hash)) {
            continue;
        }
        let run = store.short(entry.run_id);
        let policy = store.program_of(entry.policy_hash);
        let called = match policy.as_ref().and_then(|policy| policy.name()) {
            Some(name) => format!("the policy `{}` of run {run}", shown(name)),
            None => format!("the policy of run {run}"),
        };
        let reason = match policy.map(|policy| policy.export()) {
            Some(ExportRule::Full) => continue,
            Some(ExportRule::Shape) => format!("{called} says `export: shape`"),
            None => format!("{called} is not here any more, and so does not permit it"),
        };
        return Err(Failure::new(
            "E_LEDGER_DETAILS",
            "what was asked and answered may not leave this machine",
        )
        .because(format!("{reason} ({})", entry.policy_hash))
        .help("leave --details away, or name with --run a run whose policy says `ledger: {export: full}`"));
    }
    Ok(())
}

/// The log, as others may know it.
fn source(reader: &Reader) -> Result<Source, Failure> {
    let log = reader.verifier_key()?.map_or_else(|| "unknown".to_owned(), |key| key.name().to_owned());
    Ok(Source { log, version: env!("CARGO_PKG_VERSION").to_owned() })
}

fn bundle(
    store: &Store,
    reader: &Reader,
    options: BundleOptions,
    writer: &mut dyn Write,
) -> Result<Count, Unwritten> {
    let attach = |policies: &BTreeSet<Hash>| {
        let program = |hash: &Hash| Some((names::policy(*hash), store.program_of(*hash)?.encode()));
        let kept = policies.iter().filter_map(program);
        let trust = std::fs::read(store.identity().join("bundle.pem"));
        kept.chain(trust.ok().map(|pem| (names::TRUST.to_owned(), pem))).collect()
    };
    let bundled = reader.bundle(options, attach, writer)?;
    Ok(Count { entries: bundled.entries, uncovered: bundled.uncovered })
}

/// Has a checkpoint made of what has none yet, where this user may.
fn cover(store: &Store, reader: &Reader) -> Result<(), Failure> {
    let covered = reader.newest_head()?.map_or(0, |(_, head)| head.size());
    if covered > 0 && covered == reader.size()? {
        return Ok(());
    }
    match open_ledger(store).and_then(|ledger| ledger.checkpoint()) {
        // What is covered already can be exported all the same.
        Ok(_) | Err(LedgerError::ReadOnly { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Hands the destination to `write`, and says what was written where that is a file; it appears whole or not at all.
fn written(
    Place { output, force, json }: Place<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<Count, Unwritten>,
) -> Result<(), Failure> {
    let Some(path) = output else {
        let mut writer = BufWriter::new(io::stdout().lock());
        let result = write(&mut writer).and_then(|_| Ok(writer.flush()?));
        return match result {
            Err(Unwritten::Write(cause)) => present::unprintable(cause),
            other => other.map_err(|error| error.into_failure(Path::new(""))),
        };
    };
    let count = output::create(path, force, write).map_err(|error| error.into_failure(path))?;
    if json {
        let Count { entries, uncovered } = count;
        let told =
            serde_json::json!({ "file": shown_path(path), "entries": entries, "uncovered": uncovered });
        return present::print_json(told);
    }
    present::note(format!("{} written to {}\n", count.to_text(), shown_path(path)));
    Ok(())
}

/// Where an export goes, and how that is told.
#[derive(Clone, Copy)]
struct Place<'a> {
    output: Option<&'a Path>,
    force: bool,
    json: bool,
}

/// How many entries were written, and how many not, because no checkpoint covers them yet.
struct Count {
    entries: u64,
    uncovered: u64,
}

impl Count {
    fn to_text(&self) -> String {
        let left = match self.uncovered {
            0 => String::new(),
            count => format!(", without {} that no checkpoint covers yet", present::entries(count)),
        };
        format!("{}{left}", present::entries(self.entries))
    }
}

/// Why an export was not written.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Pack(PackError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl From<PackError> for Unwritten {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Write(error) => Self::Write(error),
            other => Self::Pack(other),
        }
    }
}

impl Unwritten {
    fn into_failure(self, path: &Path) -> Failure {
        match self {
            Self::Ledger(error) => error.into(),
            Self::Pack(error) => error.into(),
            Self::Write(cause) => output::unwritable(path, cause),
        }
    }
}
