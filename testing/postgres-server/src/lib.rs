//! A real PostgreSQL server, private to a test or a bench: started when it is first asked for, stopped
//! after the last use, and gone with the process however that ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, NoTls};
use tempfile::TempDir;

/// The server that tests share.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A server on a Unix socket in a folder of its own.
pub struct Server {
    folder: TempDir,
    /// A shell that stops the server when its input ends.
    shell: Option<Child>,
    /// Part of the socket's name.
    port: u16,
    databases: AtomicU32,
}

impl Server {
    /// The server that the tests of a process share.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of one test alone.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if let Some((user, group)) = other_user() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let made = as_server("exec \"$0\" -D \"$1\" -U postgres -A trust -E UTF8 --locale=C --no-sync")
            .args([program("initdb"), data])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, shell: None, port: 5432, databases: AtomicU32::new(0) };
        server.run(&[]);
        let mut client = server.connect("postgres", "postgres");
        client
            .batch_execute("CREATE ROLE owner LOGIN CREATEROLE CREATEDB; CREATE ROLE writer LOGIN; CREATE ROLE reader LOGIN")
            .unwrap();
        server
    }

    /// Runs the server until it answers.
    pub fn run(&mut self, settings: &[&str]) {
        let script = "\"$0\" \"$@\" & server=$!; read -r end; kill -QUIT $server; wait $server";
        let mut command = as_server(script);
        command.arg(program("postgres")).arg("-D").arg(self.folder.path().join("data"));
        command.arg("-k").arg(self.folder.path()).arg("-p").arg(self.port.to_string());
        for setting in
            ["listen_addresses=", "fsync=on", "unix_socket_permissions=0700"].iter().chain(settings)
        {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        self.shell = Some(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = Client::connect(&self.url("postgres", "postgres"), NoTls) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not start: {error}\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs the server anew, so that it listens on a port of this host too, with TLS. Returns the file
    /// with its certificate, which is for 127.0.0.1 and signed by itself.
    pub fn encrypt(&mut self) -> PathBuf {
        self.crash();
        let folder = self.folder.path().join("data");
        let script = "exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
            -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
            -keyout \"$0\"/server.key -out \"$0\"/server.crt";
        let made = as_server(script).arg(&folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.run(&["listen_addresses=127.0.0.1", "ssl=on"]);
        folder.join("server.crt")
    }

    /// Ends every process of the server at once, as a crash does: what it acknowledged is in its log.
    pub fn crash(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }

    /// How `role` connects to `database`.
    pub fn url(&self, role: &str, database: &str) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{host}:{}/{database}", self.port)
    }

    /// How `role` connects to `database` over the network, once the server is [encrypted](Self::encrypt).
    pub fn network_url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}?sslmode=require", self.port)
    }

    /// A connection as `role`.
    pub fn connect(&self, role: &str, database: &str) -> Client {
        Client::connect(&self.url(role, database), NoTls).unwrap()
    }

    /// A new database that belongs to the role `owner`.
    pub fn database(&self) -> String {
        let name = format!("ledger{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} OWNER owner");
        self.connect("postgres", "postgres").batch_execute(&create).unwrap();
        name
    }

    /// Gives the role `writer` the role `vantio_writer`, which the tables of a ledger came with.
    pub fn admit_writer(&self, database: &str) {
        // The server cannot give one role to another twice at once.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.connect("postgres", database).batch_execute("GRANT vantio_writer TO writer").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Whether there is a server that could be started.
pub fn is_installed() -> bool {
    newest("postgres").is_some()
}

fn program(name: &str) -> PathBuf {
    newest(name).expect("PostgreSQL is installed: `apt-get install postgresql`")
}

/// The newest server program of that name.
fn newest(name: &str) -> Option<PathBuf> {
    let versions: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    let mut versions: Vec<_> = versions.iter().map(|version| version.path().join("bin").join(name)).collect();
    versions.sort();
    versions.into_iter().rfind(|program| program.exists())
}

/// A shell script, run as the user that the server needs: it refuses to be root.
fn as_server(script: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = other_user() {
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
    }
    command.args(["sh", "-c", script]).current_dir("/");
    command
}

/// User and group of the server, where this process is root.
fn other_user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|this| std::os::unix::fs::MetadataExt::uid(&this) == 0);
    let user =
        || users.lines().find(|line| line.starts_with("postgres:")).expect("Debian's package made its user");
    is_root.then(|| {
        let fields: Vec<&str> = user().split(':').collect();
        (fields[2].parse().unwrap(), fields[3].parse().unwrap())
    })
}
