//! What a person can approve: the rules that hold an intent, each by itself, and patterns of what is approved.
//!
//! An approval settles a hold and nothing else. It reaches no further than an allow: a name does not
//! cover its subdomains, a rename needs both of its names covered, a folder that is moved or removed
//! everything below it.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};

use crate::{
    Bindings, PolicyProgram, State, address, decide, decide_by_lists,
    guard::{
        model::{HoldRule, Then},
        scope::{family, programs},
    },
    named::NamedPattern,
    net::{EndpointPattern, Host, NetPattern},
    path::{CanonicalPath, Kind, Matcher, PathPattern},
    rule::{Family, Pattern, RuleError},
};

/// How long a hold without a limit of its own waits, in milliseconds.
pub(crate) const DEFAULT_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// A rule that holds an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'p> {
    /// `thresholds` or `hold`.
    pub section: Section,
    /// The rule, in its canonical text.
    pub rule: &'p str,
    /// Who may approve; empty for whoever started the run.
    pub approvers: &'p [String],
    /// After how many milliseconds it is refused.
    pub timeout_ms: u64,
}

impl<'p> Held<'p> {
    /// The rule of the policy that has this text, whatever it holds now.
    pub fn of(program: &'p PolicyProgram, state: &'p State, section: Section, rule: &str) -> Option<Self> {
        let (parts, guards) = (&program.parts.guards, state.guards());
        let thresholds = guards.thresholds.iter().map(|bound| Self::of_threshold(&bound.text));
        let rules = parts.hold.iter().zip(&guards.hold).map(|(held, bound)| Self::of_rule(held, &bound.text));
        thresholds.chain(rules).find(|held| (held.section, held.rule) == (section, rule))
    }

    const fn of_threshold(rule: &'p str) -> Self {
        Self { section: Section::Thresholds, rule, approvers: &[], timeout_ms: DEFAULT_TIMEOUT_MS }
    }

    fn of_rule(HoldRule { approvers, timeout_ms, .. }: &'p HoldRule, rule: &'p str) -> Self {
        Self { section: Section::Hold, rule, approvers, timeout_ms: *timeout_ms }
    }

    /// What it decides.
    pub const fn verdict(self) -> Verdict<'p> {
        let Self { section, rule, .. } = self;
        Verdict { decision: Decision::Hold, cause: Cause::Rule { section, text: rule } }
    }
}

/// Answers as [`decide`], where a person has approved some of the rules that hold the intent. Everything else is judged as
/// it stands now: an approval passes no deny, no label, no budget and no kill switch.
pub fn decide_approved<'p>(
    program: &'p PolicyProgram,
    state: &'p State,
    intent: &Intent<'_>,
    mut is_approved: impl FnMut(&Held<'p>) -> bool,
) -> Verdict<'p> {
    let verdict = decide(program, state, intent);
    if verdict.decision != Decision::Hold {
        return verdict;
    }
    match holds(program, state, intent).find(|held| !is_approved(held)) {
        Some(held) => held.verdict(),
        None => decide_by_lists(program, state, intent),
    }
}

/// The rules that hold an intent, in the order in which they are asked about.
pub fn holds<'p>(
    program: &'p PolicyProgram,
    state: &'p State,
    intent: &Intent<'_>,
) -> impl Iterator<Item = Held<'p>> {
    let guards = state.guards();
    let now = guards.history.now(intent);
    let thresholds =
        program.parts.guards.thresholds.iter().zip(&guards.thresholds).zip(&guards.history.windows);
    let passed = thresholds.filter_map(move |((threshold, bound), window)| {
        let is_held = threshold.then == Then::Hold
            && bound.scope.covers(state, intent)
            && window.is_passed_by(threshold, now, intent);
        is_held.then(|| Held::of_threshold(&bound.text))
    });
    let rules = program.parts.guards.hold.iter().zip(&guards.hold);
    let covering = rules.filter(move |(_, bound)| bound.scope.covers(state, intent));
    let held = covering.map(|(rule, bound)| Held::of_rule(rule, &bound.text));
    passed.chain(held)
}

/// A pattern of what was approved.
#[derive(Clone, Debug)]
pub struct ApprovedPattern {
    text: String,
    effect: Effect,
    access: Access,
    matchers: Vec<Matcher>,
    endpoint: Option<EndpointPattern>,
    name: Option<NamedPattern>,
}

/// Why a text is no pattern of what an effect acts on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ApprovalError(String);

impl ApprovedPattern {
    /// Reads a pattern as a rule of an allow has it, for intents of the effect and, where they open files, of an access
    /// no greater than `access`. Names are mapped to A-labels by `map_name`.
    ///
    /// # Errors
    ///
    /// A text that is no such pattern, and an effect that has none.
    pub fn parse(
        text: &str,
        effect: Effect,
        access: Access,
        bindings: &Bindings,
        map_name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ApprovalError> {
        let wrong = |error: RuleError| ApprovalError(error.to_string());
        let family = family(effect).ok_or_else(|| ApprovalError("this effect has no patterns".to_owned()))?;
        let pattern = match family {
            Family::Path => Pattern::Path(PathPattern::parse(text).map_err(|error| wrong(error.into()))?),
            Family::Program => Pattern::parse_program(text).map_err(wrong)?,
            Family::Net => {
                let pattern = NetPattern::parse(text, Kind::Allow, map_name);
                Pattern::Net(pattern.map_err(|error| wrong(error.into()))?)
            }
            Family::Named => Pattern::Named(NamedPattern::parse(text).map_err(|error| wrong(error.into()))?),
        };
        let text = pattern.canonical();
        let mut approved = Self { text, effect, access, matchers: Vec::new(), endpoint: None, name: None };
        match pattern {
            Pattern::Path(pattern) | Pattern::Net(NetPattern::Unix(pattern)) => {
                approved.matchers = pattern.matchers(bindings, Kind::Allow);
            }
            Pattern::Program(name) => approved.matchers = programs(&name, bindings).collect(),
            Pattern::Net(NetPattern::Endpoint(pattern)) => approved.endpoint = Some(pattern),
            Pattern::Named(pattern) => approved.name = Some(pattern),
        }
        Ok(approved)
    }

    /// The pattern, in its canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the intent is one that was approved; `names` are those that gave its address.
    pub fn covers<'n>(&self, intent: &Intent<'_>, mut names: impl Iterator<Item = &'n str>) -> bool {
        if intent.effect != self.effect {
            return false;
        }
        match intent.target {
            Target::Path { path, access, subtree } => {
                let is_within_access = access == Access::Read || self.access == Access::Write;
                is_within_access && self.covers_path(path, subtree || intent.effect == Effect::FsRmdir)
            }
            Target::Paths { from, to, subtree } => {
                self.covers_path(from, subtree) && self.covers_path(to, subtree)
            }
            Target::Endpoint(endpoint) => self
                .endpoint
                .as_ref()
                .is_some_and(|pattern| !endpoint.in_run && covers_endpoint(pattern, &endpoint, &mut names)),
            Target::Name(name) => {
                self.endpoint.as_ref().is_some_and(|pattern| pattern.host.covers_name(name, Kind::Allow))
            }
            Target::Unix(path) => self.endpoint.is_none() && self.covers_path(path, false),
            Target::Named(name) => self.name.as_ref().is_some_and(|pattern| pattern.matches(name)),
            Target::Process(_) | Target::Syscall(_) => false,
        }
    }

    fn covers_path(&self, path: &[u8], subtree: bool) -> bool {
        CanonicalPath::new(path).is_some_and(|path| {
            let covers = |matcher: &Matcher| {
                if subtree { matcher.covers_subtree(&path) } else { matcher.covers(&path) }
            };
            self.matchers.iter().any(covers)
        })
    }
}

fn covers_endpoint<'n>(
    pattern: &EndpointPattern,
    endpoint: &Endpoint,
    names: &mut impl Iterator<Item = &'n str>,
) -> bool {
    let (first, carried) = address::forms(endpoint.address.ip());
    pattern.is_udp == (endpoint.transport == Transport::Udp)
        && pattern.ports.contains(endpoint.address.port())
        && match &pattern.host {
            Host::Any => true,
            Host::Block(block) => {
                block.contains(first) && carried.is_none_or(|carried| block.contains(carried))
            }
            name => names.any(|known| name.covers_name(known, Kind::Allow)),
        }
}
