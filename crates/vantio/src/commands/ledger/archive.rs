//! `vantio ledger archive`

use vantio_ledger::{Archive, LedgerError, Location, Timestamp, archive as close, archives, expire};

use crate::{
    arguments,
    failure::Failure,
    present::{self, Table, entries, shown, shown_path},
    store::{Store, appendable, options},
};

/// Closes the ledger, lists what was closed, or removes what is kept no longer.
pub fn archive(store: &Store, arguments: &arguments::Archive, json: bool) -> Result<(), Failure> {
    let Location::File(path) = &appendable(store)? else {
        return Err(Failure::misuse(
            "E_LEDGER_ARCHIVE",
            "a ledger on a server is archived with its database",
        )
        .help("stop the runs, take INSERT from vantio_writer, and `vantio ledger init` a new database"));
    };
    if arguments.list {
        return list(&archives(path)?, json);
    }
    if arguments.expire {
        let expired = expire(path, Timestamp::now(), options())?;
        return if json { print_json(&expired) } else { present::print(told(&expired)) };
    }
    let closed = close(path, options()).map_err(|error| match error {
        error @ LedgerError::Busy { .. } => {
            Failure::from(error).help("wait until no run is going: `vantio ps`")
        }
        error => error.into(),
    })?;
    let Some(closed) = closed else {
        return Err(Failure::new("E_LEDGER_UNCOVERED", "the ledger has nothing to archive yet"));
    };
    if json {
        return print_json(&[closed]);
    }
    present::print(format!(
        "archived: {} in {}\nkept until: {}\nkey: {}\n",
        entries(closed.head.size()),
        shown_path(&closed.path),
        date(closed.kept_until()),
        closed.key
    ))
}

fn list(archives: &[Archive], json: bool) -> Result<(), Failure> {
    if json {
        return print_json(archives);
    }
    let mut table = Table::new(&["FROM", "TO", "ENTRIES", "KEPT UNTIL", "FILE"]);
    for archive in archives {
        table.row([
            date(archive.period.0),
            date(archive.period.1),
            archive.head.size().to_string(),
            date(archive.kept_until()),
            shown_path(&archive.path),
        ]);
    }
    present::print(table.render())
}

fn told(expired: &[Archive]) -> String {
    if expired.is_empty() {
        return "nothing has been kept for seven years\n".into();
    }
    let line = |archive: &Archive| {
        format!("removed: {} of {}\n", entries(archive.head.size()), shown(archive.head.origin()))
    };
    expired.iter().map(line).collect()
}

fn print_json(archives: &[Archive]) -> Result<(), Failure> {
    let archive = |archive: &Archive| {
        serde_json::json!({
            "file": archive.path, "from": archive.period.0.to_string(), "to": archive.period.1.to_string(),
            "entries": archive.head.size(), "root": archive.head.root().to_string(),
            "key": archive.key.to_string(), "kept_until": archive.kept_until().to_string(),
        })
    };
    let archives: Vec<_> = archives.iter().map(archive).collect();
    present::print_json(serde_json::json!({ "archives": archives }))
}

fn date(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
