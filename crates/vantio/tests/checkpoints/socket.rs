//! The socket for checkpoints: whom it hears, and what it takes from nobody.

use std::{
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _, unix::net::UnixStream},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Paused,
    common::{World, eventually, finish, is_root},
    folder, list, take,
};

/// Everything is open that a policy can open, sockets of the host included.
const OPEN: &str = r#"version: 1
fs: {read: [/], write: [/]}
exec: {allow: [/]}
net: {allow: ["*:*", "0.0.0.0/0:*", "unix:/**", "unix:/"]}
"#;

/// Asks for a checkpoint of the own run by every name that the socket may have.
const ATTACK: &str = r#"
import errno, os, socket, sys
state, run = sys.argv[1], os.environ["VANTIO_RUN_ID"]
path = f"{state}/runs/{run}/checkpoints.sock"
names = [path, "\0" + path, path.replace("/runs/", "/./runs//")]
for number in [name for name in os.listdir("/proc") if name.isdigit()] + ["self"]:
    names += [f"/proc/{number}/root{path}", f"/proc/{number}/cwd/../..{path}"]
    names += [f"/proc/{number}/fd/{fd}/checkpoints.sock" for fd in range(64)]
for name in names:
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(5)
    try:
        stream.connect(name)
        stream.sendall(b'{"version":3,"says":{"checkpoint":{"label":null,"processes":true}}}\n')
        if stream.recv(4096): print("REACHED", name, flush=True)
    except OSError: pass
print("tried", len(names) > 100, flush=True)
sys.stdin.readline()
"#;

pub(crate) fn connect(world: &World) -> UnixStream {
    // The path of a world may be longer than the address of a socket.
    let folder = std::fs::File::open(folder(world)).unwrap();
    UnixStream::connect(format!("/proc/self/fd/{}/checkpoints.sock", folder.as_raw_fd())).unwrap()
}

/// What is answered to a line.
fn say(world: &World, line: &[u8]) -> String {
    let mut stream = connect(world);
    // It may hang up before all of it is written.
    drop(stream.write_all(line).and_then(|()| stream.shutdown(std::net::Shutdown::Write)));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn an_agent_takes_no_checkpoint_of_itself() {
    let world = World::new();
    world.write("attack.py", ATTACK);
    let state = world.state().to_string_lossy().into_owned();
    let mut command = world.governed(OPEN, &["/usr/bin/python3", "-B", "attack.py", &state]);
    let outcome = finish(command.stdin(Stdio::null()));
    outcome.assert_success();
    assert_eq!(outcome.stdout, "tried True\n");
    assert!(list(&world).is_empty());
}

#[test]
fn what_is_no_question_gets_no_answer_and_breaks_nothing() {
    let world = World::new();
    let run = Paused::start(&world, "pause");
    let socket = folder(&world).join("checkpoints.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let nested = [&br#"{"version":3,"says":"#[..], &b"[".repeat(3000), b"\n"].concat();
    let long =
        [&br#"{"version":3,"says":{"checkpoint":{"label":""#[..], &b"a".repeat(100_000), b"\"}}}\n"].concat();
    for line in [&b""[..], b"\n", b"{}\n", b"\xff\xfe\n", br#"{"version":3,"says":"take"}"#, &nested, &long] {
        assert_eq!(say(&world, line), "");
    }
    assert!(say(&world, b"{\"version\":1,\"ask\":\"hold\"}\n").contains("E_VERSION"));
    for _ in 0..2000 {
        drop(connect(&world));
    }
    assert_eq!(take(&world, &[]), 1);
    run.end();
    assert!(eventually(Duration::from_secs(10), || !socket.exists()), "the socket outlives its run");
}

#[test]
fn a_process_of_a_namespace_below_is_not_heard() {
    let world = World::new();
    let run = Paused::start(&world, "pause");
    let ask = r#"
import os, socket, sys
os.chdir(sys.argv[1])
stream = socket.socket(socket.AF_UNIX)
stream.connect("checkpoints.sock")
try:
    stream.sendall(b'{"version":3,"says":{"checkpoint":{"label":null,"processes":false}}}\n')
    print(len(stream.recv(4096)) > 0)
except OSError: print(False)
"#;
    let mut python = Command::new("/usr/bin/python3");
    assert_eq!(finish(python.args(["-c", ask]).arg(folder(&world))).stdout, "True\n");
    let mut below = Command::new("/usr/bin/unshare");
    below.args(if is_root() { ["--pid", "--fork"].as_slice() } else { &["--user", "--pid", "--fork"] });
    below.args(["/usr/bin/python3", "-c", ask]).arg(folder(&world));
    assert_eq!(finish(&mut below).stdout, "False\n");
    assert_eq!(list(&world).len(), 1);
    run.end();
}
