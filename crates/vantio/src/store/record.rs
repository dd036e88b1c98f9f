//! What is known about a run, as a file.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use vantio_core::RunId;
use vantio_phantom::{
    Ending,
    changes::{Escaped, PathBytes},
};

use super::{StoreError, error};
use crate::present::for_shell;

/// The format that this version writes and reads.
const FORMAT: u64 = 1;

/// What is known about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    #[serde(with = "run_id")]
    pub id: RunId,
    /// What its starter called it.
    pub name: Option<String>,
    /// The program and its arguments.
    pub command: Vec<PathBytes>,
    /// Where it was started.
    pub directory: PathBytes,
    /// Where `${workspace}` led.
    pub workspace: PathBytes,
    /// Where its policy came from.
    pub policy: PolicySource,
    /// Every policy that it ran under, from the highest to the lowest; empty in records of
    /// versions that had one only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSource>,
    /// What its policy means, as a hash.
    pub policy_hash: String,
    /// What its policy does with refusals: `enforce`, `monitor` or `learn`.
    pub mode: String,
    /// What its policy says about commits: `review`, `auto` or `never`.
    pub commit: String,
    /// Whether its policy says that the ledger keeps digests only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drops_details: bool,
    /// Variables of its caller's environment that its policy did not pass on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// Whether it has a keeper instead of its caller's terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// What enforced the policy.
    pub backend: String,
    /// When it was started, in nanoseconds since the Unix epoch.
    pub started_ns: i64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended: Option<u64>,
    /// Where it stands.
    pub state: State,
    /// How the program ended.
    pub outcome: Option<Outcome>,
    /// How many changes wait for a commit; `None` while that is not known.
    pub pending: Option<u64>,
}

impl Record {
    /// Whether its policy only observes some of what it would refuse.
    pub fn observes(&self) -> bool {
        self.mode != "enforce"
    }

    /// Whether it left changes that wait, as far as is known.
    pub fn waits(&self) -> bool {
        self.pending != Some(0) && matches!(self.state, State::Ended | State::Died)
    }

    /// When it was started, in milliseconds since the Unix epoch.
    pub fn started(&self) -> u64 {
        u64::try_from(self.started_ns / 1_000_000).unwrap_or(0)
    }

    /// Canonical paths of the documents that its policies are made of.
    pub fn policy_files(&self) -> Vec<Vec<u8>> {
        let own = std::iter::once(&self.policy).chain(self.layers.iter().map(|layer| &layer.source));
        let own = own.filter_map(|source| match source {
            PolicySource::File { path, .. } => Some(path.as_bytes().to_vec()),
            PolicySource::Preset(_) => None,
        });
        let included = self.layers.iter().flat_map(|layer| &layer.includes);
        own.chain(included.map(|(path, _)| path.as_bytes().to_vec())).collect()
    }

    /// The program, as a person may safely see it.
    pub fn program(&self) -> String {
        self.command.first().map_or_else(String::new, |word| Escaped(word.as_bytes()).to_string())
    }

    /// The command as a person may safely see it, quoted where a shell would need it.
    pub fn command_line(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| for_shell(word.as_bytes())).collect();
        words.join(" ")
    }
}

/// Where a run stands. Whether it lives is told by its lock, not by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was started and has not ended.
    Running,
    /// The program ended; its changes can be reviewed.
    Ended,
    /// Vantio died under it; what it had changed can be reviewed.
    Died,
    /// It could not be started.
    Failed,
    /// Its changes were dropped.
    Discarded,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Died => "died",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }
}

/// Where a policy came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicySource {
    /// A document on this host, and the digest of its bytes at that time.
    File {
        /// Canonical path.
        path: PathBytes,
        /// SHA-256 of the document.
        digest: String,
    },
    /// A policy that comes with Vantio.
    Preset(String),
}

/// Where a layer came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSource {
    /// `managed`, `command line`, `project` or `user`.
    pub kind: String,
    /// Its own document.
    pub source: PolicySource,
    /// The files that it includes, and the manifest that named it, with the digests of their
    /// bytes at that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<(PathBytes, String)>,
}

impl LayerSource {
    /// A document that includes no files, of no kind yet.
    pub fn new(source: PolicySource) -> Self {
        Self { kind: String::new(), source, includes: Vec::new() }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It was not found.
    NotFound,
    /// It may not be executed.
    NotExecutable,
}

impl Outcome {
    /// Why `program`, as it may be shown, did not begin, or not end by itself.
    pub fn in_words(self, program: &str) -> Option<String> {
        match self {
            Self::NotFound if program.contains('/') => Some(format!("`{program}` does not exist in the run")),
            Self::NotFound => Some(format!("`{program}` was not found in the run's PATH")),
            Self::NotExecutable => Some(format!("`{program}` may not be executed")),
            Self::Signaled(signal) => Some(format!("`{program}` was ended by signal {signal}")),
            Self::Exited(_) => None,
        }
    }
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exited(code) => Self::Exited(code),
            Ending::Signaled(signal) => Self::Signaled(signal),
            Ending::NotFound => Self::NotFound,
            Ending::NotExecutable => Self::NotExecutable,
        }
    }
}

/// Reads the record of run `id`.
pub fn read(file: &Path, id: RunId) -> Result<Record, StoreError> {
    let bytes = match fs::read(file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Unknown { reference: id.to_string() });
        }
        other => other.map_err(|cause| error::folder(file, cause))?,
    };
    let damaged = |cause| StoreError::Damaged { id, cause };
    let Format { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if format != FORMAT {
        return Err(StoreError::Version { id, found: format, supported: FORMAT });
    }
    let record: Record = serde_json::from_slice(&bytes).map_err(damaged)?;
    if record.id == id { Ok(record) } else { Err(damaged(serde_json::Error::custom("it names another run"))) }
}

/// Writes the record in the run's `folder`: all of it, or nothing. What has to outlive a loss of
/// power is in the ledger and in the journals of a commit.
pub fn write(folder: &Path, record: &Record) -> Result<(), StoreError> {
    let target = folder.join("run.json");
    let failed = |cause: io::Error| error::folder(&target, cause);
    let file = Versioned { format: FORMAT, record };
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|cause| failed(cause.into()))?;
    bytes.push(b'\n');
    // Whoever writes it holds the run.
    let temporary = target.with_added_extension("new");
    super::folder::create_file(&temporary)?.write_all(&bytes).map_err(failed)?;
    fs::rename(&temporary, &target).map_err(failed)
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Serialize)]
struct Versioned<'a> {
    format: u64,
    #[serde(flatten)]
    record: &'a Record,
}

mod run_id {
    use super::{Deserialize, Deserializer, RunId, Serializer};

    pub fn serialize<S: Serializer>(id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
