//! Reading an entry's text.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::{Decision, Hash, RunId, json::Value};

use super::{
    AgentSvid, AnomalyRecord, Detail, Entry, FORMAT, ProofState,
    draft::{is_op, salted},
    encode::Sealed,
    scan::{Scanner, unescaped},
};
use crate::{Interval, Malformed};

/// An entry's text, taken apart without a copy. What is taken apart is canonical.
pub(crate) struct Text<'t> {
    pub seq: u64,
    pub time: &'t str,
    pub run_id: RunId,
    pub pid: u32,
    pub op: &'t str,
    pub req_hash: Hash,
    pub res_hash: Hash,
    pub policy_hash: Hash,
    pub prev_hash: Hash,
    pub shape: &'t str,
    pub decision: Option<Decision>,
    /// In a place of its own: most entries have none.
    pub record: Option<Box<Record<'t>>>,
    /// The chain it is in, where the store has several.
    pub writer: Option<Uuid>,
}

/// An anomaly record's text, taken apart.
pub(crate) struct Record<'t> {
    pub id: Uuid,
    /// As written between quotes.
    spiffe_id: &'t str,
    certificate: &'t str,
    nonce: Hash,
    decision: Decision,
    seal: [u8; 64],
    arguments: [u64; 6],
    syscall: u32,
    earliest: &'t str,
    latest: &'t str,
    is_synchronized: bool,
    proof: Vec<u8>,
    /// The text before and after the place of the seal.
    unsealed: [&'t str; 2],
}

impl<'t> Text<'t> {
    /// Takes `text` apart.
    pub fn scan(text: &'t str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(text);
        scanner.expect(b"{\"op\":")?;
        let op = scanner.string()?;
        if !is_op(op) {
            return Err(Malformed::Field("op"));
        }
        scanner.expect(b",\"payload\":{")?;
        let mut record = None;
        if scanner.skip(b"\"anomaly\":") {
            record = Some(Box::new(Record::scan(text, &mut scanner)?));
            scanner.expect(b",")?;
        }
        let mut decision = None;
        if scanner.skip(b"\"decision\":") {
            decision = Some(scanner.decision("decision")?);
            scanner.expect(b",")?;
        }
        if record.as_ref().is_some_and(|record| Some(record.decision) != decision) {
            return Err(Malformed::Field("oracle_decision"));
        }
        scanner.expect(b"\"shape\":")?;
        let shape = scanner.value()?;
        scanner.expect(b"},\"pid\":")?;
        let pid = scanner.u32("pid")?;
        scanner.expect(b",\"policy_hash\":")?;
        let policy_hash = scanner.hash("policy_hash")?;
        scanner.expect(b",\"prev_hash\":")?;
        let prev_hash = scanner.hash("prev_hash")?;
        scanner.expect(b",\"req_hash\":")?;
        let request_digest = scanner.hash("req_hash")?;
        scanner.expect(b",\"res_hash\":")?;
        let response_digest = scanner.hash("res_hash")?;
        scanner.expect(b",\"run_id\":")?;
        let run_id = scanner.run_id()?;
        scanner.expect(b",\"seq\":")?;
        let seq = u64::try_from(scanner.integer()?).map_err(|_| Malformed::Field("seq"))?;
        scanner.expect(b",\"time\":")?;
        let time = scanner.time("time")?;
        scanner.expect(b",\"v\":")?;
        match scanner.integer()? {
            FORMAT => {}
            other => return Err(Malformed::Version(other)),
        }
        let writer = if scanner.skip(b",\"writer\":") {
            Some(one_text(scanner.string()?).ok_or(Malformed::Field("writer"))?)
        } else {
            None
        };
        scanner.expect(b"}")?;
        scanner.finish()?;
        Ok(Self {
            seq,
            time,
            run_id,
            pid,
            op,
            req_hash: request_digest,
            res_hash: response_digest,
            policy_hash,
            prev_hash,
            shape,
            decision,
            record,
            writer,
        })
    }

    /// The entry's anomaly record, what its seal covers, and the seal.
    pub fn sealed(&self) -> Option<(&Record<'_>, Sealed<'_>, &[u8; 64])> {
        let record = self.record.as_ref()?;
        let sealed = Sealed {
            run_id: self.run_id,
            pid: self.pid,
            op: self.op,
            hashes: [self.policy_hash, self.req_hash, self.res_hash],
            record: record.unsealed,
        };
        Some((record, sealed, &record.seal))
    }

    /// Checks that the digests cover what `detail` says, without building it.
    pub fn check_detail(&self, detail: &str) -> Result<(), Malformed> {
        DetailText::scan(detail)?.check(self)
    }
}

impl<'t> Record<'t> {
    fn scan(text: &'t str, scanner: &mut Scanner<'t>) -> Result<Self, Malformed> {
        let start = scanner.position();
        scanner.expect(b"{\"agent_svid\":{\"certificate\":")?;
        let certificate = scanner.string()?;
        scanner.expect(b",\"id\":")?;
        let spiffe_id = scanner.string()?;
        scanner.expect(b"},\"entropy_nonce\":")?;
        let nonce = scanner.hash("entropy_nonce")?;
        scanner.expect(b",\"oracle_decision\":")?;
        let decision = scanner.decision("oracle_decision")?;
        scanner.expect(b",\"proof_state\":")?;
        let state = [ProofState::Pending, ProofState::Proved];
        let name = scanner.string()?;
        let state = state.into_iter().find(|state| state.name() == name);
        scanner.expect(b",\"record_id\":")?;
        let id_text = scanner.string()?;
        let id = one_text(id_text).filter(|id: &Uuid| id.get_version_num() == 7);
        let before = &text[start..scanner.position()];
        scanner.expect(b",\"seal\":")?;
        let seal = base64("seal", scanner.string()?)?;
        let resume = scanner.position();
        scanner.expect(b",\"syscall_args\":[")?;
        let mut arguments = [0; 6];
        for (index, argument) in arguments.iter_mut().enumerate() {
            if index > 0 {
                scanner.expect(b",")?;
            }
            *argument = one_text(scanner.string()?).ok_or(Malformed::Field("syscall_args"))?;
        }
        scanner.expect(b"],\"syscall_nr\":")?;
        let syscall = scanner.u32("syscall_nr")?;
        scanner.expect(b",\"truetime_commit\":{\"earliest\":")?;
        let earliest = scanner.time("earliest")?;
        scanner.expect(b",\"latest\":")?;
        let latest = scanner.time("latest")?;
        scanner.expect(b",\"synchronized\":")?;
        let is_synchronized = scanner.bool()?;
        scanner.expect(b"},\"zk_proof\":")?;
        let proof = base64("zk_proof", scanner.string()?)?;
        if state != Some(if proof.is_empty() { ProofState::Pending } else { ProofState::Proved }) {
            return Err(Malformed::Field("proof_state"));
        }
        scanner.expect(b"}")?;
        base64("certificate", certificate)?;
        Ok(Self {
            id: id.ok_or(Malformed::Field("record_id"))?,
            spiffe_id,
            certificate,
            nonce,
            decision,
            seal: seal.try_into().map_err(|_| Malformed::Field("seal"))?,
            arguments,
            syscall,
            earliest,
            latest,
            is_synchronized,
            proof,
            unsealed: [before, &text[resume..scanner.position()]],
        })
    }

    /// The certificate, in DER.
    pub fn certificate(&self) -> Vec<u8> {
        STANDARD.decode(self.certificate).unwrap_or_default()
    }

    /// The agent that the record names.
    pub fn spiffe_id(&self) -> String {
        unescaped(self.spiffe_id)
    }

    fn build(&self) -> Result<AnomalyRecord, Malformed> {
        Ok(AnomalyRecord {
            record_id: self.id,
            agent_svid: AgentSvid::from_base64(self.spiffe_id(), self.certificate.to_owned()),
            syscall_nr: self.syscall,
            syscall_args: self.arguments,
            oracle_decision: self.decision,
            zk_proof: self.proof.clone(),
            proof_state: if self.proof.is_empty() { ProofState::Pending } else { ProofState::Proved },
            truetime_commit: Interval {
                earliest: timestamp("earliest", self.earliest)?,
                latest: timestamp("latest", self.latest)?,
                is_synchronized: self.is_synchronized,
            },
            entropy_nonce: self.nonce.0,
            seal: self.seal,
        })
    }
}

/// Builds the entry that `text` says, with its detail where that is given.
pub(crate) fn entry(text: &Text<'_>, this_hash: Hash, detail: Option<Detail>) -> Result<Entry, Malformed> {
    Ok(Entry {
        index: text.seq,
        seq: text.seq,
        writer: text.writer,
        time: timestamp("time", text.time)?,
        run_id: text.run_id,
        pid: text.pid,
        op: text.op.to_owned(),
        req_hash: text.req_hash,
        res_hash: text.res_hash,
        policy_hash: text.policy_hash,
        prev_hash: text.prev_hash,
        this_hash,
        shape: parse(text.shape)?,
        decision: text.decision,
        anomaly: text.record.as_deref().map(Record::build).transpose()?,
        detail,
    })
}

/// Builds the detail that the digests of `entry` cover.
pub(crate) fn detail(entry: &Text<'_>, detail: &str) -> Result<Detail, Malformed> {
    let detail = DetailText::scan(detail)?;
    detail.check(entry)?;
    Ok(Detail { request: parse(detail.request)?, response: parse(detail.response)?, salt: detail.salt })
}

struct DetailText<'t> {
    request: &'t str,
    response: &'t str,
    salt: [u8; 16],
}

impl<'t> DetailText<'t> {
    fn scan(text: &'t str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(text);
        scanner.expect(b"{\"request\":")?;
        let request = scanner.value()?;
        scanner.expect(b",\"response\":")?;
        let response = scanner.value()?;
        scanner.expect(b",\"salt\":")?;
        let salt = scanner.hex("salt")?;
        scanner.expect(b"}")?;
        scanner.finish()?;
        Ok(Self { request, response, salt })
    }

    fn check(&self, entry: &Text<'_>) -> Result<(), Malformed> {
        let [request, response] = salted(&self.salt, [self.request, self.response]);
        if request != entry.req_hash {
            return Err(Malformed::Detail("req_hash"));
        }
        if response != entry.res_hash {
            return Err(Malformed::Detail("res_hash"));
        }
        Ok(())
    }
}

/// A line of an export, taken apart: [`Entry::to_line`].
pub(crate) struct Line {
    /// The entry's text.
    pub text: String,
    pub this_hash: Hash,
    pub detail: Option<String>,
}

impl Line {
    /// Takes a line apart with its line feed.
    pub fn read(line: &[u8]) -> Result<Self, Malformed> {
        let text = line.strip_suffix(b"\n").and_then(|line| str::from_utf8(line).ok());
        Self::scan(text.ok_or(Malformed::NotCanonical)?)
    }

    /// Takes `line` apart; the parts are still to be scanned.
    pub fn scan(line: &str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(line);
        scanner.expect(b"{")?;
        let detail = if scanner.skip(b"\"detail\":") { Some(scanner.value()?.to_owned()) } else { None };
        if detail.is_some() {
            scanner.expect(b",")?;
        }
        let start = scanner.position();
        let name = b",\"this_hash\":";
        // What follows the hash has a fixed length: a quote for a quote, a time, a version, perhaps a writer.
        let mut tail = ",\"time\":\"2026-01-02T03:04:05.000000006Z\",\"v\":2}".len();
        if line.ends_with("\"}") {
            tail += ",\"writer\":\"00000000-0000-0000-0000-000000000000\"".len();
        }
        let place = line.len().checked_sub(name.len() + 66 + tail).filter(|place| *place > start);
        let place = place.filter(|place| line.is_char_boundary(*place)).ok_or(Malformed::NotCanonical)?;
        let mut hash = Scanner::new(&line[place..]);
        hash.expect(name)?;
        let this_hash = hash.hash("this_hash")?;
        let text = ["{", &line[start..place], &line[place + hash.position()..]].concat();
        Ok(Self { text, this_hash, detail })
    }
}

/// A value that has one text only.
fn one_text<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|value: &T| value.to_string() == text)
}

fn base64(name: &'static str, text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|_| Malformed::Field(name))
}

fn timestamp(name: &'static str, text: &str) -> Result<Timestamp, Malformed> {
    text.parse().map_err(|_| Malformed::Field(name))
}

/// The value of a canonical text.
fn parse(text: &str) -> Result<Value, Malformed> {
    to_value(serde_json::from_str(text).map_err(|_| Malformed::NotCanonical)?)
}

// serde_json refuses what nests deeper than 128 levels, which bounds the recursion.
fn to_value(parsed: serde_json::Value) -> Result<Value, Malformed> {
    Ok(match parsed {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Integer(number.as_i64().ok_or(Malformed::NotCanonical)?),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(items) => {
            Value::Array(items.into_iter().map(to_value).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| Ok((key, to_value(value)?)));
            Value::object(members.collect::<Result<Vec<_>, Malformed>>()?)
        }
    })
}
