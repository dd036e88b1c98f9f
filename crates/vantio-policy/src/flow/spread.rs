//! How labels spread through open ends, to a fixpoint.
//!
//! First what flows anyway is brought up to date (descriptors may have been handed on unseen): that
//! is no act's fault, and nothing is refused for it. Then what the act adds flows, *fresh*, also where the
//! same label is said to be already: who carries a label because nobody knows better may not have
//! it in truth. A fresh label that reaches a sink which is open for writing is the act's doing.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::SocketAddr;

use vantio_core::{Access, Cause, Effect, Endpoint, Intent, Labels, Section, Target, Transport};

use super::{
    Flow, Refusal,
    channel::{Channel, End, Process},
    marks::{Marks, Way},
    trail::{Step, channel_text},
};
use crate::{
    PolicyProgram, State,
    guard::{self, BoundEntry},
};

/// What flows where, on a copy of what is known.
pub(super) struct Spread<'p> {
    program: &'p PolicyProgram,
    state: &'p State,
    at_ms: u64,
    processes: Vec<ProcessSlot>,
    channels: Vec<ChannelSlot>,
    by_process: BTreeMap<Process, usize>,
    by_channel: BTreeMap<Channel, usize>,
    /// Files by their node: several names may be one.
    by_node: BTreeMap<u64, usize>,
    edges: Vec<Edge>,
}

struct ProcessSlot {
    process: Process,
    program: Vec<u8>,
    marks: Marks,
    /// What it has by the act.
    fresh: Labels,
    cleansed: Labels,
}

struct ChannelSlot {
    channel: Channel,
    /// Other names of the same file.
    aliases: Vec<Channel>,
    marks: Marks,
    /// What of its labels is remembered for it already, and for its other names.
    known: Labels,
    /// What it has by the act.
    fresh: Labels,
    /// Labels for which it is a sink.
    sinks: Labels,
}

struct Edge {
    process: usize,
    channel: usize,
    reads: bool,
    writes: bool,
}

impl<'p> Spread<'p> {
    pub(super) fn new(program: &'p PolicyProgram, state: &'p State, at_ms: u64) -> Self {
        Self {
            program,
            state,
            at_ms,
            processes: Vec::new(),
            channels: Vec::new(),
            by_process: BTreeMap::new(),
            by_channel: BTreeMap::new(),
            by_node: BTreeMap::new(),
            edges: Vec::new(),
        }
    }

    /// Adds an open end.
    pub(super) fn add(&mut self, flow: &Flow, end: &End) {
        let edge = Edge {
            process: self.process(flow, end.process),
            channel: self.channel(flow, &end.channel),
            reads: end.reads,
            writes: end.writes,
        };
        self.edges.push(edge);
    }

    /// Adds the end that the act opens.
    pub(super) fn open(&mut self, flow: &Flow, end: &End) {
        self.add(flow, end);
        let Some(Edge { process, channel, reads, writes }) = self.edges.last() else { return };
        let (process, channel) = (&mut self.processes[*process], &mut self.channels[*channel]);
        if *reads {
            process.fresh = process.fresh.union(channel.marks.labels());
        }
        if *writes {
            process.fresh = process.fresh.union(process.marks.labels().intersection(channel.sinks));
            let held_back = held_back(&channel.channel, process.cleansed);
            channel.fresh = process.marks.labels().without(held_back);
        }
    }

    /// Gives a process labels by the act.
    pub(super) fn give(&mut self, flow: &Flow, process: Process, labels: Labels, way: &Way) {
        let slot = self.process(flow, process);
        let slot = &mut self.processes[slot];
        slot.marks.add(labels, way);
        slot.fresh = slot.fresh.union(labels);
    }

    /// By the act, a process no longer takes anything away.
    pub(super) fn stop_cleansing(&mut self, flow: &Flow, process: Process) {
        let slot = self.process(flow, process);
        let slot = &mut self.processes[slot];
        slot.fresh = slot.fresh.union(slot.marks.labels().intersection(slot.cleansed));
        slot.cleansed = Labels::NONE;
    }

    /// Lets everything flow. The first fresh label that reaches a sink is returned; it flows all the same.
    pub(super) fn run(&mut self) -> Option<Refusal<'p>> {
        let in_flight = self.by_channel.get(&Channel::InFlight).copied();
        loop {
            let mut has_changed = in_flight.is_some_and(|channel| self.fly(channel));
            for index in 0..self.edges.len() {
                let Edge { process, channel, reads, writes } = self.edges[index];
                has_changed |= writes && self.write(process, channel);
                has_changed |= reads && self.read(process, channel);
            }
            if !has_changed {
                break;
            }
        }
        let mut writable = self.edges.iter().filter(|edge| edge.writes);
        let reached = writable.find_map(|edge| self.reach(edge.process, edge.channel));
        // Whoever receives a descriptor that is in flight may write to it, whatever it is of.
        reached.or_else(|| {
            let channel = in_flight?;
            (0..self.processes.len()).find_map(|process| self.reach(process, channel))
        })
    }

    /// Whether somebody has a sink open for a label that it is said to carry.
    pub(super) fn is_at_a_sink(&self) -> bool {
        self.edges.iter().filter(|edge| edge.writes).any(|edge| {
            let (process, channel) = (&self.processes[edge.process], &self.channels[edge.channel]);
            !process.marks.labels().intersection(channel.sinks).is_empty()
        })
    }

    /// Whether the same would hold of an end that was left out.
    pub(super) fn would_reach(&mut self, flow: &Flow, end: &End) -> bool {
        let (process, channel) = (self.process(flow, end.process), self.channel(flow, &end.channel));
        let labels = self.processes[process].marks.labels();
        end.writes && !labels.intersection(self.channels[channel].sinks).is_empty()
    }

    /// Makes what was found known.
    pub(super) fn commit(&mut self, flow: &mut Flow) {
        for slot in &self.processes {
            if !slot.marks.labels().is_empty() {
                flow.ever = flow.ever.union(slot.marks.labels());
                flow.actors.entry(slot.process).marks.absorb(&slot.marks);
            }
        }
        for slot in &mut self.channels {
            let new = slot.marks.labels().without(slot.known);
            if new.is_empty() {
                continue;
            }
            let mut marks = Marks::default();
            marks.absorb_only(&slot.marks, new);
            slot.known = slot.known.union(new);
            match &slot.channel {
                Channel::Path(path) => flow.paths.add(path, &marks),
                other => flow.channels.entry(other.clone()).or_default().absorb(&marks),
            }
        }
    }

    /// Whatever anybody carries may be behind a descriptor in flight.
    fn fly(&mut self, channel: usize) -> bool {
        let to = &mut self.channels[channel];
        let before = (to.marks.labels(), to.fresh);
        for from in &self.processes {
            let new = from.marks.labels();
            to.marks.add_from(&from.marks, new, || Step::Through(Channel::InFlight), || None);
            to.fresh = to.fresh.union(from.fresh);
        }
        (to.marks.labels(), to.fresh) != before
    }

    /// A process's labels reach a sink whether or not it cleanses what it writes.
    fn reach(&self, process: usize, channel: usize) -> Option<Refusal<'p>> {
        let (slot, sink) = (&self.processes[process], &self.channels[channel]);
        let label = slot.fresh.intersection(sink.sinks).numbers().next()?;
        let mut trail = slot.marks.way(label).map(Way::steps).unwrap_or_default();
        trail.push(Step::Through(sink.channel.clone()));
        let mut names = core::iter::once(&sink.channel).chain(&sink.aliases);
        let entry = names.find_map(|name| sink_of(self.state, name, Labels::single(label)));
        let text = entry.map_or(Section::TaintSinks.name(), |entry| &entry.text);
        let cause = Cause::Tainted { label: guard::label_name(self.program, label), sink: text };
        Some(Refusal { cause, label, trail })
    }

    fn write(&mut self, process: usize, channel: usize) -> bool {
        let (from, to) = (&self.processes[process], &mut self.channels[channel]);
        let held_back = held_back(&to.channel, from.cleansed);
        let fresh = from.fresh.without(held_back).without(to.fresh);
        let new = from.marks.labels().without(held_back).without(to.marks.labels());
        to.fresh = to.fresh.union(fresh);
        if !new.is_empty() {
            let through = to.channel.clone();
            to.marks.add_from(&from.marks, new, || Step::Through(through.clone()), || None);
        }
        !fresh.is_empty() || !new.is_empty()
    }

    fn read(&mut self, process: usize, channel: usize) -> bool {
        let (to, from) = (&mut self.processes[process], &self.channels[channel]);
        let fresh = from.fresh.without(to.fresh);
        let new = from.marks.labels().without(to.marks.labels());
        to.fresh = to.fresh.union(fresh);
        if !new.is_empty() {
            let (pid, program) = (to.process.pid, to.program.clone());
            let step = || Step::Process { pid, program: program.clone() };
            let bare = || {
                Some(match source_target(&from.channel) {
                    Some((effect, target)) => {
                        let (program, at_ms) = (program.clone(), self.at_ms);
                        Way::new(Step::Source { effect, target, pid, program, at_ms })
                    }
                    None => Way::new(Step::Through(from.channel.clone())).then(step()),
                })
            };
            to.marks.add_from(&from.marks, new, step, bare);
        }
        !fresh.is_empty() || !new.is_empty()
    }

    fn process(&mut self, flow: &Flow, process: Process) -> usize {
        if let Some(slot) = self.by_process.get(&process) {
            return *slot;
        }
        let actor = flow.actors.get(process);
        self.processes.push(ProcessSlot {
            process,
            program: actor.map(|actor| actor.program.clone()).unwrap_or_default(),
            marks: actor.map(|actor| actor.marks.clone()).unwrap_or_default(),
            fresh: Labels::NONE,
            cleansed: actor.map_or(Labels::NONE, |actor| actor.cleansed),
        });
        let slot = self.processes.len() - 1;
        self.by_process.insert(process, slot);
        slot
    }

    fn channel(&mut self, flow: &Flow, channel: &Channel) -> usize {
        if let Some(slot) = self.by_channel.get(channel) {
            return *slot;
        }
        let node = if let Channel::Path(path) = channel { flow.paths.node(path) } else { None };
        let other_name = node.and_then(|node| self.by_node.get(&node)).copied();
        let (marks, sinks) = (flow.channel_marks(self.state, channel), sinks_of(self.state, channel));
        let sinks = flow.names(channel).fold(sinks, |all, name| all.union(sinks_of(self.state, &name)));
        let index = other_name.unwrap_or(self.channels.len());
        if let Some(slot) = self.channels.get_mut(index) {
            slot.marks.absorb(&marks);
            slot.sinks = slot.sinks.union(sinks);
            slot.aliases.push(channel.clone());
        } else {
            self.channels.push(ChannelSlot {
                channel: channel.clone(),
                aliases: flow.names(channel).filter(|name| name != channel).collect(),
                marks,
                known: flow.own_labels(channel),
                fresh: Labels::NONE,
                sinks,
            });
        }
        self.by_channel.insert(channel.clone(), index);
        self.by_node.extend(node.map(|node| (node, index)));
        index
    }
}

impl Flow {
    /// What a channel carries: what was written to it, and what sources say of it.
    pub(super) fn channel_marks(&self, state: &State, channel: &Channel) -> Marks {
        let mut marks = match channel {
            Channel::Path(path) => self.paths.marks(path),
            other => self.channels.get(other).cloned().unwrap_or_default(),
        };
        if *channel == Channel::InFlight {
            marks.add_bare(self.ever);
        }
        marks.add_bare(sources_of(state, channel));
        marks
    }

    /// The other names of a file.
    fn names(&self, channel: &Channel) -> impl Iterator<Item = Channel> {
        let node = if let Channel::Path(path) = channel { self.paths.node(path) } else { None };
        self.paths.names(node).map(Channel::Path)
    }

    /// What was written to a channel: of a file, what all its names have.
    pub(super) fn own_labels(&self, channel: &Channel) -> Labels {
        match channel {
            Channel::Path(path) => self.paths.own_labels(path),
            other => self.channels.get(other).map_or(Labels::NONE, Marks::labels),
        }
    }
}

/// What of that which a process cleanses does not get into the channel: who looks into its memory finds everything.
pub(super) const fn held_back(channel: &Channel, cleansed: Labels) -> Labels {
    if matches!(channel, Channel::Inside(_)) { Labels::NONE } else { cleansed }
}

/// The labels that sources give to whoever reads the channel.
pub(super) fn sources_of(state: &State, channel: &Channel) -> Labels {
    let Some(intent) = as_intent(channel, Access::Read) else { return Labels::NONE };
    let sources = state.guards().sources.iter();
    sources
        .filter(|source| source.scope.covers(state, &intent))
        .fold(Labels::NONE, |all, source| all.union(source.labels))
}

fn sinks_of(state: &State, channel: &Channel) -> Labels {
    if *channel == Channel::InFlight {
        return held_sinks(state).fold(Labels::NONE, |all, sink| all.union(sink.labels));
    }
    let Some(intent) = as_intent(channel, Access::Write) else { return Labels::NONE };
    let sinks = state.guards().sinks.iter();
    sinks
        .filter(|sink| sink.scope.covers(state, &intent))
        .fold(Labels::NONE, |all, sink| all.union(sink.labels))
}

fn sink_of<'p>(state: &'p State, channel: &Channel, labels: Labels) -> Option<&'p BoundEntry> {
    if *channel == Channel::InFlight {
        return held_sinks(state).find(|sink| !sink.labels.intersection(labels).is_empty());
    }
    let intent = as_intent(channel, Access::Write)?;
    let mut sinks = state.guards().sinks.iter();
    sinks.find(|sink| !sink.labels.intersection(labels).is_empty() && sink.scope.covers(state, &intent))
}

/// The sinks that a descriptor can lead to: what one in flight is the descriptor of, nobody sees.
fn held_sinks(state: &State) -> impl Iterator<Item = &BoundEntry> {
    let sinks = state.guards().sinks.iter();
    sinks.filter(|sink| sink.scope.is_about(Effect::FsOpen) || sink.scope.is_about(Effect::NetConnect))
}

/// The intent that opens such an end.
fn as_intent(channel: &Channel, access: Access) -> Option<Intent<'_>> {
    match channel {
        Channel::Path(path) => {
            Some(Intent::new(Effect::FsOpen, Target::Path { path, access, subtree: false }))
        }
        Channel::Peer(transport, address) => Some(as_connect(*transport, *address)),
        Channel::HostSocket(path) => Some(Intent::new(Effect::NetConnect, Target::Unix(path))),
        _ => None,
    }
}

const fn as_connect(transport: Transport, address: SocketAddr) -> Intent<'static> {
    Intent::new(Effect::NetConnect, Target::Endpoint(Endpoint { transport, address, in_run: false }))
}

/// What a source can cover.
fn source_target(channel: &Channel) -> Option<(Effect, Vec<u8>)> {
    match channel {
        Channel::Path(path) => Some((Effect::FsOpen, path.clone())),
        Channel::HostSocket(path) => Some((Effect::NetConnect, path.clone())),
        Channel::Peer(..) => Some((Effect::NetConnect, channel_text(channel, b"").into_bytes())),
        _ => None,
    }
}
