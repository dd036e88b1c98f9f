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
//! any process of the run ever had; beyond [`Flow::CAPACITY`] everybody carries every label.
//!
//! Not here: names, sizes, times and the existence of files carry no labels.

mod channel;
mod trail;

use alloc::vec::Vec;

use vantio_core::{Cause, Labels};

pub use channel::{Act, Channel, End, Ended, Process};
pub use trail::{Step, describe};

use crate::{PolicyProgram, State};

/// The labels of one run.
#[derive(Clone, Debug)]
pub struct Flow {
    ever: Labels,
}

/// Why an act is refused: with it, a label would reach a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'p> {
    /// [`Cause::Tainted`].
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
        let _ = program;
        Self { ever: Labels::NONE }
    }

    /// Whether the policy has anything that needs the machine: a source, a sink, or an order rule
    /// about how a program ended.
    pub fn is_needed(program: &PolicyProgram) -> bool {
        let guards = &program.parts.guards;
        !guards.sources.is_empty() || !guards.sinks.is_empty() || !guards.order.is_empty()
    }

    /// A process is seen for the first time. It carries what its parent carries; without a parent
    /// that is known, every label that any process of the run ever had.
    pub fn appear(&mut self, process: Process, parent: Option<Process>, program_path: &[u8]) {
        let _ = (process, parent, program_path);
    }

    /// Whether the process has appeared.
    pub fn knows(&self, process: Process) -> bool {
        let _ = process;
        false
    }

    /// The labels that the process carries.
    pub fn labels(&self, process: Process) -> Labels {
        let _ = process;
        self.ever
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
        let _ = (program, state, census);
        self.labels(act.process)
    }

    /// What an intent that was permitted makes flow. To be asked after `decide` permits, before the intent
    /// is carried out. Opens, connects, binds and program starts give and spread labels; names given
    /// by rename and link carry the labels of what they name. Names are only ever added:
    /// once a removal or a rename has succeeded, tell [`Flow::gone`].
    pub fn admit<'p>(
        &mut self,
        program: &'p PolicyProgram,
        state: &'p State,
        act: &Act<'_>,
        census: &mut Census<'_>,
    ) -> Admission<'p> {
        let _ = (program, state, act, census);
        Ok(None)
    }

    /// The process gets an end of a channel inside the run, both ways, until it ends: for what no
    /// intent tells ([`Channel::SystemV`], abstract and accepted sockets). `admit` itself does so for
    /// `net.bind`, `net.listen` and a `net.connect` inside the run.
    pub fn join<'p>(
        &mut self,
        program: &'p PolicyProgram,
        state: &'p State,
        act: &Act<'_>,
        channel: Channel,
        census: &mut Census<'_>,
    ) -> Admission<'p> {
        let _ = (program, state, act, channel, census);
        Ok(None)
    }

    /// Whether a `proc.exec` of the process was admitted and [`Flow::executed`] not yet told. To be asked
    /// at the beginning of every call of a process, its exit included.
    pub fn awaits_execution(&self, process: Process) -> bool {
        let _ = process;
        false
    }

    /// How the start of a program went that was admitted. `has_run`: certainly the process now executes
    /// that very file (comparing paths is not enough: a failed start of the program that
    /// already runs looks the same). `is_clean`: its environment cannot change what the
    /// program does. Only then a sanitizer cleanses.
    pub fn executed(
        &mut self,
        program: &PolicyProgram,
        state: &State,
        process: Process,
        has_run: bool,
        is_clean: bool,
    ) {
        let _ = (program, state, process, has_run, is_clean);
    }

    /// The process ends. What it gives is for [`State::ended`].
    pub fn exit(&mut self, process: Process, status: Option<u8>) -> Option<Ended> {
        let _ = (process, status);
        None
    }

    /// Forgets processes that are no more: those that ended without saying so.
    pub fn retain(&mut self, is_alive: impl FnMut(Process) -> bool) {
        drop(is_alive);
    }

    /// Nothing has this name any more: it was removed, or renamed to another, and that has
    /// succeeded. Never for an exchange. Covers everything below it.
    pub fn gone(&mut self, path: &[u8]) {
        let _ = path;
    }

    /// How the label came to the process.
    pub fn trail(&self, process: Process, label: u8) -> Vec<Step> {
        let _ = (process, label);
        Vec::new()
    }
}
