//! What is said on the socket: one line of JSON each way, with the version of the protocol.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Reach;

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
    /// Its target, as the ledger has it.
    pub target: serde_json::Value,
    /// The target as a terminal may show it.
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

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u64,
    says: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

/// Writes one line.
pub fn write<T: Serialize>(mut stream: impl Write, says: T) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Versioned { version: VERSION, says })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.flush()
}

/// Reads one line of at most `limit` bytes.
pub fn read<T: DeserializeOwned>(stream: impl Read, limit: u64) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut line)?;
    let VersionOnly { version } = serde_json::from_slice(&line)?;
    if version != VERSION {
        let message = format!("the other side speaks version {version}, and this one {VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let versioned: Versioned<T> = serde_json::from_slice(&line)?;
    Ok(versioned.says)
}
