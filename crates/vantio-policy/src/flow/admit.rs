//! What an act makes flow.

use alloc::vec::Vec;

use vantio_core::{Cause, Effect, Intent, Labels, Target};

use super::{
    Act, Admission, Census, Channel, End, Flow, Refusal, Step,
    actor::{Actor, Image},
    marks::Way,
    spread::{Spread, held_back, sources_of},
};
use crate::{Mode, PolicyProgram, State};

/// What an act adds to what flows.
#[derive(Default)]
struct Addition {
    /// The end that it opens.
    end: Option<(Channel, bool, bool)>,
    /// Whether the end lasts as long as the process.
    is_lasting: bool,
    /// Labels that it gives by itself.
    given: Labels,
    /// Whether the process starts another program.
    executes: bool,
}

impl Addition {
    fn own_end(&self, act: &Act<'_>) -> Option<End> {
        let (channel, reads, writes) = self.end.clone()?;
        Some(End { process: act.process, channel, reads, writes })
    }
}

/// Which labels an act is about.
struct Moved {
    /// What the process has.
    carried: Labels,
    /// What comes in by the act.
    read: Labels,
    /// Those of it that the process does not have.
    gained: Labels,
    /// What the channel gets and does not have.
    written: Labels,
}

impl Flow {
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
        let addition = addition(state, act);
        let admission = self.add(program, state, act, addition, census);
        if admission.is_ok() {
            if !self.is_flooded {
                self.name(state, act);
            }
            self.start(state, act);
            self.check_capacity();
        }
        admission
    }

    /// The process gets an end of a channel inside the run, for which no intent is asked. What a census does
    /// not show ([`Channel::SystemV`], names and ports that are only sent to) it has both ways until it ends;
    /// of a pipe, a memory or a terminal it has the ways of `act`, for as long as a census shows
    /// it. `admit` itself does so for `net.bind`, `net.listen` and a `net.connect` inside the run.
    pub fn join<'p>(
        &mut self,
        program: &'p PolicyProgram,
        state: &'p State,
        act: &Act<'_>,
        channel: Channel,
        census: &mut Census<'_>,
    ) -> Admission<'p> {
        self.add(program, state, act, joined(act, channel), census)
    }

    /// Whether [`Flow::admit`], or [`Flow::join`] with a channel, would take a census for the act.
    pub fn will_look(&self, state: &State, act: &Act<'_>, channel: Option<&Channel>) -> bool {
        let addition = match channel {
            Some(channel) => joined(act, channel.clone()),
            None => addition(state, act),
        };
        let moved = self.moved(state, act, &addition);
        self.is_unsettled || self.spreads(&moved, &addition) && self.needs_census(&moved, act, &addition)
    }

    /// Takes a census and brings everything up to date.
    pub(super) fn look(
        &mut self,
        program: &PolicyProgram,
        state: &State,
        act: &Act<'_>,
        census: &mut Census<'_>,
    ) {
        let mut spread = Spread::new(program, state, act.at_ms);
        let own = addition(state, act).own_end(act);
        self.catch_up(&mut spread, &census(), own.as_ref());
        self.check_capacity();
    }

    /// What flows whether or not anything is done, through the ends that a census shows.
    fn catch_up(&mut self, spread: &mut Spread<'_>, ends: &[End], own: Option<&End>) {
        self.add_ends(spread, ends, own);
        spread.run();
        spread.commit(self);
        self.is_unsettled = false;
        // The process may have had such an end before.
        let held = own.filter(|own| ends.contains(own));
        self.is_in_doubt = spread.is_at_a_sink() || held.is_some_and(|end| spread.would_reach(self, end));
    }

    fn add<'p>(
        &mut self,
        program: &'p PolicyProgram,
        state: &'p State,
        act: &Act<'_>,
        addition: Addition,
        census: &mut Census<'_>,
    ) -> Admission<'p> {
        if !self.knows(act.process) {
            self.appear(act.process, None, b"");
        }
        if self.is_flooded && (addition.end.is_some() || !addition.given.is_empty()) {
            let cause = Cause::Always("more carries labels than can be kept apart");
            let refusal = Refusal { cause, label: 0, trail: Vec::new() };
            return if program.mode() == Mode::Monitor { Ok(Some(refusal)) } else { Err(refusal) };
        }
        let mut observed = None;
        let moved = self.moved(state, act, &addition);
        if self.is_unsettled || self.spreads(&moved, &addition) {
            let mut spread = Spread::new(program, state, act.at_ms);
            let own = addition.own_end(act);
            if self.is_unsettled || self.needs_census(&moved, act, &addition) {
                self.catch_up(&mut spread, &census(), own.as_ref());
            }
            if let Some(end) = &own {
                spread.open(self, end);
            }
            if !addition.given.is_empty() {
                let way = Way::new(self.source(act));
                spread.give(self, act.process, addition.given, &way);
            }
            if addition.executes {
                spread.stop_cleansing(self, act.process);
            }
            match spread.run() {
                Some(refusal) if program.mode() != Mode::Monitor => return Err(refusal),
                refusal => observed = refusal,
            }
            spread.commit(self);
        }
        if addition.is_lasting
            && let Some((channel, ..)) = addition.end
        {
            self.actors.entry(act.process).joined.insert(channel);
        }
        self.check_capacity();
        Ok(observed)
    }

    /// Adds what a census shows, but not the end that the act is to open and that its process may be
    /// expected to get: nothing flows through it before it is judged.
    fn add_ends(&self, spread: &mut Spread<'_>, ends: &[End], own: Option<&End>) {
        for end in ends.iter().filter(|end| Some(*end) != own) {
            spread.add(self, end);
        }
        for (process, actor) in self.actors.iter() {
            for channel in &actor.joined {
                spread.add(self, &End { process, channel: channel.clone(), reads: true, writes: true });
            }
        }
    }

    /// Whether the act moves any label.
    fn spreads(&self, moved: &Moved, addition: &Addition) -> bool {
        let opens_for_writing = addition.end.as_ref().is_some_and(|(_, _, writes)| *writes);
        !moved.gained.is_empty()
            || !moved.written.is_empty()
            || !moved.carried.is_empty() && (opens_for_writing || addition.executes)
            || self.is_in_doubt && !moved.read.is_empty()
    }

    /// Whether more than the act's own process and channel are concerned.
    fn needs_census(&self, moved: &Moved, act: &Act<'_>, addition: &Addition) -> bool {
        let opens_for_writing = addition.end.as_ref().is_some_and(|(_, _, writes)| *writes);
        let flows_out =
            !moved.written.is_empty() || self.is_in_doubt && opens_for_writing && !moved.carried.is_empty();
        let cleansed = self.actors.get(act.process).map_or(Labels::NONE, |actor| actor.cleansed);
        !moved.gained.is_empty()
            || flows_out && !act.is_new
            || addition.executes && !cleansed.is_empty()
            || self.is_in_doubt && !moved.read.is_empty()
    }

    fn moved(&self, state: &State, act: &Act<'_>, addition: &Addition) -> Moved {
        let actor = self.actors.get(act.process);
        let carried = actor.map_or(Labels::NONE, |actor| actor.marks.labels());
        let cleansed = actor.map_or(Labels::NONE, |actor| actor.cleansed);
        let mut read = addition.given;
        if let Some((channel, true, _)) = &addition.end {
            read = read.union(self.channel_marks(state, channel).labels());
        }
        let gained = read.without(carried);
        let mut written = Labels::NONE;
        if let Some((channel, _, true)) = &addition.end {
            let held_back = held_back(channel, cleansed);
            written = carried.union(gained).without(held_back).without(self.own_labels(channel));
        }
        Moved { carried, read, gained, written }
    }

    fn source(&self, act: &Act<'_>) -> Step {
        let target = match act.intent.target {
            Target::Path { path, .. } | Target::Unix(path) | Target::Paths { from: path, .. } => {
                path.to_vec()
            }
            Target::Name(name) | Target::Named(name) | Target::Syscall(name) => name.as_bytes().to_vec(),
            Target::Endpoint(_) | Target::Process(_) => Vec::new(),
        };
        let program = self.actors.get(act.process).map(|actor| actor.program.clone()).unwrap_or_default();
        Step::Source { effect: act.intent.effect, target, pid: act.process.pid, program, at_ms: act.at_ms }
    }

    /// Names that a file or a directory gets.
    fn name(&mut self, state: &State, act: &Act<'_>) {
        let Target::Paths { from, to, subtree } = act.intent.target else { return };
        let is_rename = act.intent.effect == Effect::FsRename;
        // An exchange moves both ways, and which it is the intent does not say.
        self.carry(state, act, from, to);
        if is_rename {
            self.carry(state, act, to, from);
        }
        let is_known = self.paths.node(from).is_some() || self.paths.node(to).is_some();
        if !is_rename || is_known {
            self.paths.join(from, to);
        }
        if subtree {
            self.paths.join_trees(from, to);
            self.paths.join_trees(to, from);
            self.carry_sources(state, act, from, to);
            self.carry_sources(state, act, to, from);
        }
    }

    /// What `from` carries, `to` carries too.
    fn carry(&mut self, state: &State, act: &Act<'_>, from: &[u8], to: &[u8]) {
        let mut marks = self.paths.marks(from);
        let sources = sources_of(state, &Channel::Path(from.to_vec()));
        if !sources.without(marks.labels()).is_empty() {
            let way = Way::new(self.source_of(act, from));
            marks.add(sources, &way);
        }
        let held = self.paths.marks(to).labels();
        if !marks.labels().without(held).is_empty() {
            self.paths.add(to, &marks);
        }
    }

    /// A source that covers something below `from`, and not as it covers what is below `to`, labels all
    /// that is below `to`.
    fn carry_sources(&mut self, state: &State, act: &Act<'_>, from: &[u8], to: &[u8]) {
        let sources = state.guards().sources.iter();
        let labels = sources
            .filter(|source| source.scope.is_about(Effect::FsOpen) && source.scope.tells_apart(from, to))
            .fold(Labels::NONE, |all, source| all.union(source.labels));
        if !labels.is_empty() {
            let way = Way::new(self.source_of(act, from));
            self.paths.add_tree(to, &super::paths::marked(labels, &way));
        }
    }

    fn source_of(&self, act: &Act<'_>, path: &[u8]) -> Step {
        match self.source(act) {
            Step::Source { pid, program, at_ms, .. } => {
                Step::Source { effect: Effect::FsOpen, target: path.to_vec(), pid, program, at_ms }
            }
            other => other,
        }
    }

    /// A program that the process is about to execute.
    fn start(&mut self, state: &State, act: &Act<'_>) {
        let (Effect::ProcExec, Target::Path { path, .. }) = (act.intent.effect, act.intent.target) else {
            return;
        };
        let actor: &mut Actor = self.actors.entry(act.process);
        // Until it is told that this went well, nobody knows what the process executes.
        actor.image = None;
        actor.cleansed = Labels::NONE;
        let pending =
            actor.pending.get_or_insert_with(|| Image { programs: Vec::new(), executed: state.moment() });
        pending.programs.push(path.to_vec());
    }
}

/// What an end of a channel adds for which no intent is asked.
fn joined(act: &Act<'_>, channel: Channel) -> Addition {
    let is_shown = matches!(
        channel,
        Channel::Path(_) | Channel::Pipe(_) | Channel::Memory(_) | Channel::Inside(_) | Channel::Terminals
    );
    let (reads, writes) = if is_shown { (act.reads, act.writes) } else { (true, true) };
    Addition { end: Some((channel, reads, writes)), is_lasting: !is_shown, ..Addition::default() }
}

/// What an act adds, by its effect.
fn addition(state: &State, act: &Act<'_>) -> Addition {
    let mut addition = Addition { given: given(state, act.intent), ..Addition::default() };
    match (act.intent.effect, act.intent.target) {
        (Effect::FsOpen, Target::Path { path, .. }) => {
            addition.end = Some((Channel::Path(path.to_vec()), act.reads, act.writes));
        }
        (Effect::FsTruncate | Effect::FsXattr | Effect::FsSymlink, Target::Path { path, .. }) => {
            addition.end = Some((Channel::Path(path.to_vec()), false, true));
        }
        (Effect::ProcExec, Target::Path { path, .. }) => {
            addition.end = Some((Channel::Path(path.to_vec()), true, false));
            addition.executes = true;
        }
        (Effect::NetConnect | Effect::NetBind | Effect::NetListen, Target::Endpoint(endpoint)) => {
            let (transport, address) = (endpoint.transport, endpoint.address);
            let is_inside = endpoint.in_run || act.intent.effect != Effect::NetConnect;
            let channel = if is_inside {
                Channel::Port(transport, address.port())
            } else {
                Channel::Peer(transport, address)
            };
            addition.end = Some((channel, true, true));
            addition.is_lasting = is_inside;
        }
        (Effect::NetConnect, Target::Unix(path)) => {
            addition.end = Some((Channel::HostSocket(path.to_vec()), true, true));
        }
        (Effect::NetBind | Effect::NetListen, Target::Unix(path)) => {
            addition.end = Some((Channel::Named(path.to_vec()), true, true));
            addition.is_lasting = true;
        }
        _ => {}
    }
    addition
}

/// The labels that sources give for the intent itself: those of opens and connects are their channels'.
fn given(state: &State, intent: &Intent<'_>) -> Labels {
    let is_of_a_channel = matches!(intent.effect, Effect::FsOpen | Effect::NetConnect);
    let is_inside = matches!(intent.target, Target::Endpoint(endpoint) if endpoint.in_run);
    if is_of_a_channel && !is_inside {
        return Labels::NONE;
    }
    let sources = state.guards().sources.iter();
    sources
        .filter(|source| source.scope.covers(state, intent))
        .fold(Labels::NONE, |all, source| all.union(source.labels))
}
