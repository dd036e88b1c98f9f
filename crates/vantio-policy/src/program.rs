//! The compiled policy.

use alloc::{string::String, sync::Arc, vec::Vec};

use vantio_core::{Hash, Section};

use crate::{
    Backend, Budgets, DecodeError, EnvRules, Limits, Rule, codec,
    guard::Guards,
    root::Header,
    rule::{self, Rules, SECTIONS},
    state::Bindings,
    trie::{Nodes, Trie},
};

/// What happens to a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is carried out.
    #[default]
    Enforce,
    /// It is recorded, and the intent permitted.
    Monitor,
    /// Where no rule matched and the effect can be taken back, it is recorded and
    /// the intent permitted, so that a policy can be written from the record.
    Learn,
}

impl Mode {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::Learn => "learn",
        }
    }
}

/// When a run's changes reach the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitMode {
    /// When a person commits them.
    #[default]
    Review,
    /// When the run ends.
    Auto,
    /// Never.
    Never,
}

impl CommitMode {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}

/// What of the host's changes a run sees while it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Viewing {
    /// Those that are made meanwhile.
    #[default]
    Live,
    /// In its workspace, none: it has what the host had when it started.
    Snapshot,
}

impl Viewing {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What becomes of what was asked and answered when it is recorded: the digests over it are kept
/// in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// The ledger keeps it.
    #[default]
    Keep,
    /// Nobody does.
    Drop,
}

impl Details {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        }
    }
}

/// How what was asked and answered may leave the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Export {
    /// Reduced to its structure.
    #[default]
    Shape,
    /// As it was.
    Full,
}

impl Export {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Full => "full",
        }
    }
}

/// When checkpoints of a run are taken without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpointing {
    /// Before each start of a program by the agent itself.
    pub exec: bool,
    /// After so many changes; at least 1.
    pub writes: Option<u64>,
    /// When somebody approves of what the policy holds, before it happens.
    pub approval: bool,
}

impl Checkpointing {
    /// Both: whatever either asks for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let writes = self.writes.into_iter().chain(other.writes).min();
        Self { exec: self.exec || other.exec, writes, approval: self.approval || other.approval }
    }
}

/// Whether a run that waits for an answer goes on meanwhile, as a fork that is dropped on a denial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculation {
    /// It waits.
    #[default]
    Off,
    /// It goes on where nothing of it could be seen outside before there is an answer.
    Auto,
}

impl Speculation {
    /// The word in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
        }
    }
}

/// A policy in compiled, canonical form: rules sorted and without duplicates,
/// variables still variables.
#[derive(Clone, Debug)]
pub struct PolicyProgram {
    pub(crate) parts: Parts,
    pub(crate) hash: Hash,
    /// The rules as `decide` walks them.
    pub(crate) trie: Arc<Trie>,
}

impl PartialEq for PolicyProgram {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for PolicyProgram {}

/// What a program is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) name: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) commit_mode: CommitMode,
    pub(crate) viewing: Viewing,
    pub(crate) details: Details,
    pub(crate) export: Export,
    pub(crate) checkpointing: Checkpointing,
    pub(crate) speculation: Speculation,
    pub(crate) budgets: Budgets,
    pub(crate) env: EnvRules,
    pub(crate) rules: Rules,
    /// `infer.max_tokens`: tokens that one inference may ask for.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) guards: Guards,
    pub(crate) limits: Limits,
}

impl PolicyProgram {
    pub(crate) fn new(mut parts: Parts) -> Self {
        parts.guards.sort();
        let trie = Arc::new(Trie::new(&parts.rules));
        let mut program = Self { parts, hash: Hash::ZERO, trie };
        program.hash = program.header().root(&program.trie.roots_hashes());
        program
    }

    /// What the hash is over, besides nodes.
    pub(crate) fn header(&self) -> Header {
        let mut guards = Vec::new();
        codec::guards::encode(&self.parts.guards, &mut guards);
        let meaning = Hash::of(&codec::encode_meaning(self));
        Header { mode: self.parts.mode, lengths: *self.trie.lengths(), guards, meaning }
    }

    /// The policy's name, where it has one.
    pub fn name(&self) -> Option<&str> {
        self.parts.name.as_deref()
    }

    /// What happens to a refusal.
    pub const fn mode(&self) -> Mode {
        self.parts.mode
    }

    /// When a run's changes reach the host.
    pub const fn commit_mode(&self) -> CommitMode {
        self.parts.commit_mode
    }

    /// Whether a run sees what the host changes meanwhile.
    pub const fn viewing(&self) -> Viewing {
        self.parts.viewing
    }

    /// Whether the ledger keeps what was asked and answered.
    pub const fn details(&self) -> Details {
        self.parts.details
    }

    /// How what was asked and answered may leave the machine.
    pub const fn export(&self) -> Export {
        self.parts.export
    }

    /// When checkpoints of a run are taken without being asked for.
    pub const fn checkpointing(&self) -> Checkpointing {
        self.parts.checkpointing
    }

    /// Whether a run that waits for an answer goes on meanwhile.
    pub const fn speculation(&self) -> Speculation {
        self.parts.speculation
    }

    /// Limits of a run.
    pub const fn budgets(&self) -> &Budgets {
        &self.parts.budgets
    }

    /// Limits of a run's resources.
    pub const fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    /// Which environment variables a run gets.
    pub const fn env(&self) -> &EnvRules {
        &self.parts.env
    }

    /// The least backend that may run the policy.
    pub const fn required_backend(&self) -> Option<Backend> {
        self.parts.guards.require
    }

    /// Whether the policy itself sets the kill switch.
    pub const fn is_kill_switch_set(&self) -> bool {
        self.parts.guards.kill_switch.is_active
    }

    /// The lists of patterns that a policy has.
    pub const SECTIONS: [Section; rule::LISTS] = SECTIONS;

    /// Whether two policies have the same guards, budgets, limits and environment.
    pub fn guards_alike(&self, other: &Self) -> bool {
        let parts = |program: &Self| {
            let Parts { guards, budgets, limits, env, max_tokens, .. } = &program.parts;
            (guards.clone(), *budgets, *limits, env.clone(), *max_tokens)
        };
        parts(self) == parts(other)
    }

    /// The rules of one list, in canonical order.
    pub fn rules(&self, section: Section) -> &[Rule] {
        self.parts.rules.of(section)
    }

    /// The root of the SHA-256 tree over what the policy means: not over its name,
    /// layout, file format, spellings or the order of its lists. Variables are hashed as
    /// variables.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The program in bytes, for storage and for other machines.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The program that [`PolicyProgram::encode`] gave these bytes for.
    ///
    /// # Errors
    ///
    /// Anything else: another version, bytes that are cut off or left over, a rule that
    /// is invalid or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// The bare names in `exec` and in guards, for the caller to look up in the run's `PATH`.
    pub fn bare_programs(&self) -> impl Iterator<Item = &str> {
        self.parts.rules.bare_programs().chain(self.parts.guards.bare_programs())
    }

    /// The literal beginning of every path pattern, with the variables' values: what
    /// the caller resolves, to fill [`Bindings::aliases`] with what turns out to be
    /// reached through a symbolic link. Of one that does not exist, the deepest
    /// ancestor that does is resolved.
    pub fn literal_prefixes(&self, bindings: &Bindings) -> Vec<Vec<u8>> {
        let mut prefixes: Vec<Vec<u8>> = self
            .parts
            .rules
            .path_patterns()
            .chain(self.parts.guards.path_patterns())
            .filter_map(|pattern| pattern.literal_prefix(bindings))
            .filter(|prefix| !prefix.is_empty())
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }
}
