//! Bringing a run's changes to the host, taking them back, and dropping them.
//!
//! A commit has three parts. *Plan*: scan, select, find conflicts, and list the
//! steps. *Stage*: copy everything new into a depot on the file system it goes
//! to. *Apply*: a short series of renames between depot and host, each of which
//! leaves the old file in the place of the new. The journal names every step
//! before the first is taken, and each step can be told done or not done by
//! looking, so a crash is undone by walking the steps backwards.

mod apply;
mod away;
mod conflict;
mod depot;
mod dirs;
pub(crate) mod discard;
mod error;
pub(crate) mod finish;
mod journal;
mod links;
mod merge;
pub(crate) mod meta;
mod moving;
mod others;
mod pieces;
mod plan;
mod recover;
mod replace;
mod report;
mod rollback;
mod select;
mod since;
mod stage;
mod steps;
mod undo;
mod ways;

use std::{io, os::fd::BorrowedFd};

use crate::changes::{
    ChangeKind, ChangeSet, Committed, LayerRoot, Node, PathBytes, RunFolder, base::note_again, open_layers,
    path_now, path_then, scan_layers,
};
use apply::Stopped;
use conflict::Known;
use journal::{Ground, Journal, Steps};
use plan::Plan;
use select::{Asked, Chosen};
use stage::Stage;

pub use discard::{discard, forget};
pub use error::CommitError;
pub use recover::{Recovered, Remedy, recover};
pub use report::{CommitReport, Conflict, Held, Lines, Offer, Overlap, Reason, Unmergeable, Unmoved};
pub use select::Selector;
pub use undo::{UndoReport, undo, undo_paths, undoable, undoable_paths};
pub use ways::repository;

/// How conflicts are settled.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Below these paths the run's version replaces what the host has.
    pub theirs: &'a [Selector],
    /// Below these paths the run's changes are dropped for what the host has.
    pub ours: &'a [Selector],
    /// Below these paths what conflicts is merged with what the host has.
    pub merge: &'a [Selector],
    /// Lines that both changed are committed with markers, where a merge was asked for.
    pub with_markers: bool,
    /// Of these changes only some hunks are committed. With any of them an empty selection is none.
    pub hunks: &'a [HunkChoice],
    /// Changes, by path, that stay pending unless they are dropped, and with
    /// them what cannot be committed without them.
    pub withheld: &'a [Vec<u8>],
    /// Asked before every step: where it says so, the commit is taken back at once, and is
    /// [`CommitError::CalledOff`].
    pub is_called_off: Option<&'a dyn Fn() -> bool>,
    /// Called at every moment a crash could fall into. For tests.
    #[doc(hidden)]
    pub at_moment: Option<&'a dyn Fn(usize) -> Moment>,
}

/// Some hunks of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HunkChoice {
    /// The path of the change.
    pub path: Vec<u8>,
    /// The chosen pieces, by their index in [`Hunks`](crate::changes::Hunks).
    pub pieces: std::collections::BTreeSet<usize>,
    /// Of which hunks they were chosen: [`Hunks::digest`](crate::changes::Hunks::digest).
    pub of: [u8; 32],
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

/// What of the selected changes would conflict with the host now, in the same words as [`commit`] has them.
pub fn foresee(run: &RunFolder, host_root: BorrowedFd<'_>) -> Result<CommitReport, CommitError> {
    let layers = open_layers(run, host_root)?;
    let set = scan_layers(run, &layers)?;
    let mut report = CommitReport::default();
    let asked = Asked { selection: &[], options: Options::default(), late: &[], host_root };
    select::choose(run, &layers, &set, &asked, &mut report)?;
    Ok(report)
}

/// Marks the changes of `set`, which are those of `run`, that the host changed too.
pub fn mark_conflicts(
    run: &RunFolder,
    set: &mut ChangeSet,
    host_root: BorrowedFd<'_>,
) -> Result<(), CommitError> {
    if set.is_empty() {
        return Ok(());
    }
    let (layers, known) = (open_layers(run, host_root)?, Known::of_run(run)?);
    for change in &mut set.changes {
        // Where it cannot be told, a commit tells why.
        let is_conflict = matches!(conflict::of(change, &known, &layers), Ok(Some(_)));
        change.origin.is_conflict = is_conflict && change.blocked.is_none();
    }
    Ok(())
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
    let _lock = recover::take_over(run, host_root)?;
    let clock = Clock { moment: std::cell::Cell::new(0), options };
    let mut late = Vec::new();
    loop {
        let layers = open_layers(run, host_root)?;
        let set = scan_layers(run, &layers)?;
        let mut report = CommitReport::default();
        let asked = Asked { selection, options, late: &late, host_root };
        let chosen = select::choose(run, &layers, &set, &asked, &mut report)?;
        if chosen.indices.is_empty() && report.dropped.is_empty() {
            return Ok(report);
        }
        let work = Work { run, layers: &layers, set: &set, clock: &clock, host_root, chosen: &chosen };
        match work.perform(&report.dropped) {
            // Something moved between the plan and its step: what was done is
            // taken back, and the path counts as a conflict.
            Err(Stopped::Conflict(path)) if late.len() < MOST_LATE_CONFLICTS => late.push(path),
            Err(stopped) => return Err(stopped.into()),
            Ok((number, unkept)) => {
                report.number = Some(number);
                report.unkept = unkept;
                report.count(&set, &chosen);
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
    chosen: &'a Chosen,
}

impl Work<'_> {
    /// Does everything, or leaves the host as it was, and returns the
    /// commit's number, and the paths at which what was there before is not kept.
    fn perform(&self, dropped: &[Vec<u8>]) -> Result<(u64, Vec<Vec<u8>>), Stopped> {
        let Chosen { indices, replacements, .. } = self.chosen;
        let pieces = pieces::of(self.layers, self.set, indices)
            .map_err(|source| Stopped::failed("cannot read", b"/", source))?;
        let plan = Plan::new(self.layers, self.set, indices, replacements, &pieces);
        let grounds = depot::choose(self.run, self.layers, &plan)?;
        let number = self.stage_and_apply(&plan, grounds, dropped).or_else(|stopped| {
            if !matches!(stopped, Stopped::Crash) {
                recover::recover_run(self.run.path(), self.host_root)?;
            }
            Err(stopped)
        })?;
        // It is done: nothing calls it off any more.
        self.clock.moment()?;
        let unkept = finish::finish(self.run.path(), self.host_root)?;
        // Without the note, what waits counts as changed by the host: a
        // conflict that the user can settle, after a commit that is done.
        let _ = self.note_waiting(&plan);
        Ok((number, unkept))
    }

    fn stage_and_apply(
        &self,
        plan: &Plan<'_>,
        grounds: Vec<Ground>,
        dropped: &[Vec<u8>],
    ) -> Result<u64, Stopped> {
        let mut journal = Journal::begin(self.run.path(), grounds)?;
        self.clock.tick()?;
        let stage = Stage::new(plan, self.layers, &journal, self.clock)?;
        let settled = self.settled(dropped, journal.number());
        let rebased = replace::rebased(self.run, self.set, &self.chosen.replacements, &settled);
        let (rebased, overruled) = (rebased.map_err(CommitError::from)?, self.chosen.overruled.clone());
        let steps = Steps { settled, rebased, overruled, ..stage.fill()? };
        journal.record_steps(steps.clone())?;
        self.clock.tick()?;
        apply::Apply { plan, layers: self.layers, stage: &stage, clock: self.clock }.run(&steps)?;
        self.clock.tick()?;
        journal.record_applied()?;
        Ok(journal.number())
    }

    /// Notes anew the directories whose own change still waits, and the files of which another name does not: their
    /// change time moved with what was committed.
    fn note_waiting(&self, plan: &Plan<'_>) -> io::Result<()> {
        let known = conflict::Known::of_run(self.run).map_err(io::Error::other)?;
        let settled = self.run.committed().map_err(io::Error::other)?;
        let linked = plan.linked(self.layers);
        let mut places = Vec::new();
        for (index, change) in self.set.changes().iter().enumerate() {
            let is_chosen = |index: &usize| self.chosen.indices.binary_search(index).is_ok();
            let is_moved = |node: &Node| node.is_dir() || linked.contains(&node.id);
            let is_moved =
                change.before.as_ref().is_some_and(is_moved) || plan.shared.of(change).iter().any(is_chosen);
            if is_moved && !is_chosen(&index) && matches!(conflict::of(change, &known, self.layers), Ok(None))
            {
                let place = path_now(&settled, change.host_path());
                places.push((path_then(&settled, &place), place));
            }
        }
        note_again(self.run.path(), self.host_root, &places)
    }

    fn settled(&self, dropped: &[Vec<u8>], by: u64) -> Vec<Committed> {
        let Chosen { indices, replacements, .. } = self.chosen;
        let is_whole =
            |index: &&usize| !replacements.get(*index).is_some_and(|replacement| replacement.is_part);
        let whole = indices.iter().filter(is_whole).map(|index| &self.set.changes()[*index]);
        let committed = whole.map(|change| Committed {
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
    /// Whether the commit goes on.
    fn tick(&self) -> Result<(), Stopped> {
        if self.options.is_called_off.is_some_and(|is_called_off| is_called_off()) {
            return Err(Stopped::Failed(CommitError::CalledOff));
        }
        self.moment()
    }

    fn moment(&self) -> Result<(), Stopped> {
        let Some(at_moment) = self.options.at_moment else { return Ok(()) };
        let moment = self.moment.get();
        self.moment.set(moment + 1);
        if at_moment(moment) == Moment::Crash { Err(Stopped::Crash) } else { Ok(()) }
    }
}

/// After so many paths changed under the commit's hands, it gives up.
const MOST_LATE_CONFLICTS: usize = 32;
