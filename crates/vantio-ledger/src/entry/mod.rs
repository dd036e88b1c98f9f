//! An entry of the chain: what it says, how it is written and how it is read.
//!
//! An entry's *text* is canonical JSON (RFC 8785). It may be published: what
//! was asked and answered is in it as salted digests and as a [`shape`], never
//! as it was. The *detail* beside it, which the digests cover, has both in full.

mod decode;
mod draft;
mod encode;
mod scan;
mod shape;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::{Decision, Hash, RunId, Syscall, json::Value};

use crate::Interval;

pub(crate) use decode::{Line, Text, detail, entry};
pub use draft::{AgentSvid, Anomaly, Draft, Seal};
pub(crate) use draft::{Prepared, Salts, nonce};
pub(crate) use encode::{RecordStamp, Stamp, text, time_text};

/// Version of an entry's format.
pub(crate) const FORMAT: i64 = 2;

/// How deep values may nest.
pub(crate) const MAX_DEPTH: usize = 64;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place among all entries of the store; the first is 0. Where a store has several chains, an
    /// entry without a place in the tree has a preliminary one.
    pub index: u64,
    /// Its place in its chain; where there is only one chain, the same as `index`.
    pub seq: u64,
    /// Its chain, where the store has several.
    pub writer: Option<Uuid>,
    /// When it was handed to the ledger; rises along the chain.
    pub time: Timestamp,
    /// The run it belongs to.
    pub run_id: RunId,
    /// The process that asked, as numbered inside the run.
    pub pid: u32,
    /// What was done.
    pub op: String,
    /// SHA-256 of the detail's salt and the canonical text of its request.
    pub req_hash: Hash,
    /// SHA-256 of the detail's salt and the canonical text of its response.
    pub res_hash: Hash,
    /// The policy in force.
    pub policy_hash: Hash,
    /// `this_hash` of the entry before; zeros in the first.
    pub prev_hash: Hash,
    /// SHA-256 of `prev_hash` and the entry's text.
    pub this_hash: Hash,
    /// What was asked, by its structure only.
    pub shape: Value,
    /// The verdict, where one is recorded.
    pub decision: Option<Decision>,
    /// The anomaly record, where the entry is one.
    pub anomaly: Option<AnomalyRecord>,
    /// What was asked and answered, where it was kept and is given.
    pub detail: Option<Detail>,
}

/// What the digests of an entry cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What was asked.
    pub request: Value,
    /// What was answered.
    pub response: Value,
    /// Makes the digests useless to who guesses what they cover.
    pub salt: [u8; 16],
}

/// The sealed record of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyRecord {
    /// UUIDv7, rising along the chain.
    pub record_id: Uuid,
    /// The agent's identity.
    pub agent_svid: AgentSvid,
    /// Number of the system call; 0 when there was none.
    pub syscall_nr: u32,
    /// Its arguments before execution.
    pub syscall_args: [u64; 6],
    /// What the oracle decided.
    pub oracle_decision: Decision,
    /// The proof of the decision; empty while `proof_state` is `Pending`.
    pub zk_proof: Vec<u8>,
    /// How far the proof has come.
    pub proof_state: ProofState,
    /// When the record was made, within the clock's error.
    pub truetime_commit: Interval,
    /// Random bytes that make every record unique.
    pub entropy_nonce: [u8; 32],
    /// Ed25519 signature, under the key of `agent_svid`, of the record and of
    /// what it is about.
    pub seal: [u8; 64],
}

/// How far a proof has come when its record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofState {
    /// Not proved yet.
    Pending,
    /// Proved: the proof verified when the record was written.
    Proved,
}

impl Entry {
    /// What was asked; null where that is not kept.
    pub fn request(&self) -> &Value {
        self.detail.as_ref().map_or(&Value::Null, |detail| &detail.request)
    }

    /// What was answered; null where that is not kept.
    pub fn response(&self) -> &Value {
        self.detail.as_ref().map_or(&Value::Null, |detail| &detail.response)
    }

    /// The whole entry as a JSON value: its text with `this_hash`, and `detail`
    /// where there is one.
    pub fn to_json(&self) -> Value {
        let mut members = vec![
            ("op", Value::from(self.op.as_str())),
            ("payload", self.payload()),
            ("pid", self.pid.into()),
            ("policy_hash", self.policy_hash.to_string().into()),
            ("prev_hash", self.prev_hash.to_string().into()),
            ("req_hash", self.req_hash.to_string().into()),
            ("res_hash", self.res_hash.to_string().into()),
            ("run_id", self.run_id.to_string().into()),
            ("seq", Value::Integer(self.seq.cast_signed())),
            ("this_hash", self.this_hash.to_string().into()),
            ("time", format!("{:.9}", self.time).into()),
            ("v", Value::Integer(FORMAT)),
        ];
        members.extend(self.writer.map(|writer| ("writer", writer.to_string().into())));
        members.extend(self.detail.as_ref().map(|detail| ("detail", detail.to_json())));
        Value::object(members)
    }

    /// The canonical text of [`Entry::to_json`], without a line feed.
    pub fn to_line(&self) -> String {
        self.to_json().to_canonical()
    }

    fn payload(&self) -> Value {
        let mut members = vec![("shape", self.shape.clone())];
        members.extend(self.decision.map(|decision| ("decision", decision.name().into())));
        members.extend(self.anomaly.as_ref().map(|anomaly| ("anomaly", anomaly.to_json())));
        Value::object(members)
    }
}

impl Detail {
    fn to_json(&self) -> Value {
        Value::object([
            ("request", self.request.clone()),
            ("response", self.response.clone()),
            ("salt", encode::hex(&self.salt).into()),
        ])
    }
}

impl AnomalyRecord {
    /// The record as a JSON value.
    pub fn to_json(&self) -> Value {
        let svid =
            [("certificate", self.agent_svid.certificate_base64()), ("id", self.agent_svid.spiffe_id())];
        let Interval { earliest, latest, is_synchronized } = self.truetime_commit;
        let commit = [
            ("earliest", Value::from(format!("{earliest:.9}"))),
            ("latest", format!("{latest:.9}").into()),
            ("synchronized", is_synchronized.into()),
        ];
        Value::object([
            ("agent_svid", Value::object(svid.map(|(key, text)| (key, text.into())))),
            ("entropy_nonce", Hash(self.entropy_nonce).to_string().into()),
            ("oracle_decision", self.oracle_decision.name().into()),
            ("proof_state", self.proof_state.name().into()),
            ("record_id", self.record_id.to_string().into()),
            ("seal", STANDARD.encode(self.seal).into()),
            (
                "syscall_args",
                Value::Array(self.syscall_args.map(|argument| argument.to_string().into()).into()),
            ),
            ("syscall_nr", self.syscall_nr.into()),
            ("truetime_commit", Value::object(commit)),
            ("zk_proof", STANDARD.encode(&self.zk_proof).into()),
        ])
    }

    /// The system call behind the refusal.
    pub const fn syscall(&self) -> Syscall {
        Syscall { number: self.syscall_nr, arguments: self.syscall_args }
    }
}

impl ProofState {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Proved => "proved",
        }
    }
}
