//! An entry of the chain, as read back.

use std::{collections::BTreeMap, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::{
    Decision, Hash, RunId, Syscall,
    json::{Key, Value},
};

use crate::{AgentSvid, Interval, Malformed, draft, store::FORMAT};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place; the first is 0.
    pub seq: u64,
    /// When it was handed to the ledger; rises within one writer.
    pub time: Timestamp,
    /// The run it belongs to.
    pub run_id: RunId,
    /// The process that asked, as numbered inside the run.
    pub pid: u32,
    /// What was done.
    pub op: String,
    /// SHA-256 of the canonical text of `request`.
    pub req_hash: Hash,
    /// SHA-256 of the canonical text of `response`.
    pub res_hash: Hash,
    /// The policy in force.
    pub policy_hash: Hash,
    /// `this_hash` of the entry before; zeros in the first.
    pub prev_hash: Hash,
    /// SHA-256 of `prev_hash` and the canonical text of all else.
    pub this_hash: Hash,
    /// What was asked.
    pub request: Value,
    /// What was answered.
    pub response: Value,
    /// The verdict, where one is recorded.
    pub decision: Option<Decision>,
    /// The anomaly record, where the entry is one.
    pub anomaly: Option<AnomalyRecord>,
}

/// The sealed record of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyRecord {
    /// UUIDv7, rising within one writer.
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
}

/// How far a proof has come when its record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofState {
    /// Not proved yet.
    Pending,
}

impl Entry {
    /// The whole entry, `this_hash` included, as a JSON value.
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
            ("time", format!("{:.9}", self.time).into()),
            ("v", Value::Integer(FORMAT)),
        ];
        members.push(("this_hash", self.this_hash.to_string().into()));
        Value::object(members)
    }

    fn payload(&self) -> Value {
        let mut members = vec![("request", self.request.clone()), ("response", self.response.clone())];
        members.extend(self.decision.map(|decision| ("decision", decision.name().into())));
        members.extend(self.anomaly.as_ref().map(|anomaly| ("anomaly", anomaly.to_json())));
        Value::object(members)
    }
}

impl AnomalyRecord {
    /// The record as a JSON value.
    pub fn to_json(&self) -> Value {
        let svid =
            [("certificate", self.agent_svid.certificate_base64()), ("id", self.agent_svid.spiffe_id())];
        let commit = [("earliest", self.truetime_commit.earliest), ("latest", self.truetime_commit.latest)];
        Value::object([
            ("agent_svid", Value::object(svid.map(|(key, text)| (key, text.into())))),
            ("entropy_nonce", Hash(self.entropy_nonce).to_string().into()),
            ("oracle_decision", self.oracle_decision.name().into()),
            ("proof_state", self.proof_state.name().into()),
            ("record_id", self.record_id.to_string().into()),
            (
                "syscall_args",
                Value::Array(self.syscall_args.map(|argument| argument.to_string().into()).into()),
            ),
            ("syscall_nr", self.syscall_nr.into()),
            ("truetime_commit", Value::object(commit.map(|(key, time)| (key, format!("{time:.9}").into())))),
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
        }
    }
}

/// Reads an entry from the value of its text without `this_hash`.
pub(crate) fn from_body(body: Value, this_hash: Hash) -> Result<Entry, Malformed> {
    let mut fields = Fields::of(body, "the entry")?;
    match fields.integer("v")? {
        FORMAT => {}
        other => return Err(Malformed::Version(other)),
    }
    let mut payload = Fields::of(fields.take("payload")?, "the payload")?;
    let decision = payload.optional("decision").map(|value| to_decision(&value, "decision")).transpose()?;
    let anomaly = payload.optional("anomaly").map(|value| anomaly(value, decision)).transpose()?;
    let entry = Entry {
        seq: u64::try_from(fields.integer("seq")?).map_err(|_| Malformed::Field("seq"))?,
        time: fields.time("time")?,
        run_id: fields.parse("run_id")?,
        pid: fields.u32("pid")?,
        op: fields
            .string("op")
            .and_then(|op| if draft::is_op(&op) { Ok(op) } else { Err(Malformed::Field("op")) })?,
        req_hash: fields.parse("req_hash")?,
        res_hash: fields.parse("res_hash")?,
        policy_hash: fields.parse("policy_hash")?,
        prev_hash: fields.parse("prev_hash")?,
        this_hash,
        request: payload.take("request")?,
        response: payload.take("response")?,
        decision,
        anomaly,
    };
    payload.finish()?;
    fields.finish()?;
    Ok(entry)
}

fn anomaly(value: Value, decision: Option<Decision>) -> Result<AnomalyRecord, Malformed> {
    let mut fields = Fields::of(value, "the anomaly")?;
    let mut svid = Fields::of(fields.take("agent_svid")?, "the SVID")?;
    let mut commit = Fields::of(fields.take("truetime_commit")?, "the commit interval")?;
    let record = AnomalyRecord {
        record_id: fields.parse("record_id")?,
        agent_svid: AgentSvid::from_base64(svid.string("id")?, svid.base64("certificate")?.0),
        syscall_nr: fields.u32("syscall_nr")?,
        syscall_args: arguments(fields.take("syscall_args")?)?,
        oracle_decision: to_decision(&fields.take("oracle_decision")?, "oracle_decision")?,
        zk_proof: fields.base64("zk_proof")?.1,
        proof_state: match fields.string("proof_state")?.as_str() {
            "pending" => ProofState::Pending,
            _ => return Err(Malformed::Field("proof_state")),
        },
        truetime_commit: Interval { earliest: commit.time("earliest")?, latest: commit.time("latest")? },
        entropy_nonce: fields.parse::<Hash>("entropy_nonce")?.0,
    };
    if Some(record.oracle_decision) != decision {
        return Err(Malformed::Field("oracle_decision"));
    }
    svid.finish()?;
    commit.finish()?;
    fields.finish()?;
    Ok(record)
}

fn arguments(value: Value) -> Result<[u64; 6], Malformed> {
    let bad = Malformed::Field("syscall_args");
    let Value::Array(items) = value else { return Err(bad) };
    let argument = |item: &Value| match item {
        Value::String(text) => text.parse::<u64>().ok().filter(|number| number.to_string() == *text),
        _ => None,
    };
    let arguments: Option<Vec<u64>> = items.iter().map(argument).collect();
    arguments.ok_or(bad)?.try_into().map_err(|_| bad)
}

fn to_decision(value: &Value, field: &'static str) -> Result<Decision, Malformed> {
    const ALL: [Decision; 4] = [Decision::Permit, Decision::Collapse, Decision::KillSwitch, Decision::Hold];
    let named = |decision: &Decision| matches!(value, Value::String(text) if text == decision.name());
    ALL.into_iter().find(named).ok_or(Malformed::Field(field))
}

/// The members of an object, taken out one by one.
struct Fields {
    members: BTreeMap<Key, Value>,
    owner: &'static str,
}

impl Fields {
    fn of(value: Value, owner: &'static str) -> Result<Self, Malformed> {
        match value {
            Value::Object(members) => Ok(Self { members, owner }),
            _ => Err(Malformed::Field(owner)),
        }
    }

    fn optional(&mut self, name: &'static str) -> Option<Value> {
        self.members.remove(&Key(name.into()))
    }

    fn take(&mut self, name: &'static str) -> Result<Value, Malformed> {
        self.optional(name).ok_or(Malformed::Field(name))
    }

    fn string(&mut self, name: &'static str) -> Result<String, Malformed> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(Malformed::Field(name)),
        }
    }

    fn integer(&mut self, name: &'static str) -> Result<i64, Malformed> {
        match self.take(name)? {
            Value::Integer(number) => Ok(number),
            _ => Err(Malformed::Field(name)),
        }
    }

    fn u32(&mut self, name: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.integer(name)?).map_err(|_| Malformed::Field(name))
    }

    /// A value that has one text only.
    fn parse<T: FromStr + ToString>(&mut self, name: &'static str) -> Result<T, Malformed> {
        let text = self.string(name)?;
        let value: Option<T> = text.parse().ok();
        value.filter(|value| value.to_string() == text).ok_or(Malformed::Field(name))
    }

    fn time(&mut self, name: &'static str) -> Result<Timestamp, Malformed> {
        let text = self.string(name)?;
        let time: Option<Timestamp> = text.parse().ok();
        time.filter(|time| format!("{time:.9}") == text).ok_or(Malformed::Field(name))
    }

    fn base64(&mut self, name: &'static str) -> Result<(String, Vec<u8>), Malformed> {
        let text = self.string(name)?;
        let bytes = STANDARD.decode(&text).map_err(|_| Malformed::Field(name))?;
        Ok((text, bytes))
    }

    fn finish(self) -> Result<(), Malformed> {
        if self.members.is_empty() { Ok(()) } else { Err(Malformed::Unknown(self.owner)) }
    }
}
