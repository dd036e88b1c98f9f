//! A fork that tries to be seen, or to stay.

use std::time::Duration;

use crate::{Run, answer, answer_after, entries, going_on, policy, world};

/// Runs a script whose fork does `attack`, denies it, and fails unless the original prints `expected` and nothing has
/// changed.
#[track_caller]
fn denied(attack: &str, after: &str, expected: &str) {
    let world = world();
    let attack = format!("    {}\n", attack.trim().replace('\n', "\n    "));
    let script = format!(
        "import fcntl\nparent, own = os.getppid(), os.getpid()\nif attempt('held/a') == 'opened':\n{attack}    time.sleep(100)\n{after}\nprint('goes on', flush=True)"
    );
    let run = Run::python(&world, &policy(), &script);
    answer_after(&world, Duration::from_millis(700), "deny");
    run.prints(&format!("{expected}goes on"));
    assert!(world.changes().is_empty(), "{:#?}", world.changes());
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

/// Nobody is in the run but init, the program and whoever looks.
const ALONE: &str = r"
numbers = [name for name in os.listdir('/proc') if name.isdigit()]
print(len(numbers), flush=True)
";

#[test]
fn processes_that_hide_are_gone() {
    denied(
        r"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, 32):
                try: signal.signal(number, signal.SIG_IGN)
                except OSError: pass
            while True:
                time.sleep(0.01)
                if os.fork() == 0: os._exit(0)
        os._exit(0)
",
        ALONE,
        "2\n",
    );
}

/// A program that a thread begins takes the place of the process, and the thread's number is gone.
const PROGRAM_OF_A_THREAD: &str = "threading.Thread(target=lambda: os.execv('/bin/sh', ['sh', '-c', 'echo begun; sleep 1; exit 3'])).start()";

#[test]
fn a_program_that_a_thread_begins_is_gone() {
    denied(PROGRAM_OF_A_THREAD, ALONE, "2\n");
}

#[test]
fn a_program_that_a_thread_begins_goes_on() {
    let world = world();
    world.write(
        "tool.py",
        format!("{}attempt('held/a')\n{PROGRAM_OF_A_THREAD}\ntime.sleep(9)", crate::PRELUDE),
    );
    for script in ["python3 -B tool.py; echo $?", "x=$(python3 -B tool.py; echo $?); echo $x"] {
        let run = Run::new(&world, &policy(), &["/bin/bash", "-c", script]);
        answer_after(&world, Duration::from_millis(700), "approve");
        let outcome = run.end();
        assert_eq!(
            outcome.stdout.split_whitespace().collect::<Vec<_>>(),
            ["begun", "3"],
            "{}",
            outcome.describe()
        );
    }
    assert_eq!(entries(&world, "fork.end"), ["adopted", "adopted"]);
}

/// The first thread of a tool ends before the tool does.
#[test]
fn a_tool_ends_with_its_last_thread() {
    let world = world();
    let tool = "attempt('held/a')\nthreading.Thread(target=lambda: (time.sleep(0.5), os._exit(3))).start()\nimport ctypes; ctypes.CDLL(None).syscall(60, 0)";
    world.write("tool.py", format!("{}{tool}", crate::PRELUDE));
    for wait in ["python3 -B tool.py; echo $?", "x=$(python3 -B tool.py; echo $?); echo $x"] {
        let run = Run::new(&world, &policy(), &["/bin/bash", "-c", &format!("{wait}; sleep 0.1")]);
        answer_after(&world, Duration::from_millis(1200), "approve");
        run.prints("3");
    }
    assert_eq!(entries(&world, "fork.end"), ["adopted", "adopted"]);
}

/// A parent asks for its child in ways in which nobody does.
#[test]
fn strange_ways_to_wait_are_no_error() {
    let world = world();
    let script = r"
import ctypes
wait = lambda *arguments: ctypes.CDLL(None, use_errno=True).syscall(61, *arguments, 0)
tool = subprocess.Popen(['/bin/cat', 'held/a'], stdout=-1)
read = tool.stdout.read()
print(read, wait(-0x80000000, 0, 0), wait(7654321, 0, 0), wait(-7654321, 0, 0), wait(tool.pid, 0, 0) == tool.pid)
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(700), "approve");
    run.prints("b'a\\n' -1 -1 -1 True");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// Each has a table of its own.
#[test]
fn threads_that_do_not_have_the_same_open_are_dropped() {
    let world = world();
    let script = r"
import ctypes
def part():
    ctypes.CDLL(None).unshare(0x400)
    time.sleep(100)
if attempt('held/a') == 'opened':
    threading.Thread(target=part, daemon=True).start()
    time.sleep(0.8)
print('ends', flush=True)
os._exit(0)
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(500), "approve");
    run.prints("ends");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

/// In the fork they are names of two files.
#[test]
fn a_fork_that_changes_one_name_of_a_file_with_several_is_dropped() {
    for change in
        ["write('one', 'new')", "os.rename('one', 'three'); write('three', 'new')", "os.chmod('one', 0o600)"]
    {
        let world = world();
        let script = format!(
            r"
write('one', 'old')
os.link('one', 'two')
if attempt('held/a') == 'opened':
    {change}
    time.sleep(0.8)
data = os.stat('two')
print(open('two').read(), data.st_nlink, data.st_mode & 0o777 == 0o600, flush=True)
"
        );
        let run = Run::python(&world, &policy(), &script);
        answer_after(&world, Duration::from_millis(500), "approve");
        run.prints(if change.contains("chmod") { "old 2 True" } else { "new 2 False" });
        assert_eq!(entries(&world, "fork.end"), ["rolled back"], "{change}");
    }
}

/// Writes on and on; begun by a script that does things to it once it is approved.
const TOOL: &str = r"
import time
open('held/a')
for step in range(60):
    open('steps', 'a').write('x')
    time.sleep(0.1)
";

/// Who is stopped, continued and ended while it stands in.
#[test]
fn what_is_done_to_an_original_is_done_to_its_fork() {
    let world = world();
    world.write("tool.py", TOOL);
    let script = r"
tool = subprocess.Popen(['/usr/bin/python3', '-B', 'tool.py'])
select.select([], [], [], 3)
def grows():
    before = os.path.getsize('steps'); time.sleep(0.5)
    return os.path.getsize('steps') > before
for _ in range(20):
    os.kill(tool.pid, signal.SIGSTOP); os.kill(tool.pid, signal.SIGCONT)
print('goes on', grows())
os.kill(tool.pid, signal.SIGSTOP); time.sleep(0.5)
print('stands', not grows(), os.waitid(os.P_PID, tool.pid, os.WSTOPPED | os.WEXITED).si_status)
os.kill(tool.pid, signal.SIGCONT); time.sleep(0.5)
print('goes on', grows())
tool.kill(); print(tool.wait()); time.sleep(0.5)
print('is gone', not grows())
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(300), "approve");
    run.prints("goes on True\nstands True 19\ngoes on True\n-9\nis gone True");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// It stops itself, and goes on exactly once each time that its parent, which waits for that, says so.
#[test]
fn who_stands_in_stops_and_goes_on_as_often_as_its_fork() {
    let world = world();
    world.write(
        "tool.py",
        "import os, signal, time\nopen('held/a')\ntime.sleep(2)\nfor _ in range(100): os.kill(os.getpid(), signal.SIGSTOP)",
    );
    let script = r"
tool = subprocess.Popen(['/usr/bin/python3', '-B', 'tool.py'])
select.select([], [], [], 3)
ends = []
while not ends or ends[-1].si_code == os.CLD_STOPPED:
    ends.append(os.waitid(os.P_PID, tool.pid, os.WSTOPPED | os.WEXITED))
    if ends[-1].si_code == os.CLD_STOPPED: os.kill(tool.pid, signal.SIGCONT)
print(len(ends), ends[-1].si_code == os.CLD_EXITED, ends[-1].si_status)
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(300), "approve");
    run.prints("101 True 0");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// A shell goes on in the script that it has open, not in what a tool has put in its place.
#[test]
fn a_script_that_is_replaced_is_not_gone_on_with() {
    let world = world();
    world.write("other", "#########################################\necho new\necho new\necho new\n");
    world.write("tool.sh", "cat held/a\nmv -f other script.sh\n");
    world.write("script.sh", "sh tool.sh\necho old\n");
    let run = Run::new(&world, &policy(), &["/bin/bash", "script.sh"]);
    answer_after(&world, Duration::from_millis(700), "approve");
    run.prints("a\nold");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

#[test]
fn processes_are_gone_whatever_they_are_called() {
    let renamed = "import ctypes; ctypes.CDLL(None).prctl(15, b'\\xff')";
    denied(&format!("{renamed}\nos.fork() or (os.setsid(), time.sleep(100))"), ALONE, "2\n");
}

#[test]
fn threads_of_a_fork_are_gone() {
    denied("for _ in range(8): threading.Thread(target=time.sleep, args=(100,)).start()", ALONE, "2\n");
}

#[test]
fn signals_to_others_wait() {
    for attack in [
        "os.kill(own, signal.SIGTERM)",
        "os.kill(-1, signal.SIGTERM)",
        "os.kill(0, signal.SIGTERM)",
        "signal.pidfd_send_signal(os.pidfd_open(own), signal.SIGTERM)",
        "__import__('ctypes').CDLL(None).syscall(234, own, own, 15)",
        "__import__('ctypes').CDLL(None).syscall(200, own, 15)",
        "r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, own); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK); os.write(w, b'x')",
    ] {
        denied(attack, "", "");
    }
}

#[test]
fn what_others_use_stays_as_it_is() {
    for attack in [
        "os.setpriority(os.PRIO_PROCESS, own, 5)",
        "os.sched_setaffinity(own, {0})",
        "__import__('resource').prlimit(own, __import__('resource').RLIMIT_NOFILE, (64, 64))",
    ] {
        denied(
            attack,
            "print(os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(1)), __import__('resource').getrlimit(__import__('resource').RLIMIT_NOFILE)[0] > 64)",
            "0 True True\n",
        );
    }
}

#[test]
fn descriptors_of_the_original_are_out_of_reach() {
    denied(
        r"
for number in (1, 2):
    try: os.write(os.open(f'/proc/{own}/fd/{number}', os.O_WRONLY), b'seen')
    except OSError: pass
",
        "",
        "",
    );
    denied("write(f'/proc/{own}/cwd/made', 'x')", "", "");
    denied("os.chdir(f'/proc/{own}/cwd'); write('made', 'x')", "", "");
    denied("os.unlink(f'/proc/{own}/cwd/held/b')", "", "");
    denied("write(f'/proc/{own}/comm', 'x')", "print(open('/proc/self/comm').read().strip())", "python3\n");
}

#[test]
fn what_it_prints_is_not_seen() {
    denied("print('never', flush=True); os.system('echo never; echo never >&2')", "", "");
}

#[test]
fn places_outside_of_its_shadow_wait() {
    denied("write('/dev/shm/made', 'x')", "print(os.listdir('/dev/shm'))", "[]\n");
    denied("os.mkfifo('made')", "", "");
    denied("os.link('held/b', 'made')", "", "");
}

#[test]
fn what_it_sends_does_not_leave() {
    denied(
        r"
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.sendto(b'x', ('127.0.0.1', 9))
",
        "",
        "",
    );
    denied("server = socket.socket(socket.AF_UNIX); server.bind('made')", "", "");
}

#[test]
fn memory_that_all_of_the_run_share_waits() {
    denied(
        r"
libc = __import__('ctypes').CDLL(None)
libc.shmget(1234, 4096, 0o1600)
",
        "print(__import__('ctypes').CDLL(None).shmget(1234, 4096, 0))",
        "-1\n",
    );
}

#[test]
fn places_in_files_are_its_own() {
    let world = world();
    let script = r"
file = open('held/data', 'rb', buffering=0)
file.read(2)
if attempt('held/a') == 'opened':
    file.read(3)
    os.lseek(file.fileno(), 9, os.SEEK_SET)
    time.sleep(100)
print(file.read(2))
";
    world.write("data", "0123456789");
    let run = Run::python(&world, &policy(), &script.replace("held/data", "data"));
    answer_after(&world, Duration::from_millis(400), "deny");
    run.prints("b'23'");
}

#[test]
fn a_second_hold_waits_within_the_first() {
    let world = world();
    let run =
        Run::python(&world, &policy(), "print(attempt('held/a'))\nprint(attempt('held/b'))\nprint('done')");
    let first = going_on(&world);
    let mut second = serde_json::Value::Null;
    let found = crate::common::eventually(crate::PATIENCE, || {
        let list = crate::parse(&world.ask(&["approvals", "--json"]));
        let other = list["approvals"].as_array().unwrap().iter().find(|other| other["id"] != first["id"]);
        other.map(|other| second = other.clone()).is_some()
    });
    assert!(found);
    answer(&world, "approve", &first);
    std::thread::sleep(Duration::from_millis(500));
    let list = crate::parse(&world.ask(&["approvals", "--json"]));
    answer(&world, "deny", &list["approvals"][0]);
    run.prints("opened\nPermission denied\ndone");
}
