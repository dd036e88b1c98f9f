//! Whatever happens to processes, files and sockets, a label leaves a process only by a
//! sanitizer, and a child carries what its parent does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Access, Channel, Effect, Endpoint, Intent, Labels, Process, Target, Transport};
use vantio_fuzz::{bindings, dice::Dice};
use vantio_policy::{
    PolicyProgram, State, compile, decide,
    flow::{Act, End, Flow},
};

const POLICY: &str = "\
version: 1
fs: {write: [/]}
exec: {allow: [/]}
net: {allow: ['*:*', '0.0.0.0/0:*', 'unix:/**']}
taint:
  sources: [{label: a, fs: [/s/a]}, {label: b, fs: [/s/b]}, {label: c, net: ['10.0.0.0/8']}]
  sinks: [{label: a, net: [9.9.9.9]}, {fs: [/sink]}, {label: b, exec: [/bin/x]}]
  sanitizers: [{label: a, exec: [/bin/clean]}]
";
const PATHS: [&[u8]; 10] =
    [b"/s/a", b"/s/b", b"/w/x", b"/w/y", b"/w", b"/sink", b"/bin/clean", b"/bin/x", b"/bin/y", b"/w/x/z"];

fuzz_target!(|bytes: &[u8]| {
    let program = compile(POLICY.as_bytes(), "policy.yaml").expect("a policy").program;
    let state = State::new(&program, bindings());
    let mut run =
        Run { program: &program, state: &state, flow: Flow::new(&program), alive: Vec::new(), started: 0 };
    let mut dice = Dice::new(bytes);
    run.appear(None);
    while !dice.is_empty() {
        run.step(&mut dice);
    }
});

struct Run<'p> {
    program: &'p PolicyProgram,
    state: &'p State,
    flow: Flow,
    alive: Vec<Process>,
    /// How many processes there have been: none comes back.
    started: u64,
}

impl Run<'_> {
    fn step(&mut self, dice: &mut Dice<'_>) {
        let process = self.alive[dice.below(self.alive.len())];
        let before = self.labels();
        let mut cleanses = None;
        match dice.below(10) {
            0 if self.alive.len() < 6 => self.appear(Some(process)),
            1 if self.alive.len() > 1 => {
                self.flow.exit(process, Some(dice.below(3) as u8));
                self.alive.retain(|other| *other != process);
            }
            2 => {
                let (has_run, is_clean) = (dice.chance(80), dice.chance(80));
                self.flow.executed(self.program, self.state, process, has_run, is_clean);
                cleanses = (has_run && is_clean).then_some(process);
            }
            3 => self.flow.gone(dice.pick(&PATHS)),
            4 => {
                let alive = self.alive.clone();
                self.flow.retain(|process| alive.contains(&process));
            }
            5 => self.join(process, dice),
            _ => self.act(process, dice),
        }
        for (process, labels) in before {
            if self.alive.contains(&process) && cleanses != Some(process) {
                let after = self.flow.labels(process);
                assert!(after.contains(labels), "{process:?} had {labels:?} and has {after:?}");
            }
        }
    }

    fn labels(&self) -> Vec<(Process, Labels)> {
        self.alive.iter().map(|process| (*process, self.flow.labels(*process))).collect()
    }

    fn appear(&mut self, parent: Option<Process>) {
        self.started += 1;
        let process = Process { pid: self.started as u32, started: self.started };
        self.flow.appear(process, parent, b"/bin/y");
        self.alive.push(process);
        if let Some(parent) = parent {
            assert!(self.flow.labels(process).contains(self.flow.labels(parent)));
        }
    }

    fn join(&mut self, process: Process, dice: &mut Dice<'_>) {
        let channels =
            [Channel::SystemV, Channel::Pipe(1), Channel::Socket(2), Channel::Terminals, Channel::Memory(3)];
        let channel = channels[dice.below(channels.len())].clone();
        let intent = Intent::new(Effect::NetListen, Target::Process(0));
        let act = Act::new(process, 0, &intent);
        let mut census = census(&self.alive, dice);
        let _ = self.flow.join(self.program, self.state, &act, channel, &mut census);
    }

    fn act(&mut self, process: Process, dice: &mut Dice<'_>) {
        let (path, to) = (dice.pick(&PATHS), dice.pick(&PATHS));
        let access = dice.pick(&[Access::Read, Access::Write]);
        let (address, port) = (dice.pick(&["10.0.0.1", "9.9.9.9", "127.0.0.1"]), dice.pick(&[80, 81]));
        let endpoint = Endpoint {
            transport: dice.pick(&[Transport::Tcp, Transport::Udp]),
            address: (address.parse::<std::net::IpAddr>().expect("an address"), port).into(),
            in_run: dice.chance(50),
        };
        let at = |access| Target::Path { path, access, subtree: false };
        let (effect, target) = match dice.below(8) {
            0..=2 => (Effect::FsOpen, at(access)),
            3 => (Effect::ProcExec, at(Access::Read)),
            4 => (Effect::NetConnect, Target::Endpoint(endpoint)),
            5 => (Effect::NetBind, Target::Endpoint(Endpoint { in_run: true, ..endpoint })),
            6 => (Effect::NetConnect, Target::Unix(path)),
            _ => (
                dice.pick(&[Effect::FsRename, Effect::FsLink]),
                Target::Paths { from: path, to, subtree: false },
            ),
        };
        let mut intent = Intent::new(effect, target);
        intent.context.labels = self.flow.labels(process);
        if !decide(self.program, self.state, &intent).is_permit() {
            return;
        }
        let mut act = Act::new(process, 0, &intent);
        act.is_new = dice.chance(10);
        let carried = self.flow.labels(process);
        let mut census = census(&self.alive, dice);
        let admitted = self.flow.admit(self.program, self.state, &act, &mut census);
        let is_sink = matches!(target, Target::Path { path: b"/sink", access: Access::Write, .. });
        if effect == Effect::FsOpen && is_sink {
            assert!(admitted.is_err() || carried.is_empty(), "{carried:?} reached a sink");
        }
    }
}

/// Ends of which every process may hold some.
fn census<'c>(alive: &'c [Process], dice: &mut Dice<'_>) -> impl FnMut() -> Vec<End> + 'c {
    let count = dice.below(4);
    let ends: Vec<End> = (0..count)
        .map(|_| End {
            process: alive[dice.below(alive.len())],
            channel: match dice.below(4) {
                0 => Channel::Pipe(1),
                1 => Channel::Path(dice.pick(&PATHS).to_vec()),
                2 => Channel::Socket(2),
                _ => Channel::InFlight,
            },
            reads: dice.chance(50),
            writes: dice.chance(50),
        })
        .collect();
    move || ends.clone()
}
