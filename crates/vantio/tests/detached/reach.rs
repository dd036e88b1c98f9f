//! An agent at the socket and the log of a detached run: its own, and another's.

use crate::common::{CLOSED, WORKSPACE, World, detached::Detached, finish};

const ATTACK: &str = r#"
import glob, os, socket, sys
def attempt(name, action):
    try:
        print(name, "REACHED", action(), flush=True)
    except OSError as error:
        print(name, "refused", error, flush=True)

state = sys.argv[1]
def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    stream.sendall(b'{"version":1,"says":{"types":true,"from":0}}\n')
    return stream.recv(100)

for run in sys.argv[2:] + [state + "/runs/" + os.environ["VANTIO_RUN_ID"]]:
    attempt("connect", lambda: connect(run + "/terminal.sock"))
    attempt("read", lambda: open(run + "/output/0000000000000000").read())
    attempt("list", lambda: os.listdir(run))
    attempt("replace", lambda: os.symlink("/etc/passwd", run + "/output/ffffffffffffffff"))
def descriptors():
    """What processes of the run hold of it, as far as they can be looked at."""
    for descriptor in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if "terminal.sock" in target or "/output/" in target:
            yield target

for target in descriptors():
    print("descriptor REACHED", target, flush=True)
print("DONE", flush=True)
"#;

#[test]
fn an_agent_reaches_neither_the_socket_nor_the_log() {
    let world = World::new();
    world.write("attack.py", ATTACK);
    let other = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "echo written; sleep 600"]);
    other.wait_for("written");
    let policy = format!(
        "{}net: {{allow: [\"unix:/**\"]}}\n",
        CLOSED.replace("  read: [", "  read: [/, ").replace("  write: [", "  write: [/, ")
    );
    let state = world.state().to_string_lossy().into_owned();
    let folder = other.folder().to_string_lossy().into_owned();
    let run = Detached::start(&world, &policy, &["/usr/bin/python3", "-B", "attack.py", &state, &folder]);
    run.wait_for_end();
    let logs = run.logs();
    assert!(logs.ends_with("DONE\n") && !logs.contains("REACHED"), "{logs}");
    assert_eq!(logs.matches("refused").count(), 8, "{logs}");
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}
