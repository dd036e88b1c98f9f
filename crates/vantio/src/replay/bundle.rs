//! A run in one file, with all that a replay needs: a header, which has the policy program, and the
//! run's entries in full. Every line is canonical JSON.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::{Hash, RunId, json::Value};
use vantio_ledger::{Entry, ExportError, Filter, MAX_LINE, Reader};
use vantio_policy::PolicyProgram;

use super::Past;
use crate::{failure::Failure, oracle::integer, present::shown_path};

const FORMAT: &str = "vantio-replay/1";

/// Writes the bundle of a run; returns how many entries it has.
pub fn write(
    reader: &Reader,
    run_id: RunId,
    program: &PolicyProgram,
    output: &mut dyn Write,
) -> Result<u64, ExportError> {
    let filter = Filter { run_id: Some(run_id), ..Filter::default() };
    let mut count = 0;
    for entry in reader.entries(&filter) {
        entry?;
        count += 1;
    }
    let header = Value::object([
        ("entries", integer(count)),
        ("format", FORMAT.into()),
        ("program", STANDARD.encode(program.encode()).into()),
        ("run", run_id.to_string().into()),
    ]);
    writeln!(output, "{}", header.to_canonical())?;
    // A run that lives has gone on meanwhile.
    for entry in reader.entries(&Filter { limit: Some(count), ..filter }) {
        writeln!(output, "{}", entry?.to_line())?;
    }
    Ok(count)
}

/// Opens a bundle. Each entry's hash, its digests and its place are checked when it is read.
pub fn open(path: &Path) -> Result<Past<'static>, Failure> {
    let unreadable = |cause: io::Error| {
        Failure::new("E_REPLAY_BUNDLE", format!("`{}` cannot be read", shown_path(path))).because(cause)
    };
    let mut lines =
        Lines { file: BufReader::new(File::open(path).map_err(unreadable)?), path: path.into(), number: 0 };
    let no_bundle = || {
        Failure::new("E_REPLAY_BUNDLE", format!("`{}` is no replay bundle", shown_path(path)))
            .help("`vantio replay RUN --export FILE` writes one; a run is named by its id, the beginning of it, or `last`")
    };
    let header = lines.next().ok_or_else(no_bundle)?.map_err(|_| no_bundle())?;
    let header: Header = serde_json::from_str(&header).map_err(|_| no_bundle())?;
    if header.format != FORMAT {
        return Err(no_bundle());
    }
    let program = STANDARD.decode(&header.program).ok().and_then(|bytes| PolicyProgram::decode(&bytes).ok());
    let program = program.ok_or_else(|| lines.wrong("its policy program is not one"))?;
    let run_id = header.run.parse().map_err(|_| lines.wrong("it names no run"))?;
    let entries = Entries { lines, run_id, left: header.entries, last: None };
    Ok(Past { run_id, program, entries: Box::new(entries) })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    entries: u64,
    format: String,
    program: String,
    run: String,
}

struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    number: u64,
}

impl Lines {
    fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        let (path, line) = (shown_path(&self.path), self.number);
        Failure::unverified(
            "E_REPLAY_BUNDLE",
            format!("line {line} of `{path}` is not as it was written: {what}"),
        )
        .help("write the bundle again where the run was, with `vantio replay RUN --export FILE`")
    }
}

impl Iterator for Lines {
    type Item = Result<String, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        let mut line = Vec::new();
        match (&mut self.file).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                let text = line.strip_suffix(b"\n").and_then(|line| str::from_utf8(line).ok());
                Some(text.map(str::to_owned).ok_or_else(|| self.wrong("it is no line of text")))
            }
            Err(cause) => Some(Err(self.wrong("it cannot be read").because(cause))),
        }
    }
}

/// The entries of a bundle.
struct Entries {
    lines: Lines,
    run_id: RunId,
    left: u64,
    last: Option<(u64, Hash)>,
}

impl Entries {
    fn check(&mut self, line: &str) -> Result<Entry, Failure> {
        let entry = Entry::from_line(line).map_err(|fault| self.lines.wrong(fault))?;
        if entry.run_id != self.run_id {
            return Err(self.lines.wrong("it is about another run"));
        }
        if self.left == 0 {
            return Err(self.lines.wrong("it is one more than the header says"));
        }
        match self.last {
            Some((seq, _)) if entry.seq <= seq => return Err(self.lines.wrong("it is out of order")),
            Some((seq, hash)) if entry.seq == seq + 1 && entry.prev_hash != hash => {
                return Err(self.lines.wrong("it does not follow from the entry before it"));
            }
            _ => {}
        }
        self.last = Some((entry.seq, entry.this_hash));
        self.left -= 1;
        Ok(entry)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.next() {
            Some(line) => Some(line.and_then(|line| self.check(&line))),
            None if self.left > 0 => {
                let missing = format!("{} of its entries are missing", std::mem::take(&mut self.left));
                Some(Err(self.lines.wrong(missing)))
            }
            None => None,
        }
    }
}
