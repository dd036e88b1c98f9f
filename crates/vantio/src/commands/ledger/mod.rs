//! `vantio ledger`

mod archive;
mod bundle;
mod check;
mod export;
mod keep;
mod list;
mod witness;

use vantio_ledger::{Location, Reader, to_serde};

use crate::{
    arguments::{Export, ExportFormat, Ledger},
    failure::Failure,
    present,
    store::{Store, open_ledger},
};

pub use list::OPERATIONS;

/// Performs a command on the ledger.
pub fn ledger(store: &Store, command: &Ledger, json: bool) -> Result<u8, Failure> {
    let place = store.ledger();
    match command {
        Ledger::Verify(arguments) if arguments.bundle.is_some() => bundle::verify(arguments, json)?,
        Ledger::Verify(arguments) if arguments.proof.is_some() => check::proof(arguments, json)?,
        Ledger::Verify(arguments) => check::ledger(&place, arguments, json)?,
        Ledger::List(arguments) => list::list(store, &Reader::open_at(&place)?, arguments, json)?,
        Ledger::Show { seq } => show(&Reader::open_at(&place)?, *seq, json)?,
        Ledger::Init => init(&place, json)?,
        Ledger::Archive(arguments) => archive::archive(store, arguments, json)?,
        Ledger::Checkpoint => {
            // Opening would create what is not there.
            drop(Reader::open_at(&place)?);
            keep::checkpoint(&open_ledger(store)?, json)?;
        }
        Ledger::Witness(command) => witness::witness(store, command, json)?,
        Ledger::Key => keep::key(&Reader::open_at(&place)?, json)?,
        Ledger::Prove(arguments) => keep::prove(&Reader::open_at(&place)?, arguments, json)?,
        Ledger::Publish { folder } => keep::publish(&Reader::open_at(&place)?, folder, json)?,
        Ledger::Export(Export { format: ExportFormat::Bundle, output: None, .. }) if json => {
            return Err(Failure::misuse("E_USAGE", "a bundle is a tar file, not JSON")
                .help("add --output FILE, or leave --format away: entries are lines of JSON"));
        }
        Ledger::Export(arguments) => export::export(store, arguments, json)?,
    }
    Ok(0)
}

/// A file needs nothing: it is made when something is first written.
fn init(place: &Location, json: bool) -> Result<(), Failure> {
    place.prepare()?;
    let name = place.name();
    if json {
        return present::print_json(serde_json::json!({ "store": name }));
    }
    present::print(format!("ready: {}\n", present::shown_path(&name)))
}

fn no_entry(seq: u64) -> Failure {
    Failure::misuse("E_LEDGER_SEQ", format!("the ledger has no entry {seq}"))
        .help("`vantio ledger list` shows the newest entries with their numbers")
}

fn show(reader: &Reader, seq: u64, json: bool) -> Result<(), Failure> {
    let entry = reader.entry(seq)?.ok_or_else(|| no_entry(seq))?;
    if json {
        return present::print(entry.to_line() + "\n");
    }
    let value = to_serde(&entry.to_json());
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    // JSON escapes C0 controls; what else a terminal would obey is escaped here.
    let lines: Vec<String> = text.lines().map(|line| present::shown(line) + "\n").collect();
    present::print(lines.concat())
}
