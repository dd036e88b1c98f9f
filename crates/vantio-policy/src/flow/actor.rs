//! The processes of a run.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use vantio_core::Labels;

use super::{
    channel::{Channel, Process},
    marks::{Marks, Way},
    trail::Step,
};

/// What is known of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Actor {
    started: u64,
    /// Whether it has appeared; a census may have shown it before.
    pub(super) has_appeared: bool,
    pub(super) marks: Marks,
    /// What it takes away from all that goes through it.
    pub(super) cleansed: Labels,
    /// The path of its program, for people.
    pub(super) program: Vec<u8>,
    /// What it certainly executes.
    pub(super) image: Option<Image>,
    /// What it was permitted to execute, while nobody knows whether that went well.
    pub(super) pending: Option<Image>,
    /// Channels it has an end of for as long as it lives.
    pub(super) joined: BTreeSet<Channel>,
}

/// A program and, where it is a script, its interpreters.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) programs: Vec<Vec<u8>>,
    /// The state's moment when it was permitted.
    pub(super) executed: u64,
}

/// Processes by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Actors(BTreeMap<u32, Actor>);

impl Actors {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, process: Process) -> Option<&Actor> {
        self.0.get(&process.pid).filter(|actor| actor.started == process.started)
    }

    /// The process; an earlier one of the same number is no more.
    pub(super) fn entry(&mut self, process: Process) -> &mut Actor {
        let actor = self.0.entry(process.pid).or_default();
        if actor.started != process.started {
            *actor = Actor { started: process.started, ..Actor::default() };
        }
        actor
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Process, &Actor)> {
        self.0.iter().map(|(pid, actor)| (Process { pid: *pid, started: actor.started }, actor))
    }

    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(Process) -> bool) {
        self.0.retain(|pid, actor| is_alive(Process { pid: *pid, started: actor.started }));
    }

    /// Lets a process appear: with what its parent has, or where that is unknown, with `ever` and an
    /// end of everything that anybody joined. Tells whether the parent was known.
    pub(super) fn appear(
        &mut self,
        process: Process,
        parent: Option<Process>,
        program: &[u8],
        ever: Labels,
    ) -> bool {
        if self.get(process).is_some_and(|actor| actor.has_appeared) {
            return true;
        }
        let parent = parent.filter(|parent| *parent != process);
        let parent = parent.and_then(|parent| self.get(parent)).filter(|parent| parent.has_appeared).cloned();
        let joined: BTreeSet<Channel> = match &parent {
            Some(parent) => parent.joined.clone(),
            None => self.0.values().flat_map(|actor| actor.joined.iter().cloned()).collect(),
        };
        let actor = self.entry(process);
        actor.has_appeared = true;
        actor.program = program.to_vec();
        actor.joined.extend(joined);
        let step = || Step::Process { pid: process.pid, program: program.to_vec() };
        if let Some(parent) = &parent {
            actor.marks.add_from(&parent.marks, parent.marks.labels(), step, || None);
            // A fork of what cleanses runs the same program.
            if parent.program == program {
                actor.cleansed = parent.cleansed;
            }
        } else {
            let way = Way::new(Step::Orphan { pid: process.pid, program: program.to_vec() });
            actor.marks.add(ever, &way);
        }
        parent.is_some()
    }
}
