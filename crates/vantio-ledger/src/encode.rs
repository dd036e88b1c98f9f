//! Writing an entry's canonical text.
//!
//! The members are written in the order that RFC 8785 gives them, so that no
//! tree is built and sorted on the hot path; a test compares with the generic
//! canonical form.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;
use vantio_core::{Decision, Hash, json};

use crate::{
    clock::Interval,
    draft::{Anomaly, Prepared},
    store::FORMAT,
};

/// What the writer adds to a prepared draft.
pub(crate) struct Stamp {
    pub seq: u64,
    pub prev_hash: Hash,
    pub time: Timestamp,
    /// `time`, in RFC 3339 with nanoseconds.
    pub time_text: String,
    pub record_id: Option<Uuid>,
    pub clock_error: Duration,
}

/// The canonical text of an entry without `this_hash`: what the hash covers.
pub(crate) fn body(prepared: &Prepared, stamp: &Stamp) -> String {
    let mut text = String::with_capacity(prepared.exchange.len() + 768);
    push_string("{\"op\":", &prepared.op, &mut text);
    text.push_str(",\"payload\":{");
    push_verdict(prepared, stamp, &mut text);
    text.push_str(&prepared.exchange);
    push(format_args!("}},\"pid\":{}", prepared.pid), &mut text);
    push_hex(",\"policy_hash\":", &prepared.policy_hash.0, &mut text);
    push_hex(",\"prev_hash\":", &stamp.prev_hash.0, &mut text);
    push_hex(",\"req_hash\":", &prepared.req_hash.0, &mut text);
    push_hex(",\"res_hash\":", &prepared.res_hash.0, &mut text);
    let (run_id, seq, time) = (prepared.run_id, stamp.seq, &stamp.time_text);
    push(
        format_args!(",\"run_id\":\"{run_id}\",\"seq\":{seq},\"time\":\"{time}\",\"v\":{FORMAT}}}"),
        &mut text,
    );
    text
}

fn push_verdict(prepared: &Prepared, stamp: &Stamp, text: &mut String) {
    let Some(decision) = prepared.decision else { return };
    if let (Some((anomaly, nonce)), Some(record_id)) = (&prepared.anomaly, stamp.record_id) {
        let commit = Interval::around(stamp.time, stamp.clock_error);
        push_anomaly(anomaly, nonce, record_id, decision, commit, text);
    }
    push(format_args!("\"decision\":\"{decision}\","), text);
}

fn push_anomaly(
    anomaly: &Anomaly,
    nonce: &[u8; 32],
    record_id: Uuid,
    decision: Decision,
    commit: Interval,
    text: &mut String,
) {
    let Anomaly { agent_svid, syscall } = anomaly;
    push_string("\"anomaly\":{\"agent_svid\":{\"certificate\":", agent_svid.certificate_base64(), text);
    push_string(",\"id\":", agent_svid.spiffe_id(), text);
    push_hex("},\"entropy_nonce\":", nonce, text);
    push(format_args!(",\"oracle_decision\":\"{decision}\",\"proof_state\":\"pending\""), text);
    push(format_args!(",\"record_id\":\"{record_id}\",\"syscall_args\":["), text);
    for (index, argument) in syscall.arguments.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        push(format_args!("{comma}\"{argument}\""), text);
    }
    push(format_args!("],\"syscall_nr\":{}", syscall.number), text);
    let Interval { earliest, latest } = commit;
    let commit = format_args!("{{\"earliest\":\"{earliest:.9}\",\"latest\":\"{latest:.9}\"}}");
    push(format_args!(",\"truetime_commit\":{commit},\"zk_proof\":\"\"}},"), text);
}

fn push(arguments: std::fmt::Arguments<'_>, text: &mut String) {
    // INVARIANT: writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

fn push_string(before: &str, string: &str, text: &mut String) {
    text.push_str(before);
    json::write_string(string, text);
}

fn push_hex(before: &str, bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push_str(before);
    text.push('"');
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('"');
}
