//! A policy from what runs did.
//!
//! From the permitted intents of runs to the smallest policy that a person would write for
//! them: rules for folders and domains where there is evidence for several entries of them,
//! for single entries elsewhere. Three things hold of every suggestion: what the runs did is
//! permitted, but for what is left out with its reason; no rule opens what the learning policy
//! would not have permitted; what holds credentials stays closed.

mod advice;
mod complete;
mod draft;
mod names;
mod network;
mod places;
mod tree;
mod write;

use alloc::{collections::BTreeMap, collections::BTreeSet, string::String, vec::Vec};

use vantio_core::{Effect, Section};

use crate::{Bindings, PolicyProgram, explain::Subject};

/// What one run tells.
#[derive(Clone, Debug)]
pub struct Lesson<'a> {
    /// The policy that it ran under.
    pub program: &'a PolicyProgram,
    /// What that policy's variables stood for.
    pub bindings: Bindings,
    /// What was permitted to it.
    pub observations: Vec<Observation>,
}

/// An intent that was permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The kind of action.
    pub effect: Effect,
    /// What it acted on.
    pub subject: Subject,
    /// Names that had led to an address.
    pub names: Vec<String>,
    /// The program that did it, where it is known.
    pub who: Option<String>,
    /// How often.
    pub count: u64,
}

/// What the caller's host knows.
pub trait Host {
    /// Whether the path is a directory.
    fn is_directory(&self, path: &[u8]) -> bool;
    /// Whether the path exists and is no directory.
    fn is_file(&self, path: &[u8]) -> bool;
    /// The bare name that `PATH` has this very program for.
    fn bare_name(&self, path: &[u8]) -> Option<String>;
    /// The file that the suggestion is for, once it is written.
    fn own_file(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A policy with the evidence for each of its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// The document, in YAML; its mode is `enforce`.
    pub document: String,
    /// Its rules that permit.
    pub rules: Vec<SuggestedRule>,
    /// What the runs did and no rule is suggested for.
    pub left_out: Vec<LeftOut>,
    /// Rules of `fs.deny` that would have been suggested, had the runs not needed what they close.
    pub opened: Vec<String>,
}

/// A rule and why it is suggested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuggestedRule {
    /// The list that it is for.
    pub section: Section,
    /// The rule.
    pub text: String,
    /// What it rests on, in a few words.
    pub evidence: String,
}

/// Something that a run did and the suggestion does not permit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// What was done: effect and target.
    pub what: String,
    /// Why it is not suggested.
    pub why: &'static str,
}

/// What a rule rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Evidence {
    count: u64,
    /// Whether the rule covers a folder and nothing below it.
    is_entry: bool,
    who: BTreeSet<String>,
}

impl Evidence {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.is_entry |= other.is_entry;
        self.who.extend(other.who.iter().cloned());
    }

    fn of(observation: &Observation) -> Self {
        Self { count: observation.count, is_entry: false, who: observation.who.iter().cloned().collect() }
    }

    /// `14 reads by node, npm`.
    fn told(&self, one: &str, several: &str) -> String {
        if self.count == 0 {
            return String::from("any program may need it");
        }
        let verb = if self.count == 1 { one } else { several };
        let shown = self.who.iter().take(WHO_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.who.len() > WHO_SHOWN { ", …" } else { "" };
        let by = if shown.is_empty() { String::new() } else { alloc::format!(" by {shown}{more}") };
        let scope = if self.is_entry { "; this folder, nothing below it" } else { "" };
        alloc::format!("{} {verb}{by}{scope}", self.count)
    }
}

/// Rules with their evidence, by text.
type Rules = BTreeMap<String, Evidence>;

/// Writes the policy that the lessons ask for. `heading` are lines of comment for its top.
pub fn suggest(lessons: &[Lesson<'_>], host: &dyn Host, heading: &[String]) -> Suggestion {
    draft::Draft::new(lessons, host).finish(heading)
}

/// Programs that a comment names.
const WHO_SHOWN: usize = 3;
