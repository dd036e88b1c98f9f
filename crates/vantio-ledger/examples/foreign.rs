//! Prints one entry of every kind as OCSF events (`ocsf`) or as OpenTelemetry logs (`otlp`), with
//! and without its detail: what other people's validators are run over.

use std::{env, error::Error, sync::Arc};

use vantio_core::{Decision, Effect, Hash, RunId, Syscall, json::Value};
use vantio_ledger::{AgentSvid, Anomaly, Draft, Entry, Filter, Ledger, Seal, Source, ocsf_event, otlp_logs};

struct NoSeal;

impl Seal for NoSeal {
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let ledger = Ledger::open(&folder.path().join("ledger.db"))?;
    for effect in Effect::ALL {
        for request in requests(*effect) {
            for decision in [Decision::Permit, Decision::Collapse, Decision::KillSwitch, Decision::Hold] {
                ledger.record(draft(effect.name(), request.clone(), Some(decision)))?;
            }
            let counted = Value::object([("effect", effect.name().into()), ("intent", request)]);
            for op in ["permit.repeated", "refusal.repeated"] {
                let response = Value::object([("repeated", Value::Integer(3))]);
                ledger.record(Draft { response, ..draft(op, counted.clone(), None) })?;
            }
        }
    }
    for op in ["run.start", "run.end", "run.kill", "phantom.commit", "phantom.discard", "ledger.dropped"] {
        ledger.record(Draft { pid: 0, ..draft(op, Value::object([("count", 1_u32.into())]), None) })?;
    }
    ledger.flush()?;
    let reader = ledger.reader()?;
    let log = reader.verifier_key()?.map_or_else(String::new, |key| key.name().to_owned());
    let source = Source { log, version: env!("CARGO_PKG_VERSION").to_owned() };
    let is_otlp = env::args().nth(1).as_deref() == Some("otlp");
    for entry in reader.entries(&Filter::default()) {
        let full = entry?;
        let reduced = Entry { detail: None, ..full.clone() };
        for entry in [full, reduced] {
            let line = if is_otlp { otlp_logs(&[entry], &source) } else { ocsf_event(&entry, &source) };
            println!("{line}");
        }
    }
    Ok(())
}

fn requests(effect: Effect) -> Vec<Value> {
    let object = |members: &[(&'static str, &str)]| {
        Value::object(members.iter().map(|(key, text)| (*key, Value::from(*text))))
    };
    match effect {
        Effect::FsRename => vec![object(&[("from", "/home/alice/a"), ("to", "/home/alice/b")])],
        Effect::ProcSignal => vec![Value::object([("process", 41_u32.into())])],
        Effect::ProcSyscall => vec![object(&[("syscall", "ptrace")])],
        Effect::NetConnect | Effect::NetBind | Effect::NetListen => vec![
            object(&[("address", "10.1.2.3:443"), ("transport", "tcp")]),
            object(&[("address", "[2001:db8::1]:53"), ("transport", "udp")]),
            object(&[("unix", "/run/docker.sock")]),
        ],
        Effect::NetDns => vec![object(&[("name", "api.example.com")])],
        Effect::ToolCall | Effect::Infer | Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => {
            vec![object(&[("named", "github/search")])]
        }
        _ => ["read", "write"].map(|access| object(&[("access", access), ("path", "/etc/shadow")])).into(),
    }
}

fn draft(op: &str, request: Value, decision: Option<Decision>) -> Draft {
    let is_refusal = matches!(decision, Some(Decision::Collapse | Decision::KillSwitch));
    let anomaly = is_refusal.then(|| Anomaly {
        agent_svid: AgentSvid::new("spiffe://vantio.local/agent/a", &[7; 400]),
        syscall: Syscall { number: 257, arguments: [3, u64::MAX, 0, 0, 0, 0] },
        seal: Arc::new(NoSeal),
        proof: Vec::new(),
    });
    Draft {
        run_id: RunId::new(1_700_000_000_000, [7; 10]),
        pid: 41,
        op: op.into(),
        request,
        response: Value::object([("reason", "no rule of fs.read matches".into())]),
        keeps_detail: true,
        policy_hash: Hash::of(b"policy"),
        decision,
        anomaly,
    }
}
