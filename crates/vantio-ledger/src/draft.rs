//! What a caller hands over, and its preparation for the writer.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::{Decision, Hash, RunId, Syscall, json::Value};

use crate::LedgerError;

/// An entry before it has a place in the chain.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The run it belongs to.
    pub run_id: RunId,
    /// The process that asked, as numbered inside the run; 0 when there is none.
    pub pid: u32,
    /// What was done: an effect's name, or for instance `run.start`.
    /// Lower-case letters, digits, `.`, `_` and `-`; at most 64 bytes.
    pub op: String,
    /// What was asked. Integers beyond 53 bits are written as strings.
    pub request: Value,
    /// What was answered.
    pub response: Value,
    /// The policy in force.
    pub policy_hash: Hash,
    /// The verdict, where the entry records one.
    pub decision: Option<Decision>,
    /// Makes the entry an anomaly record; needs a `decision` other than `Hold`.
    pub anomaly: Option<Anomaly>,
}

/// What a caller knows of an anomaly; the ledger adds the record's identifier,
/// commit interval and nonce.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// The agent's identity.
    pub agent_svid: AgentSvid,
    /// The system call behind the intent; zeros when there was none.
    pub syscall: Syscall,
}

/// An agent's SPIFFE ID and X.509-SVID. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSvid(Arc<SvidText>);

#[derive(Debug, PartialEq, Eq)]
struct SvidText {
    id: String,
    certificate_base64: String,
}

impl AgentSvid {
    /// The identity `spiffe_id`, proved by the certificate in DER.
    pub fn new(spiffe_id: impl Into<String>, certificate_der: &[u8]) -> Self {
        Self::from_base64(spiffe_id.into(), STANDARD.encode(certificate_der))
    }

    pub(crate) fn from_base64(id: String, certificate_base64: String) -> Self {
        Self(Arc::new(SvidText { id, certificate_base64 }))
    }

    /// The SPIFFE ID.
    pub fn spiffe_id(&self) -> &str {
        &self.0.id
    }

    /// The certificate, in DER, in padded base64 (RFC 4648, section 4).
    pub fn certificate_base64(&self) -> &str {
        &self.0.certificate_base64
    }
}

/// A draft whose costly parts (canonical text, hashes, nonce) are done, so that
/// the writer only joins them.
pub(crate) struct Prepared {
    pub run_id: RunId,
    pub pid: u32,
    pub op: String,
    pub policy_hash: Hash,
    pub decision: Option<Decision>,
    pub req_hash: Hash,
    pub res_hash: Hash,
    /// `"request":…,"response":…`
    pub exchange: String,
    pub anomaly: Option<(Anomaly, [u8; 32])>,
}

impl Prepared {
    pub fn new(draft: Draft) -> Result<Self, LedgerError> {
        check(&draft)?;
        let mut exchange = String::with_capacity(256);
        let request_digest = push_member("\"request\":", &draft.request, &mut exchange);
        exchange.push(',');
        let response_digest = push_member("\"response\":", &draft.response, &mut exchange);
        if exchange.len() > MAX_EXCHANGE {
            return Err(LedgerError::Draft { reason: "request and response exceed 4 MiB" });
        }
        let anomaly = draft.anomaly.map(|anomaly| Ok((anomaly, nonce()?))).transpose()?;
        let Draft { run_id, pid, op, policy_hash, decision, .. } = draft;
        Ok(Self {
            run_id,
            pid,
            op,
            policy_hash,
            decision,
            req_hash: request_digest,
            res_hash: response_digest,
            exchange,
            anomaly,
        })
    }

    /// Roughly the bytes that waiting in the queue costs.
    pub fn weight(&self) -> usize {
        self.exchange.capacity() + self.op.capacity() + size_of::<Self>()
    }
}

fn push_member(name: &str, value: &Value, text: &mut String) -> Hash {
    text.push_str(name);
    let start = text.len();
    value.write_canonical(text);
    Hash::of(&text.as_bytes()[start..])
}

fn nonce() -> Result<[u8; 32], LedgerError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(LedgerError::Randomness)?;
    Ok(nonce)
}

fn check(draft: &Draft) -> Result<(), LedgerError> {
    let refuse = |reason| Err(LedgerError::Draft { reason });
    if !is_op(&draft.op) {
        return refuse("`op` is not 1 to 64 lower-case letters, digits, `.`, `_` or `-`");
    }
    if draft.anomaly.is_some() && matches!(draft.decision, None | Some(Decision::Hold)) {
        return refuse("an anomaly needs a decision that is final");
    }
    for value in [&draft.request, &draft.response] {
        if let Some(reason) = why_not_canonical(value, MAX_DEPTH) {
            return refuse(reason);
        }
    }
    Ok(())
}

/// True when `op` can name an operation.
pub(crate) fn is_op(op: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    !op.is_empty() && op.len() <= 64 && op.bytes().all(is_allowed)
}

fn why_not_canonical(value: &Value, depth: usize) -> Option<&'static str> {
    if depth == 0 {
        return Some("values nest deeper than 64 levels");
    }
    match value {
        Value::Integer(number) if number.unsigned_abs() > MAX_INTEGER => {
            Some("an integer exceeds 53 bits; write it as a string")
        }
        Value::Array(items) => items.iter().find_map(|item| why_not_canonical(item, depth - 1)),
        Value::Object(members) => members.values().find_map(|member| why_not_canonical(member, depth - 1)),
        _ => None,
    }
}

/// Largest integer that every JSON reader keeps (RFC 8785, appendix D).
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;
const MAX_DEPTH: usize = 64;
const MAX_EXCHANGE: usize = 4 << 20;
