//! The flow of labels through a run: who may carry what, and what must not happen because of it.
//!
//! Labels attach to processes and to the channels between them. A process that reads what a source
//! covers, or a channel that carries labels, carries them from then on; all that it can write to
//! carries them too, and whoever can read that. Nothing takes a label away but a sanitizer. The
//! system calls that move the bytes are not looked at: what counts is which ends are open. So
//! everything is decided when an end is opened, or a label gained: then a *census* of all
//! open ends of all processes is taken, and labels spread to a fixpoint. Where that
//! would let a label reach a sink that is already open, the read is refused.
//!
//! What cannot be known is taken at its worst: a process of unknown parents carries every label that
//! any process of the run ever had; beyond [`Flow::CAPACITY`] everybody carries every label, and nothing
//! more is opened.
//!
//! Not here: names, sizes, times and the existence of files carry no labels.

mod actor;
mod admit;
mod channel;
mod marks;
mod paths;
mod spread;
#[cfg(all(test, feature = "document"))]
mod tests;
mod trail;

use alloc::{collections::BTreeMap, vec::Vec};

use vantio_core::{Access, Cause, Effect, Intent, Labels, Target};

pub use channel::{Act, Channel, End, Ended, Process};
pub use trail::{Step, describe};

use self::{
    actor::Actors,
    marks::{Marks, Way},
    paths::Paths,
};
use crate::{PolicyProgram, State, decide_by_lists};

/// The labels of one run.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The labels of the policy.
    all: Labels,
    /// Every label that any process ever had.
    ever: Labels,
    /// How much may be kept.
    capacity: usize,
    /// Whether there was more to keep than there is room: everybody carries every label.
    is_flooded: bool,
    /// Whether a process appeared whose open ends may carry what nobody has seen.
    is_unsettled: bool,
    /// Whether somebody who is said to carry a label has a sink for it open. It was not refused
    /// because nobody did anything for it; so it may not be true, and what does it must be refused.
    is_in_doubt: bool,
    actors: Actors,
    /// Channels other than paths.
    channels: BTreeMap<Channel, Marks>,
    paths: Paths,
}

/// Why an act is refused: with it, a label would reach a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'p> {
    /// [`Cause::Tainted`]; or that more carries labels than can be kept apart.
    pub cause: Cause<'p>,
    /// The number of the label.
    pub label: u8,
    /// How the label would get to the sink.
    pub trail: Vec<Step>,
}

/// What an act came to: `Ok(None)` when it took effect; `Ok(Some(_))` when the mode is `monitor` and it
/// took effect although it would be refused; `Err(_)` when it is refused and nothing has changed.
pub type Admission<'p> = Result<Option<Refusal<'p>>, Refusal<'p>>;

/// Gives all open ends of all processes of the run. Called at most once a call, and only where it
/// matters; the process that asks is stopped meanwhile. A process that has been forked and has not
/// executed anything yet (`PF_FORKNOEXEC`) may hold ends that it is about to close: it is worth a short
/// wait before looking.
pub type Census<'c> = dyn FnMut() -> Vec<End> + 'c;

impl Flow {
    /// How many labelled or linked paths, other channels and processes are kept.
    pub const CAPACITY: usize = 1 << 20;

    /// The state at a run's start: nobody carries anything.
    pub fn new(program: &PolicyProgram) -> Self {
        let count = program.labels().len().min(Labels::MAX);
        let all = (0..count as u8).map(Labels::single).fold(Labels::NONE, Labels::union);
        Self {
            all,
            ever: Labels::NONE,
            capacity: Self::CAPACITY,
            is_flooded: false,
            is_unsettled: false,
            is_in_doubt: false,
            actors: Actors::default(),
            channels: BTreeMap::new(),
            paths: Paths::default(),
        }
    }

    /// Whether the policy has anything that needs the machine: a source, a sink, or an order rule.
    pub fn is_needed(program: &PolicyProgram) -> bool {
        let guards = &program.parts.guards;
        !guards.sources.is_empty() || !guards.sinks.is_empty() || !guards.order.is_empty()
    }

    /// A process is seen for the first time. It carries what its parent carries; without a parent
    /// that has appeared, every label that any process of the run ever had. So let ancestors appear first.
    pub fn appear(&mut self, process: Process, parent: Option<Process>, program_path: &[u8]) {
        let has_parent = self.actors.appear(process, parent, program_path, self.ever);
        self.is_unsettled |= !has_parent && !self.ever.is_empty();
        self.check_capacity();
    }

    /// Whether the process has appeared.
    pub fn knows(&self, process: Process) -> bool {
        self.actors.get(process).is_some_and(|actor| actor.has_appeared)
    }

    /// The labels that the process carries; of one that has not appeared: every label of the run.
    pub fn labels(&self, process: Process) -> Labels {
        if self.is_flooded {
            return self.all;
        }
        match self.actors.get(process) {
            Some(actor) if actor.has_appeared => actor.marks.labels(),
            _ => self.ever,
        }
    }

    /// Somebody may hold what nobody was told of: a census is taken before anything flows by the next act.
    pub const fn unsettle(&mut self) {
        self.is_unsettled |= !self.ever.is_empty();
    }

    /// The labels to decide an intent with (`Context::labels`): [`Flow::labels`], after a census
    /// where a sink might cover the intent and the process could have been handed an end unseen.
    pub fn labels_for<'p>(
        &mut self,
        program: &'p PolicyProgram,
        state: &'p State,
        act: &Act<'_>,
        census: &mut Census<'_>,
    ) -> Labels {
        let missing = self.ever.without(self.labels(act.process));
        let mut sinks = state.guards().sinks.iter();
        let is_worth_a_look = !missing.is_empty()
            && sinks.any(|sink| {
                !sink.labels.intersection(missing).is_empty() && sink.scope.covers(state, act.intent)
            });
        if is_worth_a_look {
            self.look(program, state, act, census);
        }
        self.labels(act.process).union(self.labels_moved(state, act.intent))
    }

    /// The labels of what gets another name: they reach what the new name lies under.
    fn labels_moved(&self, state: &State, intent: &Intent<'_>) -> Labels {
        let Target::Paths { from, to, subtree } = intent.target else { return Labels::NONE };
        let labels = self.channel_marks(state, &Channel::Path(from.to_vec())).labels();
        if !subtree {
            return labels;
        }
        let sources = state.guards().sources.iter();
        sources
            .filter(|source| source.scope.is_about(Effect::FsOpen) && source.scope.tells_apart(from, to))
            .fold(labels.union(self.paths.labels_below(from)), |all, source| all.union(source.labels))
    }

    /// Whether a `proc.exec` of the process was admitted and [`Flow::executed`] not yet told. To be asked
    /// at the beginning of every call of a process, its exit included.
    pub fn awaits_execution(&self, process: Process) -> bool {
        self.actors.get(process).is_some_and(|actor| actor.pending.is_some())
    }

    /// How the start of a program went that was admitted. `has_run`: certainly the process now executes
    /// that very file (comparing paths is not enough: a failed start of the program that
    /// already runs looks the same). `is_clean`: its environment cannot change what the
    /// program does. Only then a sanitizer cleanses, and only if the run may write neither its
    /// file nor those of its interpreters.
    pub fn executed(
        &mut self,
        program: &PolicyProgram,
        state: &State,
        process: Process,
        has_run: bool,
        is_clean: bool,
    ) {
        if self.actors.get(process).is_none() {
            return;
        }
        let actor = self.actors.entry(process);
        actor.cleansed = Labels::NONE;
        actor.image = actor.pending.take().filter(|_| has_run);
        let Some(image) = &actor.image else { return };
        let Some(first) = image.programs.first() else { return };
        actor.program.clone_from(first);
        if is_clean && image.programs.iter().all(|path| !is_writable(program, state, path)) {
            actor.cleansed = cleansed_by(state, first);
        }
    }

    /// The process is about to end. What it gives is for [`State::ended`]. Its labels stay until
    /// [`Flow::retain`]: another thread of it may still act.
    pub fn exit(&mut self, process: Process, status: Option<u8>) -> Option<Ended> {
        self.actors.get(process)?;
        let image = self.actors.entry(process).image.take().unwrap_or_default();
        Some(Ended { programs: image.programs, executed: image.executed, status })
    }

    /// Forgets processes that are no more: those that ended without saying so.
    pub fn retain(&mut self, is_alive: impl FnMut(Process) -> bool) {
        self.actors.retain(is_alive);
    }

    /// Nothing has this name any more: it was removed, or renamed to another, and that has
    /// succeeded. Never for an exchange. Covers everything below it.
    pub fn gone(&mut self, path: &[u8]) {
        self.paths.forget(path);
    }

    /// How the label came to the process.
    pub fn trail(&self, process: Process, label: u8) -> Vec<Step> {
        let actor = self.actors.get(process);
        actor.and_then(|actor| actor.marks.way(label)).map(Way::steps).unwrap_or_default()
    }

    fn check_capacity(&mut self) {
        self.is_flooded |= self.actors.len() + self.channels.len() + self.paths.len() > self.capacity;
    }
}

/// Whether the run may change a program's file. A guard that refuses it now may not have done so before.
fn is_writable(program: &PolicyProgram, state: &State, path: &[u8]) -> bool {
    let may = |effect, target| decide_by_lists(program, state, &Intent::new(effect, target)).is_permit();
    let target = Target::Path { path, access: Access::Write, subtree: false };
    may(Effect::FsOpen, target) || may(Effect::FsUnlink, target)
}

fn cleansed_by(state: &State, path: &[u8]) -> Labels {
    let intent = Intent::new(Effect::ProcExec, Target::Path { path, access: Access::Read, subtree: false });
    let sanitizers = state.guards().sanitizers.iter();
    sanitizers
        .filter(|sanitizer| sanitizer.scope.covers(state, &intent))
        .fold(Labels::NONE, |all, sanitizer| all.union(sanitizer.labels))
}
