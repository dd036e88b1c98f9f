//! `vantio diff`

mod short;
mod states;

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};

use serde_json::{Value, json};
use vantio_phantom::changes::{ChangeSet, Escaped, EscapedText, ScanError};

use super::{
    changes::{host_root, marked, pending, scan_failure},
    commit::{hazard_json, never_json, paths_json},
    pick::{Asked, reasons},
};
use crate::{
    arguments::{Commit, Diff},
    failure::Failure,
    present::{self, Paint, has_colour, note, shown_path, waited},
    store::{Record, State, Store},
};

pub use short::Bounded;

/// Shows what a run changed and nobody has committed yet.
pub fn diff(store: &Store, arguments: &Diff, json: bool) -> Result<u8, Failure> {
    let record = store.read(store.resolve(&arguments.reference.run)?)?;
    let short = store.short(record.id);
    if record.state == State::Discarded {
        note(format!("run {short} was discarded: nothing of it is left\n"));
        return if json {
            print_document(&record, ChangeSet::default().to_json()).map(|()| 0)
        } else {
            Ok(0)
        };
    }
    if arguments.from.is_some() || arguments.to.is_some() {
        return states::diff(store, &record, arguments, json);
    }
    let changes = waited("comparing", || marked(store, &record))?;
    let lives = record.state == State::Running && store.is_held(record.id)?;
    if lives {
        note(format!("run {short} still lives; this is what it changed so far\n"));
    } else if changes.is_empty() {
        note(format!("run {short}: nothing pending\n"));
    }
    let (world, root) = (store.world(&record), host_root()?);
    if json {
        let document = changes.to_json_with_hunks(&world, root.as_fd());
        print_document(&record, document.map_err(|error| scan_failure(&error))?)?;
    } else if arguments.patch {
        print_patch(store, &record, &changes)?;
    } else if lives || !changes.is_empty() {
        print_tree(&changes)?;
        if !arguments.tree {
            short::print(&changes, |is_shown, out| {
                changes.filtered(is_shown).write_patch(&world, root.as_fd(), out)
            })?;
        }
    }
    Ok(0)
}

fn print_tree(changes: &ChangeSet) -> Result<(), Failure> {
    let mut text = Vec::new();
    let written = changes.write_tree(&mut text, has_colour(&io::stdout()));
    written.map_err(|cause| Failure::new("E_OUTPUT", "the changes cannot be written").because(cause))?;
    present::print(text)
}

/// Prints what `vantio commit` would bring to the host, hazards only where it would.
pub fn patch(store: &Store, arguments: &Commit) -> Result<u8, Failure> {
    let Taken { record, changes, left_out } = taken(store, arguments)?;
    print_patch(store, &record, &changes)?;
    Ok(if left_out.is_empty() { 0 } else { 4 })
}

/// Writes the same to a folder, as two trees.
pub fn trees(store: &Store, arguments: &Commit, json: bool) -> Result<u8, Failure> {
    let folder = arguments.to.clone().unwrap_or_default();
    let is_empty = fs::read_dir(&folder).map(|mut entries| entries.next().is_none());
    if matches!(is_empty, Ok(false)) {
        return Err(Failure::misuse("E_NOT_EMPTY", format!("`{}` is not empty", shown_path(&folder)))
            .help("name a folder that is empty or does not exist yet"));
    }
    let Taken { record, changes, left_out } = taken(store, arguments)?;
    let left = changes.write_trees(&store.world(&record), host_root()?.as_fd(), &folder);
    let left = left.map_err(|error| {
        // Half of it would pass for the whole.
        drop(["before", "after"].map(|side| fs::remove_dir_all(folder.join(side))));
        if is_empty.is_err() {
            drop(fs::remove_dir(&folder));
        }
        scan_failure(&error)
    })?;
    for path in &left {
        note(format!("not in it as it is: {}\n", Escaped(path)));
    }
    if json {
        let told: HashSet<_> = left.iter().collect();
        let written = changes.changes().iter().map(|change| &change.path).filter(|path| !told.contains(path));
        let (hazards, never) = left_out_json(&left_out);
        present::print_json(json!({
            "run": record.id.to_string(),
            "folder": shown_path(&folder),
            "written": paths_json(written),
            "left": paths_json(&left),
            "hazards": hazards,
            "never": never,
        }))?;
    } else if !changes.is_empty() {
        let name = shown_path(&folder);
        present::print(format!("written to {name}: compare {name}/before with {name}/after\n"))?;
    }
    Ok(if left_out.is_empty() && left.is_empty() { 0 } else { 4 })
}

/// What a commit would take of a run, and what of that which was asked for it would not.
struct Taken {
    record: Record,
    changes: ChangeSet,
    left_out: ChangeSet,
}

/// What a commit with these arguments takes; what it leaves out is told.
fn taken(store: &Store, arguments: &Commit) -> Result<Taken, Failure> {
    let record = store.read(store.resolve(&arguments.reference.run)?)?;
    let changes = pending(store, &record)?;
    let asked = Asked::from_arguments(arguments, &changes)?;
    asked.must_match(&changes)?;
    let taken = changes.filtered(|change| asked.takes(change));
    if taken.is_empty() {
        note(format!("run {}: nothing of it would be committed\n", store.short(record.id)));
    }
    let left_out = changes.filtered(|change| asked.covers(change) && !asked.takes(change));
    for change in left_out.changes() {
        let blocked = change.blocked.iter().map(|blocked| blocked.reason());
        let reasons: Vec<_> = blocked.chain(reasons(change)).collect();
        note(format!("left out: {}: {}\n", Escaped(&change.path), reasons.join(", ")));
    }
    Ok(Taken { record, changes: taken, left_out })
}

/// The hazards that a commit leaves, and what it never takes, as it tells them itself.
fn left_out_json(left_out: &ChangeSet) -> (Vec<Value>, Vec<Value>) {
    let never = left_out.changes().iter().filter_map(|change| Some((change, change.blocked?)));
    let hazards = left_out.changes().iter().filter(|change| change.blocked.is_none());
    (
        hazards.map(|change| hazard_json(&change.path, &reasons(change))).collect(),
        never.map(|(change, blocked)| never_json(&change.path, blocked)).collect(),
    )
}

fn print_patch(store: &Store, record: &Record, changes: &ChangeSet) -> Result<(), Failure> {
    let (world, root) = (store.world(record), host_root()?);
    print_written(|out| changes.write_patch(&world, root.as_fd(), out))
}

/// The changes of a run, which they name.
fn print_document(record: &Record, mut document: Value) -> Result<(), Failure> {
    document["run"] = record.id.to_string().into();
    present::print_json(document)
}

/// A file or pipe gets the patch as it is; a terminal gets nothing that it would obey.
fn print_written(write: impl Fn(&mut dyn io::Write) -> Result<(), ScanError>) -> Result<(), Failure> {
    let mut output = Output { stream: BufWriter::new(io::stdout().lock()), failure: None };
    let written = if io::stdout().is_terminal() {
        let mut painted =
            Painted { paint: Paint::for_stream(&io::stdout()), line: Vec::new(), out: &mut output };
        write(&mut painted)
    } else {
        write(&mut output)
    };
    // Its failure is kept, as those of the others.
    drop(output.flush());
    match output.failure {
        Some(cause) => present::unprintable(cause),
        None => written.map_err(|error| scan_failure(&error)),
    }
}

/// Standard output, and why it could not be written: what writes to it has failures of its own.
struct Output<W> {
    stream: W,
    failure: Option<io::Error>,
}

impl<W: io::Write> Output<W> {
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let told = io::Error::from(error.kind());
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure.get_or_insert(error);
            }
            told
        })
    }
}

impl<W: io::Write> io::Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.flush();
        self.keep(result)
    }
}

/// A patch for a terminal, line by line.
struct Painted<'a> {
    paint: Paint,
    /// The beginning of the line that comes next.
    line: Vec<u8>,
    out: &'a mut dyn io::Write,
}

impl io::Write for Painted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                let text = paint_line(self.paint, line) + "\n";
                self.line.clear();
                self.out.write_all(text.as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line of a patch, as a terminal may show it.
pub fn paint_line(paint: Paint, line: &[u8]) -> String {
    // Tabs are what a patch is made of; they move the cursor only forward.
    let text = EscapedText(line).to_string();
    match line.first() {
        Some(b'+') => paint.green(&text),
        Some(b'-') => paint.red(&text),
        Some(b'@') => paint.cyan(&text),
        Some(b'd') => paint.bold(&text),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_on_a_terminal_obeys_nobody() {
        assert_eq!(paint_line(Paint::plain(), b"+\tx\x1b]0;owned\x07"), "+\tx\\u{1b}]0;owned\\u{7}");
    }
}
