//! A witness that others wrote (torchwood's `litewitness`) signs how far a ledger goes. The suite
//! `conformance` builds it and says where it is.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cli_world;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cli_world::World;

const POLICY: &str =
    "version: 1\nfs: {read: [/], write: ['${workspace}']}\nexec: {allow: [/usr/bin, /bin]}\n";

/// The SHA-256 of nothing, in base64: the root of an empty tree.
const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// `litewitness` with its key in an agent, both of which end with it.
struct Witness {
    folder: PathBuf,
    agent: Child,
    server: Child,
    url: String,
    key: String,
}

impl Witness {
    fn start(executable: &Path, folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let socket = folder.join("agent");
        let agent =
            Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_for(|| socket.exists());
        let key = folder.join("key");
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        output(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));
        let fingerprint = output(Command::new("ssh-keygen").arg("-lf").arg(&key));
        let mut server = Command::new(executable)
            .args(["-name", "witness.example/w", "-listen", "127.0.0.1:0"])
            .args(["-key", fingerprint.split(' ').nth(1).unwrap()])
            .arg("-db")
            .arg(folder.join("witness.db"))
            .arg("-ssh-agent")
            .arg(&socket)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut verifier, mut address) = (None, None);
        let log = BufReader::new(server.stderr.take().unwrap());
        for line in log.lines().map_while(Result::ok) {
            let value = |name: &str| Some(line.split_once(name)?.1.split(' ').next()?.to_owned());
            verifier = verifier.or_else(|| value("vkey="));
            address = value("addr=127").map(|rest| format!("127{rest}"));
            if address.is_some() {
                break;
            }
        }
        let url = format!("http://{}", address.expect("it says where it listens"));
        Self { folder, agent, server, url, key: verifier.expect("it says its key") }
    }

    /// Has the witness know the log whose verifier key is `key`.
    fn know(&self, key: &str) {
        let origin = key.split('+').next().unwrap();
        let database = rusqlite::Connection::open(self.folder.join("witness.db")).unwrap();
        database.execute("INSERT INTO log VALUES (?1, 0, ?2)", [origin, EMPTY]).unwrap();
        database.execute("INSERT INTO key VALUES (?1, ?2)", [origin, key]).unwrap();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.agent] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn wait_for(is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_witness_signs_what_continues_and_refuses_what_does_not() {
    let Some(executable) = env::var_os("VANTIO_LITEWITNESS") else {
        // The harness keeps what a test prints by macro.
        let skip = "SKIP a_witness_signs_what_continues_and_refuses_what_does_not: needs VANTIO_LITEWITNESS";
        let _ = writeln!(std::io::stdout(), "{skip}");
        return;
    };
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world.run(&["run", "--", "true"]);
    // The socket of an agent needs a short path.
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start(Path::new(&executable), folder.path().join("w"));
    world.run(&["ledger", "witness", "add", &witness.url, &witness.key]);
    let ask = || world.run(&["ledger", "witness", "ask"]);
    let refused = ask();
    assert!(
        refused.starts_with("exit 1\nE_WITNESS") && refused.contains("does not know this ledger"),
        "{refused}"
    );

    let key = world.shell("$VANTIO ledger key").trim().to_owned();
    witness.know(&key);
    for _ in 0..3 {
        let signed = ask();
        assert!(signed.starts_with("exit 0\nwitness.example/w has signed"), "{signed}");
        world.run(&["run", "--", "true"]);
    }
    ask();
    world.write("proof", &world.shell("$VANTIO ledger prove 0"));
    let proof = |key: &str| world.run(&["ledger", "verify", "--proof", "proof", "--key", key]);
    let verified = proof(&witness.key);
    assert!(verified.contains("signed by: witness.example/w at 20"), "{verified}");
    assert!(proof(&key).starts_with("exit 0"));

    // Another history under the same key.
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(world.state().join(name)));
    }
    for _ in 0..9 {
        world.run(&["run", "--", "true"]);
    }
    let refused = ask();
    assert!(refused.contains("refuses the proof: it has seen another log under this name"), "{refused}");
}
