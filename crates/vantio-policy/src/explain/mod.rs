//! Why a verdict is what it is: every rule that the effect looks at, and why each won or lost.
//!
//! Slow and plain where [`crate::decide`] is quick: rule after rule, in the order of the
//! lists. The verdict itself comes from `decide`, so the two can never tell different stories
//! of what happens; what is told of the rules is checked against it by the tests.

mod guards;
mod miss;
mod network;
mod paths;
mod question;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use vantio_core::{Cause, Effect, Intent, Section, Target, Verdict};

use crate::{
    Advice, Bindings, PolicyProgram, State, advise, decide, judge,
    path::Kind,
    rule::{self, Pattern},
};

pub use miss::{Miss, Reason};
pub use question::{Question, QuestionError, Subject, Wish, labels};
#[cfg(feature = "document")]
pub use question::{nearest_name, to_a_labels};

/// A verdict with everything that was weighed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// What `decide` says.
    pub verdict: Verdict<'p>,
    /// What it would say in mode `enforce`.
    pub judged: Verdict<'p>,
    /// Every rule of every list that the effect looks at: list after list in the order of
    /// judgement, in each the one that decided, then those that match, then the nearest.
    pub considered: Vec<Considered<'p>>,
    /// The smallest change that would permit it.
    pub advice: Option<Advice>,
}

/// A rule that was weighed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered<'p> {
    /// The list it stands in.
    pub section: Section,
    /// Its text.
    pub rule: &'p str,
    /// Which of two names it was weighed for; `None` where there is one.
    pub side: Option<Side>,
    /// What came of it.
    pub outcome: Outcome,
}

/// One of the two names of a rename or hard link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The existing name.
    From,
    /// The new name.
    To,
}

/// What came of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It decided.
    Decided,
    /// It matches, but another rule decided.
    Outranked {
        /// The other rule's list.
        section: Section,
        /// The other rule.
        rule: String,
    },
    /// It matches, but something that is no rule decided.
    Overruled(String),
    /// It permits one of two names, or an address but not the IPv4 address in it.
    HalfPermitted,
    /// It does not match.
    Missed(Miss),
}

/// Explains the answer to an intent.
pub fn explain<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Explanation<'p> {
    let verdict = decide(program, state, intent);
    let judged = judge(program, state, intent);
    let mut weighed = Weighed { program, bindings: &state.bindings, state, rules: Vec::new() };
    weighed.weigh(intent);
    weighed.guards(intent);
    let advice = advise(state, intent, &judged);
    let considered = rank(weighed.rules, &judged);
    Explanation { verdict, judged, considered, advice }
}

/// Rules with what was found, before it is known who won.
struct Weighed<'a, 'p> {
    program: &'p PolicyProgram,
    bindings: &'a Bindings,
    state: &'p State,
    rules: Vec<Weight<'p>>,
}

struct Weight<'p> {
    section: Section,
    rule: &'p str,
    side: Option<Side>,
    /// `Ok` where it matches.
    finding: Result<(), Miss>,
}

impl Weighed<'_, '_> {
    fn weigh(&mut self, intent: &Intent<'_>) {
        match (intent.effect, intent.target) {
            (Effect::FsRename | Effect::FsLink, Target::Paths { from, to, subtree }) => {
                self.paths(from, to, subtree);
            }
            (Effect::NetConnect, Target::Unix(path)) => self.unix(path),
            (Effect::NetConnect, Target::Endpoint(endpoint)) => self.endpoint(&endpoint),
            (Effect::NetDns, Target::Name(name)) => self.name(name),
            (Effect::ToolCall | Effect::Infer, Target::Named(name)) => self.named(intent.effect, name),
            (
                Effect::FsOpen
                | Effect::FsUnlink
                | Effect::FsRmdir
                | Effect::FsMkdir
                | Effect::FsMknod
                | Effect::FsSymlink
                | Effect::FsTruncate
                | Effect::FsChmod
                | Effect::FsChown
                | Effect::FsUtime
                | Effect::FsXattr
                | Effect::FsStat
                | Effect::ProcExec,
                Target::Path { path, access, subtree },
            ) => self.path(intent.effect, path, access, subtree),
            _ => {}
        }
    }

    fn named(&mut self, effect: Effect, name: &str) {
        let sections: &[Section] = match effect {
            Effect::ToolCall => &[Section::ToolsDeny, Section::ToolsAllow],
            Effect::Infer => &[Section::InferModels],
            _ => &[],
        };
        for &section in sections {
            self.each(section, None, |pattern| match pattern {
                Pattern::Named(pattern) if pattern.matches(name) => Ok(()),
                Pattern::Named(_) => Err(Miss::new(Reason::OtherName, 0)),
                _ => Err(Miss::new(Reason::OtherKind, 0)),
            });
        }
    }

    /// Weighs every rule of a list.
    fn each(&mut self, section: Section, side: Option<Side>, test: impl Fn(&Pattern) -> Result<(), Miss>) {
        for rule in self.program.rules(section) {
            self.rules.push(Weight { section, rule: rule.text(), side, finding: test(&rule.pattern) });
        }
    }
}

/// Tells who won, and puts what is worth reading first.
fn rank<'p>(rules: Vec<Weight<'p>>, judged: &Verdict<'_>) -> Vec<Considered<'p>> {
    let winner = match judged.cause {
        Cause::Rule { section, text } => Some((section, text)),
        Cause::Tainted { sink, .. } => Some((Section::TaintSinks, sink)),
        _ => None,
    };
    let mut order: Vec<Section> = Vec::new();
    for weight in &rules {
        if !order.contains(&weight.section) {
            order.push(weight.section);
        }
    }
    let first_of_old_name = rules
        .iter()
        .find(|weight| weight.side == Some(Side::From) && is_allow(weight.section) && weight.finding.is_ok())
        .map(|weight| weight.rule);
    let mut considered: Vec<Considered<'p>> = rules
        .into_iter()
        .map(|Weight { section, rule, side, finding }| {
            let outcome = match (finding, winner) {
                (Err(miss), _) => Outcome::Missed(miss),
                // A rename takes a rule for each of its names; the verdict names the new one's.
                (Ok(()), Some((winning, _)))
                    if judged.is_permit() && side == Some(Side::From) && winning == section =>
                {
                    match first_of_old_name {
                        Some(first) if first != rule => {
                            Outcome::Outranked { section, rule: first.to_string() }
                        }
                        _ => Outcome::Decided,
                    }
                }
                (Ok(()), Some(winner)) if winner == (section, rule) => Outcome::Decided,
                (Ok(()), Some((section, rule))) => Outcome::Outranked { section, rule: rule.to_string() },
                (Ok(()), None) => match judged.cause {
                    Cause::Unmatched(_) if !section.is_guard() => Outcome::HalfPermitted,
                    cause => Outcome::Overruled(cause.to_string()),
                },
            };
            Considered { section, rule, side, outcome }
        })
        .collect();
    considered.sort_by_key(|considered| {
        let place = order.iter().position(|section| *section == considered.section);
        (place, considered.outcome.rank())
    });
    considered
}

fn is_allow(section: Section) -> bool {
    rule::kind(section) == Kind::Allow
}

impl Outcome {
    /// Whether the rule matches, whoever decided.
    pub const fn is_match(&self) -> bool {
        !matches!(self, Self::Missed(_))
    }

    fn rank(&self) -> u32 {
        match self {
            Self::Decided => 0,
            Self::Outranked { .. } | Self::Overruled(_) | Self::HalfPermitted => 1,
            Self::Missed(miss) => u32::MAX - miss.nearness,
        }
    }

    /// The stable name, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Outranked { .. } => "outranked",
            Self::Overruled(_) => "overruled",
            Self::HalfPermitted => "half_permitted",
            Self::Missed(_) => "missed",
        }
    }
}

impl fmt::Display for Considered<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Decided => formatter.write_str("decided"),
            Outcome::Outranked { section, rule } if self.section.is_guard() => {
                write!(formatter, "matches, but {section} decides before it: {rule}")
            }
            Outcome::Outranked { section, rule } if section.is_guard() => {
                write!(formatter, "matches, but {section} holds it back: {rule}")
            }
            Outcome::Outranked { section, rule } if is_allow(self.section) && !is_allow(*section) => {
                write!(formatter, "matches, but a deny beats it: {section}: {rule}")
            }
            Outcome::Outranked { section, rule } if *section == self.section => {
                write!(formatter, "matches, but `{rule}` comes first, to the same effect")
            }
            Outcome::Outranked { section, rule } => {
                write!(formatter, "matches, but `{section}: {rule}` comes first, to the same effect")
            }
            Outcome::Overruled(cause) => write!(formatter, "matches, but {cause}"),
            Outcome::HalfPermitted if self.side.is_none() => {
                formatter.write_str("matches, but nothing permits the IPv4 address inside")
            }
            Outcome::HalfPermitted => formatter.write_str("matches, but nothing permits the other name"),
            Outcome::Missed(miss) => miss.fmt(formatter),
        }
    }
}
