//! Evidence for a verdict: the nodes that it was reached by, checked against `policy_hash`.
//!
//! [`evidence`] keeps of a program what the lists' answer to one intent looked at, and the
//! hashes of the rest. [`verify_evidence`] recomputes the root and answers the same intent
//! by the same code. That a rule is absent is shown as that one is present: the search
//! for a name ends between two others. Nothing but the walk is disclosed: no other rule, no
//! text of a rule.
//!
//! The answer is that of the lists, as if the mode were `enforce`. The kill switch, guards
//! and budgets depend on what a run did before; [`Proven`] says whether there are guards.
//!
//! The bytes: `"VEVI"`, a version, the header (mode, prefix lengths, guards, digest of the
//! canonical bytes), a link for each root, then each node that a link shows, in the order of
//! the links. A link is 0 and a hash, or 1 for the next node. A node is the first `fs.deny`
//! rule below it, its terminals, the link to the child of a `**` (2 for none), its wildcards
//! with their links, and its other children as a search tree in preorder: 0 for an empty tree,
//! 1 and the hash of one that is not shown, 2 and a name, its link and two trees.

mod partial;
mod record;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use vantio_core::{Decision, Effect, Hash, Intent, Section, Target};

use crate::{
    Bindings, Mode, PolicyProgram, State, address,
    entries::Entries,
    lists::{self, Reason},
    path::is_within,
    state::Facts,
    trie::Nodes,
};
use partial::Partial;
use record::Recorder;

const MAGIC: &[u8; 4] = b"VEVI";
const VERSION: u16 = 1;
/// More bytes are not evidence.
const MAX_BYTES: usize = 16 << 20;

/// What evidence proves: the answer of a policy's lists to an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// `Permit` or `Collapse`.
    pub decision: Decision,
    /// Why.
    pub cause: ProvenCause,
    /// What the policy does with a refusal.
    pub mode: Mode,
    /// Whether the policy has guards, which can hold back what the lists permit.
    pub has_guards: bool,
}

/// Why a proven answer is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenCause {
    /// A rule, by its place in [`PolicyProgram::rules`].
    Rule {
        /// The list.
        section: Section,
        /// The place in it.
        index: u32,
    },
    /// No rule of this list matched.
    Unmatched(Section),
    /// A rule that every policy has.
    Always(&'static str),
}

/// Bytes are not evidence for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// They are of a version that this build does not read.
    #[error("evidence of version {0} is not supported; this build reads version {VERSION}")]
    Version(u16),
    /// They are not evidence, or damaged.
    #[error("not evidence, or damaged")]
    Malformed,
    /// They do not belong to the policy of this hash.
    #[error("the evidence does not belong to this policy")]
    OtherPolicy,
    /// They lack a node that the answer depends on: they are for another intent.
    #[error("the evidence lacks what this intent's answer depends on")]
    Incomplete,
}

impl EvidenceError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version(_) => "E_EVIDENCE_VERSION",
            Self::Malformed => "E_EVIDENCE_MALFORMED",
            Self::OtherPolicy => "E_EVIDENCE_POLICY",
            Self::Incomplete => "E_EVIDENCE_INCOMPLETE",
        }
    }
}

/// The evidence for what the lists of `program` answer to `intent`.
pub fn evidence(program: &PolicyProgram, state: &State, intent: &Intent<'_>) -> Vec<u8> {
    let recorder = Recorder::new(&program.trie);
    let names: Vec<&str> = match intent.target {
        Target::Endpoint(endpoint) => state.names_of(endpoint.address.ip()).collect(),
        _ => Vec::new(),
    };
    let facts = facts(&recorder, &state.bindings, &names, intent);
    lists::answer(&recorder, &facts, intent);
    recorder.encode(&program.header())
}

/// Checks evidence against a policy's hash. `bindings` are those of the run, and `names` those
/// that the intent's address was an answer for ([`State::names_of`]).
///
/// # Errors
///
/// Bytes that are not evidence, belong to another policy, or to an intent whose answer
/// depends on something else.
pub fn verify_evidence(
    bytes: &[u8],
    policy_hash: Hash,
    bindings: &Bindings,
    names: &[&str],
    intent: &Intent<'_>,
) -> Result<Proven, EvidenceError> {
    let partial = Partial::decode(bytes)?;
    if partial.root_hash() != policy_hash {
        return Err(EvidenceError::OtherPolicy);
    }
    let facts = facts(&partial, bindings, names, intent);
    let answer = lists::answer(&partial, &facts, intent);
    if partial.is_incomplete() {
        return Err(EvidenceError::Incomplete);
    }
    Ok(Proven {
        decision: if answer.is_permit { Decision::Permit } else { Decision::Collapse },
        cause: match answer.reason {
            Reason::Rule(section, index) => ProvenCause::Rule { section, index },
            Reason::Unmatched(section) => ProvenCause::Unmatched(section),
            Reason::Always(always) => ProvenCause::Always(always.text()),
        },
        mode: partial.header().mode,
        has_guards: partial.has_guards(),
    })
}

/// What an intent is answered by, besides the nodes.
fn facts(nodes: &impl Nodes, bindings: &Bindings, names: &[&str], intent: &Intent<'_>) -> Facts {
    let entries = Entries::new(nodes, bindings, &|entry| is_relevant(intent, entry));
    let mut facts = Facts::new(entries, bindings);
    if let Target::Endpoint(endpoint) = intent.target {
        let (first, _) = address::forms(endpoint.address.ip());
        for name in names {
            facts.learn_name(name, first, 0);
        }
    }
    facts
}

/// Whether the walk of the intent's paths can begin at an entry of this path.
fn is_relevant(intent: &Intent<'_>, entry: &[u8]) -> bool {
    let (paths, subtree) = match intent.target {
        Target::Path { path, subtree, .. } => ([path, path], subtree || intent.effect == Effect::FsRmdir),
        Target::Paths { from, to, subtree } => ([from, to], subtree),
        Target::Unix(path) => ([path, path], false),
        _ => return false,
    };
    paths.into_iter().any(|path| {
        let path = if path == b"/" { b"" } else { path };
        is_within(path, entry) || subtree && is_within(entry, path)
    })
}
