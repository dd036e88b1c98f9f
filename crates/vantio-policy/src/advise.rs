//! What to change in a policy.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;

use vantio_core::{Cause, Intent, Section, Target, Transport, Verdict};

use crate::{credentials, glob, guard::text, net::is_localhost, rule::Rule, state::State};

/// The smallest change of a policy that would permit an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Add a rule to a list.
    Add {
        /// The list.
        section: Section,
        /// The rule's text.
        rule: String,
    },
    /// Remove a rule from a list.
    Remove {
        /// The list.
        section: Section,
        /// The rule's text.
        rule: String,
    },
    /// Raise a limit.
    Raise {
        /// `thresholds`, `budgets` or `limits`.
        list: &'static str,
        /// The threshold's text, or the budget's name.
        rule: String,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { section, rule } => write!(formatter, "add to {section}: [\"{}\"]", Quoted(rule)),
            Self::Remove { section: Section::TaintSinks, rule } => {
                write!(formatter, "remove the sink of {rule}")
            }
            Self::Remove { section: Section::Order, rule } if let Some(asked) = text::asked_for(rule) => {
                formatter.write_str(&asked)
            }
            Self::Remove { section, rule } => {
                write!(formatter, "remove from {section}: \"{}\"", Quoted(rule))
            }
            Self::Raise { list: "thresholds", rule } => {
                let (measure, rule) = text::measured(rule);
                write!(formatter, "raise {measure} of the threshold {rule}")
            }
            Self::Raise { list, rule } => write!(formatter, "raise {list}.{rule}"),
        }
    }
}

impl Advice {
    /// The action, the list and the rule, as ledgers keep them.
    pub fn parts(&self) -> (&'static str, &'static str, &str) {
        match self {
            Self::Add { section, rule } => ("add", section.name(), rule),
            Self::Remove { section, rule } => ("remove", section.name(), rule),
            Self::Raise { list, rule } => ("raise", list, rule),
        }
    }

    /// The advice of these parts; `None` for those of none.
    pub fn from_parts(action: &str, list: &str, rule: &str) -> Option<Self> {
        let section = Section::ALL.into_iter().find(|section| section.name() == list);
        let rule = rule.to_string();
        match (action, section) {
            ("add", Some(section)) => Some(Self::Add { section, rule }),
            ("remove", Some(section)) => Some(Self::Remove { section, rule }),
            ("raise", Some(Section::Thresholds)) => Some(Self::Raise { list: "thresholds", rule }),
            ("raise", None) if list == "limits" => Some(Self::Raise { list: "limits", rule }),
            ("raise", None) if list == "budgets" => Some(Self::Raise { list: "budgets", rule }),
            _ => None,
        }
    }
}

/// A text between double quotes of YAML and JSON.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '"' | '\\' => write!(formatter, "\\{character}"),
            other => write!(formatter, "{other}"),
        })
    }
}

/// What would permit a refused intent. `None` when it was permitted, when every
/// policy refuses it, when the rule that refused guards credentials, or when no rule
/// can name the target.
pub fn advise(state: &State, intent: &Intent<'_>, verdict: &Verdict<'_>) -> Option<Advice> {
    if verdict.is_permit() {
        return None;
    }
    match verdict.cause {
        Cause::Rule { section: Section::FsDeny, text } if credentials::guards(text) => None,
        Cause::Rule { section: Section::Thresholds, text } => {
            Some(Advice::Raise { list: Section::Thresholds.name(), rule: text.to_string() })
        }
        Cause::Budget(name) => Some(Advice::Raise { list: "budgets", rule: name.to_string() }),
        Cause::Tainted { sink, .. } if !marks_credentials(state, intent) => {
            Some(Advice::Remove { section: Section::TaintSinks, rule: sink.to_string() })
        }
        Cause::Rule { section, text } => Some(Advice::Remove { section, rule: text.to_string() }),
        Cause::Unmatched(section) => {
            let rule = rule_for(state, section, intent)?;
            // Some names, as one that ends in white space, are none that a rule can say.
            let is_rule = Rule::parse(section, &rule, |name| Some(name.to_string())).is_ok();
            is_rule.then_some(Advice::Add { section, rule })
        }
        _ => None,
    }
}

/// Whether one of the labels that the process carries is given by credentials.
fn marks_credentials(state: &State, intent: &Intent<'_>) -> bool {
    let carried = intent.context.labels;
    let sources = state.guards().sources.iter();
    sources.filter(|source| !source.labels.intersection(carried).is_empty()).any(|source| {
        let targets = source.text.split_once(": fs ").map_or("", |(_, targets)| targets);
        targets.split(", ").any(|target| target == credentials::ELEMENT || credentials::guards(target))
    })
}

fn rule_for(state: &State, section: Section, intent: &Intent<'_>) -> Option<String> {
    match intent.target {
        Target::Path { path, .. } => path_rule(path),
        Target::Paths { from, to, subtree } => {
            path_rule(if state.has_write_rule(from, subtree) { to } else { from })
        }
        Target::Endpoint(endpoint) => {
            let scheme = if endpoint.transport == Transport::Udp { "udp://" } else { "" };
            let address = endpoint.address;
            let name = state.names_of(address.ip()).next();
            match name {
                Some(name) if section == Section::NetAllow && !state.is_reserved(address.ip()) => {
                    Some(format!("{scheme}{name}:{}", address.port()))
                }
                _ => Some(format!("{scheme}{address}")),
            }
        }
        // No rule can name it; a connection to it needs none but an address.
        Target::Name(name) => (!is_localhost(name)).then(|| format!("{name}:443")),
        Target::Unix(path) => path_rule(path).map(|path| format!("unix:{path}")),
        // In a rule, a `*` would be any characters.
        Target::Named(name) => (!name.contains('*')).then(|| name.to_string()),
        Target::Process(_) | Target::Syscall(_) => None,
    }
}

/// The pattern that names just `path`; `None` where no document can write it.
pub(crate) fn path_rule(path: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(path).ok().filter(|text| !text.chars().any(char::is_control))?;
    let mut rule = String::new();
    glob::write_literal(text.as_bytes(), &mut rule);
    Some(rule)
}
