//! A run in miniature: processes, the ends they hold, and a flow machine that is told what
//! the planes would tell it.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use vantio_core::{Access, Effect, Endpoint, Intent, Labels, Target, Transport};

use crate::{
    flow::{Act, Channel, End, Flow, Process, Refusal, describe},
    guard::{
        model::{Guards, Threshold},
        tests::{Case, at, connect, entry, exec, guards_of, open, scope},
    },
};

pub(super) const OTHER: Labels = Labels::single(0);
pub(super) const SECRET: Labels = Labels::single(1);
pub(super) const NONE: Labels = Labels::NONE;
pub(super) const BOTH: Labels = Labels::from_bits(3);

/// `/k/secret` gives `secret`, `/k/other` and 198.51.100.0/24 and `/bin/other` give `other`; `secret` must not
/// reach 192.0.2.0/24, `other` neither 203.0.113.0/24 nor `/share`; `/usr/bin/redact` takes `secret` away.
pub(super) struct World {
    pub(super) case: Case,
    pub(super) flow: Flow,
    ends: BTreeMap<u32, Vec<End>>,
    pub(super) censuses: u32,
    now: u64,
}

pub(super) const EVERYTHING: &str = "fs: {read: [/], write: [/]}
exec: {allow: [/]}
net: {allow: ['*:*', '0.0.0.0/0:*', 'unix:/']}";

impl World {
    pub(super) fn new() -> Self {
        Self::with(EVERYTHING)
    }

    pub(super) fn with(document: &str) -> Self {
        Self::guarded(document, Vec::new())
    }

    pub(super) fn guarded(document: &str, thresholds: Vec<Threshold>) -> Self {
        let reading = |target| scope(&[Effect::FsOpen], Some(Access::Read), &[target]);
        let networks = |target| scope(&[Effect::NetConnect, Effect::NetDns], None, &[target]);
        let sources = [
            entry(Some(1), reading("/k/secret")),
            entry(Some(0), reading("/k/other")),
            entry(Some(0), scope(&[Effect::NetConnect], None, &["198.51.100.0/24"])),
            entry(Some(0), scope(&[Effect::ProcExec], None, &["/bin/other"])),
        ];
        let sinks = [
            entry(Some(1), networks("192.0.2.0/24")),
            entry(Some(0), networks("203.0.113.0/24")),
            entry(Some(0), scope(&[Effect::FsOpen], Some(Access::Write), &["/share"])),
        ];
        let sanitizers = [entry(Some(1), scope(&[Effect::ProcExec], None, &["/usr/bin/redact"]))];
        let guards = guards_of(sources.into(), sinks.into(), sanitizers.into());
        let case = Case::with(document, Guards { thresholds, ..guards });
        let flow = Flow::new(&case.program);
        let mut world = Self { case, flow, ends: BTreeMap::new(), censuses: 0, now: 0 };
        world.flow.appear(process(1), None, b"/bin/sh");
        world
    }

    /// A child: it has what its parent has.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        self.inherit(parent, child);
        let program = b"/bin/sh";
        self.flow.appear(process(child), Some(process(parent)), program);
    }

    /// A child of which nobody has been told.
    pub(super) fn inherit(&mut self, parent: u32, child: u32) {
        let ends = self.ends.get(&parent).cloned().unwrap_or_default();
        let ends = ends.into_iter().map(|end| End { process: process(child), ..end }).collect();
        self.ends.insert(child, ends);
    }

    /// Whether the intent is permitted; where it is, it takes effect.
    pub(super) fn act(&mut self, pid: u32, intent: &Intent<'_>) -> Result<(), Refused> {
        self.act_so(pid, intent, |_| ())
    }

    pub(super) fn act_so(
        &mut self,
        pid: u32,
        intent: &Intent<'_>,
        change: impl Fn(&mut Act<'_>),
    ) -> Result<(), Refused> {
        self.now += 1;
        let all: Vec<End> = self.ends.values().flatten().cloned().collect();
        let mut censuses = 0;
        let mut census = || {
            censuses += 1;
            all.clone()
        };
        let mut act = Act::new(process(pid), self.now, intent);
        change(&mut act);
        let Case { program, state } = &self.case;
        let labels = self.flow.labels_for(program, state, &act, &mut census);
        let verdict = self.case.ask(&at(*intent, 0, labels));
        if !verdict.is_permit() {
            self.censuses += censuses;
            return Err(Refused::ByVerdict(format!("{}", verdict.cause)));
        }
        let admission = self.flow.admit(program, state, &act, &mut census);
        self.censuses += censuses;
        match admission {
            Ok(_) => {
                self.case.state.settle(&self.case.program, intent);
                Ok(())
            }
            Err(Refusal { cause, trail, .. }) => {
                Err(Refused::ByFlow(format!("{cause}"), describe(&trail, b"/home/u", |ms| format!("{ms}"))))
            }
        }
    }

    pub(super) fn read(&mut self, pid: u32, path: &str) -> Result<(), Refused> {
        self.act(pid, &open(path, Access::Read))?;
        self.hold(pid, file(path), true, false);
        Ok(())
    }

    pub(super) fn write(&mut self, pid: u32, path: &str) -> Result<(), Refused> {
        self.act_so(pid, &open(path, Access::Write), |act| act.reads = false)?;
        self.hold(pid, file(path), false, true);
        Ok(())
    }

    pub(super) fn connect(&mut self, pid: u32, address: &str) -> Result<(), Refused> {
        self.act(pid, &connect(address))?;
        self.hold(pid, Channel::Peer(Transport::Tcp, address.parse().unwrap()), true, true);
        Ok(())
    }

    /// A connect, bind or listen inside the run.
    pub(super) fn local(&mut self, pid: u32, port: u16) -> Result<(), Refused> {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let endpoint = Endpoint { transport: Transport::Tcp, address, in_run: true };
        self.act(pid, &Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)))
    }

    pub(super) fn rename(&mut self, pid: u32, from: &str, to: &str, subtree: bool) {
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree };
        self.act(pid, &Intent::new(Effect::FsRename, target)).unwrap();
    }

    pub(super) fn link(&mut self, pid: u32, from: &str, to: &str) {
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree: false };
        self.act(pid, &Intent::new(Effect::FsLink, target)).unwrap();
    }

    /// A program that is started, and whether that goes well in a clean environment.
    pub(super) fn execute(&mut self, pid: u32, path: &str, has_run: bool, is_clean: bool) {
        self.act(pid, &exec(path)).unwrap();
        assert!(self.flow.awaits_execution(process(pid)));
        let Case { program, state } = &self.case;
        self.flow.executed(program, state, process(pid), has_run, is_clean);
        assert!(!self.flow.awaits_execution(process(pid)));
    }

    /// An end that a process got without asking.
    pub(super) fn hold(&mut self, pid: u32, channel: Channel, reads: bool, writes: bool) {
        self.ends.entry(pid).or_default().push(End { process: process(pid), channel, reads, writes });
    }

    pub(super) fn drop_ends(&mut self, pid: u32, channel: &Channel) {
        self.ends.entry(pid).or_default().retain(|end| end.channel != *channel);
    }

    pub(super) fn exit(&mut self, pid: u32) {
        self.ends.remove(&pid);
        self.flow.exit(process(pid), Some(0));
        self.flow.retain(|other| other != process(pid));
    }

    pub(super) fn labels(&self, pid: u32) -> Labels {
        self.flow.labels(process(pid))
    }

    pub(super) fn trail(&self, pid: u32, label: u8) -> String {
        describe(&self.flow.trail(process(pid), label), b"/home/u", |ms| format!("{ms}"))
    }
}

/// Who refused, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    ByVerdict(String),
    /// With the trail.
    ByFlow(String, String),
}

pub(super) fn process(pid: u32) -> Process {
    Process { pid, started: 0 }
}

pub(super) fn file(path: &str) -> Channel {
    Channel::Path(path.as_bytes().to_vec())
}
