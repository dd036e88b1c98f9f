//! What the tests of the ledger share.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod harness;
pub mod promises;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use tempfile::TempDir;
use vantio_core::{Decision, Hash, RunId, Syscall, json::Value};
use vantio_identity::{Svid, TrustDomain};
use vantio_ledger::{AgentSvid, Anomaly, Draft, Ledger, Reader, Seal, Terms, VerifyError};

/// A folder with the path of a ledger in it.
pub fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/ledger.db");
    (folder, path)
}

pub fn run(number: u8) -> RunId {
    RunId::new(1_700_000_000_000, [number; 10])
}

/// The permitted opening of a file.
pub fn open(number: u32) -> Draft {
    Draft {
        run_id: run(1),
        pid: 7,
        op: "fs.open".into(),
        request: Value::object([("path", format!("/work/{number}").into()), ("n", number.into())]),
        response: Value::from(true),
        keeps_detail: true,
        policy_hash: Hash::of(b"policy"),
        decision: Some(Decision::Permit),
        anomaly: None,
    }
}

/// The agent of these tests, with its key.
pub struct Agent(Svid);

impl Seal for Agent {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl Agent {
    pub fn svid(&self) -> AgentSvid {
        AgentSvid::new(self.0.spiffe_id().as_str(), self.0.certificate())
    }
}

pub fn agent() -> Arc<Agent> {
    static AGENT: LazyLock<Arc<Agent>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::open(&folder.path().join("identity"), "vantio.local").unwrap();
        Arc::new(Agent(domain.issue("a", run(1)).unwrap()))
    });
    Arc::clone(&AGENT)
}

/// A refused connection.
pub fn refusal(number: u32) -> Draft {
    let arguments = [3, u64::MAX, 16, 0, 0, u64::from(number)];
    let (agent_svid, seal) = (agent().svid(), agent());
    Draft {
        op: "net.connect".into(),
        decision: Some(Decision::Collapse),
        anomaly: Some(Anomaly {
            agent_svid,
            syscall: Syscall { number: 42, arguments },
            seal,
            proof: Vec::new(),
        }),
        ..open(number)
    }
}

/// A ledger of `count` entries, every third a refusal, closed again.
pub fn filled(path: &Path, count: u32) {
    let ledger = Ledger::open(path).unwrap();
    for number in 0..count {
        let draft = if number % 3 == 2 { refusal(number) } else { open(number) };
        ledger.record(draft).unwrap();
    }
    ledger.flush().unwrap();
}

/// A connection that may do anything: the triggers are gone.
pub fn vandal(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    for table in ["entries", "blocks", "tiles", "checkpoints", "cosignatures"] {
        for event in ["insert", "update", "delete"] {
            connection.execute(&format!("DROP TRIGGER IF EXISTS {table}_{event}"), ()).unwrap();
        }
    }
    connection
}

pub fn verify(path: &Path) -> Result<u64, VerifyError> {
    Reader::open(path).unwrap().verify(&Terms::default()).map(|verified| verified.size)
}

/// The number of the first entry that does not verify.
pub fn first_bad(path: &Path) -> Option<u64> {
    verify(path).expect_err("the ledger verifies").seq()
}
