//! Processes that are kept for a checkpoint: they do nothing, and nothing of them is left.

use std::{fs, process::Command, time::Duration};

use crate::{
    Paused,
    common::{World, eventually, finish},
    list,
    processes::{counting, go_back, keep, python, refused, started},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Processes of this machine that were started with this marker.
fn with_marker(marker: &str) -> usize {
    let has_it = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
    };
    let is_process = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit();
    fs::read_dir("/proc").unwrap().flatten().filter(is_process).filter(has_it).count()
}

fn waiting(world: &World, marker: &str) -> Paused {
    // The command has it in an argument of its own too.
    let script = "echo ready; while read -r line; do eval \"$line\"; done";
    started(world, &["/bin/sh", "-c", script, marker], "ready\n")
}

#[test]
fn no_twin_outlives_its_run() {
    let marker = format!("marker-a-{}", std::process::id());
    let world = World::new();
    let mut run = waiting(&world, &marker);
    let alone = with_marker(&marker);
    for _ in 0..3 {
        keep(&world);
    }
    assert_eq!(with_marker(&marker), alone + 3);
    go_back(&world, "2");
    assert_eq!(with_marker(&marker), alone + 4);
    run.say("exit 5");
    assert_eq!(run.child.wait().unwrap().code(), Some(5));
    assert!(eventually(PATIENCE, || with_marker(&marker) == 0), "{}", with_marker(&marker));
}

#[test]
fn a_supervisor_that_is_killed_takes_its_twins_along() {
    for is_back in [false, true] {
        let marker = format!("marker-b-{is_back}-{}", std::process::id());
        let world = World::new();
        let mut run = waiting(&world, &marker);
        let id = keep(&world);
        if is_back {
            go_back(&world, &id);
        }
        let path = format!("/proc/{0}/task/{0}/children", run.child.id());
        let supervisor = fs::read_to_string(path).unwrap();
        let supervisor = supervisor.split_whitespace().next().unwrap().to_owned();
        finish(Command::new("/bin/kill").args(["-KILL", &supervisor])).assert_success();
        run.child.wait().unwrap();
        assert!(eventually(PATIENCE, || with_marker(&marker) == 0), "{}", with_marker(&marker));
    }
}

#[test]
fn no_more_than_sixteen_are_kept_and_the_oldest_goes_first() {
    let world = World::new();
    let mut run = counting(&world);
    for step in 1..=18 {
        keep(&world);
        run.ask("x", &format!("at {step}\n"));
    }
    let kept: Vec<_> = list(&world).iter().map(|entry| entry["processes"].as_bool().unwrap()).collect();
    assert_eq!(kept, [vec![false; 2], vec![true; 16]].concat());
    refused(&world, &["restore", "last", "2", "--processes"], "keeps no processes");
    go_back(&world, "3");
    run.ask("y", "at 3\n");
    run.kill();
}

/// Everything that a program can do to a number, to all that it does not know.
const ATTACK: &str = r"
import ctypes, signal, resource
libc = ctypes.CDLL(None, use_errno=True)
own = {1, os.getpid(), os.getppid()}
others = [int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in own]
came = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT): signal.signal(number, lambda number, frame: came.append(number))
def attempt(work):
    try: return work()
    except OSError as error: return error.errno
for other in others:
    for number in (15, 10, 2, 9, 18):
        attempt(lambda: os.kill(other, number))
        if number != 9: libc.syscall(200, other, number), libc.syscall(234, other, other, number)
    attempt(lambda: os.killpg(other, 15))
    attempt(lambda: open(f'/proc/{other}/mem', 'r+b').write(b'x'))
    libc.ptrace(16, other, 0, 0)
    libc.ptrace(17, other, 0, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, [15, 10])
attempt(lambda: os.kill(0, 10))
attempt(lambda: os.waitpid(-1, os.WNOHANG))
print(len(others), attempt(lambda: os.waitpid(-1, os.WNOHANG)), flush=True)
";

#[test]
fn a_twin_is_out_of_the_reach_of_its_agent() {
    let world = World::new();
    world.write("attack.py", ATTACK);
    let mut run = python(&world);
    run.ask("mark = 1; print(mark)", "1\n");
    let id = keep(&world);
    for _ in 0..2 {
        // One other process, and no child that could be waited for.
        run.ask("mark = 2; exec(open('attack.py').read())", "1 10\n");
        assert!(list(&world)[0]["processes"].as_bool().unwrap());
        go_back(&world, &id);
        // No signal came while it was kept, and none is left.
        run.ask("import signal; print(mark, 'came' in globals(), signal.sigpending())", "1 False set()\n");
    }
    run.kill();
}

#[test]
fn an_agent_that_ends_its_own_twin_only_loses_it() {
    let others =
        "[int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in (1, os.getpid())]";
    for attack in ["os.kill(-1, 9)", "[ctypes.CDLL(None).syscall(234, other, other, 9) for other in others]"]
    {
        let world = World::new();
        let mut run = python(&world);
        let id = keep(&world);
        run.ask(&format!("import ctypes; others = {others}; {attack}; print('on')"), "on\n");
        refused(&world, &["restore", "last", &id, "--processes"], "keeps no processes");
        // It may have another.
        run.ask("print('on')", "on\n");
        let id = keep(&world);
        go_back(&world, &id);
        run.ask("print('on')", "on\n");
        run.kill();
    }
}

#[test]
fn a_signal_reaches_what_goes_on() {
    let world = World::new();
    let mut run = python(&world);
    let script = "import signal; signal.signal(10, lambda number, frame: print('came', os.getpid() != first, flush=True)); first = os.getpid()";
    run.ask(&format!("{script}; print('set')"), "set\n");
    let id = keep(&world);
    go_back(&world, &id);
    // To the number that its parent knows.
    run.ask("os.kill(first, 10); import time; time.sleep(0.5)", "came True\n");
    run.kill();
}
