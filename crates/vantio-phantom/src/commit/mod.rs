//! Bringing a run's changes to the host, taking them back, and dropping them.
//!
//! A commit has three parts. *Plan*: scan, select, find conflicts, and list the
//! steps. *Stage*: copy everything new into a depot on the file system it goes
//! to. *Apply*: a short series of renames between depot and host, each of which
//! leaves the old file in the place of the new. The journal names every step
//! before the first is taken, and each step can be told done or not done by
//! looking, so a crash is undone by walking the steps backwards.

mod apply;
mod conflict;
mod depot;
pub(crate) mod discard;
mod error;
pub(crate) mod finish;
mod journal;
mod links;
pub(crate) mod meta;
mod moving;
mod plan;
mod recover;
mod report;
mod rollback;
mod select;
mod stage;
mod steps;
mod undo;

use std::{io, os::fd::BorrowedFd};

use crate::changes::{
    ChangeKind, ChangeSet, Committed, LayerRoot, Node, PathBytes, RunFolder, base::note_again, open_layers,
    path_now, path_then, scan_layers,
};
use apply::Stopped;
use journal::Journal;
use plan::Plan;
use stage::Stage;

pub use discard::discard;
pub use error::CommitError;
pub use recover::{Recovered, recover};
pub use report::{CommitReport, Conflict, Held, Reason};
pub use select::Selector;
pub use undo::{UndoReport, undo, undoable};

/// How conflicts are settled.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Below these paths the run's version replaces what the host has.
    pub theirs: &'a [Selector],
    /// Below these paths the run's changes are dropped for what the host has.
    pub ours: &'a [Selector],
    /// Changes, by path, that stay pending unless they are dropped, and with
    /// them what cannot be committed without them.
    pub withheld: &'a [Vec<u8>],
    /// Called at every moment a crash could fall into. For tests.
    #[doc(hidden)]
    pub at_moment: Option<&'a dyn Fn(usize) -> Moment>,
}

/// What happens at a moment of a commit. For tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The commit goes on.
    Go,
    /// The commit ends as if the process had been killed.
    Crash,
}

/// Brings the selected changes of `run` to the host below `host_root`; all of
/// them where `selection` is empty.
///
/// What conflicts with the host stays pending, and so does what depends on it;
/// the report names both. An error leaves the host as it was.
pub fn commit(
    run: &RunFolder,
    selection: &[Selector],
    options: Options<'_>,
    host_root: BorrowedFd<'_>,
) -> Result<CommitReport, CommitError> {
    let _lock = finish::lock(run.path().parent().unwrap_or(run.path()))?;
    recover::recover_run(run.path(), host_root)?;
    let clock = Clock { moment: std::cell::Cell::new(0), options };
    let mut late = Vec::new();
    loop {
        let layers = open_layers(run, host_root)?;
        let set = scan_layers(run, &layers)?;
        let mut report = CommitReport::default();
        let chosen = select::choose(run, &layers, &set, (selection, options), &late, &mut report)?;
        if chosen.is_empty() && report.dropped.is_empty() {
            return Ok(report);
        }
        let work = Work { run, layers: &layers, set: &set, clock: &clock, host_root };
        match work.perform(&chosen, &report.dropped) {
            // Something moved between the plan and its step: what was done is
            // taken back, and the path counts as a conflict.
            Err(Stopped::Conflict(path)) if late.len() < MOST_LATE_CONFLICTS => late.push(path),
            Err(stopped) => return Err(stopped.into()),
            Ok(number) => {
                report.number = Some(number);
                report.committed = chosen.iter().map(|index| set.changes()[*index].path.clone()).collect();
                return Ok(report);
            }
        }
    }
}

/// What one attempt at a commit works with.
struct Work<'a> {
    run: &'a RunFolder,
    layers: &'a [LayerRoot],
    set: &'a ChangeSet,
    clock: &'a Clock<'a>,
    host_root: BorrowedFd<'a>,
}

impl Work<'_> {
    /// Does everything, or leaves the host as it was, and returns the
    /// commit's number.
    fn perform(&self, chosen: &[usize], dropped: &[Vec<u8>]) -> Result<u64, Stopped> {
        let plan = Plan::new(self.layers, self.set, chosen);
        let grounds = depot::choose(self.run, self.layers, &plan)?;
        let mut journal = Journal::begin(self.run.path(), grounds)?;
        let done = self.stage_and_apply(&plan, &mut journal, chosen, dropped);
        if let Err(stopped) = done {
            if !matches!(stopped, Stopped::Crash) {
                recover::recover_run(self.run.path(), self.host_root)?;
            }
            return Err(stopped);
        }
        self.clock.tick()?;
        finish::finish(self.run.path(), self.host_root)?;
        // Without the note, what waits counts as changed by the host: a
        // conflict that the user can settle, after a commit that is done.
        let _ = self.note_waiting(chosen);
        Ok(journal.number())
    }

    fn stage_and_apply(
        &self,
        plan: &Plan<'_>,
        journal: &mut Journal,
        chosen: &[usize],
        dropped: &[Vec<u8>],
    ) -> Result<(), Stopped> {
        self.clock.tick()?;
        let stage = Stage::new(plan, self.layers, journal, self.clock)?;
        let steps = stage.fill(self.settled(chosen, dropped, journal.number()))?;
        journal.record_steps(steps.clone())?;
        self.clock.tick()?;
        apply::Apply { plan, layers: self.layers, stage: &stage, clock: self.clock }.run(&steps)?;
        self.clock.tick()?;
        journal.record_applied()
    }

    /// Notes anew the directories whose own change still waits: their change
    /// time moved with the entries that were committed.
    fn note_waiting(&self, chosen: &[usize]) -> io::Result<()> {
        let known = conflict::Known::of_run(self.run).map_err(io::Error::other)?;
        let settled = self.run.committed().map_err(io::Error::other)?;
        let mut places = Vec::new();
        for (index, change) in self.set.changes().iter().enumerate() {
            let waits =
                change.before.as_ref().is_some_and(Node::is_dir) && chosen.binary_search(&index).is_err();
            if waits && matches!(conflict::of(change, &known, self.layers), Ok(None)) {
                let place = path_now(&settled, change.host_path());
                places.push((path_then(&settled, &place), place));
            }
        }
        note_again(self.run.path(), self.host_root, &places)
    }

    fn settled(&self, chosen: &[usize], dropped: &[Vec<u8>], by: u64) -> Vec<Committed> {
        let committed = chosen.iter().map(|index| &self.set.changes()[*index]).map(|change| Committed {
            path: change.path.clone().into(),
            from: change.from.clone().filter(|_| change.kind == ChangeKind::Renamed).map(PathBytes),
            by,
        });
        let dropped = dropped.iter().map(|path| Committed { path: path.clone().into(), from: None, by });
        committed.chain(dropped).collect()
    }
}

/// Counts the moments of a commit, for tests that crash it.
struct Clock<'a> {
    moment: std::cell::Cell<usize>,
    options: Options<'a>,
}

impl Clock<'_> {
    fn tick(&self) -> Result<(), Stopped> {
        let Some(at_moment) = self.options.at_moment else { return Ok(()) };
        let moment = self.moment.get();
        self.moment.set(moment + 1);
        if at_moment(moment) == Moment::Crash { Err(Stopped::Crash) } else { Ok(()) }
    }
}

/// After so many paths changed under the commit's hands, it gives up.
const MOST_LATE_CONFLICTS: usize = 32;
