//! The agent reaches none of it: it cannot answer its own questions, nor those of another run.

use crate::{
    Run,
    common::{World, parse},
    question, questions, world,
};

/// Everything is open that a policy can open, sockets of the host included.
const OPEN: &str = r#"version: 1
fs: {read: [/], write: [/]}
exec: {allow: [/]}
net: {allow: ["*:*", "0.0.0.0/0:*", "unix:/**", "unix:/"]}
hold: [{effect: fs.unlink, target: "${workspace}/held/**"}]
"#;

/// Tries every way to the socket of its own run, and of all others, while a thread waits.
const ATTACK: &str = r#"
import ctypes, errno, glob, json, socket, subprocess, time
state = sys.argv[1]
run = os.environ["VANTIO_RUN_ID"]
waiting = threading.Thread(target=lambda: print("waited", os.unlink("held/a"), flush=True))
waiting.start()
sys.stdin.readline()

def attempt(name, action):
    try: result = action()
    except OSError as error: print(name, "refused", errno.errorcode.get(error.errno), flush=True)
    else: print(name, "REACHED", result, flush=True)

def ask(name):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(5)
    stream.connect(name)
    stream.sendall(b'{"version":1,"says":"list"}\n')
    answer = stream.recv(65536)
    if answer == b"": raise OSError(errno.ECONNRESET, "nothing")
    return answer

def numbers():
    return [name for name in os.listdir("/proc") if name.isdigit()]

paths = [f"{state}/runs/{id}/approvals.sock" for id in [run] + sys.argv[2:]]
for path in paths:
    attempt("by path", lambda: ask(path))
    attempt("by abstract name", lambda: ask("\0" + path))
    attempt("by a longer path", lambda: ask(path.replace("/runs/", "/./runs//")))
    for number in numbers() + ["self"]:
        attempt("by a root", lambda: ask(f"/proc/{number}/root{path}"))
        attempt("by a folder", lambda: ask(f"/proc/{number}/cwd/../..{path}"))
    attempt("by a datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", path))
attempt("list", lambda: os.listdir(f"{state}/runs") or 1 / 0)
os.symlink(state, "link")
attempt("by a link", lambda: ask(f"link/runs/{run}/approvals.sock"))
attempt("from its folder", lambda: os.chdir(f"{state}/runs/{run}"))
attempt("hard link", lambda: os.link(paths[0], "taken"))
attempt("bind", lambda: socket.socket(socket.AF_UNIX).bind(f"{state}/runs/x.sock"))
libc = ctypes.CDLL(None, use_errno=True)
def ptrace(number):
    if libc.ptrace(16, number, 0, 0) == 0: return "attached"
    raise OSError(ctypes.get_errno(), "ptrace")
attempt("trace the parent", lambda: ptrace(1))
print("tried", waiting.is_alive(), os.path.exists("held/a"), flush=True)
sys.stdin.readline()
waiting.join()
"#;

#[test]
fn an_agent_cannot_answer_itself_or_another() {
    let world = world();
    let other = Run::shell(&world, OPEN, "rm held/b");
    let others = question(&world);
    let state = world.state().to_string_lossy().into_owned();
    world.write("attack.py", format!("import os, sys, threading\n{ATTACK}"));
    let program = ["/usr/bin/python3", "-B", "attack.py", &state, others["run"].as_str().unwrap()];
    let mut run = Run::new(&world, OPEN, &program);
    questions(&world, 2);
    run.tell();
    // Both wait on when it has tried everything, of which tracing is the last.
    let is_recorded = |what: &str| world.ask(&["ledger", "list", "--limit", "0"]).contains(what);
    assert!(crate::common::eventually(crate::PATIENCE, || is_recorded("ptrace")), "nothing is recorded");
    // To an ordinary user's run the folder is not even there.
    assert!(!crate::common::is_root() || is_recorded("state folder"));
    run.tell();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(questions(&world, 2).len(), 2);
    world.ask(&["approve", "--all"]);
    let outcome = run.end();
    assert!(!outcome.stdout.contains("REACHED"), "{}", outcome.describe());
    assert!(outcome.stdout.contains("tried True True"), "{}", outcome.describe());
    assert!(outcome.stdout.contains("waited None"), "{}", outcome.describe());
    other.end().assert_success();
    let answers = world.ask(&["ledger", "list", "--op", "hold.answer", "--json"]);
    let answers = parse(&answers);
    assert_eq!(answers.as_array().unwrap().len(), 2, "{answers:#}");
}

#[test]
fn the_command_itself_finds_nothing_in_a_run() {
    let world = World::new();
    world.write("held/a", "");
    let binary = crate::common::binary();
    let script = format!(
        "rm held/a & read line; {0} approve --all; {0} approvals --json; kill $!; wait",
        binary.display()
    );
    let mut run = Run::shell(&world, OPEN, &script);
    question(&world);
    run.tell();
    let outcome = run.end();
    assert!(!outcome.stdout.contains("\"id\""), "{}", outcome.describe());
    assert!(world.changes().iter().all(|(_, path)| !path.ends_with("held/a")), "{}", outcome.describe());
}
