//! What a document has beside its program.

use vantio_core::{Access, Decision, Effect};

use super::{Place, PolicyError, Problem, codes};

/// An element of `tests`: an intent, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The effect.
    pub effect: Effect,
    /// For `fs.open`: what for, when the document says it.
    pub access: Option<Access>,
    /// The target as written: it may begin with a variable.
    pub target: String,
    /// What is expected.
    pub expect: Decision,
    /// Where it stands.
    pub place: Place,
}

/// An element of `include`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// `preset:NAME` of a preset that exists, or a path.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// Where models are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Llm {
    /// Which of the two are used.
    pub mode: LlmMode,
    /// Models on this host.
    pub local: Option<LocalModels>,
    /// Models elsewhere.
    pub api: Option<ApiModels>,
}

/// Which models are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlmMode {
    /// Those on this host.
    Local,
    /// Those elsewhere.
    Api,
    /// Both.
    Hybrid,
}

impl LlmMode {
    /// The name in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Api => "api",
            Self::Hybrid => "hybrid",
        }
    }
}

/// Models on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalModels {
    /// The device that leads to them.
    pub device: Option<String>,
    /// The model that is asked when none is named.
    pub default_model: Option<String>,
    /// Milliseconds that an answer may take.
    pub timeout_ms: Option<u64>,
}

/// Models elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiModels {
    /// Who offers them.
    pub provider: Option<String>,
    /// The address of the API.
    pub endpoint: Option<String>,
    /// The model that is asked when none is named.
    pub model: Option<String>,
    /// The name of the secret that opens the API.
    pub secret_name: Option<String>,
}

/// A document that names the policy of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The policy, relative to the manifest.
    pub policy_path: String,
    /// Where the audit log is kept.
    pub audit_log_path: Option<String>,
    /// Where models are.
    pub llm: Option<Llm>,
    /// Where `policy_path` stands.
    pub place: Place,
}

impl Include {
    /// Says what is wrong with it, with its place in the including document's `source`.
    pub(crate) fn wrong(&self, source: &[u8], file_name: &str, message: String, help: &str) -> PolicyError {
        let problem = Problem {
            code: codes::INCLUDE,
            message,
            help: Some(help.to_owned()),
            label: "included here".to_owned(),
            place: Some(self.place.clone()),
        };
        super::problem_in(source, file_name, problem)
    }
}

impl Manifest {
    /// Says that the policy cannot be used, with its place in the manifest's `source`.
    pub fn unusable(&self, source: &[u8], file_name: &str, policy: &str, reason: &str) -> PolicyError {
        let problem = Problem {
            code: codes::FILE,
            message: format!("the policy `{policy}`, which a manifest names, cannot be read: {reason}"),
            help: Some("write its path as it is from the folder of the manifest".to_owned()),
            label: "here".to_owned(),
            place: Some(self.place.clone()),
        };
        super::problem_in(source, file_name, problem)
    }
}
