//! Policies with guards, and what to ask them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use alloc::{format, string::String, vec::Vec};

use vantio_core::{Access, Effect, Endpoint, Intent, Labels, Target, Transport, Verdict};

use crate::{
    Bindings, PolicyProgram, State, compile, decide,
    guard::{
        model::{Guards, Labelled, Scope},
        scope::family,
    },
    named::NamedPattern,
    names,
    net::NetPattern,
    path::{Kind, PathPattern},
    program::Parts,
    rule::{Family, Pattern},
};

/// A program with its state.
pub(crate) struct Case {
    pub(crate) program: PolicyProgram,
    pub(crate) state: State,
}

impl Case {
    /// Everything that lists can permit is permitted.
    pub(crate) fn new(guards: Guards) -> Self {
        Self::with(
            "fs: {read: [/], write: [/]}\nexec: {allow: [/]}\nnet: {allow: ['*:*', '0.0.0.0/0:*', 'udp://*:*', 'unix:/']}",
            guards,
        )
    }

    pub(crate) fn with(document: &str, guards: Guards) -> Self {
        let program = compile(format!("version: 1\n{document}").as_bytes(), "policy.yaml").unwrap().program;
        let program = PolicyProgram::new(Parts { guards, ..program.parts });
        let bindings = Bindings {
            workspace: b"/w".to_vec(),
            home: b"/home/u".to_vec(),
            tmp: b"/tmp".to_vec(),
            programs: [("redact".into(), [b"/usr/bin/redact".to_vec()].into())].into(),
            ..Bindings::default()
        };
        let state = State::new(&program, bindings);
        Self { program, state }
    }

    pub(crate) fn ask(&self, intent: &Intent<'_>) -> Verdict<'_> {
        decide(&self.program, &self.state, intent)
    }

    /// Decides, and settles what is permitted.
    pub(crate) fn act(&mut self, intent: &Intent<'_>) -> bool {
        let is_permitted = self.ask(intent).is_permit();
        if is_permitted {
            self.state.settle(&self.program, intent);
        }
        is_permitted
    }
}

pub(crate) fn guards() -> Guards {
    Guards { labels: ["other", "secret"].map(String::from).into(), ..Guards::default() }
}

/// Sources, sinks and sanitizers.
pub(crate) fn guards_of(sources: Vec<Labelled>, sinks: Vec<Labelled>, sanitizers: Vec<Labelled>) -> Guards {
    Guards { sources, sinks, sanitizers, ..guards() }
}

pub(crate) fn entry(label: Option<u8>, scope: Scope) -> Labelled {
    Labelled { label, scope }
}

pub(crate) fn scope(effects: &[Effect], access: Option<Access>, targets: &[&str]) -> Scope {
    let mut targets: Vec<Pattern> = targets.iter().map(|text| pattern(effects[0], text)).collect();
    let mut effects = effects.to_vec();
    effects.sort_unstable();
    targets.sort_unstable();
    Scope { effects, access, targets }
}

fn pattern(effect: Effect, text: &str) -> Pattern {
    match family(effect).unwrap() {
        Family::Path => Pattern::Path(PathPattern::parse(text).unwrap()),
        Family::Program => Pattern::parse_program(text).unwrap(),
        Family::Net => Pattern::Net(NetPattern::parse(text, Kind::Deny, names::lower_ascii).unwrap()),
        Family::Named => Pattern::Named(NamedPattern::parse(text).unwrap()),
    }
}

pub(crate) fn open(path: &str, access: Access) -> Intent<'_> {
    Intent::new(Effect::FsOpen, Target::Path { path: path.as_bytes(), access, subtree: false })
}

pub(crate) fn exec(path: &str) -> Intent<'_> {
    let target = Target::Path { path: path.as_bytes(), access: Access::Read, subtree: false };
    Intent::new(Effect::ProcExec, target)
}

pub(crate) fn connect(address: &str) -> Intent<'static> {
    let address = address.parse().unwrap();
    let endpoint = Endpoint { transport: Transport::Tcp, address, in_run: false };
    Intent::new(Effect::NetConnect, Target::Endpoint(endpoint))
}

/// The intent at another time and with labels.
pub(crate) fn at(mut intent: Intent<'_>, elapsed_ms: u64, labels: Labels) -> Intent<'_> {
    (intent.context.elapsed_ms, intent.context.labels) = (elapsed_ms, labels);
    intent
}
