//! `vantio ledger list`

use std::{io, os::fd::AsFd, thread, time::Duration};

use vantio_core::{Decision, Effect};
use vantio_ledger::{Entry, Filter, LedgerError, Reader, Timestamp, no_run};
use vantio_policy::explain::nearest_name;

use crate::{
    account,
    arguments::{List, Verdict},
    failure::Failure,
    present::{self, Table, clock, duration, now_ms, on_clock},
    store::Store,
};

pub fn list(store: &Store, reader: &Reader, arguments: &List, json: bool) -> Result<(), Failure> {
    let limit = if arguments.limit == 0 { None } else { Some(arguments.limit) };
    let mut filter = Filter {
        run_id: arguments.run.as_deref().map(|run| store.resolve_recorded(run)).transpose()?,
        op: arguments.op.clone(),
        decision: arguments.verdict.map(decision),
        since_seq: arguments.after.map_or(0, |after| after.saturating_add(1)),
        since: arguments.since.as_deref().map(time).transpose()?,
        until: arguments.until.as_deref().map(time).transpose()?,
        text: arguments.grep.clone(),
        limit,
        newest: arguments.after.is_none(),
    };
    let mut shown = reader.entries(&filter).collect::<Result<Vec<_>, LedgerError>>()?;
    if filter.newest {
        shown.reverse();
    }
    if shown.is_empty() {
        must_be_known(reader, arguments.op.as_deref())?;
    }
    print(store, &shown, json, true)?;
    if !arguments.follow {
        return Ok(());
    }
    // What comes after what was looked at, shown or not.
    filter.since_seq = shown.last().map_or(0, |entry| entry.index + 1).max(filter.since_seq);
    (filter.newest, filter.limit) = (false, None);
    follow(store, reader, filter, json)
}

/// Fails where an operation is none that is written here, nor one that another version wrote.
fn must_be_known(reader: &Reader, op: Option<&str>) -> Result<(), Failure> {
    let Some(op) = op.filter(|op| !OPERATIONS.contains(op) && Effect::from_name(op).is_none()) else {
        return Ok(());
    };
    let filter = Filter { op: Some(op.into()), limit: Some(1), ..Filter::default() };
    if reader.entries(&filter).next().transpose()?.is_some() {
        return Ok(());
    }
    let names: Vec<&str> = Effect::ALL.iter().map(|effect| effect.name()).chain(OPERATIONS).collect();
    let help = nearest_name(op, &names)
        .map_or_else(|| format!("there are {}", names.join(", ")), |name| format!("did you mean `{name}`?"));
    Err(Failure::misuse("E_OPERATION", format!("there is no operation `{}`", present::shown(op))).help(help))
}

/// Prints what is appended, until the process is interrupted or nobody reads.
fn follow(store: &Store, reader: &Reader, mut filter: Filter, json: bool) -> Result<(), Failure> {
    loop {
        thread::sleep(POLL);
        let more = reader.entries(&filter).collect::<Result<Vec<_>, LedgerError>>()?;
        if let Some(last) = more.last() {
            filter.since_seq = last.index + 1;
            print(store, &more, json, false)?;
        }
    }
}

fn print(store: &Store, entries: &[Entry], json: bool, with_headings: bool) -> Result<(), Failure> {
    if json {
        let lines: Vec<String> = entries.iter().map(|entry| entry.to_line() + "\n").collect();
        return present::print(lines.concat());
    }
    let now = now_ms();
    let mut table = Table::new(&["SEQ", "TIME", "RUN", "PID", "OP", "VERDICT", DETAIL]);
    for entry in entries {
        let time = u64::try_from(entry.time.as_millisecond()).unwrap_or(0);
        table.row([
            entry.index.to_string(),
            clock(time, now),
            if entry.run_id == no_run() { "-".into() } else { store.short(entry.run_id) },
            if entry.pid == 0 { "-".into() } else { entry.pid.to_string() },
            entry.op.clone(),
            entry.decision.map_or("-", |decision| decision.name()).into(),
            account::detail(entry),
        ]);
    }
    let text = fitting(&table.render(), io::stdout());
    let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
    present::print(if with_headings { &text } else { rows })
}

/// The lines of the table; in a terminal that is too narrow for one of them, what stands under DETAIL is in a line of
/// its own.
fn fitting(table: &str, stdout: impl AsFd) -> String {
    let columns = present::width(stdout).unwrap_or(usize::MAX);
    let at = table.lines().next().and_then(|heading| heading.find(DETAIL)).unwrap_or(0);
    if table.lines().all(|line| line.chars().count() <= columns) {
        return table.to_owned();
    }
    let mut text = String::new();
    for (index, line) in table.lines().enumerate() {
        let split = line.char_indices().nth(at).map_or(line.len(), |(split, _)| split);
        let (head, detail) = line.split_at(split);
        let head = head.trim_end();
        if head.chars().count() > columns {
            text.extend(head.chars().take(columns - 1).chain(['…']));
        } else {
            text.push_str(head);
        }
        if index > 0 && !detail.is_empty() {
            text.push_str(&present::folded(&format!("\n    {detail}"), Some(columns)));
        }
        text.push('\n');
    }
    text
}

const fn decision(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Permit => Decision::Permit,
        Verdict::Collapse => Decision::Collapse,
        Verdict::KillSwitch => Decision::KillSwitch,
        Verdict::Hold => Decision::Hold,
    }
}

/// A time, how long ago it was, or what a clock showed then.
fn time(text: &str) -> Result<Timestamp, Failure> {
    let ago = || Timestamp::now().checked_sub(duration(text)?).ok();
    text.parse().ok().or_else(ago).or_else(|| on_clock(text)).ok_or_else(|| {
        Failure::misuse("E_TIME", format!("`{}` is not a time", present::shown(text))).help(
            "write 2026-01-02T03:04:05Z; or how long ago: 90s, 10m, 2h, 7d; \
             or by this host's clock: 2026-01-02 03:04:05, 2026-01-02, 03:04:05",
        )
    })
}

/// How often the ledger is asked for more.
const POLL: Duration = Duration::from_millis(200);

const DETAIL: &str = "DETAIL";

/// Operations of entries that are not about an effect.
pub const OPERATIONS: [&str; 25] = [
    "fork.assume",
    "fork.begin",
    "fork.end",
    "fork.none",
    "hold.answer",
    "ledger.begin",
    "ledger.dropped",
    "ledger.end",
    "ledger.expire",
    "order.progress",
    "permit.repeated",
    "phantom.commit",
    "phantom.commit.end",
    "phantom.discard",
    "phantom.undo",
    "phantom.undo.end",
    "refusal.repeated",
    "resource.exhaust",
    "run.checkpoint",
    "run.end",
    "run.kill",
    "run.limits",
    "run.nest",
    "run.restore",
    "run.start",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        assert_eq!(time("2026-01-02T03:04:05Z").unwrap().to_string(), "2026-01-02T03:04:05Z");
        let before = Timestamp::now();
        let ago = time("2h").unwrap() + Duration::from_hours(2);
        assert!((before..=Timestamp::now()).contains(&ago), "{ago}");
        for right in ["2026-01-02", "2026-01-02 03:04:05", "03:04:05", "03:04"] {
            assert!(time(right).is_ok(), "{right}");
        }
        for wrong in
            ["", "s", "2w", "-3m", "yesterday", "99999999999999999999d", "3ü", "2026-13-02", "10", "25:00"]
        {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
