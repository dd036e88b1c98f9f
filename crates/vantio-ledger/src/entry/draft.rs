//! What a caller hands over, and its preparation for the writer.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::{
    Decision, Hash, RunId, Syscall,
    json::{MAX_INTEGER, Value},
};

use super::{MAX_DEPTH, encode, shape};
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
    /// Whether what was asked and answered is kept beside the entry, or only its structure and
    /// digests are.
    pub keeps_detail: bool,
    /// The policy in force.
    pub policy_hash: Hash,
    /// The verdict, where the entry records one.
    pub decision: Option<Decision>,
    /// Makes the entry an anomaly record; needs a `decision` other than `Hold`.
    pub anomaly: Option<Anomaly>,
}

/// What a caller knows of an anomaly; the ledger adds the record's identifier,
/// commit interval and nonce, and has it sealed.
#[derive(Clone)]
pub struct Anomaly {
    /// The agent's identity.
    pub agent_svid: AgentSvid,
    /// The system call behind the intent; zeros when there was none.
    pub syscall: Syscall,
    /// Who signs the record.
    pub seal: Arc<dyn Seal>,
    /// The proof of the decision, which must verify; empty where there is none yet.
    pub proof: Vec<u8>,
}

impl fmt::Debug for Anomaly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent_svid, syscall, seal: _, proof: _ } = self;
        let mut debug = formatter.debug_struct("Anomaly");
        debug.field("agent_svid", agent_svid).field("syscall", syscall).finish_non_exhaustive()
    }
}

/// Whoever holds the private key of an agent's SVID.
pub trait Seal: Send + Sync {
    /// The Ed25519 signature (RFC 8032) of `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
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

/// A draft whose costly parts (canonical texts, hashes, nonce) are done, so that
/// the writer only joins them.
pub(crate) struct Prepared {
    pub run_id: RunId,
    pub pid: u32,
    pub op: String,
    pub policy_hash: Hash,
    pub decision: Option<Decision>,
    pub req_hash: Hash,
    pub res_hash: Hash,
    /// Canonical text of the request's shape.
    pub shape: String,
    /// Canonical text of request, response and salt, where it is kept.
    pub detail: Option<String>,
    pub anomaly: Option<(Anomaly, [u8; 32])>,
}

impl Prepared {
    pub fn new(draft: Draft, salts: &Salts) -> Result<Self, LedgerError> {
        check(&draft)?;
        let salt = salts.next();
        let mut detail = String::with_capacity(512);
        let request = push_member("{\"request\":", &draft.request, &mut detail);
        let response = push_member(",\"response\":", &draft.response, &mut detail);
        let [request_digest, response_digest] = salted(&salt, [&detail[request], &detail[response]]);
        detail.push_str(",\"salt\":\"");
        encode::push_hex(&salt, &mut detail);
        detail.push_str("\"}");
        if detail.len() > MAX_DETAIL {
            return Err(LedgerError::Draft { reason: "request and response exceed 4 MiB" });
        }
        let mut shape = String::with_capacity(96);
        shape::write(&draft.request, &mut shape);
        if shape.len() > MAX_SHAPE {
            return Err(LedgerError::Draft { reason: "the names in a request exceed 16 KiB" });
        }
        let anomaly = draft.anomaly.map(|anomaly| Ok((anomaly, nonce()?))).transpose()?;
        let Draft { run_id, pid, op, keeps_detail, policy_hash, decision, .. } = draft;
        let detail = keeps_detail.then_some(detail);
        Ok(Self {
            run_id,
            pid,
            op,
            policy_hash,
            decision,
            req_hash: request_digest,
            res_hash: response_digest,
            shape,
            detail,
            anomaly,
        })
    }

    /// Roughly the bytes that waiting in the queue costs.
    pub fn weight(&self) -> usize {
        self.detail.as_ref().map_or(0, String::capacity)
            + self.shape.capacity()
            + self.op.capacity()
            + size_of::<Self>()
    }
}

/// Salts that nobody can guess, at the price of a digest.
pub(crate) struct Salts {
    key: [u8; 32],
    next: AtomicU64,
}

impl Salts {
    pub fn new() -> Result<Self, LedgerError> {
        Ok(Self { key: nonce()?, next: AtomicU64::new(0) })
    }

    fn next(&self) -> [u8; 16] {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let Hash(digest) = Hash::of_parts(&[&self.key, &number]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&digest[..16]);
        salt
    }
}

/// Writes a member. Returns where its value is.
fn push_member(name: &str, value: &Value, text: &mut String) -> Range<usize> {
    text.push_str(name);
    let start = text.len();
    value.write_canonical(text);
    start..text.len()
}

/// The digests of a request and its response.
pub(crate) fn salted(salt: &[u8; 16], [request, response]: [&str; 2]) -> [Hash; 2] {
    Hash::of_two((salt, request.as_bytes()), (salt, response.as_bytes()))
}

/// Bytes that nobody can guess.
pub(crate) fn nonce() -> Result<[u8; 32], LedgerError> {
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

const MAX_DETAIL: usize = 4 << 20;
/// With it an entry's text is far below the 64 KiB that a published log's entry may have.
const MAX_SHAPE: usize = 16 << 10;
