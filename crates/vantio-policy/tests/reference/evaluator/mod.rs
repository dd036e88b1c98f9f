//! What a policy says of an intent, worked out from the texts of its document.
//!
//! Slow, and plain enough to be seen to be right: it tries every way in which a
//! pattern can match, looks at every rule, and shares no code with the library. The
//! types of `vantio_core` are its vocabulary and nothing else.

mod lists;
pub mod named;
pub mod network;
pub mod paths;

use std::{fmt::Write as _, net::IpAddr};

use vantio_core::{Cause, Decision, Effect, Intent, Section, Verdict};
use vantio_policy::{Bindings, PolicyProgram, State, compile};

use paths::Part;

/// A policy as its document has it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `enforce`, `monitor` or `learn`.
    pub mode: &'static str,
    /// The lists of patterns, one text after another.
    pub rules: Vec<(Section, String)>,
    /// Effects, and how far the policy says that they can be taken back.
    pub reversibility: Vec<(Effect, &'static str)>,
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
}

/// A policy in a world.
pub struct Evaluator<'a> {
    policy: &'a Policy,
    world: &'a World,
    rules: Vec<Rule<'a>>,
}

struct Rule<'a> {
    section: Section,
    text: &'a str,
    /// The text that verdicts have: of a name in another script, the A-labels.
    shown: String,
    reading: Reading<'a>,
}

enum Reading<'a> {
    /// A path pattern, in each spelling that aliases and the search path give it.
    Paths(Vec<Vec<Part>>),
    Network(network::Rule),
    Named(&'a str),
}

impl Policy {
    /// The document, in flow style.
    pub fn document(&self) -> String {
        let list = |section: Section| {
            let texts = self.rules.iter().filter(|(own, _)| *own == section).map(|(_, text)| quoted(text));
            format!("[{}]", texts.collect::<Vec<_>>().join(", "))
        };
        let mut document = format!("version: 1\nmode: {}\n", self.mode);
        for (key, sections) in KEYS {
            let lists = sections.iter().filter(|section| self.has(**section)).map(|section| {
                let (_, name) = section.name().split_once('.').unwrap();
                format!("{name}: {}", list(*section))
            });
            let lists = lists.collect::<Vec<_>>();
            if !lists.is_empty() {
                writeln!(document, "{key}: {{{}}}", lists.join(", ")).unwrap();
            }
        }
        if !self.reversibility.is_empty() {
            let entries = self.reversibility.iter().map(|(effect, value)| format!("{effect}: {value}"));
            writeln!(document, "reversibility: {{{}}}", entries.collect::<Vec<_>>().join(", ")).unwrap();
        }
        document
    }

    fn has(&self, section: Section) -> bool {
        self.rules.iter().any(|(own, _)| *own == section)
    }
}

const KEYS: [(&str, &[Section]); 5] = [
    ("fs", &[Section::FsRead, Section::FsWrite, Section::FsDeny]),
    ("exec", &[Section::ExecAllow, Section::ExecDeny]),
    ("net", &[Section::NetAllow, Section::NetDeny]),
    ("tools", &[Section::ToolsAllow, Section::ToolsDeny]),
    ("infer", &[Section::InferModels]),
];

/// A text as a YAML scalar that stands for nothing but itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
            text,
            shown: shown(*section, text, world),
            reading: Reading::of(*section, text, world),
        });
        Self { policy, world, rules: rules.collect() }
    }

    /// The reply to an intent, in the order of judgement.
    pub fn reply(&self, intent: &Intent<'_>) -> Reply {
        if self.world.is_killed {
            return Reply { decision: Decision::KillSwitch, reason: Reason::KillSwitch };
        }
        if self.world.is_foreign {
            return Reply::refused(Reason::Always);
        }
        self.as_the_mode_has_it(intent, self.judge_lists(intent))
    }

    /// A refusal, or what the mode makes of it.
    fn as_the_mode_has_it(&self, intent: &Intent<'_>, reply: Reply) -> Reply {
        if reply.decision != Decision::Collapse {
            return reply;
        }
        let observed = match (self.policy.mode, &reply.reason) {
            ("monitor", Reason::Rules(section, _) | Reason::Unmatched(section)) => Some(*section),
            ("learn", Reason::Unmatched(section)) if self.can_be_taken_back(intent) => Some(*section),
            _ => None,
        };
        observed.map_or(reply, |section| Reply::permitted(Reason::Observed(section)))
    }

    fn can_be_taken_back(&self, intent: &Intent<'_>) -> bool {
        let own = self.policy.reversibility.iter().find(|(effect, _)| *effect == intent.effect);
        if let Some((_, reversibility)) = own {
            return ["none", "reversible"].contains(reversibility);
        }
        let name = intent.effect.name();
        name.starts_with("fs.")
            || ["proc.exec", "proc.signal", "net.bind", "net.listen", "heap.read", "heap.write"]
                .contains(&name)
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
            Reason::Rules(section, _) => format!("{decision} {section}"),
            Reason::Unmatched(section) => format!("{decision} nothing in {section}"),
            Reason::Always => format!("{decision} always"),
            Reason::Observed(section) => format!("{decision} observed {section}"),
            Reason::KillSwitch => format!("{decision}"),
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
                | (Reason::Observed(own), Cause::Observed(section)) => *own == section,
                (Reason::Always, Cause::Always(_)) | (Reason::KillSwitch, Cause::KillSwitch) => true,
                _ => false,
            }
    }
}
