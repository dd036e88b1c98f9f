//! Who wrote a file, after reading what: from the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value as Json, json};
use vantio_core::{Access, Decision, RunId};
use vantio_ledger::{Entry, Filter, LedgerError, Reader};
use vantio_phantom::changes::{Change, Escaped, PathBytes};

use crate::{
    oracle::{PERMIT_REPEATED, Restated},
    present::{clock, now_ms, plural},
};

/// What a run's programs did to files, in order.
#[derive(Default)]
pub struct Story {
    events: Vec<Event>,
    /// Events by a path that they changed.
    changed: HashMap<Vec<u8>, Vec<usize>>,
    workspace: Vec<u8>,
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
    /// What the same process had read before of the workspace, the last first.
    read: Vec<&'a [u8]>,
    /// The same of what a program brings along, and of what is elsewhere.
    read_besides: Vec<&'a [u8]>,
}

impl Story {
    /// Reads what the ledger has of a run; empty where there is no ledger.
    pub fn of(
        reader: Result<Reader, LedgerError>,
        run: RunId,
        workspace: &[u8],
    ) -> Result<Self, LedgerError> {
        let mut story = Self { workspace: workspace.to_vec(), ..Self::default() };
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
        let (mut read, mut read_besides): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        let earlier = self.events[..index].iter().rev().take(MOST_LOOKED_BACK);
        let mut seen = HashSet::from([event.path.as_slice()]);
        for other in earlier.filter(|other| other.is_read && other.pid == event.pid) {
            let path = other.path.as_slice();
            if is_of_system(path) || !seen.insert(path) {
                continue;
            }
            let list = if self.is_own(path) { &mut read } else { &mut read_besides };
            list.push(path);
        }
        Deed { event, read, read_besides }
    }

    /// Whether a file is in the workspace, and not there for an interpreter.
    fn is_own(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.workspace.as_slice()).filter(|rest| rest.starts_with(b"/"));
        let folders: [&[u8]; 3] = [b"__pycache__", b"site-packages", b"node_modules"];
        rest.is_some_and(|rest| !rest.split(|byte| *byte == b'/').any(|name| folders.contains(&name)))
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
    /// A few lines for a person: what was read of the workspace, and how much besides.
    pub fn brief(&self) -> Vec<String> {
        let mut lines = self.lines();
        let all = lines.len() - 1;
        let shown = self.read.len().min(MOST_SHOWN);
        lines.truncate(1 + shown);
        match all - shown {
            0 => {}
            rest if shown == 0 => lines.push(format!("    after reading {} (p)", plural(rest, "other file"))),
            rest => lines.push(format!("    and {} (p)", plural(rest, "other file"))),
        }
        lines
    }

    /// All lines for a person, what is of the workspace first.
    pub fn lines(&self) -> Vec<String> {
        let event = self.event;
        let program = event.program.as_ref().map_or_else(String::new, |path| format!(" {}", Escaped(path)));
        let time = clock(event.time_ms, now_ms());
        let mut lines = vec![format!("{time}  {} by process {}{program}", event.what, event.pid)];
        lines.extend(self.all_read().map(|path| format!("    after reading {}", Escaped(path))));
        lines
    }

    /// The same for a program.
    pub fn to_json(&self) -> Json {
        let lists = [&self.read, &self.read_besides];
        let read = lists.into_iter().flat_map(|list| list.iter().take(MOST_READS).copied());
        let read: Vec<PathBytes> = read.map(PathBytes::from).collect();
        json!({
            "time_ms": self.event.time_ms,
            "op": self.event.what.split(' ').next(),
            "pid": self.event.pid,
            "program": self.event.program.clone().map(PathBytes),
            "after_reading": read,
        })
    }

    fn all_read(&self) -> impl Iterator<Item = &[u8]> {
        self.read.iter().chain(&self.read_besides).copied()
    }
}

/// What nearly every program reads.
fn is_of_system(path: &[u8]) -> bool {
    let folders: [&[u8]; 7] = [b"/usr/", b"/lib/", b"/lib64/", b"/bin/", b"/proc/", b"/dev/", b"/sys/"];
    folders.iter().any(|folder| path.starts_with(folder)) || path == b"/" || path.starts_with(b"/etc/ld.so")
}

const MOST_ENTRIES: u64 = 200_000;
const MOST_DEEDS: usize = 20;
/// For a program, of the workspace, and as many besides.
const MOST_READS: usize = 12;
/// Of the workspace, in brief.
const MOST_SHOWN: usize = 3;
const MOST_LOOKED_BACK: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str, is_read: bool) -> Event {
        let what = if is_read { "fs.open" } else { "fs.open (write)" };
        let path = path.as_bytes().to_vec();
        Event { time_ms: 0, pid: 1, what: what.into(), path, program: None, is_read }
    }

    #[test]
    fn what_is_of_the_workspace_comes_first_and_the_rest_is_counted() {
        let own = (0..4).map(|number| event(&format!("/w/data{number}"), true));
        let modules = (0..30).map(|number| event(&format!("/opt/python/{number}.pyc"), true));
        let packed = event("/w/venv/site-packages/certifi/cacert.pem", true);
        let events = own.chain(modules).chain([packed, event("/w/out", false)]).collect();
        let story = Story { events, workspace: b"/w".to_vec(), ..Story::default() };
        let deed = story.deed(35);
        let brief = deed.brief();
        let wanted =
            ["    after reading /w/data3", "    after reading /w/data2", "    after reading /w/data1"];
        assert_eq!(brief[1..4], wanted);
        assert_eq!(brief[4..], ["    and 32 other files (p)"]);
        assert_eq!(deed.lines().len(), 1 + 4 + 31);
        let other = Story { workspace: b"/other".to_vec(), ..story };
        assert_eq!(other.deed(35).brief()[1..], ["    after reading 35 other files (p)"]);
    }
}
