//! Who wrote a file, after reading what: from the ledger.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};
use vantio_core::{Access, Decision, RunId};
use vantio_ledger::{Entry, Filter, LedgerError, Reader};
use vantio_phantom::changes::{Change, Escaped, PathBytes};

use crate::{
    oracle::{PERMIT_REPEATED, Restated},
    present::{clock, now_ms},
};

/// What a run's programs did to files, in order.
#[derive(Default)]
pub struct Story {
    events: Vec<Event>,
    /// Events by a path that they changed.
    changed: HashMap<Vec<u8>, Vec<usize>>,
    is_cut: bool,
}

/// An action that was permitted.
struct Event {
    time_ms: u64,
    pid: u32,
    what: String,
    path: Vec<u8>,
    program: Option<Vec<u8>>,
    is_read: bool,
}

/// One way in which a change came about.
pub struct Deed<'a> {
    event: &'a Event,
    /// What the same process had read before, the last first.
    read: Vec<&'a [u8]>,
}

impl Story {
    /// Reads what the ledger has of a run; empty where there is no ledger.
    pub fn of(reader: Result<Reader, LedgerError>, run: RunId) -> Result<Self, LedgerError> {
        let mut story = Self::default();
        let mut programs: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let reader = match reader {
            Err(LedgerError::NotFound { .. }) => return Ok(story),
            other => other?,
        };
        let filter = Filter { run_id: Some(run), limit: Some(MOST_ENTRIES), ..Filter::default() };
        let mut seen = 0;
        for entry in reader.entries(&filter) {
            seen += 1;
            story.add(&entry?, &mut programs);
        }
        story.is_cut = seen >= MOST_ENTRIES;
        Ok(story)
    }

    /// Whether the run did more than is told here.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How `change` came about; at most the last few deeds.
    pub fn deeds(&self, change: &Change) -> Vec<Deed<'_>> {
        let paths = [Some(change.path.as_slice()), change.from.as_deref()];
        let found = paths.into_iter().flatten().filter_map(|path| self.changed.get(path)).flatten();
        let mut found: Vec<usize> = found.copied().collect();
        found.sort_unstable();
        found.dedup();
        let last = found.len().saturating_sub(MOST_DEEDS);
        found[last..].iter().map(|index| self.deed(*index)).collect()
    }

    fn deed(&self, index: usize) -> Deed<'_> {
        let event = &self.events[index];
        let mut read: Vec<&[u8]> = Vec::new();
        let earlier = self.events[..index].iter().rev().take(MOST_LOOKED_BACK);
        for other in earlier.filter(|other| other.is_read && other.pid == event.pid) {
            let is_known = read.contains(&other.path.as_slice()) || other.path == event.path;
            if !is_known && !is_of_system(&other.path) {
                read.push(&other.path);
            }
            if read.len() == MOST_READS {
                break;
            }
        }
        Deed { event, read }
    }

    fn add(&mut self, entry: &Entry, programs: &mut BTreeMap<u32, Vec<u8>>) {
        let is_repeated = entry.op == PERMIT_REPEATED;
        if !is_repeated && entry.decision.is_some_and(|decision| decision != Decision::Permit) {
            return;
        }
        let (name, request) = match (is_repeated, entry.request().member("intent")) {
            (true, Some(intent)) => (entry.request().text("effect").unwrap_or_default(), intent),
            _ => (entry.op.as_str(), entry.request()),
        };
        let Some(target) = Restated::of(request) else { return };
        let (paths, is_read) = match target {
            Restated::Path { path, .. } if name == "proc.exec" => {
                programs.insert(entry.pid, path);
                return;
            }
            Restated::Path { path, access, .. } => (vec![path], name == "fs.open" && access == Access::Read),
            Restated::Paths { from, to, .. } => (vec![from, to], false),
            _ => return,
        };
        if !name.starts_with("fs.") {
            return;
        }
        for path in paths {
            let index = self.events.len();
            if !is_read {
                self.changed.entry(path.clone()).or_default().push(index);
            }
            self.events.push(Event {
                time_ms: u64::try_from(entry.time.as_millisecond()).unwrap_or(0),
                pid: entry.pid,
                what: if name == "fs.open" && !is_read { "fs.open (write)".into() } else { name.to_owned() },
                path,
                program: programs.get(&entry.pid).cloned(),
                is_read,
            });
        }
    }
}

impl Deed<'_> {
    /// Lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let event = self.event;
        let program = event.program.as_ref().map_or_else(String::new, |path| format!(" {}", Escaped(path)));
        let time = clock(event.time_ms, now_ms());
        let mut lines = vec![format!("{time}  {} by process {}{program}", event.what, event.pid)];
        lines.extend(self.read.iter().map(|path| format!("    after reading {}", Escaped(path))));
        lines
    }

    /// The same for a program.
    pub fn to_json(&self) -> Json {
        let read: Vec<PathBytes> = self.read.iter().map(|path| PathBytes::from(*path)).collect();
        json!({
            "time_ms": self.event.time_ms,
            "op": self.event.what.split(' ').next(),
            "pid": self.event.pid,
            "program": self.event.program.clone().map(PathBytes),
            "after_reading": read,
        })
    }
}

/// What nearly every program reads.
fn is_of_system(path: &[u8]) -> bool {
    let folders: [&[u8]; 7] = [b"/usr/", b"/lib/", b"/lib64/", b"/bin/", b"/proc/", b"/dev/", b"/sys/"];
    folders.iter().any(|folder| path.starts_with(folder)) || path == b"/" || path.starts_with(b"/etc/ld.so")
}

const MOST_ENTRIES: u64 = 200_000;
const MOST_DEEDS: usize = 20;
const MOST_READS: usize = 12;
const MOST_LOOKED_BACK: usize = 20_000;
