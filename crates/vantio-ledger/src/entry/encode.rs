//! Writing an entry's text.
//!
//! The members are written in the order that RFC 8785 gives them, so that no
//! tree is built and sorted on the hot path; a test compares with the generic
//! canonical form.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::Offset};
use uuid::Uuid;
use vantio_core::{Decision, Hash, RunId, json};

use super::{Anomaly, FORMAT, Prepared, ProofState};
use crate::chain::TimeText;

/// What the writer adds to a prepared draft.
pub(crate) struct Stamp {
    pub seq: u64,
    pub prev_hash: Hash,
    /// The chain it is in, where the store has several.
    pub writer: Option<Uuid>,
    pub time: TimeText,
    pub record: Option<RecordStamp>,
}

/// What the writer adds to an anomaly record.
pub(crate) struct RecordStamp {
    pub id: Uuid,
    pub earliest: String,
    pub latest: String,
    pub is_synchronized: bool,
}

/// The canonical text of an entry without `this_hash`: what the hash covers.
pub(crate) fn text(prepared: &Prepared, stamp: &Stamp) -> String {
    let mut text = String::with_capacity(prepared.shape.len() + 640);
    push_string("{\"op\":", &prepared.op, &mut text);
    text.push_str(",\"payload\":{");
    push_verdict(prepared, stamp, &mut text);
    text.push_str("\"shape\":");
    text.push_str(&prepared.shape);
    push(format_args!("}},\"pid\":{}", prepared.pid), &mut text);
    push_hash(",\"policy_hash\":\"", &prepared.policy_hash, &mut text);
    push_hash(",\"prev_hash\":\"", &stamp.prev_hash, &mut text);
    push_hash(",\"req_hash\":\"", &prepared.req_hash, &mut text);
    push_hash(",\"res_hash\":\"", &prepared.res_hash, &mut text);
    text.push_str(",\"run_id\":\"");
    push_uuid(prepared.run_id.as_bytes(), &mut text);
    let (seq, time) = (stamp.seq, &stamp.time);
    push(format_args!("\",\"seq\":{seq},\"time\":\""), &mut text);
    text.push_str(str::from_utf8(time).unwrap_or_default());
    push(format_args!("\",\"v\":{FORMAT}"), &mut text);
    if let Some(writer) = &stamp.writer {
        text.push_str(",\"writer\":\"");
        push_uuid(writer.as_bytes(), &mut text);
        text.push('"');
    }
    text.push('}');
    text
}

fn push_verdict(prepared: &Prepared, stamp: &Stamp, text: &mut String) {
    let Some(decision) = prepared.decision else { return };
    if let (Some((anomaly, nonce)), Some(record)) = (&prepared.anomaly, &stamp.record) {
        let [before, after] = record_text(anomaly, nonce, record, decision);
        let about = Sealed {
            run_id: prepared.run_id,
            pid: prepared.pid,
            op: &prepared.op,
            hashes: [prepared.policy_hash, prepared.req_hash, prepared.res_hash],
            record: [&before, &after],
        };
        let seal = STANDARD.encode(anomaly.seal.sign(about.message().as_bytes()));
        push(format_args!("\"anomaly\":{before},\"seal\":\"{seal}\"{after},"), text);
    }
    push(format_args!("\"decision\":\"{decision}\","), text);
}

/// The record, before and after the place of its seal.
fn record_text(anomaly: &Anomaly, nonce: &[u8; 32], stamp: &RecordStamp, decision: Decision) -> [String; 2] {
    let Anomaly { agent_svid, syscall, proof, .. } = anomaly;
    let state = if proof.is_empty() { ProofState::Pending } else { ProofState::Proved }.name();
    let (mut before, mut after) = (String::with_capacity(1024), String::with_capacity(256));
    push_string("{\"agent_svid\":{\"certificate\":", agent_svid.certificate_base64(), &mut before);
    push_string(",\"id\":", agent_svid.spiffe_id(), &mut before);
    push_hash("},\"entropy_nonce\":\"", &Hash(*nonce), &mut before);
    push(format_args!(",\"oracle_decision\":\"{decision}\",\"proof_state\":\"{state}\""), &mut before);
    push(format_args!(",\"record_id\":\"{}\"", stamp.id), &mut before);
    after.push_str(",\"syscall_args\":[");
    for (index, argument) in syscall.arguments.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        push(format_args!("{comma}\"{argument}\""), &mut after);
    }
    push(format_args!("],\"syscall_nr\":{}", syscall.number), &mut after);
    let RecordStamp { earliest, latest, is_synchronized, .. } = stamp;
    let commit = format_args!(
        "{{\"earliest\":\"{earliest}\",\"latest\":\"{latest}\",\"synchronized\":{is_synchronized}}}"
    );
    let proof = STANDARD.encode(proof);
    push(format_args!(",\"truetime_commit\":{commit},\"zk_proof\":\"{proof}\"}}"), &mut after);
    [before, after]
}

/// What the seal of an anomaly record covers: the record, and the intent and
/// the policy that it is about.
pub(crate) struct Sealed<'a> {
    pub run_id: RunId,
    pub pid: u32,
    pub op: &'a str,
    /// Of the policy, the request and the response.
    pub hashes: [Hash; 3],
    /// The record's text before and after the place of its seal.
    pub record: [&'a str; 2],
}

impl Sealed<'_> {
    /// The text that is signed.
    pub fn message(&self) -> String {
        let Self { run_id, pid, op, hashes: [policy, request, response], record: [before, after] } = self;
        format!(
            "vantio anomaly record\n{run_id}\n{pid}\n{op}\n{policy}\n{request}\n{response}\n{before}{after}\n"
        )
    }
}

fn push(arguments: std::fmt::Arguments<'_>, text: &mut String) {
    // INVARIANT: writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

fn push_string(before: &str, string: &str, text: &mut String) {
    text.push_str(before);
    json::write_string(string, text);
}

fn push_hash(before: &str, hash: &Hash, text: &mut String) {
    text.push_str(before);
    push_hex(&hash.0, text);
    text.push('"');
}

fn push_uuid(bytes: &[u8; 16], text: &mut String) {
    for (index, part) in
        [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].iter().enumerate()
    {
        if index > 0 {
            text.push('-');
        }
        push_hex(part, text);
    }
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn push_hex(bytes: &[u8], text: &mut String) {
    let mut digits = [0; 64];
    for chunk in bytes.chunks(digits.len() / 2) {
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(chunk) {
            *pair = PAIRS[usize::from(*byte)];
        }
        text.push_str(str::from_utf8(&digits[..2 * chunk.len()]).unwrap_or_default());
    }
}

/// Each byte's two digits.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// `time` in RFC 3339, in UTC with nanoseconds.
pub(crate) fn time_text(time: Timestamp) -> TimeText {
    let datetime = Offset::UTC.to_datetime(time);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let fields = [
        (0, 4, datetime.year().unsigned_abs().into()),
        (5, 7, datetime.month().unsigned_abs().into()),
        (8, 10, datetime.day().unsigned_abs().into()),
        (11, 13, datetime.hour().unsigned_abs().into()),
        (14, 16, datetime.minute().unsigned_abs().into()),
        (17, 19, datetime.second().unsigned_abs().into()),
        (20, 29, datetime.subsec_nanosecond().unsigned_abs()),
    ];
    for (from, to, number) in fields {
        let mut rest: u32 = number;
        for digit in text[from..to].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    text
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(bytes, &mut text);
    text
}
