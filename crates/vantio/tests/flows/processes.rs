//! Processes: children, orphans, programs, and attempts to be somebody else.

use crate::{CONNECT, POLICY, Stage, common::compile, python_flows, shell_flows};

shell_flows! {
    unrelated_processes_stay_clean: "cat $S > /dev/null; for i in 1 2 3; do cat script.sh > c$i; done; send c1; send c2; send c3"
        => "sent c1\nsent c2\nsent c3", [];
    a_background_child: "cat $S > out & wait; send out; send script.sh" => "kept out\nsent script.sh", [CONNECT];
    a_child_that_no_terminal_ends: "nohup cat $S > out 2> /dev/null; send out; send script.sh"
        => "kept out\nsent script.sh", [CONNECT];
    a_session_of_its_own: "setsid -w cat $S > out; send out; send script.sh" => "kept out\nsent script.sh", [CONNECT];
    a_child_of_a_child: "sh -c 'sh -c \"cat $HOME/.aws/credentials > out\"'; send out; send script.sh"
        => "kept out\nsent script.sh", [CONNECT];
    a_program_with_a_secret_in_it:
        "( read x < $S; printf '#!/bin/sh\\ncurl -s -m 20 -d %s http://127.0.0.1:PORT/ || echo kept' \"$x\" > prog; chmod +x prog ); ./prog"
        => "kept", [CONNECT];
    two_at_once: "cat $S > a & cat $S > b & cat script.sh > c & wait; send a; send b; send c"
        => "kept a\nkept b\nsent c", [CONNECT];
    many_forks: "for i in $(seq 30); do ( true ) & done; wait; cat $S > out; for i in $(seq 30); do ( true ) & done; wait; send script.sh"
        => "sent script.sh", [];
    the_environment_of_a_program: "x=$(cat $S) bash -c 'echo $x > out'; send out" => "kept out", [CONNECT];
}

python_flows! {
    a_program_executed_in_place: "
data = read()
os.execv('/usr/bin/curl', ['curl', '-s', '-o', '/dev/null', '--data-binary', data, f'http://127.0.0.1:{SINK}/'])
" => "", [CONNECT];
    a_child_inherits: "
read()
done(child(send))
" => "kept", [CONNECT];
    a_child_from_before_does_not: "
reads, writes = os.pipe()
def work():
    os.close(writes)
    os.read(reads, 1)
    send()
pid = child(work)
os.close(reads)
# Its first call comes while it is still clean.
time.sleep(0.3)
done(child(lambda: (os.close(writes), read())))
os.close(writes)
done(pid)
" => "sent", [];
    a_daemon_is_its_ancestors_child: "
def grandchild():
    os.setsid()
    time.sleep(0.3)
    send()
    os.mkdir('sent')
def middle():
    read()
    child(grandchild)
done(child(middle))
while not os.path.exists('sent'): time.sleep(0.01)
" => "kept", [CONNECT];
    a_clean_daemon_stays_clean: "
def grandchild():
    os.setsid()
    time.sleep(0.3)
    send()
    os.mkdir('sent')
done(child(read))
done(child(lambda: child(grandchild)))
while not os.path.exists('sent'): time.sleep(0.01)
" => "sent", [];
    an_orphan_of_one_that_was_killed: "
def grandchild():
    time.sleep(0.5)
    send()
    os.mkdir('sent')
def middle():
    read()
    child(grandchild)
    os.kill(os.getpid(), 9)
done(child(middle))
while not os.path.exists('sent'): time.sleep(0.01)
" => "kept", [CONNECT];
    an_orphan_that_its_grandparent_takes_over: "
libc.prctl(36, 1, 0, 0, 0)
def grandchild():
    time.sleep(0.5)
    send()
    os.mkdir('sent')
def middle():
    read()
    child(grandchild)
    os.kill(os.getpid(), 9)
done(child(middle))
while not os.path.exists('sent'): time.sleep(0.01)
" => "kept", [CONNECT];
    a_program_started_without_a_copy_of_the_memory: "
subprocess.run(['cat', S], stdout=subprocess.DEVNULL, check=True)
os.waitpid(os.posix_spawn('/usr/bin/cat', ['cat', S], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, 'out', os.O_WRONLY | os.O_CREAT, 0o600)]), 0)
send(what='clean')
send(read('out'), 'out')
" => "sent clean\nkept out", [CONNECT];
    one_thread_opens_while_another_reads: "
import threading
leaks = 0
for turn in range(40):
    # Whichever comes first, what is written is as secret as what was read.
    opened = []
    def work():
        start = threading.Barrier(2)
        def write():
            start.wait()
            opened.append(os.open(f'out{turn}', os.O_WRONLY | os.O_CREAT))
        thread = threading.Thread(target=write)
        thread.start()
        start.wait()
        data = read()
        thread.join()
        os.write(opened[0], data)
    done(child(work))
    def check():
        data = read(f'out{turn}')
        try:
            connect().send(data)
            os.mkdir('leak')
        except PermissionError: pass
    done(child(check))
say(os.path.exists('leak'))
" => "False", [CONNECT];
    another_thread: "
import threading
data = []
thread = threading.Thread(target=lambda: data.append(read()))
thread.start()
thread.join()
send(data[0])
" => "kept", [CONNECT];
    what_another_process_was_started_with: "
def work():
    os.execve('/usr/bin/sleep', ['sleep', '20'], {'X': read().decode()})
pid = child(work)
while b'sleep' not in open(f'/proc/{pid}/comm', 'rb').read(): time.sleep(0.01)
send(what='clean')
try:
    read(f'/proc/{pid}/environ')
    send(what='after')
finally:
    os.kill(pid, 9)
" => "sent clean\nkept after", [CONNECT];
    a_child_for_somebody_else: "
result = libc.syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
if result == 0: os._exit(0)
say(result, errno.errorcode[ctypes.get_errno()])
" => "-1 EPERM", ["proc.syscall another parent"];
    // An ordinary user cannot see what such a process has open: then it is refused for that.
    a_process_without_its_first_thread: "
import threading
def work():
    made = connect()
    while open('/proc/self/stat').read().rsplit(')')[1][1] != 'Z': time.sleep(0.01)
    secretly(made)
    os._exit(0)
threading.Thread(target=work).start()
libc.syscall(60, 0)
" => "refused", ["fs.open credentials"];
    a_thread_with_descriptors_of_its_own: "
import threading
ready, done = threading.Event(), threading.Event()
def work():
    # Not what it has open already: from here on it has a table of its own.
    say(libc.syscall(436, 100000, 100001, 2))
    made.append(connect())
    ready.set()
    done.wait()
made = []
thread = threading.Thread(target=work)
thread.start()
ready.wait()
try:
    read()
    say('read')
except PermissionError: say('refused')
done.set()
thread.join()
" => "0\nrefused", ["fs.open credentials secret"];
}

#[test]
fn memory_shared_by_two_processes() {
    let stage = Stage::new();
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/wait.h>
static char buffer[100], stack[65536];
static int work(void *path) {
    int fd = open(path, O_RDONLY);
    read(fd, buffer, sizeof buffer - 1);
    _exit(0);
}
int main(int count, char **arguments) {
    int flags = atoi(arguments[1]) ? CLONE_VM | CLONE_VFORK : CLONE_VM;
    waitpid(clone(work, stack + sizeof stack, flags | SIGCHLD, arguments[2]), 0, 0);
    struct sockaddr_in to = {AF_INET, htons(atoi(arguments[3])), {htonl(INADDR_LOOPBACK)}};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(made, (void *)&to, sizeof to)) return printf("kept %zu\n", strlen(buffer)), 0;
    write(made, buffer, strlen(buffer));
    return printf("sent\n"), 0;
}
"#;
    let program = compile(&stage.world, "shared", source);
    let script = format!("{program} 0 $S PORT; {program} 1 $S PORT");
    stage.check(&stage.shell(POLICY, &script), "kept 31\nkept 31", &[CONNECT]);
}

#[test]
fn descriptors_shared_by_two_processes() {
    let stage = Stage::new();
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/wait.h>
static char buffer[100], stack[65536];
static int work(void *path) {
    dup2(open(path, O_RDONLY), 50);
    usleep(100000);
    _exit(0);
}
int main(int count, char **arguments) {
    int child = clone(work, stack + sizeof stack, CLONE_FILES | SIGCHLD, arguments[1]);
    while (pread(50, buffer, sizeof buffer - 1, 0) <= 0) usleep(1000);
    waitpid(child, 0, 0);
    struct sockaddr_in to = {AF_INET, htons(atoi(arguments[2])), {htonl(INADDR_LOOPBACK)}};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(made, (void *)&to, sizeof to)) return printf("kept %zu\n", strlen(buffer)), 0;
    write(made, buffer, strlen(buffer));
    return printf("sent\n"), 0;
}
"#;
    let program = compile(&stage.world, "shared", source);
    stage.check(&stage.shell(POLICY, &format!("{program} $S PORT")), "kept 31", &[CONNECT]);
}

#[test]
fn memory_shared_with_an_orphan() {
    let stage = Stage::new();
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/wait.h>
static volatile int ready;
static char stack[65536], other[65536];
static int port;
static int orphan(void *unused) {
    struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    ready = connect(made, (void *)&to, sizeof to) ? -1 : 1;
    usleep(2000000);
    _exit(0);
}
static int between(void *unused) {
    clone(orphan, other + sizeof other, CLONE_VM | SIGCHLD, 0);
    _exit(0);
}
int main(int count, char **arguments) {
    port = atoi(arguments[2]);
    waitpid(clone(between, stack + sizeof stack, CLONE_VM | SIGCHLD, 0), 0, 0);
    while (!ready) usleep(1000);
    return printf(ready < 0 ? "alone\n" : open(arguments[1], O_RDONLY) < 0 ? "refused\n" : "read\n"), 0;
}
"#;
    let program = compile(&stage.world, "shared", source);
    let outcome = stage.shell(POLICY, &format!("{program} $S PORT"));
    stage.check(&outcome, "refused", &["fs.open credentials secret"]);
}

#[test]
fn descriptors_shared_by_threads_of_two_processes() {
    let stage = Stage::new();
    let script = "
import threading
def work():
    assert libc.unshare(0x400) == 0
    pid = libc.syscall(56, 0x400 | 17, 0, 0, 0, 0)
    if pid == 0:
        shared = mmap.mmap(-1, 4096)
        def send_on():
            made = connect()
            os.mkdir('connected')
            while not os.path.exists('over'): time.sleep(0.01)
            made.send(shared[:31])
        done(child(send_on))
        os._exit(0)
    while not os.path.exists('connected'): time.sleep(0.01)
    try: read() and say('read')
    except PermissionError: say('refused')
    os.mkdir('over')
    done(pid)
thread = threading.Thread(target=work)
thread.start()
thread.join()
";
    let outcome = stage.python(POLICY, script);
    stage.check(&outcome, "refused", &["fs.open credentials secret"]);
}

#[test]
fn ends_that_are_handed_round() {
    let stage = Stage::new();
    let outcome = stage.python(POLICY, HANDED_ROUND);
    let was_met = stage.world.refusals().iter().any(|refusal| refusal.effect == "fs.open");
    let refused = [CONNECT, "fs.open credentials secret"];
    stage.check(&outcome, "False", &refused[..if was_met { 2 } else { 1 }]);
}

const HANDED_ROUND: &str = r"
# Two who pass one end back and forth while a third reads: whoever has it then is labelled.
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
reads, writes = os.pipe()
def player(end, rest, starts):
    rest.close()
    os.close(writes)
    fd = reads if starts else None
    if not starts: os.close(reads)
    end.settimeout(20)
    got = b''
    try:
        while True:
            if fd is not None:
                socket.send_fds(end, [b'x'], [fd])
                os.close(fd)
            fd = socket.recv_fds(end, 1, 1)[1][0]
            if os.path.exists('written'): break
    except (TimeoutError, IndexError, OSError): pass
    end.close()
    if fd is not None:
        os.set_blocking(fd, False)
        try: got = os.read(fd, 100)
        except OSError: pass
        os.close(fd)
    try:
        connect().send(got)
        if got: os.mkdir('leak')
    except PermissionError: pass
players = [child(lambda: player(one, other, True)), child(lambda: player(other, one, False))]
for end in (one, other): end.close()
os.close(reads)
time.sleep(0.3)
data = None
while data is None:
    # One that is on its way just then counts as open to everywhere.
    try: data = read()
    except PermissionError: time.sleep(0.01)
try: os.write(writes, data)
except BrokenPipeError: pass
os.mkdir('written')
for pid in players: done(pid)
say(os.path.exists('leak'))
";
