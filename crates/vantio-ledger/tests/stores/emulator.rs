//! Google's emulator of Spanner: a fake with Spanner's parser and planner, which keeps everything in
//! memory, has no roles, and runs one read-write transaction at a time.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The emulator that tests share.
static SHARED: Mutex<Weak<Emulator>> = Mutex::new(Weak::new());

/// An emulator on two ports of this host: one for gRPC, and ten above it one for REST.
pub struct Emulator {
    host: SocketAddr,
    /// A shell that ends with all its children when its input does.
    shell: Option<Child>,
    databases: AtomicU32,
}

const INSTANCE: &str = "projects/vantio/instances/vantio-ledger";

impl Emulator {
    /// The emulator that the tests of a process share.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let emulator = Arc::new(Self::start());
            *shared = Arc::downgrade(&emulator);
            emulator
        })
    }

    /// An emulator of one test alone.
    pub fn start() -> Self {
        let folder = folder();
        let host = free();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "\"$0\" \"$@\" & read -r end; kill -KILL 0"]).arg(folder.join("gateway_main"));
        command.arg("-grpc_binary").arg(folder.join("emulator_main")).args(["-hostname", "127.0.0.1"]);
        command.args(["-grpc_port", &host.port().to_string()]);
        command.args(["-http_port", &(host.port() + 10).to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let emulator = Self { host, shell: Some(command.spawn().unwrap()), databases: AtomicU32::new(0) };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(emulator.rest()).is_err() || TcpStream::connect(host).is_err() {
            assert!(Instant::now() < deadline, "the emulator does not start");
            thread::sleep(Duration::from_millis(50));
        }
        let (parent, id) = INSTANCE.rsplit_once("/instances/").unwrap();
        let config = format!("{parent}/instanceConfigs/emulator-config");
        let instance = json!({ "config": config, "displayName": id, "nodeCount": 1 });
        emulator.ask(
            "POST",
            &format!("{parent}/instances"),
            &json!({ "instanceId": id, "instance": instance }),
        );
        emulator
    }

    /// A new database.
    pub fn database(&self) -> String {
        let id = format!("ledger-{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = json!({ "createStatement": format!("CREATE DATABASE `{id}`") });
        self.ask("POST", &format!("{INSTANCE}/databases"), &create);
        format!("{INSTANCE}/databases/{id}")
    }

    /// The address of a database's ledger.
    pub fn address(&self, database: &str) -> String {
        format!("spanner://{database}?emulator={}", self.host)
    }

    /// Changes what is defined.
    pub fn define(&self, database: &str, statement: &str) {
        self.ask("PATCH", &format!("{database}/ddl"), &json!({ "statements": [statement] }));
    }

    /// Executes statements in one transaction, as who may do anything.
    pub fn execute(&self, database: &str, statements: &[&str]) {
        let session = self.ask("POST", &format!("{database}/sessions"), &json!({}));
        let session = session["name"].as_str().unwrap();
        let begin = json!({ "options": { "readWrite": {} } });
        let transaction = self.ask("POST", &format!("{session}:beginTransaction"), &begin);
        let id = &transaction["id"];
        for (number, sql) in statements.iter().enumerate() {
            let execute = json!({ "transaction": { "id": id }, "sql": sql, "seqno": number + 1 });
            self.ask("POST", &format!("{session}:executeSql"), &execute);
        }
        self.ask("POST", &format!("{session}:commit"), &json!({ "transactionId": id }));
    }

    /// The rows that a query finds.
    pub fn query(&self, database: &str, sql: &str) -> Vec<Value> {
        let session = self.ask("POST", &format!("{database}/sessions"), &json!({}));
        let session = session["name"].as_str().unwrap();
        let found = self.ask("POST", &format!("{session}:executeSql"), &json!({ "sql": sql }));
        found["rows"].as_array().cloned().unwrap_or_default()
    }

    /// Ends it at once; nothing is left of what it kept.
    pub fn crash(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }

    fn rest(&self) -> SocketAddr {
        SocketAddr::new(self.host.ip(), self.host.port() + 10)
    }

    /// One request to the REST server, which must not be refused.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.rest()).unwrap();
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.1\r\nHost: emulator\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, said) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path} {body}: {answer}");
        // A long answer comes in pieces, each after a line with its length.
        let said = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            said.split("\r\n").skip(1).step_by(2).collect()
        } else {
            said.to_owned()
        };
        serde_json::from_str(&said).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Where the emulator's programs are.
fn folder() -> PathBuf {
    let usual = "/usr/lib/google-cloud-sdk/bin/cloud_spanner_emulator";
    let folder = env::var_os("VANTIO_SPANNER_EMULATOR").map_or_else(|| usual.into(), PathBuf::from);
    assert!(
        folder.join("emulator_main").is_file() && folder.join("gateway_main").is_file(),
        "there is no emulator in `{}`: install `google-cloud-cli-spanner-emulator`, or name its folder in \
         VANTIO_SPANNER_EMULATOR",
        folder.display()
    );
    folder
}

/// A port that nobody uses, whose tenth neighbour is free too.
fn free() -> SocketAddr {
    for _ in 0..100 {
        let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let host = listener.local_addr().unwrap();
        if host.port() < 60_000 && TcpListener::bind((Ipv4Addr::LOCALHOST, host.port() + 10)).is_ok() {
            return host;
        }
    }
    panic!("no two ports are free")
}
