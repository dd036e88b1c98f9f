//! What is said on the socket.

use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub const VERSION: u64 = 1;

/// A question that waits for an answer, with everything that a person needs to answer it. Text in it comes from the
/// agent in part: whoever shows it escapes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What it is called.
    pub id: String,
    /// The run that asks.
    pub run: String,
    /// The effect that is held.
    pub effect: String,
    /// Its target and what that becomes, as the ledger has it.
    pub target: serde_json::Value,
    /// Both as a terminal may show them.
    pub subject: String,
    /// The names that gave its address.
    pub names: Vec<String>,
    /// Bytes that would be overwritten.
    pub bytes: u64,
    /// The list of the policy that holds it.
    pub section: String,
    /// The rule of that list.
    pub rule: String,
    /// Who may approve; empty for whoever started the run.
    pub approvers: Vec<String>,
    /// What names the exact intent: an answer is for it and no other.
    pub intent_hash: String,
    /// What names the policy.
    pub policy_hash: String,
    /// Threads that wait, as the host numbers them: the first few.
    pub pids: Vec<u32>,
    /// What the first of them executes.
    pub command: Option<String>,
    /// Whether the run goes on meanwhile, or why not, where that is known.
    #[serde(default)]
    pub meanwhile: Option<String>,
    /// How many calls wait.
    pub waiting: u64,
    /// How often it was asked.
    pub asked: u64,
    /// When it was asked first, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How long it waits yet, in milliseconds; then it is denied.
    pub left_ms: u64,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The question.
    pub question: String,
    /// As the question has it.
    pub intent_hash: String,
    /// As the question has it.
    pub policy_hash: String,
    /// Whether it may happen.
    pub approves: bool,
    /// How far the answer reaches.
    pub reach: Reach,
    /// Who somebody says to be.
    pub who: Option<String>,
    /// Why, for the agent and the ledger.
    pub reason: Option<String>,
}

/// How far an answer reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// To those that wait. Of datagrams, and questions for a name, a minute.
    #[default]
    Once,
    /// To the same effect and target, for the rest of the run.
    Session,
    /// To what this pattern covers, for the rest of the run.
    Pattern(String),
}

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// For the questions that are open.
    List,
    /// To answer one.
    Answer(Reply),
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The questions that are open.
    Questions(Vec<Question>),
    /// The question is answered; so many calls waited for it.
    Settled(u64),
    /// It is not.
    Refused(Refused),
}

/// Why an answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub code: String,
    pub message: String,
    pub help: String,
}
