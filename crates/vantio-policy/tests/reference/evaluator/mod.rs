//! What a policy says of an intent, worked out from the texts of its document.
//!
//! Slow, and plain enough to be seen to be right: it tries every way in which a
//! pattern can match, looks at every rule, and shares no code with the library. The
//! types of `vantio_core` are its vocabulary and nothing else.

mod document;
pub mod guards;
mod lists;
pub mod named;
pub mod network;
pub mod paths;

use std::net::IpAddr;

use vantio_core::{Access, Cause, Decision, Intent, Section, Target, Verdict};
use vantio_policy::{Bindings, PolicyProgram, State, compile};

use guards::{Event, Guards};
use paths::Pattern;

/// A policy as its document has it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `enforce`, `monitor` or `learn`.
    pub mode: &'static str,
    /// The lists of patterns, one text after another.
    pub rules: Vec<(Section, String)>,
    pub guards: Guards,
}

/// What a host and a run add to a policy.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub bindings: Bindings,
    /// Names that were asked for, and what they led to.
    pub answers: Vec<(String, IpAddr)>,
    pub is_killed: bool,
    /// Whether the state was made for another policy.
    pub is_foreign: bool,
    /// Rules' names in other scripts and their A-labels (RFC 5891), as a registrar has them.
    pub a_labels: Vec<(String, String)>,
}

/// What happens, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub decision: Decision,
    pub reason: Reason,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Any one of these rules.
    Rules(Section, Vec<String>),
    Unmatched(Section),
    /// Something that holds for every policy.
    Always,
    Observed(Section),
    KillSwitch,
    /// An element of this section of guards.
    Guard(Section),
    /// Any one of these labels.
    Tainted(Vec<String>),
    Budget(&'static str),
}

/// A policy in a world.
pub struct Evaluator<'a> {
    policy: &'a Policy,
    world: &'a World,
    rules: Vec<Rule<'a>>,
    /// What was permitted and carried out, in its order.
    history: Vec<Event>,
}

struct Rule<'a> {
    section: Section,
    /// The text that verdicts have: of a name in another script, the A-labels.
    shown: String,
    reading: Reading<'a>,
}

enum Reading<'a> {
    /// A path pattern, in each spelling that aliases and the search path give it.
    Paths(Vec<Pattern>),
    Network(network::Rule),
    Named(&'a str),
}

impl World {
    /// What the library makes of the same policy in the same world.
    pub fn build(&self, policy: &Policy) -> (PolicyProgram, State) {
        let document = policy.document();
        let program = match compile(document.as_bytes(), "policy.yaml") {
            Ok(compiled) => compiled.program,
            Err(error) => panic!("{document}\n{error:?}"),
        };
        let state_of = if self.is_foreign {
            compile(b"version: 1\nbudgets: {calls: 12345}", "other.yaml").unwrap().program
        } else {
            program.clone()
        };
        let mut state = State::new(&state_of, self.bindings.clone());
        for (name, address) in &self.answers {
            state.learn_name(name, *address, 0);
        }
        state.set_killed(self.is_killed);
        (program, state)
    }
}

impl<'a> Evaluator<'a> {
    pub fn new(policy: &'a Policy, world: &'a World) -> Self {
        let rules = policy.rules.iter().map(|(section, text)| Rule {
            section: *section,
            shown: shown(*section, text, world),
            reading: Reading::of(*section, text, world),
        });
        Self { policy, world, rules: rules.collect(), history: Vec::new() }
    }

    /// The reply to an intent, in the order of judgement.
    pub fn reply(&self, intent: &Intent<'_>) -> Reply {
        if self.world.is_killed || self.policy.guards.kill_switch {
            return Reply { decision: Decision::KillSwitch, reason: Reason::KillSwitch };
        }
        if self.world.is_foreign {
            return Reply::refused(Reason::Always);
        }
        let listed = self.judge_lists(intent);
        let reply = match listed.decision {
            Decision::Permit => self.held_back(intent).unwrap_or(listed),
            _ => listed,
        };
        self.as_the_mode_has_it(intent, reply)
    }

    /// Remembers an intent that was permitted and carried out.
    pub fn settle(&mut self, event: Event) {
        self.history.push(event);
    }

    /// A reply, or what the mode makes of it.
    fn as_the_mode_has_it(&self, intent: &Intent<'_>, reply: Reply) -> Reply {
        if reply.decision == Decision::Permit {
            return reply;
        }
        let (section, is_unmatched) = match &reply.reason {
            Reason::Rules(section, _) | Reason::Guard(section) => (*section, false),
            Reason::Tainted(_) => (Section::TaintSinks, false),
            Reason::Unmatched(section) => (*section, true),
            _ => return reply,
        };
        let observed = Reply::permitted(Reason::Observed(section));
        let is_held = reply.decision == Decision::Hold;
        match self.policy.mode {
            "monitor" => self.over_budget(intent).unwrap_or(observed),
            // What no list speaks of has not come to the guards yet.
            "learn" if (is_unmatched || is_held) && self.can_be_taken_back(intent) => {
                let held = self.held_back(intent).filter(|held| held.decision != Decision::Hold);
                held.unwrap_or(observed)
            }
            _ => reply,
        }
    }

    fn can_be_taken_back(&self, intent: &Intent<'_>) -> bool {
        let name = intent.effect.name();
        let own = self.policy.guards.reversibility.iter().find(|(effect, _)| *effect == intent.effect);
        let can_be = match own {
            Some((_, reversibility)) => ["none", "reversible"].contains(reversibility),
            None => {
                name.starts_with("fs.")
                    || ["proc.exec", "proc.signal", "net.bind", "net.listen", "heap.read", "heap.write"]
                        .contains(&name)
            }
        };
        // No phantom holds what is written to the kernel's own files.
        let is_kernels = |path: &[u8]| {
            let first = paths::names(path).and_then(|names| names.first().copied().flatten());
            first == Some(&b"proc"[..]) || first == Some(&b"sys"[..])
        };
        let changes_kernel = match intent.target {
            Target::Path { path, access, .. } => {
                let reads =
                    name == "fs.stat" || name == "proc.exec" || name == "fs.open" && access == Access::Read;
                !reads && is_kernels(path)
            }
            Target::Paths { from, to, .. } => is_kernels(from) || is_kernels(to),
            _ => false,
        };
        can_be && !changes_kernel
    }
}

impl<'a> Reading<'a> {
    fn of(section: Section, text: &'a str, world: &World) -> Self {
        match section {
            Section::NetAllow | Section::NetDeny => match text.strip_prefix("unix:") {
                Some(path) => Self::Paths(paths::readings(path, &world.bindings)),
                None => Self::Network(network::Rule::new(text, &world.a_labels)),
            },
            Section::ExecAllow | Section::ExecDeny if !text.contains('/') && !text.starts_with("${") => {
                Self::Paths(paths::programs(text, &world.bindings))
            }
            Section::ToolsAllow | Section::ToolsDeny | Section::InferModels => Self::Named(text),
            _ => Self::Paths(paths::readings(text, &world.bindings)),
        }
    }
}

fn shown(section: Section, text: &str, world: &World) -> String {
    match Reading::of(section, text, world) {
        Reading::Network(rule) if !text.is_ascii() => {
            format!("{}:{}", rule.host, if section == Section::NetDeny { "*" } else { "80,443" })
        }
        _ => text.to_owned(),
    }
}

impl Reply {
    fn permitted(reason: Reason) -> Self {
        Self { decision: Decision::Permit, reason }
    }

    fn refused(reason: Reason) -> Self {
        Self { decision: Decision::Collapse, reason }
    }

    /// The decision and its reason without the rule.
    pub fn kind(&self) -> String {
        let Self { decision, reason } = self;
        match reason {
            Reason::Rules(section, _) | Reason::Guard(section) => format!("{decision} {section}"),
            Reason::Unmatched(section) => format!("{decision} nothing in {section}"),
            Reason::Always => format!("{decision} always"),
            Reason::Observed(section) => format!("{decision} observed {section}"),
            Reason::KillSwitch => format!("{decision}"),
            Reason::Tainted(_) => format!("{decision} tainted"),
            Reason::Budget(name) => format!("{decision} budget {name}"),
        }
    }

    /// Whether the verdict says the same.
    pub fn is(&self, verdict: &Verdict<'_>) -> bool {
        self.decision == verdict.decision
            && match (&self.reason, verdict.cause) {
                (Reason::Rules(own, texts), Cause::Rule { section, text }) => {
                    *own == section && texts.iter().any(|own| own == text)
                }
                (Reason::Unmatched(own), Cause::Unmatched(section))
                | (Reason::Observed(own), Cause::Observed(section))
                | (Reason::Guard(own), Cause::Rule { section, .. }) => *own == section,
                (Reason::Tainted(labels), Cause::Tainted { label, .. }) => {
                    labels.iter().any(|own| own == label)
                }
                (Reason::Budget(own), Cause::Budget(name)) => *own == name,
                (Reason::Always, Cause::Always(_)) | (Reason::KillSwitch, Cause::KillSwitch) => true,
                _ => false,
            }
    }
}
