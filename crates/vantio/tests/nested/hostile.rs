//! Agents that want out of a nested run, or talk to the supervisor themselves.

use crate::{INNER, OUTER, common::finish, requests, run, world};

/// Speaks the protocol by itself.
const CLIENT: &str = r#"
import json, os, resource, socket, sys
def ask(line, hang=False):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(20)
    stream.connect("\0vantio")
    try: stream.sendall(line)
    except OSError: pass
    if hang: return stream
    try: return stream.recv(65536)
    except OSError: return b""
def limits(): return [resource.getrlimit(resource.RLIMIT_RSS)[1], resource.prlimit(0, 10)[1]]
def look():
    try: return open("secret").read().strip()
    except OSError: return "closed"
"#;

#[test]
fn a_process_cannot_leave_its_nested_run() {
    let world = world(INNER);
    let attack = r#"
outer = int(sys.argv[1])
print(look())
# Back up, to others' marks, and to none.
tried = 0
for left in [-1, 2**60, 2**60 - 2**48 + 2**37, limits()[0] + 1, limits()[0] - 1, 0]:
    for right in [-1, 2**60, limits()[1] + 1, limits()[1] - 1, limits()[1] // 2]:
        for which, value in [(resource.RLIMIT_RSS, left), (10, right)]:
            try: resource.prlimit(0, which, (value, value))
            except (OSError, ValueError): pass
        tried += 1
        if look() != "closed": print("OUT", left, right)
print("tried", tried)
# Through a process that is not in it.
for name in ["mem", f"task/{outer}/mem"]:
    for mode in ["rb", "r+b", "wb"]:
        try: open(f"/proc/{outer}/{name}", mode, buffering=0).read(1); print("MEMORY", name, mode)
        except OSError as error:
            if error.errno == 5: print("MEMORY", name, mode)
try: os.kill(outer, 0); os.kill(outer, 19); print("SIGNAL")
except PermissionError: print("no signal")
"#;
    world.write("attack.py", format!("{CLIENT}\n{attack}"));
    let outcome = run(&world, "nest beside 'true'; nest child \"python3 -B attack.py $$\"; cat secret");
    outcome.assert_success();
    assert!(outcome.stdout.starts_with("closed\ntried 30\n"), "{}", outcome.describe());
    assert!(outcome.stdout.ends_with("hidden\n"), "{}", outcome.describe());
    for word in ["OUT", "MEMORY", "SIGNAL"] {
        assert!(!outcome.stdout.contains(word), "{}", outcome.describe());
    }
}

/// What a process has in `/proc` that nobody may look into who could not trace it.
const LOOK: &str = r#"
GUARDED = ["environ", "auxv", "maps", "smaps", "pagemap", "syscall", "stack", "personality", "io", "fd", "fdinfo",
    "map_files", "ns", "fd/0", "fd/7", "fd/8", "fdinfo/0", "cwd", "root", "exe", "ns/pid", "cwd/sub", "root/etc/hostname"]
PUBLIC = ["", "stat", "status", "cmdline", "task", "limits"]
def opened(process, names):
    found = []
    for name in names:
        for flags in [os.O_RDONLY, os.O_WRONLY, os.O_RDWR]:
            try: fd = os.open(f"/proc/{process}/{name}", flags | os.O_NONBLOCK)
            except OSError: continue
            found.append(name)
            os.close(fd)
    return found
"#;

#[test]
fn a_nested_run_looks_into_no_process_outside() {
    let world = world(INNER);
    let attack = r#"
outer = sys.argv[1]
print(opened(outer, GUARDED), opened(outer, PUBLIC) == PUBLIC)
print(opened(f"{outer}/task/{outer}", GUARDED), opened(f"{outer}/task/{outer}", PUBLIC[:4]) == PUBLIC[:4])
# From its own folder, and from a descriptor of it.
folder = os.open(f"/proc/{outer}/fd", os.O_PATH)
os.chdir(f"/proc/{outer}")
for name, at in [("environ", None), ("fd/0", None), ("fd/7", None), ("0", folder), ("7", folder)]:
    try: os.open(name, os.O_RDWR if "7" in name else os.O_RDONLY, dir_fd=at); print("OPEN", name)
    except PermissionError: pass
def attempt(what, call):
    try: call(); print("DONE", what)
    except PermissionError: pass
attempt("truncate", lambda: os.truncate(f"/proc/{outer}/fd/7", 0))
attempt("chmod", lambda: os.chmod(f"/proc/{outer}/cwd/sub", 0o700))
attempt("rename", lambda: os.rename(f"/proc/{outer}/cwd/sub/a", f"/proc/{outer}/cwd/sub/b"))
attempt("adjust", lambda: open(f"/proc/{outer}/oom_score_adj", "w").write("1000"))
# Its own, and its children, it may look into.
child = subprocess.Popen(["sleep", "30"])
print([open(f"/proc/{who}/environ").read() != "" for who in ["self", os.getpid(), child.pid]])
child.kill()
"#;
    world.write("attack.py", format!("import subprocess\n{CLIENT}\n{LOOK}\n{attack}"));
    world.write("sub/a", "a\n");
    let outcome = run(
        &world,
        "exec 7> >(cat) 8< <(sleep 60); nest beside 'true'; nest child \"python3 -B attack.py $$\" <<< 'echo typed'; \
         nest looked 'sleep 30' & sleep 1; \
         python3 -B -c \"import sys; exec(open('attack.py').read().split('outer =')[0]); \
         print([name for name in ['environ', 'fd/0', 'cwd'] if name not in opened(sys.argv[1], GUARDED)])\" $!; kill $!",
    );
    let expected = "[] True\n[] True\n[True, True, True]\n[]\n";
    assert_eq!(outcome.stdout, expected, "{}", outcome.describe());
    let why = world.ask(&["why", "last", "--json"]);
    assert!(why.contains("outside the nested run: /proc/") && why.contains("/environ"), "{why}");
}

#[test]
fn a_nested_run_sets_limits_of_nobody_outside() {
    let world = world(INNER);
    let attack = r#"
outer = int(sys.argv[1])
def limit(who, which, value):
    try: resource.prlimit(who, which, (value, value)); return "set"
    except PermissionError: return "refused"
for which, own in zip([resource.RLIMIT_RSS, 10], limits()):
    print(limit(outer, which, own), limit(1, which, own))
print(limit(outer, resource.RLIMIT_CPU, 1), limit(1, resource.RLIMIT_CPU, 1), limit(outer, resource.RLIMIT_NOFILE, 3))
# What it has of its own, by its number, and what others have, to read.
print(limit(os.getpid(), resource.RLIMIT_CORE, 0), limit(0, resource.RLIMIT_CORE, 0))
print(resource.prlimit(outer, resource.RLIMIT_CPU)[1])
"#;
    world.write("attack.py", format!("{CLIENT}\n{attack}"));
    let outcome = run(
        &world,
        "nest child \"python3 -B attack.py $$\"; cat secret; \
         prlimit --pid $$ --core=0 && sleep 30 & prlimit --pid $! --core=0 && echo own; \
         prlimit --pid $! --rss=5 2> /dev/null || echo marks; kill $!; nest child 'ulimit -c 0 && prlimit --core=0 echo in'",
    );
    let refused = "refused refused\n".repeat(2);
    let expected = format!("{refused}refused refused refused\nset set\n-1\nhidden\nown\nmarks\nin\n");
    assert_eq!(outcome.stdout, expected, "{}", outcome.describe());
    let why = world.ask(&["why", "last", "--json"]);
    assert!(why.contains("prlimit of another process"), "{why}");
}

#[test]
fn whoever_asks_for_another_policy_only_narrows_itself() {
    let world = world(INNER);
    // The bytes of a policy that permits all, from the entry of a run that had it, are not to be had here: the
    // nested run asks with the policy of the one beside, and for every mark that there may be.
    let attack = r#"
import subprocess, base64
vantio = sys.argv[1]
open("sub/all.yaml", "w").write("version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/]}\n")
script = "cat secret || echo closed"
print(subprocess.run([vantio, "run", "--policy", "sub/all.yaml", "--", "/bin/sh", "-c", script], capture_output=True, text=True).stdout.strip())
print(look())
"#;
    world.write("attack.py", format!("{CLIENT}\n{attack}"));
    let vantio = crate::common::binary();
    let outcome = run(&world, &format!("nest child 'python3 -B attack.py {}'", vantio.display()));
    assert_eq!(outcome.stdout, "closed\nclosed\n", "{}", outcome.describe());
}

#[test]
fn what_is_no_question_is_refused_and_breaks_nothing() {
    let world = world(INNER);
    let attack = r#"
for line in [b"\n", b"{}\n", b"\xff\xfe\n", b'{"version":2,"says":1}\n', b'{"version":1,"says":' + b"[" * 100000 + b"\n"]:
    print(b"E_" in ask(line))
print(ask(b"a" * 3_000_000) == b"")
good = {"name": "x", "command": [], "policy": "", "under": [2**64 - 1] * 2, "bindings":
    {"workspace": "", "home": "", "tmp": "", "aliases": [], "programs": [], "host_addresses": []}}
for change in [{}, {"policy": "AAAA"}, {"name": "\x1b[31m"}, {"name": ""}, {"under": [1, 2]}, {"more": 1}, {"under": [-1, 0]}]:
    print(b"E_" in ask(json.dumps({"version": 1, "says": {**good, **change}}).encode() + b"\n"))
for _ in range(3000):
    stream = socket.socket(socket.AF_UNIX)
    try: stream.connect("\0vantio")
    except ConnectionRefusedError: pass
    stream.close()
import time
time.sleep(1)
print(look())
"#;
    world.write("attack.py", format!("{CLIENT}\n{attack}"));
    let outcome = run(&world, "python3 -B attack.py; nest child 'cat secret || echo closed'");
    let expected = format!("{}hidden\nclosed\n", "True\n".repeat(13));
    assert_eq!(outcome.stdout, expected, "{}", outcome.describe());
    assert_eq!(requests(&world, "run.nest").len(), 1);
}

#[test]
fn those_who_ask_and_say_nothing_keep_nobody_else_out_for_long() {
    let world = world(INNER);
    let attack = "held = [ask(b'', hang=True) for _ in range(8)]\nimport time\nprint('held', flush=True)\ntime.sleep(15)\n";
    world.write("attack.py", format!("{CLIENT}\n{attack}"));
    let outcome = run(
        &world,
        "coproc python3 -B attack.py; read -r line <&${COPROC[0]}; echo $line; \
         for n in $(seq 30); do nest child 'echo in' 2>/dev/null && break; sleep 1; done",
    );
    assert_eq!(outcome.stdout, "held\nin\n", "{}", outcome.describe());
}

#[test]
fn there_is_an_end_to_nested_runs() {
    let world = world(INNER);
    let script = "for n in $(seq 257); do nest run 'exit 0' 2>> sub/errors || echo refused $n; done; grep -c E_NESTED_TOO_MANY sub/errors";
    let outcome = finish(world.governed(OUTER, &["/bin/true"]).current_dir(world.workspace()));
    outcome.assert_success();
    let outcome = run(&world, script);
    assert_eq!(outcome.stdout, "refused 257\n1\n", "{}", outcome.describe());
}
