//! The entry that is measured.

use vantio_core::{Decision, Hash, RunId, json::Value};
use vantio_ledger::Draft;

/// The permitted opening of a file, as a run records it.
pub fn draft(number: u64) -> Draft {
    let request = [
        ("access", Value::from("read")),
        ("path", format!("/home/alice/project/src/module{}/file{number}.rs", number % 97).into()),
        ("subtree", false.into()),
    ];
    let response = [
        ("cause", Value::from("rule")),
        ("reason", "rule fs.read: /home/alice/project".into()),
        ("rule", "/home/alice/project".into()),
        ("section", "fs.read".into()),
    ];
    Draft {
        run_id: RunId::new(1_700_000_000_000, [7; 10]),
        pid: 41,
        op: "fs.open".into(),
        request: Value::object(request),
        response: Value::object(response),
        keeps_detail: true,
        policy_hash: Hash::of(b"policy"),
        decision: Some(Decision::Permit),
        anomaly: None,
    }
}
